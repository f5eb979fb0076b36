//! What a user may do.
//!
//! ```text
//!   User + Attributes ─► agent? ─► the fixed rules of its cluster, nothing else (P6)
//!                        masters? ─► everything
//!                        else ─► RBAC objects (Index, pure) ─► rights on a cluster set's clusters
//! ```
//!
//! One function answers for every request ([`Authorizer::authorize`]); handlers never ask. Rules are Kubernetes'
//! RBAC objects, judged as kube-apiserver judges them. An agent's certificate is never judged by them: no binding, not
//! even one to everybody, opens more to a cluster than what is its own.

mod agent;
mod aggregate;
mod authorizer;
mod cover;
mod defaults;
mod index;
mod rule;
mod sets;
mod shown;

use std::fmt;

pub(crate) use self::{
    aggregate::{Aggregated, aggregate},
    defaults::{AUTO_UPDATE, is_kept_up, of_set as defaults_of_set, rules as rules_of},
    index::no_such_role,
};
pub use self::{
    authorizer::Authorizer,
    cover::{Missing, missing},
    defaults::{all as defaults, brought_up},
    index::{Index, RoleRef},
    rule::Rule,
    sets::{ACCEPT as SET_ACCEPT, CLUSTERS as SET_CLUSTERS, WORKS as SET_WORKS},
};
use crate::auth::User;

/// Group of the RBAC kinds.
pub const RBAC: &str = "rbac.authorization.k8s.io";

/// What a request wants, in Kubernetes' terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or a verb that only an
    /// authoriser knows, as `bind`; for paths that are no resource the lower-case HTTP method.
    pub verb: String,
    /// The API group; empty for core.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The plural of the resource; empty for paths that are no resource.
    pub resource: String,
    /// The subresource, or empty.
    pub subresource: String,
    /// The namespace, or empty.
    pub namespace: String,
    /// The name, or empty.
    pub name: String,
    /// The whole path.
    pub path: String,
    /// The label selector of a list or watch as it was sent, or empty.
    pub labels: String,
}

impl Attributes {
    /// Asks for `verb` on a resource of a group; `resource` may carry a subresource behind a slash.
    pub fn of(verb: &str, group: &str, resource: &str) -> Self {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        Self {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: subresource.to_owned(),
            ..Self::default()
        }
    }

    /// The same for one name.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The same in a namespace.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// Whether a resource is asked for, not a path such as `/version`.
    pub fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }

    /// `resource/subresource`, as rules name it.
    pub fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// An answer, with what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes; which binding says so, if that was asked for. Empty for `system:masters`.
    Allowed(String),
    /// No; what kept a rule from being found, mostly empty.
    Denied(String),
}

impl Decision {
    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// A refusal in the words of kube-apiserver, without the object that it begins with.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// Who was refused.
    pub user: &'a User,
    /// What for.
    pub asked: &'a Attributes,
    /// The reason that the decision came with.
    pub reason: &'a str,
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attributes {
            verb,
            group,
            namespace,
            path,
            ..
        } = self.asked;
        write!(f, "User {:?} cannot {verb} ", self.user.name)?;
        if self.asked.is_resource() {
            let resource = self.asked.full_resource();
            write!(f, "resource \"{resource}\" in API group {group:?}")?;
            if namespace.is_empty() {
                write!(f, " at the cluster scope")?;
            } else {
                write!(f, " in the namespace {namespace:?}")?;
            }
        } else {
            write!(f, "path {path:?}")?;
        }
        if self.reason.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.reason)
        }
    }
}

#[cfg(test)]
mod tests;
