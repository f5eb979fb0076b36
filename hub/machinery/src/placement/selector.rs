//! Label selectors in their compiled form; claims are matched with the same semantics.

use std::{collections::BTreeMap, fmt};

use crate::validation;

/// A conjunction of requirements. The empty selector matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

/// One condition on one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    pub values: Vec<String>,
}

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// A selector that cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("{0:?} is not a valid label selector operator")]
    Operator(String),
    #[error("for 'in', 'notin' operators, values set can't be empty")]
    ValuesMissing,
    #[error("values set must be empty for exists and does not exist")]
    ValuesForbidden,
    #[error("key: Invalid value: {key:?}: {why}")]
    Key { key: String, why: String },
    #[error("values[{place}][{key}]: Invalid value: {value:?}: {why}")]
    Value {
        place: usize,
        key: String,
        value: String,
        why: String,
    },
}

impl Requirement {
    /// Builds a requirement as `metav1.LabelSelectorAsSelector` does.
    ///
    /// # Errors
    /// An operator that does not exist, or values where the operator allows none or needs some.
    pub fn parse(key: &str, operator: &str, values: &[String]) -> Result<Self, Invalid> {
        let operator = match operator {
            "In" => Operator::In,
            "NotIn" => Operator::NotIn,
            "Exists" => Operator::Exists,
            "DoesNotExist" => Operator::DoesNotExist,
            other => return Err(Invalid::Operator(other.to_owned())),
        };
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => Err(Invalid::ValuesMissing),
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                Err(Invalid::ValuesForbidden)
            }
            _ => Ok(Self {
                key: key.to_owned(),
                operator,
                values: values.to_vec(),
            }),
        }
    }

    /// Refuses what can be no label: it would match nothing, or with `NotIn` and `DoesNotExist` everything.
    ///
    /// # Errors
    /// The first key or value that no object can have, in the words of Kubernetes.
    pub fn of_labels(self) -> Result<Self, Invalid> {
        if let Some(why) = validation::qualified_name(&self.key).into_iter().next() {
            return Err(Invalid::Key { key: self.key, why });
        }
        for (place, value) in self.values.iter().enumerate() {
            if let Some(why) = validation::label_value(value).into_iter().next() {
                return Err(Invalid::Value {
                    place,
                    key: self.key,
                    value: value.clone(),
                    why,
                });
            }
        }
        Ok(self)
    }

    /// Refuses a claim that has no name. Names and values of claims are of any form.
    ///
    /// # Errors
    /// The name is empty.
    pub fn of_claims(self) -> Result<Self, Invalid> {
        if self.key.is_empty() {
            let why = "name part must be non-empty".to_owned();
            return Err(Invalid::Key { key: self.key, why });
        }
        Ok(self)
    }

    fn matches(&self, set: &BTreeMap<String, String>) -> bool {
        let value = set.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match self.operator {
            Operator::In => "in",
            Operator::NotIn => "notin",
            Operator::Exists => return f.write_str(&self.key),
            Operator::DoesNotExist => return write!(f, "!{}", self.key),
        };
        write!(f, "{} {operator} (", self.key)?;
        for (place, value) in self.values.iter().enumerate() {
            let separator = if place == 0 { "" } else { "," };
            write!(f, "{separator}{value}")?;
        }
        f.write_str(")")
    }
}

impl Selector {
    #[must_use]
    pub fn new(requirements: Vec<Requirement>) -> Self {
        Self { requirements }
    }

    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The first requirement that `set` does not meet.
    #[must_use]
    pub fn unmet(&self, set: &BTreeMap<String, String>) -> Option<&Requirement> {
        self.requirements
            .iter()
            .find(|requirement| !requirement.matches(set))
    }

    #[must_use]
    pub fn matches(&self, set: &BTreeMap<String, String>) -> bool {
        self.unmet(set).is_none()
    }
}
