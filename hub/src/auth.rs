//! Request to user.
//!
//! The identity of a request is what its verified client certificate or token says. A certificate without a name that
//! this hub gives out names nobody, and who shows nothing is `system:anonymous`.

mod authenticator;
mod impersonate;
pub mod oidc;
pub mod service_account;
pub mod tokens;

use std::collections::BTreeMap;

use koinon_api::{
    labels::user::{AGENT_PREFIX, AGENTS as MANAGED_CLUSTERS},
    names::ClusterName,
};

pub use self::{
    authenticator::{Authenticator, Unauthenticated},
    impersonate::Impersonation,
    oidc::Oidc,
    tokens::Tokens,
};
pub use koinon_api::labels::user::MASTERS;
use uuid::Uuid;

use crate::{clock, tls::Certificate};

/// Group of everybody who presented a certificate of this hub.
pub const AUTHENTICATED: &str = "system:authenticated";

/// The hub itself.
const HUB: &str = "system:koinon-hub";

/// What the name of a controller begins with.
const CONTROLLER: &str = "system:koinon:controller:";

/// The group of the hub's controllers.
pub const CONTROLLERS: &str = "system:koinon:controllers";

/// Who shows no credential.
pub const ANONYMOUS: &str = "system:anonymous";

/// The group of whoever shows no credential.
pub const ANONYMOUS_GROUP: &str = "system:unauthenticated";

/// Who makes a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The user name, as it appears in messages and audit.
    pub name: String,
    /// What tells two users of one name apart, where the credential says so: a service account's uid.
    pub uid: String,
    /// Groups, sorted as the credential has them, derived ones last.
    pub groups: Vec<String>,
    /// Whatever else the credential says.
    pub extra: BTreeMap<String, Vec<String>>,
    /// The cluster whose agent this is.
    pub cluster: Option<Member>,
    /// What the credential rests on.
    pub rests_on: RestsOn,
}

/// What a credential rests on, beside the signature on it: asked again of whoever goes on with it for long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestsOn {
    /// When it ends, in seconds since the epoch; `None` where there is no credential.
    pub ends: Option<i64>,
    /// The Secret that a service token is bound to, by name and uid; it is in the account's namespace.
    pub secret: Option<(String, String)>,
}

/// The cluster that an agent's certificate was issued for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: ClusterName,
    /// The uid of its `ManagedCluster`: another cluster may have the name by now.
    pub uid: Uuid,
}

impl User {
    /// Derives the user from a verified certificate.
    ///
    /// An agent's group is derived from its certificate's URI, because a subject written by rcgen can hold one
    /// organisation only. A certificate in the agents' group that names no agent names nobody.
    pub fn from_certificate(certificate: &Certificate) -> Option<Self> {
        if certificate.common_name.is_empty() {
            return None;
        }
        let mut groups = certificate.organizations.clone();
        let mut cluster = None;
        if groups.iter().any(|group| group == MANAGED_CLUSTERS) {
            let agent = certificate.agent.as_ref()?;
            let name = ClusterName::parse(agent.subject.cluster.as_str()).ok()?;
            groups.push(format!("{AGENT_PREFIX}{name}"));
            cluster = Some(Member {
                name,
                uid: agent.uid,
            });
        }
        groups.push(AUTHENTICATED.to_owned());
        Some(Self {
            name: certificate.common_name.clone(),
            groups,
            cluster,
            rests_on: RestsOn {
                ends: Some(certificate.not_after),
                secret: None,
            },
            ..Self::default()
        })
    }

    /// Whether the credential has ended.
    pub fn is_over(&self) -> bool {
        let ends = self.rests_on.ends;
        ends.is_some_and(|ends| clock::until_unix(ends).is_zero())
    }

    /// The hub itself, for writes that no request asked for.
    pub fn hub() -> Self {
        Self {
            name: HUB.to_owned(),
            groups: vec![MASTERS.to_owned(), AUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }

    /// One of the hub's controllers.
    pub fn controller(name: &str) -> Self {
        let hub = Self::hub();
        Self {
            name: format!("{CONTROLLER}{name}"),
            groups: [hub.groups, vec![CONTROLLERS.to_owned()]].concat(),
            ..Self::default()
        }
    }

    /// Who shows the join token `name`, as the user of a bootstrap token is called in Kubernetes.
    pub fn bootstrap(name: &str) -> Self {
        let groups = [
            "system:bootstrappers",
            "system:bootstrappers:managedcluster",
            AUTHENTICATED,
        ];
        Self {
            name: format!("system:bootstrap:{name}"),
            groups: groups.map(str::to_owned).into(),
            ..Self::default()
        }
    }

    /// Whether this is the hub or one of its controllers.
    pub fn is_hub(&self) -> bool {
        (self.name == HUB || self.name.starts_with(CONTROLLER)) && self.in_group(MASTERS)
    }

    /// Whoever shows no credential.
    pub fn anonymous() -> Self {
        Self {
            name: ANONYMOUS.to_owned(),
            groups: vec![ANONYMOUS_GROUP.to_owned()],
            ..Self::default()
        }
    }

    /// Whether the user is in `group`.
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|held| held == group)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::pki::{Enrolled, approve::Subject};

    pub(crate) fn certificate(
        common_name: &str,
        organization: &str,
        agent: Option<(&str, &str)>,
    ) -> Certificate {
        Certificate {
            common_name: common_name.to_owned(),
            organizations: vec![organization.to_owned()],
            agent: agent.map(|(cluster, agent)| Enrolled {
                subject: Subject {
                    cluster: cluster.to_owned(),
                    agent: agent.to_owned(),
                },
                uid: Uuid::nil(),
            }),
            serial: Vec::new(),
            not_after: 0,
        }
    }

    /// The agent `a1` of a cluster.
    pub(crate) fn agent(cluster: &str) -> Certificate {
        certificate(
            &format!("system:open-cluster-management:{cluster}:a1"),
            MANAGED_CLUSTERS,
            Some((cluster, "a1")),
        )
    }

    #[test]
    fn an_admin_is_in_the_masters_group() {
        let user = User::from_certificate(&certificate("koinon-admin", MASTERS, None)).unwrap();
        assert!(user.in_group(MASTERS) && user.in_group(AUTHENTICATED));
        assert_eq!(user.cluster, None);
    }

    #[test]
    fn an_agent_gets_its_clusters_group() {
        let user = User::from_certificate(&agent("east")).unwrap();
        assert!(user.in_group("system:open-cluster-management:east"));
        assert_eq!(user.cluster.unwrap().name.as_str(), "east");
    }

    #[test]
    fn an_agents_name_without_the_agents_group_is_just_a_name() {
        let certificate = certificate(
            "system:open-cluster-management:east:a1",
            "staff",
            Some(("east", "a1")),
        );
        assert_eq!(User::from_certificate(&certificate).unwrap().cluster, None);
    }

    #[test]
    fn an_agents_group_without_an_agent_is_nobody() {
        for (name, agent) in [
            ("system:open-cluster-management:east:a1", None),
            ("x", Some(("EAST", "a"))),
            ("", None),
        ] {
            assert_eq!(
                User::from_certificate(&certificate(name, MANAGED_CLUSTERS, agent)),
                None,
                "{name}"
            );
        }
    }
}
