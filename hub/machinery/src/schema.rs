//! Structural schemas: what an object may hold, what it holds by default, and what is wrong with it.
//!
//! A request's object is walked twice, in place: [`Schema::normalize`] prunes and defaults before the strategy sees it,
//! [`Schema::validate`] judges the result. Neither copies a value that it does not change.
//!
//! The subset is that of
//! [structural schemas](https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema).
//! CEL rules (`x-kubernetes-validations`) are compiled with the schema and judged last, on objects that are well-formed.

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

    /// Lists what is wrong with a normalised object; metadata is not looked at. `old` is what it replaces, for rules on
    /// changes.
    #[must_use]
    pub fn validate(&self, object: &Object, old: Option<&Object>) -> Vec<Cause> {
        let mut causes = validate::object(&self.root, object);
        if self.root.ruled {
            if rule::are_blocked(&causes) {
                causes.push(rule::not_checked());
            } else {
                causes.extend(rule::object(&self.root, object, old));
            }
        }
        causes
    }
}
