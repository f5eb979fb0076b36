//! The names under which service accounts are users, as in Kubernetes.

/// Before the namespace and name of every service account.
pub const PREFIX: &str = "system:serviceaccount:";
/// The group of all service accounts, and with a colon and a namespace, of those in it.
pub const GROUP: &str = "system:serviceaccounts";

/// The user name of an account.
pub fn user_name(namespace: &str, name: &str) -> String {
    format!("{PREFIX}{namespace}:{name}")
}

/// Namespace and name of the account that a user name stands for.
pub fn split(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// The groups of an account.
pub fn groups(namespace: &str) -> [String; 2] {
    [GROUP.to_owned(), format!("{GROUP}:{namespace}")]
}
