//! One fault in an object: the field, the kind of fault and the words, as `field.Error` of apimachinery has them.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::short::{LONGEST, short};

/// So many causes of one refusal are enough to work on; an object of a million faults must not become an answer of a million lines.
pub(crate) const MOST_CAUSES: usize = 100;
/// Most bytes of a cause's words; a rule's message may have as many.
const LONGEST_DETAIL: usize = 5 * 1024;

/// Whether there are more causes than a refusal names: whoever looks for faults stops here.
#[must_use]
pub fn are_enough(causes: &[Cause]) -> bool {
    causes.len() > MOST_CAUSES
}

/// One fault found in an object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cause {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<CauseReason>,
    pub message: String,
    /// The path of the field, as `spec.taints[0].effect`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// `metav1.CauseType`, as far as validation uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CauseReason {
    FieldValueNotFound,
    FieldValueRequired,
    FieldValueDuplicate,
    FieldValueInvalid,
    FieldValueNotSupported,
    FieldValueForbidden,
    FieldValueTooLong,
    FieldValueTooMany,
    FieldValueTypeInvalid,
    FieldManagerConflict,
    /// Of a revision that the server has not reached; about no field.
    ResourceVersionTooLarge,
}

impl CauseReason {
    /// The words that begin the message.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::FieldValueNotFound => "Not found",
            Self::FieldValueRequired => "Required value",
            Self::FieldValueDuplicate => "Duplicate value",
            Self::FieldValueInvalid | Self::FieldValueTypeInvalid => "Invalid value",
            Self::FieldValueNotSupported => "Unsupported value",
            Self::FieldValueForbidden => "Forbidden",
            Self::FieldValueTooLong => "Too long",
            Self::FieldValueTooMany => "Too many",
            Self::FieldManagerConflict => "Conflict",
            Self::ResourceVersionTooLarge => "Too large resource version",
        }
    }
}

impl Cause {
    /// A field that must be there and is not; the detail may be empty.
    #[must_use]
    pub fn required(field: impl fmt::Display, detail: &str) -> Self {
        Self::worded(CauseReason::FieldValueRequired, field, "", detail)
    }

    /// A value that breaks a rule, which the detail states.
    #[must_use]
    pub fn invalid(field: impl fmt::Display, value: impl Into<Value>, detail: &str) -> Self {
        Self::worded(
            CauseReason::FieldValueInvalid,
            field,
            &quoted(&value.into()),
            detail,
        )
    }

    /// A value of the wrong type; `found` is the type that was found.
    #[must_use]
    pub fn type_invalid(field: impl fmt::Display, found: &str, detail: &str) -> Self {
        Self::worded(
            CauseReason::FieldValueTypeInvalid,
            field,
            &format!("{found:?}"),
            detail,
        )
    }

    /// A value that a rule of its schema refuses; `kind` is its type, which stands for the value.
    #[must_use]
    pub fn by_rule(reason: CauseReason, field: &str, kind: &str, detail: &str) -> Self {
        let shown = match reason {
            CauseReason::FieldValueForbidden | CauseReason::FieldValueRequired => String::new(),
            _ => format!("{kind:?}"),
        };
        Self::worded(reason, field, &shown, detail)
    }

    /// A value that is not among the supported ones.
    #[must_use]
    pub fn not_supported<'a>(
        field: impl fmt::Display,
        value: impl Into<Value>,
        supported: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let list: Vec<String> = supported
            .into_iter()
            .map(|value| format!("{value:?}"))
            .collect();
        let detail = if list.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", list.join(", "))
        };
        Self::worded(
            CauseReason::FieldValueNotSupported,
            field,
            &quoted(&value.into()),
            &detail,
        )
    }

    /// A value that occurs twice where it may occur once.
    #[must_use]
    pub fn duplicate(field: impl fmt::Display, value: impl Into<Value>) -> Self {
        Self::worded(
            CauseReason::FieldValueDuplicate,
            field,
            &quoted(&value.into()),
            "",
        )
    }

    /// Something that may not be set or changed.
    #[must_use]
    pub fn forbidden(field: impl fmt::Display, detail: &str) -> Self {
        Self::worded(CauseReason::FieldValueForbidden, field, "", detail)
    }

    /// A reference to something that does not exist.
    #[must_use]
    pub fn not_found(field: impl fmt::Display, value: impl Into<Value>) -> Self {
        Self::worded(
            CauseReason::FieldValueNotFound,
            field,
            &quoted(&value.into()),
            "",
        )
    }

    /// A text longer than `max` bytes.
    #[must_use]
    pub fn too_long(field: impl fmt::Display, max: usize) -> Self {
        let detail = format!("may not be more than {max} bytes");
        Self::worded(CauseReason::FieldValueTooLong, field, "", &detail)
    }

    /// A list or map of more than `max` items.
    #[must_use]
    pub fn too_many(field: impl fmt::Display, actual: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} items");
        Self::worded(
            CauseReason::FieldValueTooMany,
            field,
            &actual.to_string(),
            &detail,
        )
    }

    /// A cause that belongs to no field.
    #[must_use]
    pub fn bare(message: impl Into<String>) -> Self {
        Self {
            reason: None,
            message: message.into(),
            field: String::new(),
        }
    }

    fn worded(reason: CauseReason, field: impl fmt::Display, value: &str, detail: &str) -> Self {
        let mut message = reason.text().to_owned();
        for part in [value, detail] {
            if !part.is_empty() {
                message.push_str(": ");
                message.push_str(&short(part, LONGEST_DETAIL));
            }
        }
        Self {
            reason: Some(reason),
            message,
            field: short(field, LONGEST),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.field, self.message)
        }
    }
}

/// The value as the message shows it. Long values are cut: the client has the value, and a `Status` must stay small.
fn quoted(value: &Value) -> String {
    match value {
        Value::Null => "\"null\"".to_owned(),
        Value::String(text) => short(format_args!("{text:?}"), LONGEST),
        other => short(other, LONGEST),
    }
}
