//! All roles and bindings, found by whom they are about. Pure: it is told of changes and asked for rules.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    ops::ControlFlow,
    sync::Arc,
};

use serde::Deserialize;

use super::{RBAC, Rule};
use crate::auth::User;

/// Which kind an object of RBAC is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    ClusterRoles,
    Roles,
    ClusterBindings,
    Bindings,
}

impl Part {
    pub(super) const ALL: [(Self, &'static str); 4] = [
        (Self::ClusterRoles, "clusterroles.rbac.authorization.k8s.io"),
        (Self::Roles, "roles.rbac.authorization.k8s.io"),
        (
            Self::ClusterBindings,
            "clusterrolebindings.rbac.authorization.k8s.io",
        ),
        (Self::Bindings, "rolebindings.rbac.authorization.k8s.io"),
    ];
}

/// The role that a binding grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleRef {
    /// The group of the role, always RBAC's.
    pub api_group: String,
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// The role's name.
    pub name: String,
}

/// Whom a binding is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RoleBody {
    rules: Option<Vec<Rule>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Binding {
    role_ref: RoleRef,
    subjects: Option<Vec<Subject>>,
}

/// The bindings of one namespace, or those without one.
#[derive(Debug, Default)]
struct Scope {
    bindings: BTreeMap<String, Arc<Binding>>,
    /// Binding names by user name; service accounts are users here.
    users: HashMap<String, BTreeSet<String>>,
    groups: HashMap<String, BTreeSet<String>>,
}

/// All roles and bindings.
#[derive(Debug, Default)]
pub struct Index {
    cluster_roles: BTreeMap<String, Arc<[Rule]>>,
    roles: HashMap<String, BTreeMap<String, Arc<[Rule]>>>,
    cluster: Scope,
    namespaces: HashMap<String, Scope>,
}

/// Where a rule came from, in the words of kube-apiserver.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant<'a> {
    namespace: &'a str,
    name: &'a str,
    binding: &'a Binding,
    user: &'a User,
}

impl fmt::Display for Grant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RoleRef { kind, name, .. } = &self.binding.role_ref;
        if self.namespace.is_empty() {
            write!(f, "RBAC: allowed by ClusterRoleBinding {:?}", self.name)?;
        } else {
            let binding = format!("{}/{}", self.name, self.namespace);
            write!(f, "RBAC: allowed by RoleBinding {binding:?}")?;
        }
        write!(f, " of {kind} {name:?}")?;
        let subjects = self.binding.subjects.iter().flatten();
        let about = |subject: &&Subject| match subject.kind.as_str() {
            "Group" => self.user.in_group(&subject.name),
            _ => user_of(subject, self.namespace).as_deref() == Some(self.user.name.as_str()),
        };
        match subjects.into_iter().find(about) {
            Some(subject) if subject.kind == "ServiceAccount" => {
                let account = format!("{}/{}", subject.name, subject.namespace);
                write!(f, " to ServiceAccount {account:?}")
            }
            Some(subject) => write!(f, " to {} {:?}", subject.kind, subject.name),
            None => Ok(()),
        }
    }
}

impl Index {
    /// Takes over the state of one object; `None` when it is gone. A body that does not parse grants nothing.
    pub(super) fn observe(&mut self, part: Part, namespace: &str, name: &str, body: Option<&[u8]>) {
        match part {
            Part::ClusterRoles => put(&mut self.cluster_roles, name, body.map(rules)),
            Part::Roles => {
                let roles = self.roles.entry(namespace.to_owned()).or_default();
                put(roles, name, body.map(rules));
                if roles.is_empty() {
                    self.roles.remove(namespace);
                }
            }
            Part::ClusterBindings => self.cluster.put("", name, body.map(binding)),
            Part::Bindings => {
                let scope = self.namespaces.entry(namespace.to_owned()).or_default();
                scope.put(namespace, name, body.map(binding));
                if scope.bindings.is_empty() {
                    self.namespaces.remove(namespace);
                }
            }
        }
    }

    /// The rules of the role that a binding in `namespace` refers to; `None` when there is no such role.
    pub fn role(&self, role: &RoleRef, namespace: &str) -> Option<&Arc<[Rule]>> {
        match role.kind.as_str() {
            "ClusterRole" => self.cluster_roles.get(&role.name),
            "Role" => self.roles.get(namespace)?.get(&role.name),
            _ => None,
        }
    }

