//! Conditions, references and other small types that several kinds share.

use std::collections::BTreeMap;

use k8s_openapi::{
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{Condition, Time},
    },
    jiff::Timestamp,
};
use serde::{Deserialize, Deserializer};

/// The value of a condition's `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
    Unknown,
}

impl Truth {
    /// Returns the word used on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Truth::True => "True",
            Truth::False => "False",
            Truth::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Truth {
    fn from(value: bool) -> Self {
        if value { Truth::True } else { Truth::False }
    }
}

/// Finds a condition by its type.
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|c| c.type_ == kind)
}

/// Says whether the condition of that type is there and `True`.
pub fn is_true(conditions: &[Condition], kind: &str) -> bool {
    condition(conditions, kind).is_some_and(|c| c.status == Truth::True.as_str())
}

/// Most characters of a condition's message; the API takes no more.
pub const MAX_CONDITION_MESSAGE: usize = 32_768;

/// Shortens a text to at most that many characters, the last of which then is `…`.
#[must_use]
pub fn clip(text: String, most: usize) -> String {
    if text.len() <= most || text.chars().count() <= most {
        return text;
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Builds a condition whose transition is `now`; a message that is too long is shortened.
pub fn new_condition(
    kind: &str,
    status: Truth,
    reason: &str,
    message: impl Into<String>,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: kind.to_owned(),
        status: status.as_str().to_owned(),
        reason: reason.to_owned(),
        message: clip(message.into(), MAX_CONDITION_MESSAGE),
        last_transition_time: Time(now),
        observed_generation: None,
    }
}

/// Puts a condition into the list and says whether the list changed.
///
/// `lastTransitionTime` moves only when `status` does, as in OCM's and Kubernetes' own helper.
pub fn set_condition(conditions: &mut Vec<Condition>, mut new: Condition) -> bool {
    match conditions.iter_mut().find(|c| c.type_ == new.type_) {
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            let changed = *old != new;
            *old = new;
            changed
        }
        None => {
            conditions.push(new);
            true
        }
    }
}

/// Takes the condition of that type out of the list and says whether it was there.
pub fn remove_condition(conditions: &mut Vec<Condition>, kind: &str) -> bool {
    let before = conditions.len();
    conditions.retain(|c| c.type_ != kind);
    conditions.len() != before
}

/// Reads amounts, which may be numbers as well as texts: `cpu: 4` is what `cpu: "4"` is.
pub(crate) fn quantities<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<BTreeMap<String, Quantity>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Amount {
        Text(String),
        Whole(i64),
        Part(f64),
    }
    let text = |amount| match amount {
        Amount::Text(text) => text,
        Amount::Whole(number) => number.to_string(),
        Amount::Part(number) => number.to_string(),
    };
    let amounts = BTreeMap::<String, Amount>::deserialize(from)?;
    let each = |(name, amount)| (name, Quantity(text(amount)));
    Ok(amounts.into_iter().map(each).collect())
}

pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}

pub(crate) fn is_zero<T: PartialEq + Default>(value: &T) -> bool {
    *value == T::default()
}
