//! What work costs, and who stops it.

use kube_cel::cel::objects::{Key, Value};

use super::EvaluationError;

pub(super) const LIST: u64 = 10;
pub(super) const MAP: u64 = 30;

/// Counts the cost of evaluations up to a limit. One meter may serve several expressions that share a budget.
#[derive(Clone, Debug)]
pub struct Meter {
    limit: u64,
    spent: u64,
}

impl Meter {
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { limit, spent: 0 }
    }

    /// What was spent so far; never more than the limit.
    #[must_use]
    pub const fn spent(&self) -> u64 {
        self.spent
    }

    #[must_use]
    pub const fn left(&self) -> u64 {
        self.limit - self.spent
    }

    /// Pays for work *before* it is done.
    ///
    /// # Errors
    /// Not that much is left; everything is spent then.
    pub fn charge(&mut self, cost: u64) -> Result<(), EvaluationError> {
        match self.spent.checked_add(cost) {
            Some(spent) if spent <= self.limit => {
                self.spent = spent;
                Ok(())
            }
            _ => {
                self.spent = self.limit;
                Err(EvaluationError::CostLimit)
            }
        }
    }

    /// Pays for looking at that many characters or elements: a tenth each.
    ///
    /// # Errors
    /// As [`Meter::charge`].
    pub fn traverse(&mut self, size: u64) -> Result<(), EvaluationError> {
        self.charge(size.div_ceil(10))
    }

    /// Pays for looking at all of a value, and says how large it is.
    pub(super) fn traverse_all(&mut self, value: &Value) -> Result<u64, EvaluationError> {
        let size = self.size(value)?;
        self.traverse(size)?;
        Ok(size)
    }

    /// The size of a value: characters, elements and keys, counted as often as they are referred to.
    ///
    /// # Errors
    /// The value is so large that looking at it would cost more than what is left.
    pub(super) fn size(&self, value: &Value) -> Result<u64, EvaluationError> {
        let most = self.left().saturating_mul(10).saturating_add(10);
        let mut size = 0;
        if add(value, &mut size, most) {
            Ok(size)
        } else {
            Err(EvaluationError::CostLimit)
        }
    }
}

/// Adds the size of `value`; gives up past `most`.
fn add(value: &Value, size: &mut u64, most: u64) -> bool {
    *size = size.saturating_add(match value {
        Value::String(text) => 1 + text.len() as u64,
        Value::Bytes(bytes) => 1 + bytes.len() as u64,
        _ => 1,
    });
    if *size > most {
        return false;
    }
    match value {
        Value::List(items) => items.iter().all(|item| add(item, size, most)),
        Value::Map(fields) => fields.map.iter().all(|(key, field)| {
            if let Key::String(text) = key {
                *size = size.saturating_add(text.len() as u64);
            }
            add(field, size, most)
        }),
        _ => true,
    }
}
