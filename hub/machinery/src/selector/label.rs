//! Label selectors: requirements that must all hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::parse;
use crate::{ApiError, Result};

/// Requirements on labels; all must hold, so none at all selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// One value for the comparisons, any number for the sets, none for existence.
    pub values: BTreeSet<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    /// The selector that selects everything.
    #[must_use]
    pub const fn everything() -> Self {
        Self {
            requirements: Vec::new(),
        }
    }

    #[must_use]
    pub const fn new(requirements: Vec<Requirement>) -> Self {
        Self { requirements }
    }

    /// Reads a selector as it stands in a URL: `a=b,c in (x,y),!d,e notin (z)`.
    ///
    /// # Errors
    /// `BadRequest` in the API server's words.
    pub fn parse(text: &str) -> Result<Self> {
        parse::label_selector(text)
            .map(Self::new)
            .map_err(ApiError::bad_request)
    }

    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// Matches against labels that are looked up, wherever they are kept.
    pub fn matches_with<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.holds(label(&requirement.key)))
    }
}

impl Requirement {
    /// Whether it holds for a label's value, `None` when the label is absent.
    #[must_use]
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = || value.is_some_and(|value| self.values.contains(value));
        match self.operator {
            Operator::Equals | Operator::In => listed(),
            Operator::NotEquals | Operator::NotIn => !listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compare(value, |value, limit| value > limit),
            Operator::LessThan => self.compare(value, |value, limit| value < limit),
        }
    }

    fn compare(&self, value: Option<&str>, holds: fn(i64, i64) -> bool) -> bool {
        let number = |text: &str| text.parse::<i64>().ok();
        let limit = self.values.first().and_then(|limit| number(limit));
        match (value.and_then(number), limit) {
            (Some(value), Some(limit)) => holds(value, limit),
            _ => false,
        }
    }
}

impl Operator {
    /// The operator in a selector string.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equals => "=",
            Self::NotEquals => "!=",
            Self::In => "in",
            Self::NotIn => "notin",
            Self::Exists => "exists",
            Self::DoesNotExist => "!",
            Self::GreaterThan => "gt",
            Self::LessThan => "lt",
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            operator,
            values,
        } = self;
        let one = values.first().map_or("", String::as_str);
        match operator {
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={one}"),
            Operator::NotEquals => write!(f, "{key}!={one}"),
            Operator::GreaterThan => write!(f, "{key}>{one}"),
            Operator::LessThan => write!(f, "{key}<{one}"),
            Operator::In | Operator::NotIn => {
                // A lone empty value would print as the empty list, which means something else.
                let list = if values.len() == 1 && one.is_empty() {
                    ",".to_owned()
                } else {
                    values
                        .iter()
                        .map(String::as_str)
                        .collect::<Vec<_>>()
                        .join(",")
                };
                write!(f, "{key} {} ({list})", operator.as_str())
            }
        }
    }
}
