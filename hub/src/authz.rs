//! What a user may do.
//!
//! One function answers for every request ([`authorize`]); handlers never ask. Rules, in order:
//! anybody may ask for health and version; whoever has a certificate may ask who they are and what
//! the API looks like; `system:masters` may do everything; an agent may read its own cluster and the
//! works in its namespace (P6); everybody else nothing.

use std::fmt;

use crate::auth::{MASTERS, User};

/// What a request wants, in Kubernetes' terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for paths that
    /// are no resource the lower-case HTTP method.
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
}

impl Attributes {
    /// Whether a resource is asked for, not a path such as `/version`.
    pub fn is_resource(&self) -> bool {
        !self.resource.is_empty()
    }
}

/// Why a request may not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nobody presented a certificate.
    Unauthenticated,
    /// The user is known and may not.
    Forbidden(String),
}

/// Decides whether `user` may do what `asked` says.
///
/// # Errors
///
/// Says whether authentication is missing or the user lacks the right.
pub fn authorize(user: Option<&User>, asked: &Attributes) -> Result<(), Denied> {
    if is_public(asked) {
        return Ok(());
    }
    let Some(user) = user else {
        return Err(Denied::Unauthenticated);
    };
    if user.in_group(MASTERS) || is_basic(asked) || may_as_agent(user, asked) {
        return Ok(());
    }
    Err(Denied::Forbidden(Refusal { user, asked }.to_string()))
}

fn is_public(asked: &Attributes) -> bool {
    !asked.is_resource()
        && matches!(asked.verb.as_str(), "get" | "head")
        && matches!(
            asked.path.trim_end_matches('/'),
            "/livez" | "/readyz" | "/healthz" | "/version"
        )
}

/// What Kubernetes gives to everybody with a name: discovery and the two questions about oneself.
fn is_basic(asked: &Attributes) -> bool {
    if asked.is_resource() {
        return asked.verb == "create"
            && ((asked.group == "authentication.k8s.io"
                && asked.resource == "selfsubjectreviews")
                || (asked.group == "authorization.k8s.io"
                    && asked.resource == "selfsubjectaccessreviews"));
    }
    let path = asked.path.as_str();
    matches!(asked.verb.as_str(), "get" | "head")
        && (path == "/"
            || ["/api", "/apis", "/openapi", "/version"]
                .iter()
                .any(|root| {
                    path.strip_prefix(root)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                }))
}

fn may_as_agent(user: &User, asked: &Attributes) -> bool {
    let Some(cluster) = &user.cluster else {
        return false;
    };
    let cluster = cluster.as_str();
    if !matches!(asked.verb.as_str(), "get" | "list" | "watch") {
        return false;
    }
    match (asked.group.as_str(), asked.resource.as_str()) {
        ("cluster.open-cluster-management.io", "managedclusters") => asked.name == cluster,
        ("work.open-cluster-management.io", "manifestworks") => asked.namespace == cluster,
        _ => false,
    }
}

/// The reason in the words of Kubernetes.
struct Refusal<'a> {
    user: &'a User,
    asked: &'a Attributes,
}

impl fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attributes {
            verb,
            group,
            resource,
            subresource,
            namespace,
            path,
            ..
        } = self.asked;
        write!(f, "User {:?} cannot {verb} ", self.user.name)?;
        if !self.asked.is_resource() {
            return write!(f, "path {path:?}");
        }
        let slash = if subresource.is_empty() { "" } else { "/" };
        write!(
            f,
            "resource \"{resource}{slash}{subresource}\" in API group {group:?}"
        )?;
        if namespace.is_empty() {
            write!(f, " at the cluster scope")
        } else {
            write!(f, " in the namespace {namespace:?}")
        }
    }
}

#[cfg(test)]
mod tests;
