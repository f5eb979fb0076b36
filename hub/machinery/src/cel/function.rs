//! Functions: which there are, and how a call is carried out.

use std::sync::Arc;

use kube_cel::cel::objects::Value;

use super::{
    EvaluationError, Host, Meter,
    library::{self, Delegate},
    pattern::{self, Pattern, Search},
};

/// What a call calls.
#[derive(Debug)]
pub(super) enum Function {
    Size,
    Dyn,
    StartsWith,
    EndsWith,
    Contains,
    Search {
        search: Search,
        /// The pattern, when it is a literal.
        constant: Option<Pattern>,
    },
    /// A function of kube-cel.
    Library(Box<Delegate>),
    /// A method that the environment declared.
    Host(String),
}

impl Function {
    /// The functions that are carried out here: the commonest, and those that the library does not bound.
    pub(super) fn own(name: &str, arguments: usize) -> Option<Self> {
        let search = |search| Self::Search {
            search,
            constant: None,
        };
        Some(match (name, arguments) {
            ("size", 1) => Self::Size,
            ("dyn", 1) => Self::Dyn,
            ("startsWith", 2) => Self::StartsWith,
            ("endsWith", 2) => Self::EndsWith,
            ("contains", 2) => Self::Contains,
            ("matches", 2) => search(Search::Matches),
            ("find", 2) => search(Search::Find),
            ("findAll", 2 | 3) => search(Search::FindAll),
            _ => return None,
        })
    }

    pub(super) fn call(
        &self,
        arguments: &[Value],
        host: Option<&dyn Host>,
        meter: &mut Meter,
    ) -> Result<Value, EvaluationError> {
        meter.charge(1)?;
        match self {
            Self::Size => size(&arguments[0], meter),
            Self::Dyn => Ok(arguments[0].clone()),
            Self::StartsWith => text(arguments, meter, |text, part| text.starts_with(part)),
            Self::EndsWith => text(arguments, meter, |text, part| text.ends_with(part)),
            Self::Contains => text(arguments, meter, |text, part| text.contains(part)),
            Self::Search { search, constant } => {
                pattern::search(*search, constant.as_ref(), arguments, meter)
            }
            Self::Library(delegate) => library::call(delegate, arguments, meter),
            Self::Host(name) => match host {
                Some(host) => host.call(name, arguments, meter),
                None => Err(EvaluationError::Failed(format!(
                    "{name} is not available here"
                ))),
            },
        }
    }
}

/// Strings are counted in code points, which the library does not.
fn size(value: &Value, meter: &mut Meter) -> Result<Value, EvaluationError> {
    let size = match value {
        Value::String(text) => {
            meter.traverse(text.len() as u64)?;
            text.chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        Value::List(items) => items.len(),
        Value::Map(fields) => fields.map.len(),
        _ => return Err(no_overload()),
    };
    Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn text(
    arguments: &[Value],
    meter: &mut Meter,
    test: impl FnOnce(&str, &str) -> bool,
) -> Result<Value, EvaluationError> {
    let [Value::String(text), Value::String(part)] = arguments else {
        return Err(no_overload());
    };
    let (text, part): (&Arc<String>, &Arc<String>) = (text, part);
    meter.traverse(text.len() as u64 + part.len() as u64)?;
    Ok(Value::Bool(test(text, part)))
}

pub(super) fn no_overload() -> EvaluationError {
    EvaluationError::Failed("no such overload".to_owned())
}
