//! From the parser's tree to a program: names are resolved, what the evaluation cannot bound is refused.

use std::{sync::Arc, thread};

use kube_cel::cel::{
    IdedExpr,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, ListExpr, LiteralValue, MapExpr, SelectExpr,
        operators,
    },
    objects::Value,
    parser::Parser,
};

use super::{
    CompileError, Environment, Program,
    function::Function,
    library::{self, Delegate, Style},
    node::{Access, Element, Fold, Node, Operator},
    pattern,
    scan::Scan,
};

/// Stack of the thread that parses: the grammar takes some ten frames per level of nesting.
const PARSER_STACK: usize = 32 << 20;
/// Levels of the tree; macros add some to what the source nests.
const MAX_DEPTH: usize = 400;

pub(super) fn compile(environment: &Environment, source: &str) -> Result<Program, CompileError> {
    let scan = Scan::of(source)?;
    let tree = parse(source, &scan.source)?;
    let mut compiler = Compiler {
        environment,
        source,
        scan: &scan,
        locals: Vec::new(),
        depth: 0,
    };
    let root = compiler.node(&tree)?;
    Ok(Program {
        source: source.into(),
        root: Arc::new(root),
        variables: environment.variables.len(),
    })
}

/// Parses on a thread of its own: a stack of a known size, and a parser that panics takes nothing with it.
fn parse(source: &str, safe: &str) -> Result<IdedExpr, CompileError> {
    let safe = safe.to_owned();
    let parsing = thread::Builder::new()
        .name("cel-parser".to_owned())
        .stack_size(PARSER_STACK)
        .spawn(move || {
            Parser::default()
                .enable_optional_syntax(true)
                .parse(&safe)
                .map_err(|errors| {
                    let first = errors.errors.into_iter().next();
                    first.map_or_else(
                        || (1, 1, "Syntax error".to_owned()),
                        |error| (error.pos.0, error.pos.1, error.msg),
                    )
                })
        });
    let failed = |message: &str| CompileError::at(source, 0, message);
    let parsed = parsing
        .map_err(|_| failed("no resources to parse the expression"))?
        .join()
        .map_err(|_| failed("Syntax error: the expression cannot be parsed"))?;
    parsed.map_err(|(line, column, message)| {
        let line = usize::try_from(line).unwrap_or(1);
        let column = usize::try_from(column).unwrap_or(1);
        let message = match message.as_str() {
            "UNKNOWN" => {
                "Syntax error: the expression nests too deeply or is incomplete".to_owned()
            }
            _ => message,
        };
        CompileError::at_line(source, line, column, message)
    })
}

struct Compiler<'a> {
    environment: &'a Environment,
    source: &'a str,
    scan: &'a Scan,
    /// Names of the comprehension variables in scope, by place.
    locals: Vec<String>,
    depth: usize,
}

