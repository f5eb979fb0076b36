//! Structural schemas: what an object may hold, what it holds by default, and what is wrong with it.
//!
//! A request's object is walked twice, in place: [`Schema::normalize`] prunes and defaults before the strategy sees it,
//! [`Schema::validate`] judges the result. Neither copies a value that it does not change.
//!
//! The subset is that of
//! [structural schemas](https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema).
//! CEL rules (`x-kubernetes-validations`) are compiled with the schema and judged last, on objects that are well-formed.

mod embedded;
mod format;
mod limits;
mod node;
mod normalize;
mod number;
mod rule;
mod unique;
mod validate;

#[cfg(test)]
mod tests;

pub use limits::{MAX_DEPTH, check_depth};

use serde_json::Value;

use node::Node;

use crate::{Cause, Object, apply::Type};

/// A structural schema, ready for use.
#[derive(Clone, Debug)]
pub struct Schema {
    document: Value,
    root: Node,
    ownership: Type,
}

/// Why a schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no version is served")]
    NoServedVersion,
    #[error("the schema is not JSON")]
    NotJson(#[source] serde_json::Error),
    #[error("the schema at {path:?} is not an object")]
    NotObject { path: String },
    #[error("the schema at {path:?} has the unknown type {found}")]
    UnknownType { path: String, found: String },
    #[error("the pattern at {path:?} does not compile")]
    Pattern {
        path: String,
        #[source]
        source: Box<regex::Error>,
    },
    #[error("the rule at {path:?} does not compile")]
    Rule {
        path: String,
        #[source]
        source: crate::cel::CompileError,
    },
}

impl Schema {
    /// Reads an OpenAPI v3 schema.
    ///
    /// # Errors
    /// When it is not structural.
    pub fn parse(document: Value) -> Result<Self, Error> {
        let mut root = Node::parse(&document, "")?;
        root.make_root();
        let ownership = Type::of_object(&document);
        Ok(Self {
            document,
            root,
            ownership,
        })
    }

    /// The schema as it was given, for OpenAPI.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// How the fields of an object are owned, for server-side apply.
    #[must_use]
    pub fn ownership(&self) -> &Type {
        &self.ownership
    }

    /// Drops what the schema does not know and fills in the defaults; returns the paths of the dropped fields, as
    /// `spec.foo`, a hundred at most. Doing it twice changes nothing more.
    pub fn normalize(&self, object: &mut Object) -> Vec<String> {
        normalize::object(&self.root, object)
    }

    /// The same for the status alone, of an object whose other fields are normalised already.
    pub fn normalize_status(&self, object: &mut Object) -> Vec<String> {
        normalize::field(&self.root, object, "status")
    }

    /// What is wrong with the status of an object whose other fields are valid and were not written.
    ///
    /// A rule at the root may speak of both, so that an object with such rules is judged whole.
    #[must_use]
    pub fn validate_status(&self, object: &Object, old: &Object) -> Vec<Cause> {
        if !self.root.validations.is_empty() {
            return self.validate(object, Some(old));
        }
        let causes = validate::field(&self.root, object, "status");
        self.ruled(causes, || {
            rule::field(&self.root, object, Some(old), "status")
        })
    }

    /// Adds what the rules find, if what was found before lets them be judged.
    fn ruled(&self, mut causes: Vec<Cause>, rules: impl FnOnce() -> Vec<Cause>) -> Vec<Cause> {
        if self.root.ruled {
            if rule::are_blocked(&causes) {
                causes.push(rule::not_checked());
            } else {
                causes.extend(rules());
            }
        }
        causes
    }

    /// Lists what is wrong with a normalised object; metadata is not looked at. `old` is what it replaces, for rules on
    /// changes.
    #[must_use]
    pub fn validate(&self, object: &Object, old: Option<&Object>) -> Vec<Cause> {
        let causes = validate::object(&self.root, object, old);
        self.ruled(causes, || rule::object(&self.root, object, old))
    }
}
