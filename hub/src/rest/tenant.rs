//! Whose share a request comes out of.

use std::sync::Arc;

use crate::auth::{MASTERS, User, service_account};

/// Whom fairness counts as one.
///
/// It is who authenticated, whoever they act as, for names to impersonate can be made up; all service accounts of a
/// namespace, for whoever has the namespace makes as many as he likes; and all agents of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tenant {
    /// Unique, for names that begin with `system:` are the hub's to give.
    pub(super) key: Arc<str>,
    /// `system:masters` is exempt from limits, as in Kubernetes, so that an admin gets in to end a storm.
    pub(super) exempt: bool,
}

impl Tenant {
    /// The tenant of an authenticated user.
    pub(super) fn of(user: &User) -> Self {
        let key = match (&user.cluster, service_account::split(&user.name)) {
            (Some(cluster), _) => format!("system:open-cluster-management:{}", cluster.name).into(),
            (None, Some((namespace, _))) => format!("system:serviceaccounts:{namespace}").into(),
            (None, None) => user.name.as_str().into(),
        };
        Self {
            key,
            exempt: user.in_group(MASTERS) && user.cluster.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use koinon_api::names::ClusterName;

    use super::*;
    use crate::auth::Member;

    fn key(name: &str, cluster: Option<&str>) -> Arc<str> {
        let cluster = cluster.map(|name| Member {
            name: ClusterName::parse(name).unwrap(),
            uid: uuid::Uuid::nil(),
        });
        let user = User {
            name: name.to_owned(),
            cluster,
            ..User::default()
        };
        Tenant::of(&user).key
    }

    #[test]
    fn names_that_are_free_to_make_up_are_one_tenant() {
        let account = |name: &str| format!("system:serviceaccount:shop:{name}");
        assert_eq!(key(&account("a"), None), key(&account("b"), None));
        assert_ne!(
            key(&account("a"), None),
            key("system:serviceaccount:other:a", None)
        );
        assert_eq!(key("agent-1", Some("east")), key("agent-2", Some("east")));
        assert_ne!(key("agent-1", Some("east")), key("agent-1", Some("west")));
        assert_ne!(key("ann", None), key("eve", None));
    }
}
