//! The grammar of label selectors, with the error texts of
//! [apimachinery's parser](https://github.com/kubernetes/apimachinery/blob/master/pkg/labels/selector.go).

use std::collections::BTreeSet;

use super::{
    label::{Operator, Requirement},
    lexer::{Kind, Token, tokens},
};
use crate::{Cause, validation};

type Parsed<T> = Result<T, String>;

pub(super) fn label_selector(text: &str) -> Parsed<Vec<Requirement>> {
    let mut parser = Parser {
        tokens: tokens(text),
        at: 0,
    };
    let mut requirements = Vec::new();
    loop {
        let next = parser.peek();
        match next.kind {
            Kind::End => return Ok(requirements),
            Kind::Word | Kind::Not => {
                let requirement = parser
                    .requirement()
                    .map_err(|error| format!("unable to parse requirement: {error}"))?;
                requirements.push(requirement);
            }
            _ => {
                return Err(format!(
                    "found '{}', expected: !, identifier, or 'end of string'",
                    next.text
                ));
            }
        }
        let separator = parser.take();
        match separator.kind {
            Kind::End => return Ok(requirements),
            Kind::Comma => {
                let next = parser.peek();
                if !matches!(next.kind, Kind::Word | Kind::Not) {
                    return Err(format!(
                        "found '{}', expected: identifier after ','",
                        next.text
                    ));
                }
            }
            _ => {
                return Err(format!(
                    "found '{}', expected: ',' or 'end of string'",
                    separator.text
                ));
            }
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    /// The next token where a value may stand: there `in` and `notin` are words like any other.
    fn peek(&self) -> Token {
        let mut token = self.raw();
        if matches!(token.kind, Kind::In | Kind::NotIn) {
            token.kind = Kind::Word;
        }
        token
    }

    fn take(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn raw(&self) -> Token {
        // The last token is the end, and reading past it reads it again.
        self.tokens[self.at.min(self.tokens.len() - 1)].clone()
    }

    fn requirement(&mut self) -> Parsed<Requirement> {
        let mut first = self.take();
        let negated = first.kind == Kind::Not;
        if negated {
            first = self.take();
        }
        if first.kind != Kind::Word {
            return Err(format!("found '{}', expected: identifier", first.text));
        }
        let key = first.text;
        let faults = validation::qualified_name(&key);
        if !faults.is_empty() {
            return Err(Cause::invalid("<nil>", key, &faults.join("; ")).to_string());
        }
        if negated {
            return Ok(Requirement {
                key,
                operator: Operator::DoesNotExist,
                values: BTreeSet::new(),
            });
        }
        if matches!(self.peek().kind, Kind::End | Kind::Comma) {
            return Ok(Requirement {
                key,
                operator: Operator::Exists,
                values: BTreeSet::new(),
            });
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => BTreeSet::from([self.value()?]),
        };
        check(Requirement {
            key,
            operator,
            values,
        })
    }

    fn operator(&mut self) -> Parsed<Operator> {
        let token = self.raw();
        self.at += 1;
        match token.kind {
            Kind::In => Ok(Operator::In),
            Kind::NotIn => Ok(Operator::NotIn),
            Kind::Equals => Ok(Operator::Equals),
            Kind::NotEquals => Ok(Operator::NotEquals),
            Kind::Greater => Ok(Operator::GreaterThan),
            Kind::Less => Ok(Operator::LessThan),
            _ => Err(format!(
                "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                token.text
            )),
        }
    }

    fn value(&mut self) -> Parsed<String> {
        if matches!(self.peek().kind, Kind::End | Kind::Comma) {
            return Ok(String::new());
        }
        let token = self.take();
        match token.kind {
            Kind::Word => Ok(token.text),
            _ => Err(format!("found '{}', expected: identifier", token.text)),
        }
    }

    fn values(&mut self) -> Parsed<BTreeSet<String>> {
        let open = self.take();
        if open.kind != Kind::Open {
            return Err(format!("found '{}' expected: '('", open.text));
        }
        let mut values = BTreeSet::new();
        let next = self.peek();
        match next.kind {
            // Nothing in parentheses is the empty value, too.
            Kind::Close => {
                self.take();
                return Ok(BTreeSet::from([String::new()]));
            }
            Kind::Word | Kind::Comma => {}
            _ => {
                return Err(format!(
                    "found '{}', expected: ',', ')' or identifier",
                    next.text
                ));
            }
        }
        // Between two commas, before the first and after the last stands the empty value.
        loop {
            match self.peek().kind {
                Kind::Word => values.insert(self.take().text),
                _ => values.insert(String::new()),
            };
            let separator = self.take();
            match separator.kind {
                Kind::Comma => {}
                Kind::Close => return Ok(values),
                _ => return Err(format!("found '{}', expected: ',' or ')'", separator.text)),
            }
        }
    }
}

/// The rules beyond grammar.
pub(super) fn check(requirement: Requirement) -> Parsed<Requirement> {
    let Requirement {
        key,
        operator,
        values,
    } = &requirement;
    let fault = match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            Some("for 'in', 'notin' operators, values set can't be empty")
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            Some("values set must be empty for exists and does not exist")
        }
        Operator::GreaterThan | Operator::LessThan
            if !values.iter().all(|value| value.parse::<i64>().is_ok()) =>
        {
            Some("for 'Gt', 'Lt' operators, the value must be an integer")
        }
        _ => None,
    };
    if let Some(fault) = fault {
        let list: Vec<&str> = values.iter().map(String::as_str).collect();
        return Err(Cause::invalid("values", list, fault).to_string());
    }
    for (index, value) in values.iter().enumerate() {
        let faults = validation::label_value(value);
        if !faults.is_empty() {
            let path = format!("values[{index}][{key}]");
            return Err(Cause::invalid(path, value.clone(), &faults.join("; ")).to_string());
        }
    }
    Ok(requirement)
}
