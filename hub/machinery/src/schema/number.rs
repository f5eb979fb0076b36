//! Numbers: bounds, and the integers among the floats.

use std::fmt;

use serde_json::{Map, Number, Value};

/// A minimum or maximum.
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) limit: Number,
    pub(super) exclusive: bool,
}

impl Bound {
    /// Reads a bound as OpenAPI v3 (`exclusive` a flag) or JSON Schema (`exclusive` a number) write it.
    pub(super) fn parse(
        fields: &Map<String, Value>,
        inclusive: &str,
        exclusive: &str,
    ) -> Option<Self> {
        if let Some(Value::Number(limit)) = fields.get(exclusive) {
            return Some(Self {
                limit: limit.clone(),
                exclusive: true,
            });
        }
        let Some(Value::Number(limit)) = fields.get(inclusive) else {
            return None;
        };
        let exclusive = fields
            .get(exclusive)
            .and_then(Value::as_bool)
            .unwrap_or_default();
        Some(Self {
            limit: limit.clone(),
            exclusive,
        })
    }

    pub(super) fn allows_below(&self, value: &Number) -> bool {
        match compare(value, &self.limit) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Equal => !self.exclusive,
            std::cmp::Ordering::Greater => false,
        }
    }

    pub(super) fn allows_above(&self, value: &Number) -> bool {
        match compare(value, &self.limit) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Equal => !self.exclusive,
            std::cmp::Ordering::Less => false,
        }
    }
}

/// As Go writes it: a definition that says `1.0` means `1`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match integral(&self.limit) {
            Some(whole) => write!(f, "{whole}"),
            None => write!(f, "{}", self.limit),
        }
    }
}

fn compare(left: &Number, right: &Number) -> std::cmp::Ordering {
    match (left.as_i128(), right.as_i128()) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left
            .as_f64()
            .unwrap_or_default()
            .total_cmp(&right.as_f64().unwrap_or_default()),
    }
}

/// The integer that a float stands for, if it is one: JSON does not tell `1.0` from `1`, Rust types do.
pub(super) fn integral(number: &Number) -> Option<i64> {
    // Above 2^53 a float no longer says which integer is meant.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !number.is_f64() {
        return None;
    }
    let float = number.as_f64()?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the float is integral and within 2^53"
    )]
    (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i64)
}
