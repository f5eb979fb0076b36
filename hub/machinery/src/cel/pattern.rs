//! Regular expressions: linear in the text by construction, bounded in their own size.

use std::sync::Arc;

use kube_cel::cel::objects::Value;
use regex::{Regex, RegexBuilder};

use super::{EvaluationError, Meter};

/// Bytes of a compiled pattern. Kubernetes bounds patterns by their cost only; the bound keeps a short pattern such
/// as `(a{1000}){1000}` from taking megabytes and a second to compile.
const MAX_COMPILED: usize = 256 * 1024;
/// The sizes that are tried, each four times the one before.
const SIZES: [usize; 4] = [
    MAX_COMPILED / 64,
    MAX_COMPILED / 16,
    MAX_COMPILED / 4,
    MAX_COMPILED,
];
/// Bytes of a compiled pattern for one unit per ten characters of text: a state takes about as much, and the slowest
/// of the crate's engines looks at every state for every character.
const STATE: u64 = 64;
/// What compiling costs beyond the length of the pattern: some hundred microseconds for ordinary ones.
const COMPILE: u64 = 2_000;
/// What a match that is found costs: a string and its place in a list.
const FOUND: u64 = 2;

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    regex: Regex,
    /// What ten characters of text cost.
    factor: u64,
    /// What compiling it cost beyond [`COMPILE`].
    size: u64,
}

/// Compiles a pattern; the syntax is that of the `regex` crate, which is RE2's for all practical purposes.
///
/// The crate does not tell how large a pattern has become, and its length says little: `[ab]*a[ab]{1000}` has more than
/// a thousand states. So the smallest limit that it keeps to is found by trying.
pub(super) fn compile(pattern: &str) -> Result<Pattern, String> {
    for size in SIZES {
        let built = RegexBuilder::new(pattern)
            .size_limit(size)
            .dfa_size_limit(MAX_COMPILED)
            .build();
        match built {
            Ok(regex) => {
                let (length, size) = (pattern.len() as u64, size as u64);
                // Kubernetes counts a quarter of the pattern's length. What fits the first size is small enough for that.
                let states = if size > SIZES[0] as u64 {
                    size / STATE
                } else {
                    1
                };
                let factor = length.div_ceil(4).max(states);
                return Ok(Pattern {
                    regex,
                    factor,
                    size: size / STATE,
                });
            }
            Err(regex::Error::CompiledTooBig(_)) => {}
            Err(other) => {
                return Err(format!(
                    "invalid regular expression: {}",
                    one_line(&other.to_string())
                ));
            }
        }
    }
    Err("the regular expression is too large".to_owned())
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
    constant: Option<&Pattern>,
    arguments: &[Value],
    meter: &mut Meter,
) -> Result<Value, EvaluationError> {
    let [Value::String(text), Value::String(pattern), limit @ ..] = arguments else {
        return Err(EvaluationError::Failed("no such overload".to_owned()));
    };
    let compiled;
    let pattern = match constant {
        Some(pattern) => pattern,
        None => {
            meter.charge(COMPILE.saturating_add(pattern.len() as u64))?;
            compiled = compile(pattern).map_err(EvaluationError::Failed)?;
            meter.charge(compiled.size)?;
            &compiled
        }
    };
    // Kubernetes: a tenth per character of the text, times what the pattern is worth.
    let once = (text.len() as u64 + 1)
        .div_ceil(10)
        .saturating_mul(pattern.factor);
    meter.charge(once)?;
    let regex = &pattern.regex;
    Ok(match search {
        Search::Matches => Value::Bool(regex.is_match(text)),
        Search::Find => found(regex.find(text).map_or("", |found| found.as_str())),
        Search::FindAll => {
            let most = match limit {
                [Value::Int(most)] => usize::try_from(*most).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            let mut all = Vec::new();
            for one in regex.find_iter(text).take(most) {
                // An empty pattern matches everywhere.
                meter.charge(FOUND)?;
                all.push(found(one.as_str()));
            }
            Value::List(Arc::new(all))
        }
    })
}

fn found(text: &str) -> Value {
    Value::String(Arc::new(text.to_owned()))
}