    /// Shows every rule that holds for `user` in `namespace` (none: cluster-wide only), until told to stop; returns what
    /// could not be found on the way.
    pub(super) fn visit<'a>(
        &'a self,
        user: &'a User,
        namespace: &'a str,
        mut see: impl FnMut(Grant<'a>, &'a Rule) -> ControlFlow<()>,
    ) -> Vec<String> {
        let mut faults = Vec::new();
        let scopes = [
            ("", Some(&self.cluster)),
            (namespace, self.namespaces.get(namespace)),
        ];
        for (namespace, scope) in scopes {
            let Some(scope) = scope else { continue };
            for (name, binding) in scope.about(user) {
                let role = &binding.role_ref;
                let Some(rules) = self.role(role, namespace) else {
                    faults.push(no_such_role(&role.kind.to_lowercase(), &role.name));
                    continue;
                };
                let grant = Grant {
                    namespace,
                    name,
                    binding,
                    user,
                };
                for rule in rules.iter() {
                    if see(grant, rule).is_break() {
                        return faults;
                    }
                }
            }
        }
        faults
    }
}

/// The refusal for a role that does not exist.
pub(crate) fn no_such_role(resource: &str, name: &str) -> String {
    format!("{resource}.{RBAC} {name:?} not found")
}

impl Scope {
    fn put(&mut self, namespace: &str, name: &str, binding: Option<Binding>) {
        if let Some(old) = self.bindings.remove(name) {
            for (group, key) in old.keys(namespace) {
                let map = if group {
                    &mut self.groups
                } else {
                    &mut self.users
                };
                if let Some(names) = map.get_mut(&key) {
                    names.remove(name);
                    if names.is_empty() {
                        map.remove(&key);
                    }
                }
            }
        }
        let Some(binding) = binding else { return };
        for (group, key) in binding.keys(namespace) {
            let map = if group {
                &mut self.groups
            } else {
                &mut self.users
            };
            map.entry(key).or_default().insert(name.to_owned());
        }
        self.bindings.insert(name.to_owned(), Arc::new(binding));
    }

    /// The bindings about a user, in order of their names.
    fn about<'a>(&'a self, user: &User) -> impl Iterator<Item = (&'a str, &'a Binding)> {
        let groups = user
            .groups
            .iter()
            .filter_map(|group| self.groups.get(group));
        let sets: Vec<&'a BTreeSet<String>> = self
            .users
            .get(&user.name)
            .into_iter()
            .chain(groups)
            .collect();
        let mut names: Vec<&'a String> = sets.iter().copied().flatten().collect();
        // One set is in order and has nothing twice; mostly there is one or none.
        if sets.len() > 1 {
            names.sort_unstable();
            names.dedup();
        }
        names
            .into_iter()
            .filter_map(|name| Some((name.as_str(), &**self.bindings.get(name)?)))
    }
}

impl Binding {
    /// The users (false) and groups (true) that it is about.
    fn keys(&self, namespace: &str) -> Vec<(bool, String)> {
        let subjects = self.subjects.iter().flatten();
        subjects
            .filter_map(|subject| match subject.kind.as_str() {
                "Group" => Some((true, subject.name.clone())),
                _ => Some((false, user_of(subject, namespace)?)),
            })
            .collect()
    }
}

/// The user name that a subject stands for. A service account without a namespace is the binding's own.
fn user_of(subject: &Subject, namespace: &str) -> Option<String> {
    match subject.kind.as_str() {
        "User" => Some(subject.name.clone()),
        "ServiceAccount" => {
            let namespace = if subject.namespace.is_empty() {
                namespace
            } else {
                &subject.namespace
            };
            (!namespace.is_empty())
                .then(|| crate::auth::service_account::user_name(namespace, &subject.name))
        }
        _ => None,
    }
}

fn put(roles: &mut BTreeMap<String, Arc<[Rule]>>, name: &str, rules: Option<Arc<[Rule]>>) {
    match rules {
        Some(rules) => roles.insert(name.to_owned(), rules),
        None => roles.remove(name),
    };
}

fn rules(body: &[u8]) -> Arc<[Rule]> {
    let body: RoleBody = serde_json::from_slice(body).unwrap_or_default();
    body.rules.unwrap_or_default().into()
}

fn binding(body: &[u8]) -> Binding {
    serde_json::from_slice(body).unwrap_or_default()
}
