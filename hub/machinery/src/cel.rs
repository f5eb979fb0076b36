//! CEL as Kubernetes uses it: compiled with positions, evaluated with a bound on the work.
//!
//! ```text
//!   source ──► scan ──► parser (kube-cel) ──► compile ──► Program ──► evaluate(bindings, meter) ──► Value
//!               │                               │                        │
//!               └─ size, nesting ───────────────┴─ undeclared names      └─ cost, before the work is done
//! ```
//!
//! The parser and the Kubernetes libraries (strings, lists, sets, regex, urls, ip, cidr, format, quantity, semver,
//! math, base64) are those of the crate `kube-cel`. Its evaluator has no bound on time or memory and panics on some
//! inputs, so programs are evaluated here, over its values, and every call into a library is paid for by the size of
//! its arguments first.
//!
//! Costs are counted in the units of Kubernetes: one per step, a tenth per character that is looked at, ten for a
//! list and thirty for a map that is built. A limit of 1,000,000 per expression is that of the API server and of OCM;
//! an expression that reaches it has run for some tens of milliseconds.

mod compile;
mod cost;
mod evaluate;
mod function;
mod library;
mod node;
mod operator;
mod pattern;
mod scan;
mod value;

use std::{fmt, sync::Arc};

pub use kube_cel::cel::Value;

pub use self::{
    cost::Meter,
    value::{json, value},
};
use self::{evaluate::Evaluator, node::Node};

/// The limit of Kubernetes and OCM for one expression.
pub const COST_LIMIT: u64 = 1_000_000;
/// Upper bound on the bytes of an expression.
pub const MAX_SOURCE: usize = 16 * 1024;
/// Upper bound on how deep brackets, operators and selections nest.
pub const MAX_NESTING: usize = 128;

/// What an expression may refer to besides the libraries.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: Vec<String>,
    functions: Vec<Declared>,
}

/// A function that the caller of [`Program::evaluate`] answers.
#[derive(Clone, Debug)]
struct Declared {
    name: String,
    arguments: usize,
    /// Called on a receiver.
    method: bool,
}

impl Environment {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn variable(mut self, name: &str) -> Self {
        self.variables.push(name.to_owned());
        self
    }

    /// Declares `receiver.name(…)` with that many arguments besides the receiver; [`Host::call`] answers it.
    #[must_use]
    pub fn method(mut self, name: &str, arguments: usize) -> Self {
        self.functions.push(Declared {
            name: name.to_owned(),
            arguments,
            method: true,
        });
        self
    }

    /// Declares `name(…)` with that many arguments; [`Host::call`] answers it.
    #[must_use]
    pub fn function(mut self, name: &str, arguments: usize) -> Self {
        self.functions.push(Declared {
            name: name.to_owned(),
            arguments,
            method: false,
        });
        self
    }

    /// Compiles an expression.
    ///
    /// # Errors
    /// A syntax error, a name that nobody declared, an invalid constant pattern, or an expression that is too large;
    /// with its position in the source.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        compile::compile(self, source)
    }
}

/// A compiled expression: immutable, shared freely between threads.
#[derive(Clone)]
pub struct Program {
    source: Arc<str>,
    root: Arc<Node>,
    variables: usize,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.source).finish()
    }
}

/// Programs are equal when their sources are; compare only those of one environment.
impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// An expression that is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("ERROR: <input>:{line}:{column}: {message}{}", snippet(.source_line, *.column))]
pub struct CompileError {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    pub message: String,
    source_line: String,
}

/// The line and a mark below it, as cel-go prints them.
fn snippet(line: &str, column: usize) -> String {
    /// Longer lines help nobody in a condition's message.
    const LONGEST: usize = 200;
    if line.is_empty() || line.chars().count() > LONGEST {
        return String::new();
    }
    format!("\n | {line}\n | {:.>column$}", "^")
}

impl CompileError {
    /// At a byte of the source.
    fn at(source: &str, offset: usize, message: impl Into<String>) -> Self {
        let before = source.get(..offset).unwrap_or(source);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
            source_line: source[line_start..]
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned(),
        }
    }

    fn at_line(source: &str, line: usize, column: usize, message: impl Into<String>) -> Self {
        let line = line.max(1);
        Self {
            line,
            column: column.max(1),
            message: message.into(),
            source_line: source.lines().nth(line - 1).unwrap_or_default().to_owned(),
        }
    }
}

/// An evaluation without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// The meter ran out; in cel-go's words.
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    /// The expression has no value here, like a key that is missing.
    #[error("{0}")]
    Failed(String),
    /// The value is of another type than the caller needs.
    #[error("expected {expected}, got {got}")]
    Type { expected: &'static str, got: String },
}

/// Answers the methods and functions that the environment declared.
pub trait Host {
    /// The value of `receiver.method(arguments…)`; `arguments[0]` is the receiver of a method. Charge `meter` for the work.
    ///
    /// # Errors
    /// When there is no value, with the reason.
    fn call(
        &self,
        method: &str,
        arguments: &[Value],
        meter: &mut Meter,
    ) -> Result<Value, EvaluationError>;
}

/// Values of the variables, in the order in which the environment declared them.
#[derive(Clone, Copy)]
pub struct Bindings<'a> {
    pub variables: &'a [Value],
    /// Needed when the environment declares methods.
    pub host: Option<&'a dyn Host>,
}

impl fmt::Debug for Bindings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bindings")
            .field("variables", &self.variables.len())
            .finish_non_exhaustive()
    }
}

impl<'a> Bindings<'a> {
    /// Variables only.
    #[must_use]
    pub fn of(variables: &'a [Value]) -> Self {
        Self {
            variables,
            host: None,
        }
    }
}

impl Program {
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Evaluates with the work bounded by what is left in `meter`.
    ///
    /// # Errors
    /// The bound was reached, or the expression has no value.
    ///
    /// # Panics
    /// With fewer variables than the environment declared.
    pub fn evaluate(
        &self,
        bindings: Bindings<'_>,
        meter: &mut Meter,
    ) -> Result<Value, EvaluationError> {
        assert!(
            bindings.variables.len() >= self.variables,
            "every variable of the environment is bound"
        );
        Evaluator::new(bindings, meter).evaluate(&self.root)
    }

    /// Evaluates a condition.
    ///
    /// # Errors
    /// As [`Program::evaluate`], and for a value that is no boolean.
    pub fn holds(
        &self,
        bindings: Bindings<'_>,
        meter: &mut Meter,
    ) -> Result<bool, EvaluationError> {
        match self.evaluate(bindings, meter)? {
            Value::Bool(value) => Ok(value),
            other => Err(mismatch("bool", &other)),
        }
    }

    /// Evaluates an expression for a text, such as a message.
    ///
    /// # Errors
    /// As [`Program::evaluate`], and for a value that is no string.
    pub fn text(
        &self,
        bindings: Bindings<'_>,
        meter: &mut Meter,
    ) -> Result<Arc<String>, EvaluationError> {
        match self.evaluate(bindings, meter)? {
            Value::String(value) => Ok(value),
            other => Err(mismatch("string", &other)),
        }
    }
}

fn mismatch(expected: &'static str, got: &Value) -> EvaluationError {
    EvaluationError::Type {
        expected,
        got: got.type_of().to_string(),
    }
}

#[cfg(test)]
mod tests;
