//! jq expressions that name places, such as `.spec.containers[] | select(.name == "a") | .image`.
//!
//! OCM evaluates any jq program. A program may run for ever and take any memory; what is needed here are paths: keys,
//! indices, `[]`, `?`, `..`, `|`, `,`, and `select` with comparisons, `and`, `or`, `not`, `has`, `startswith`, `endswith` and
//! `contains` of texts. Everything else is refused. What is missing is nothing, with or without `?`.

mod parse;

use std::cell::Cell;

use serde_json::Value;

/// Most values that an expression may find.
const MOST: usize = 10_000;
/// Most steps that it may take: descents within `select` within descents multiply, and the agent waits for each.
const MOST_STEPS: usize = 1_000_000;

/// The steps that are left.
struct Budget(Cell<usize>);

impl Budget {
    fn step(&self) -> Result<(), String> {
        let left = self.0.get().checked_sub(1);
        self.0.set(left.unwrap_or_default());
        left.map(drop)
            .ok_or_else(|| format!("it takes more than {MOST_STEPS} steps"))
    }
}

/// An expression that yields places.
#[derive(Debug, Clone, PartialEq)]
enum Path {
    Same,
    Key(String),
    Index(i64),
    Every,
    Descend,
    Select(Box<Test>),
    /// One after the other: `a | b` and `.a.b`.
    Pipe(Vec<Path>),
    /// `a, b`
    Both(Vec<Path>),
}

/// A condition within `select`.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    /// Some value that is neither null nor false.
    Holds(Path),
    Compare(Path, Comparison, Value),
    Text(Path, TextTest, String),
    Has(Path, String),
    Not(Box<Test>),
    All(Vec<Test>),
    Any(Vec<Test>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

/// Returns the values in `root` that an expression names.
///
/// # Errors
/// Says what of it is not understood, or that it finds or does too much.
pub(super) fn find<'a>(text: &str, root: &'a Value) -> Result<Vec<&'a Value>, String> {
    let path = parse::path(text)?;
    let mut found = Vec::new();
    path.walk(root, &mut found, &Budget(Cell::new(MOST_STEPS)))?;
    Ok(found)
}

impl Path {
    fn walk<'a>(
        &self,
        value: &'a Value,
        found: &mut Vec<&'a Value>,
        budget: &Budget,
    ) -> Result<(), String> {
        budget.step()?;
        match self {
            Self::Same => found.push(value),
            Self::Key(key) => found.extend(value.get(key)),
            Self::Index(index) => {
                let length = value.as_array().map_or(0, Vec::len);
                let at = if *index < 0 {
                    length.checked_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX))
                } else {
                    usize::try_from(*index).ok()
                };
                found.extend(at.and_then(|at| value.get(at)));
            }
            Self::Every => match value {
                Value::Array(items) => found.extend(items),
                Value::Object(fields) => found.extend(fields.values()),
                _ => {}
            },
            Self::Descend => {
                found.push(value);
                let below: Vec<&Value> = match value {
                    Value::Array(items) => items.iter().collect(),
                    Value::Object(fields) => fields.values().collect(),
                    _ => Vec::new(),
                };
                for value in below {
                    self.walk(value, found, budget)?;
                }
            }
            Self::Select(test) => {
                if test.holds(value, budget)? {
                    found.push(value);
                }
            }
            Self::Pipe(steps) => {
                let mut values = vec![value];
                for step in steps {
                    let mut next = Vec::new();
                    for value in values {
                        step.walk(value, &mut next, budget)?;
                    }
                    values = next;
                }
                found.extend(values);
            }
            Self::Both(paths) => {
                for path in paths {
                    path.walk(value, found, budget)?;
                }
            }
        }
        if found.len() > MOST {
            return Err(format!("it finds more than {MOST} values"));
        }
        Ok(())
    }

    fn values<'a>(&self, value: &'a Value, budget: &Budget) -> Result<Vec<&'a Value>, String> {
        let mut found = Vec::new();
        self.walk(value, &mut found, budget)?;
        Ok(found)
    }
}

impl Test {
    fn holds(&self, value: &Value, budget: &Budget) -> Result<bool, String> {
        // In jq a missing key is null.
        let first = |path: &Path| -> Result<Value, String> {
            Ok(path
                .values(value, budget)?
                .first()
                .map_or(Value::Null, |v| Value::clone(v)))
        };
        Ok(match self {
            Self::Holds(path) => !matches!(first(path)?, Value::Null | Value::Bool(false)),
            Self::Compare(path, comparison, right) => comparison.holds(&first(path)?, right),
            Self::Text(path, test, part) => first(path)?.as_str().is_some_and(|text| match test {
                TextTest::StartsWith => text.starts_with(part.as_str()),
                TextTest::EndsWith => text.ends_with(part.as_str()),
                TextTest::Contains => text.contains(part.as_str()),
            }),
            Self::Has(path, key) => first(path)?.get(key).is_some(),
            Self::Not(test) => !test.holds(value, budget)?,
            Self::All(tests) => {
                for test in tests {
                    if !test.holds(value, budget)? {
                        return Ok(false);
                    }
                }
                true
            }
            Self::Any(tests) => {
                for test in tests {
                    if test.holds(value, budget)? {
                        return Ok(true);
                    }
                }
                false
            }
        })
    }
}

impl Comparison {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = match (left, right) {
            (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (a, b) => (a == b).then_some(std::cmp::Ordering::Equal),
        };
        match self {
            Self::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
            Self::NotEqual => !order.is_some_and(std::cmp::Ordering::is_eq),
            Self::Less => order.is_some_and(std::cmp::Ordering::is_lt),
            Self::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
            Self::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
            Self::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn descents_within_descents_end() {
        let mut deep = json!(1);
        for _ in 0..120 {
            deep = json!({ "a": deep, "b": [1, 2] });
        }
        let nested = "..|select(..|select(..|select(..|select(..|select(..|select(.x==1))))))";
        let error = find(nested, &deep).unwrap_err();
        assert!(error.contains("steps"), "{error}");
        assert_eq!(find("..|select(.b)", &deep).unwrap().len(), 120);
    }
}
