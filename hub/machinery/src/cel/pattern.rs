//! Regular expressions: linear in the text by construction, bounded in their own size.

use std::sync::Arc;

use kube_cel::cel::objects::Value;
use regex::{Regex, RegexBuilder};

use super::{EvaluationError, Meter};

/// Bytes of a compiled pattern. Kubernetes bounds patterns by their cost only; the bound keeps a short pattern such
/// as `(a{1000}){1000}` from taking megabytes and a second to compile.
const MAX_COMPILED: usize = 256 * 1024;
/// What compiling costs beyond the length of the pattern: some hundred microseconds for ordinary ones.
const COMPILE: u64 = 2_000;

/// Compiles a pattern; the syntax is that of the `regex` crate, which is RE2's for all practical purposes.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern)
        .size_limit(MAX_COMPILED)
        .dfa_size_limit(MAX_COMPILED)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
            other => format!(
                "invalid regular expression: {}",
                one_line(&other.to_string())
            ),
        })
}

/// The `regex` crate draws a picture; its last line says what is wrong.
fn one_line(error: &str) -> &str {
    error
        .lines()
        .last()
        .unwrap_or(error)
        .trim_start_matches("error: ")
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Search {
    Matches,
    Find,
    FindAll,
}

/// Runs a search; `constant` is the pattern if it was known, and so compiled, before.
pub(super) fn search(
    search: Search,
    constant: Option<&Regex>,
    arguments: &[Value],
    meter: &mut Meter,
) -> Result<Value, EvaluationError> {
    let [Value::String(text), Value::String(pattern), limit @ ..] = arguments else {
        return Err(EvaluationError::Failed("no such overload".to_owned()));
    };
    // Kubernetes: a tenth per character of the text, times a quarter of the pattern's length.
    let factor = (pattern.len() as u64).div_ceil(4);
    meter.charge((text.len() as u64 + 1).div_ceil(10).saturating_mul(factor))?;
    let compiled;
    let regex = match constant {
        Some(regex) => regex,
        None => {
            meter.charge(COMPILE.saturating_add(pattern.len() as u64))?;
            compiled = compile(pattern).map_err(EvaluationError::Failed)?;
            &compiled
        }
    };
    Ok(match search {
        Search::Matches => Value::Bool(regex.is_match(text)),
        Search::Find => found(regex.find(text).map_or("", |found| found.as_str())),
        Search::FindAll => {
            let most = match limit {
                [Value::Int(most)] => usize::try_from(*most).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let all = regex.find_iter(text).take(most);
            Value::List(Arc::new(all.map(|one| found(one.as_str())).collect()))
        }
    })
}

fn found(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}
