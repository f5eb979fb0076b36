//! Resource quantities: `500m`, `1.5Gi`, `2e3`, compared and added exactly.
//!
//! The grammar and the canonical form are those of
//! [apimachinery's `resource.Quantity`](https://github.com/kubernetes/apimachinery/blob/master/pkg/api/resource/quantity.go).

mod format;
mod parse;

#[cfg(test)]
mod tests;

use std::{cmp::Ordering, ops::Add, str::FromStr};

/// An amount in billionths, and the notation to write it in.
///
/// Billionths of the largest amount that Kubernetes keeps (2⁶³ − 1) fit into 128 bits with room to add a billion of them.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nano: i128,
    notation: Notation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    /// `k`, `M`, `G` … and `m`, `u`, `n`
    Decimal,
    /// `Ki`, `Mi`, `Gi` …
    Binary,
    /// `e3`, `E6` …
    Exponent,
}

/// The text is not a quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
)]
pub struct NotAQuantity;

const NANO: i128 = 1_000_000_000;
const LARGEST: i128 = i64::MAX as i128 * NANO;

impl Quantity {
    /// A whole amount.
    #[must_use]
    pub const fn whole(amount: i64) -> Self {
        Self {
            nano: amount as i128 * NANO,
            notation: Notation::Decimal,
        }
    }

    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.nano == 0
    }

    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.nano < 0
    }

    /// The amount in whole units, rounded up as Kubernetes does.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.scaled(NANO)
    }

    /// The amount in thousandths, rounded up.
    #[must_use]
    pub fn milli_value(&self) -> i64 {
        self.scaled(NANO / 1000)
    }

    /// The amount in thousandths, rounded down: no more than there is.
    #[must_use]
    pub fn milli_floor(&self) -> i64 {
        let whole = self.nano.div_euclid(NANO / 1000);
        i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
    }

    /// The amount as a float, for scores and graphs.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the caller asks for a float")]
    pub fn as_f64(&self) -> f64 {
        self.nano as f64 / NANO as f64
    }

    fn scaled(&self, unit: i128) -> i64 {
        let whole = self.nano.div_euclid(unit) + i128::from(self.nano.rem_euclid(unit) != 0);
        i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
    }
}

impl FromStr for Quantity {
    type Err = NotAQuantity;

    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        parse::quantity(text).ok_or(NotAQuantity)
    }
}

/// `1Gi` and `1024Mi` are equal: notation is no part of the amount.
impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

/// Adds, keeping the notation of the first that is not zero; beyond the largest amount it stays there.
impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let notation = if self.is_zero() {
            other.notation
        } else {
            self.notation
        };
        Self {
            nano: (self.nano + other.nano).clamp(-LARGEST, LARGEST),
            notation,
        }
    }
}