impl Compiler<'_> {
    fn node(&mut self, tree: &IdedExpr) -> Result<Node, CompileError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error(0, "expression nests too deeply"));
        }
        let node = match &tree.expr {
            Expr::Literal(literal) => Ok(Node::Literal(constant(literal))),
            Expr::Ident(name) => self.identifier(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(map),
            Expr::Comprehension(fold) => self.fold(fold),
            Expr::Struct(message) => {
                let at = self.scan.position(&message.type_name, false);
                Err(self.error(
                    at,
                    format!("undeclared reference to '{}'", message.type_name),
                ))
            }
            Expr::Unspecified => Err(self.error(0, "Syntax error: incomplete expression")),
        };
        self.depth -= 1;
        node
    }

    fn nodes(&mut self, trees: &[IdedExpr]) -> Result<Vec<Node>, CompileError> {
        trees.iter().map(|tree| self.node(tree)).collect()
    }

    fn pair(&mut self, trees: &[IdedExpr]) -> Result<Box<[Node; 2]>, CompileError> {
        Ok(Box::new([self.node(&trees[0])?, self.node(&trees[1])?]))
    }

    fn error(&self, at: usize, message: impl Into<String>) -> CompileError {
        CompileError::at(self.source, at, message)
    }

    fn find(&self, name: &str) -> Option<Node> {
        if let Some(place) = self.locals.iter().rposition(|local| local == name) {
            return Some(Node::Local(place));
        }
        let place = self
            .environment
            .variables
            .iter()
            .position(|known| known == name);
        place.map(Node::Variable)
    }

    fn identifier(&self, name: &str) -> Result<Node, CompileError> {
        let plain = name.strip_prefix('.').unwrap_or(name);
        self.find(plain).ok_or_else(|| {
            let at = self.scan.position(plain, false);
            self.error(
                at,
                format!("undeclared reference to '{plain}' (in container '')"),
            )
        })
    }

    fn select(&mut self, select: &SelectExpr) -> Result<Node, CompileError> {
        // `x.`odd-name``: the quotes are no part of the name.
        let field = select.field.trim_matches('`');
        Ok(Node::Select {
            operand: Box::new(self.node(&select.operand)?),
            field: field.into(),
            access: if select.test {
                Access::Test
            } else {
                Access::Get
            },
        })
    }

    fn list(&mut self, list: &ListExpr) -> Result<Node, CompileError> {
        let mut elements = Vec::with_capacity(list.elements.len());
        for (place, tree) in list.elements.iter().enumerate() {
            elements.push(Element {
                node: self.node(tree)?,
                optional: list.optional_indices.contains(&place),
            });
        }
        Ok(Node::List(elements))
    }

    fn map(&mut self, map: &MapExpr) -> Result<Node, CompileError> {
        let mut entries = Vec::with_capacity(map.entries.len());
        for entry in &map.entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else {
                return Err(self.error(0, "Syntax error: messages are not supported"));
            };
            let element = Element {
                node: self.node(&entry.value)?,
                optional: entry.optional,
            };
            entries.push((self.node(&entry.key)?, element));
        }
        Ok(Node::Map(entries))
    }

    fn fold(&mut self, fold: &ComprehensionExpr) -> Result<Node, CompileError> {
        let range = self.node(&fold.iter_range)?;
        let init = self.node(&fold.accu_init)?;
        let slot = self.locals.len();
        self.locals
            .extend([fold.accu_var.clone(), fold.iter_var.clone()]);
        let inner = (|| {
            Ok((
                self.node(&fold.loop_cond)?,
                self.node(&fold.loop_step)?,
                self.node(&fold.result)?,
            ))
        })();
        self.locals.truncate(slot);
        let (condition, step, result) = inner?;
        Ok(Node::Fold(Box::new(Fold {
            slot,
            range,
            init,
            condition,
            step,
            result,
        })))
    }

    fn call(&mut self, call: &CallExpr) -> Result<Node, CompileError> {
        if call.target.is_none()
            && let Some(node) = self.operator(&call.func_name, &call.args)?
        {
            return Ok(node);
        }
        let name = call.func_name.as_str();
        if let Some(target) = &call.target
            && let Expr::Ident(namespace) = &target.expr
            && self.find(namespace).is_none()
            && library::has_qualified(namespace, name)
        {
            let arguments = self.nodes(&call.args)?;
            let delegate = Delegate::new(Style::Qualified(namespace), name, arguments.len());
            return Ok(Node::Call {
                function: Function::Library(Box::new(delegate)),
                arguments,
            });
        }
        let mut arguments = Vec::with_capacity(call.args.len() + 1);
        if let Some(target) = &call.target {
            arguments.push(self.node(target)?);
        }
        arguments.extend(self.nodes(&call.args)?);
        let function = self.function(name, call.target.is_some(), &arguments)?;
        Ok(Node::Call {
            function,
            arguments,
        })
    }

    fn function(
        &self,
        name: &str,
        method: bool,
        arguments: &[Node],
    ) -> Result<Function, CompileError> {
        let at = || self.scan.position(name, method);
        let declared = |known: &&super::Declared| {
            method == known.method
                && known.name == name
                && known.arguments + usize::from(known.method) == arguments.len()
        };
        if self
            .environment
            .functions
            .iter()
            .any(|known| declared(&known))
        {
            return Ok(Function::Host(name.to_owned()));
        }
        match Function::own(name, arguments.len()) {
            Some(Function::Search { search, .. }) => {
                let constant = match &arguments[1] {
                    Node::Literal(Value::String(text)) => {
                        let regex = pattern::compile(text);
                        Some(regex.map_err(|message| self.error(at(), message))?)
                    }
                    _ => None,
                };
                return Ok(Function::Search { search, constant });
            }
            Some(function) => return Ok(function),
            None => {}
        }
        if library::has(name) && !arguments.is_empty() {
            let style = if method { Style::Method } else { Style::Global };
            let count = arguments.len();
            return Ok(Function::Library(Box::new(Delegate::new(
                style, name, count,
            ))));
        }
        Err(self.error(
            at(),
            format!("undeclared reference to '{name}' (in container '')"),
        ))
    }

    /// Operators come as calls.
    fn operator(&mut self, name: &str, args: &[IdedExpr]) -> Result<Option<Node>, CompileError> {
        let binary = |operator| Some(operator);
        let operator = match (name, args.len()) {
            (operators::LOGICAL_AND | operators::LOGICAL_OR, 2) => {
                return Ok(Some(Node::Junction {
                    decisive: name == operators::LOGICAL_OR,
                    sides: self.pair(args)?,
                }));
            }
            (operators::LOGICAL_NOT, 1) => {
                return Ok(Some(Node::Not(Box::new(self.node(&args[0])?))));
            }
            (operators::NEGATE, 1) => {
                return Ok(Some(Node::Negate(Box::new(self.node(&args[0])?))));
            }
            (operators::NOT_STRICTLY_FALSE, 1) => {
                return Ok(Some(Node::NotStrictlyFalse(Box::new(self.node(&args[0])?))));
            }
            (operators::CONDITIONAL, 3) => {
                let parts = [
                    self.node(&args[0])?,
                    self.node(&args[1])?,
                    self.node(&args[2])?,
                ];
                return Ok(Some(Node::Conditional(Box::new(parts))));
            }
            (operators::INDEX | operators::OPT_INDEX, 2) => {
                return Ok(Some(Node::Index {
                    operand: Box::new(self.node(&args[0])?),
                    index: Box::new(self.node(&args[1])?),
                    access: if name == operators::INDEX {
                        Access::Get
                    } else {
                        Access::Optional
                    },
                }));
            }
            (operators::OPT_SELECT, 2) => {
                let Expr::Literal(LiteralValue::String(field)) = &args[1].expr else {
                    return Err(self.error(0, "Syntax error: '.?' needs a field"));
                };
                return Ok(Some(Node::Select {
                    operand: Box::new(self.node(&args[0])?),
                    field: field.inner().into(),
                    access: Access::Optional,
                }));
            }
            (operators::ADD, 2) => binary(Operator::Add),
            (operators::SUBSTRACT, 2) => binary(Operator::Subtract),
            (operators::MULTIPLY, 2) => binary(Operator::Multiply),
            (operators::DIVIDE, 2) => binary(Operator::Divide),
            (operators::MODULO, 2) => binary(Operator::Modulo),
            (operators::EQUALS, 2) => binary(Operator::Equals),
            (operators::NOT_EQUALS, 2) => binary(Operator::NotEquals),
            (operators::LESS, 2) => binary(Operator::Less),
            (operators::LESS_EQUALS, 2) => binary(Operator::LessEquals),
            (operators::GREATER, 2) => binary(Operator::Greater),
            (operators::GREATER_EQUALS, 2) => binary(Operator::GreaterEquals),
            (operators::IN, 2) => binary(Operator::In),
            _ => None,
        };
        match operator {
            Some(operator) => Ok(Some(Node::Binary(operator, self.pair(args)?))),
            None => Ok(None),
        }
    }
}

fn constant(literal: &LiteralValue) -> Value {
    match literal {
        LiteralValue::Boolean(value) => Value::Bool(*value.inner()),
        LiteralValue::Bytes(value) => Value::Bytes(value.inner().to_vec().into()),
        LiteralValue::Double(value) => Value::Float(*value.inner()),
        LiteralValue::Int(value) => Value::Int(*value.inner()),
        LiteralValue::Null => Value::Null,
        LiteralValue::String(value) => Value::String(Arc::new(value.inner().to_owned())),
        LiteralValue::UInt(value) => Value::UInt(*value.inner()),
    }
}
