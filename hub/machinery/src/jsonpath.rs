//! JSONPath in kubectl's dialect, as printer columns and status feedback use it.
//!
//! ```text
//!   .spec.replicas   {.status.x}   .a\.b   ['a.b']   [0]   [-1]   [1:3]   [*]   .*   ..type   [?(@.type=="Ready")].status
//! ```
//!
//! A missing key finds nothing; it is not an error. Templates (`{range}`, text around braces) are refused: a path
//! names values, it does not print.

mod parse;

#[cfg(test)]
mod tests;

use std::{cell::Cell, cmp::Ordering, fmt};

use serde_json::{Map, Value};

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath {
    steps: Vec<Step>,
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSONPath {path:?}: {fault}")]
pub struct Error {
    path: String,
    fault: String,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Key(String),
    /// Negative from the end.
    Index(i64),
    Slice {
        start: Option<i64>,
        end: Option<i64>,
        step: usize,
    },
    Every,
    /// The value itself and everything below, for `..`.
    Descend,
    Filter(Filter),
    /// `['a','b']` and `[0,2]`.
    Union(Vec<Step>),
}

#[derive(Clone, Debug, PartialEq)]
struct Filter {
    left: Operand,
    /// `None` asks for existence.
    comparison: Option<(Comparison, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    /// Relative to the item: `@.a.b`.
    Path(Vec<Step>),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// A document of n values can have n² descendants of descendants; nobody needs more than this many.
const MOST_RESULTS: usize = 100_000;

/// Filters within descents within filters multiply: an evaluation that has looked at this many values finds no more.
const MOST_STEPS: usize = 1_000_000;

/// The steps that an evaluation has left.
struct Budget(Cell<usize>);

impl Budget {
    fn whole() -> Self {
        Self(Cell::new(MOST_STEPS))
    }

    /// Takes a step; says whether there was one left.
    fn step(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

impl JsonPath {
    /// Reads a path, with or without braces and a leading `$`.
    ///
    /// # Errors
    /// When it is no path.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse::path(text)
            .map(|steps| Self { steps })
            .map_err(|fault| Error {
                path: text.to_owned(),
                fault,
            })
    }

    /// All values that the path names, in document order; fewer if finding them takes more work than any path should.
    #[must_use]
    pub fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        walk(&self.steps, root, &Budget::whole())
    }

    /// The first value below an object's fields; the object itself, for a path without steps, is not a value there.
    #[must_use]
    pub fn find_in<'a>(&self, fields: &'a Map<String, Value>) -> Option<&'a Value> {
        first_in(&self.steps, fields, &Budget::whole())
    }
}

/// Like [`walk`] from an object that is not wrapped in a `Value`, up to the first value found.
fn first_in<'a>(
    steps: &[Step],
    fields: &'a Map<String, Value>,
    budget: &Budget,
) -> Option<&'a Value> {
    let (step, rest) = steps.split_first()?;
    let first = |value: &'a Value, steps: &[Step]| walk(steps, value, budget).first().copied();
    match step {
        Step::Key(key) => first(fields.get(key)?, rest),
        Step::Every => fields.values().find_map(|value| first(value, rest)),
        Step::Filter(filter) => fields
            .values()
            .filter(|value| filter.holds(value, budget))
            .find_map(|value| first(value, rest)),
        Step::Descend => first_in(rest, fields, budget)
            .or_else(|| fields.values().find_map(|value| first(value, steps))),
        Step::Union(keys) => keys.iter().find_map(|key| match key {
            Step::Key(key) => first(fields.get(key)?, rest),
            _ => None,
        }),
        Step::Index(_) | Step::Slice { .. } => None,
    }
}

fn walk<'a>(steps: &[Step], root: &'a Value, budget: &Budget) -> Vec<&'a Value> {
    let mut found = vec![root];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            if !budget.step() {
                return Vec::new();
            }
            take(step, value, &mut next, budget);
            if next.len() >= MOST_RESULTS {
                next.truncate(MOST_RESULTS);
                break;
            }
        }
        found = next;
    }
    found
}

fn take<'a>(step: &Step, value: &'a Value, found: &mut Vec<&'a Value>, budget: &Budget) {
    match (step, value) {
        (Step::Key(key), Value::Object(fields)) => found.extend(fields.get(key)),
        (Step::Index(index), Value::Array(list)) => {
            found.extend(position(*index, list.len()).and_then(|at| list.get(at)));
        }
        (Step::Slice { start, end, step }, Value::Array(list)) => {
            let bound = |bound: Option<i64>, otherwise| {
                bound.map_or(otherwise, |index| clamp(index, list.len()))
            };
            let (start, end) = (bound(*start, 0), bound(*end, list.len()));
            if start < end {
                found.extend(list[start..end].iter().step_by(*step));
            }
        }
        (Step::Every, Value::Array(list)) => found.extend(list),
        (Step::Every, Value::Object(fields)) => found.extend(fields.values()),
        (Step::Descend, value) => descend(value, found, budget),
        (Step::Filter(filter), Value::Array(list)) => {
            found.extend(list.iter().filter(|item| filter.holds(item, budget)))
        }
        (Step::Filter(filter), Value::Object(fields)) => {
            found.extend(fields.values().filter(|item| filter.holds(item, budget)));
        }
        (Step::Union(steps), value) => {
            for step in steps {
                take(step, value, found, budget);
            }
        }
        _ => {}
    }
}

fn descend<'a>(value: &'a Value, found: &mut Vec<&'a Value>, budget: &Budget) {
    if found.len() >= MOST_RESULTS || !budget.step() {
        return;
    }
    found.push(value);
    match value {
        Value::Array(list) => list.iter().for_each(|item| descend(item, found, budget)),
        Value::Object(fields) => fields
            .values()
            .for_each(|item| descend(item, found, budget)),
        _ => {}
    }
}

fn position(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 {
        index.checked_add(length)?
    } else {
        index
    })
    .ok()
}

fn clamp(index: i64, length: usize) -> usize {
    if index < 0 {
        position(index, length).unwrap_or(0)
    } else {
        usize::try_from(index).unwrap_or(length).min(length)
    }
}

impl Filter {
    fn holds(&self, item: &Value, budget: &Budget) -> bool {
        let left = self.left.values(item, budget);
        let Some((comparison, right)) = &self.comparison else {
            return !left.is_empty();
        };
        let right = right.values(item, budget);
        // As in kubectl: a side that finds nothing compares to nothing, not even as "not equal".
        match (left.first(), right.first()) {
            (Some(left), Some(right)) => comparison.holds(left, right),
            _ => false,
        }
    }
}

impl Operand {
    fn values<'a>(&'a self, item: &'a Value, budget: &Budget) -> Vec<&'a Value> {
        match self {
            Self::Path(steps) => walk(steps, item, budget),
            Self::Literal(value) => vec![value],
        }
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = match (left, right) {
            (Value::Number(left), Value::Number(right)) => left
                .as_f64()
                .zip(right.as_f64())
                .and_then(|(left, right)| left.partial_cmp(&right)),
            (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
            (left, right) => (left == right).then_some(Ordering::Equal),
        };
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

/// A value as kubectl prints it: texts bare, everything else as JSON.
#[derive(Clone, Copy, Debug)]
pub struct Printed<'a>(pub &'a Value);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::String(text) => f.write_str(text),
            other => write!(f, "{other}"),
        }
    }
}
