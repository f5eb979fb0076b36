//! For every cluster set three cluster roles: who is bound to one views, edits or administers the set.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::{
    api::rbac::v1::{ClusterRole, PolicyRule},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use koinon_api::ManagedClusterSet;
use koinon_machinery::{ApiError, Reason};
use koinon_store::Event;
use kube::{Resource as _, core::ObjectMeta};

use super::{
    Context,
    aggregation::policy_rule,
    decode,
    keyed::{Again, Keyed},
    queue::Queue,
    resource,
};
use crate::authz;

/// Marks the roles of a set, for `kubectl get clusterroles -l`.
const LABEL: &str = "koinon.dev/cluster-set";
const PREFIX: &str = "koinon:clusterset:";

#[derive(Debug, Default)]
pub(super) struct SetRoles {
    /// The uid of each set that is not being deleted.
    sets: BTreeMap<String, String>,
    /// Each role that is there.
    roles: BTreeMap<String, Role>,
}

/// A role of a set, as it is.
#[derive(Debug)]
struct Role {
    rules: Vec<PolicyRule>,
    /// The uid of the set that owns it.
    owner: Option<String>,
    /// Whether it is to be kept to what it should be; its owner may have said otherwise.
    is_kept: bool,
}

impl Keyed for SetRoles {
    type Key = String;
    /// The set's name and uid, and the roles that it lacks.
    type Plan = (String, String, Vec<ClusterRole>);

    fn resources(&self) -> Vec<Arc<str>> {
        vec![resource::SETS.into(), resource::CLUSTER_ROLES.into()]
    }

    fn period(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<String>) {
        let name = event.latest().key.name.to_string();
        if &*event.latest().key.resource == resource::SETS {
            let after = event.after.as_deref();
            match after.filter(|stored| !decode::Meta::of(stored).deleting()) {
                Some(stored) => self.sets.insert(name.clone(), stored.uid.to_string()),
                None => self.sets.remove(&name),
            };
            queue.add(name);
            return;
        }
        let Some(set) = set_of(&name) else { return };
        queue.add(set.to_owned());
        let role = event
            .after
            .as_deref()
            .and_then(decode::typed::<ClusterRole>);
        match role {
            Some(role) => {
                let owner = role.metadata.owner_references.into_iter().flatten().next();
                let annotations = role.metadata.annotations.unwrap_or_default();
                let role = Role {
                    rules: role.rules.unwrap_or_default(),
                    owner: owner.map(|owner| owner.uid),
                    is_kept: authz::is_kept_up(annotations.get(authz::AUTO_UPDATE)),
                };
                self.roles.insert(name, role);
            }
            None => {
                self.roles.remove(&name);
            }
        }
    }

    fn mark_all(&self, queue: &mut Queue<String>) {
        self.sets.keys().for_each(|set| queue.add(set.clone()));
    }

    fn decide(&mut self, set: &String, _: Timestamp) -> Option<Self::Plan> {
        let uid = self.sets.get(set)?;
        let wanted = authz::defaults_of_set(set).map(|(word, rules)| {
            let rules: Vec<PolicyRule> = rules.into_iter().map(policy_rule).collect();
            (format!("{PREFIX}{set}:{word}"), rules)
        });
        let lacking: Vec<ClusterRole> = wanted
            .into_iter()
            .filter(|(name, rules)| match self.roles.get(name) {
                Some(role) if !role.is_kept => false,
                Some(role) => role.rules != *rules || role.owner.as_ref() != Some(uid),
                None => true,
            })
            .map(|(name, rules)| role(name, rules, set, uid))
            .collect();
        (!lacking.is_empty()).then(|| (set.clone(), uid.clone(), lacking))
    }

    fn carry_out<'a>(
        (_, uid, roles): Self::Plan,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            for role in roles {
                match context.client.create(&role).await {
                    Err(error) if error.reason == Reason::AlreadyExists => {}
                    made => {
                        made?;
                        continue;
                    }
                }
                let name = role.metadata.name.clone().unwrap_or_default();
                let change = |have: &mut ClusterRole| {
                    let owners = have.metadata.owner_references.iter().flatten();
                    let changes = have.rules != role.rules
                        || !owners.into_iter().any(|owner| owner.uid == uid);
                    have.rules.clone_from(&role.rules);
                    have.metadata
                        .owner_references
                        .clone_from(&role.metadata.owner_references);
                    changes
                };
                context
                    .client
                    .modify::<ClusterRole>("", &name, change)
                    .await?;
            }
            Ok(Again::OnChange)
        })
    }
}

/// The set that a role's name names.
fn set_of(role: &str) -> Option<&str> {
    Some(role.strip_prefix(PREFIX)?.rsplit_once(':')?.0)
}

fn role(name: String, rules: Vec<PolicyRule>, set: &str, uid: &str) -> ClusterRole {
    // The set owns its roles: the garbage collector takes them with it.
    let owner = OwnerReference {
        api_version: ManagedClusterSet::api_version(&()).into_owned(),
        kind: ManagedClusterSet::kind(&()).into_owned(),
        name: set.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    };
    ClusterRole {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some([(LABEL.to_owned(), set.to_owned())].into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        rules: Some(rules),
        ..ClusterRole::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::fixtures::{gone, put, stored},
        *,
    };

    #[test]
    fn a_set_gets_its_roles_and_a_changed_one_is_put_right() {
        let (mut roles, mut queue) = (SetRoles::default(), Queue::default());
        let now = Timestamp::UNIX_EPOCH;
        let set = stored(resource::SETS, "", "eu", json!({}), json!({}), Value::Null);
        roles.observe(&put(set.clone()), &mut queue);
        let (_, uid, lacking) = roles.decide(&"eu".to_owned(), now).unwrap();
        assert_eq!(uid, set.uid.to_string());
        let names: Vec<_> = lacking
            .iter()
            .filter_map(|role| role.metadata.name.as_deref())
            .collect();
        assert_eq!(
            names,
            [
                "koinon:clusterset:eu:view",
                "koinon:clusterset:eu:edit",
                "koinon:clusterset:eu:admin"
            ]
        );
        for role in &lacking {
            let owners = json!(role.metadata.owner_references);
            let name = role.metadata.name.as_deref().unwrap();
            let metadata = json!({ "ownerReferences": owners });
            let body = json!({ "rules": role.rules });
            let role = stored(
                resource::CLUSTER_ROLES,
                "",
                name,
                metadata,
                body,
                Value::Null,
            );
            roles.observe(&put(role), &mut queue);
        }
        assert_eq!(roles.decide(&"eu".to_owned(), now), None);
        let edited = stored(
            resource::CLUSTER_ROLES,
            "",
            names[0],
            json!({ "ownerReferences": lacking[0].metadata.owner_references }),
            json!({ "rules": [] }),
            Value::Null,
        );
        roles.observe(&put(edited), &mut queue);
        assert_eq!(roles.decide(&"eu".to_owned(), now).unwrap().2.len(), 1);
        let let_be = stored(
            resource::CLUSTER_ROLES,
            "",
            names[0],
            json!({ "annotations": { authz::AUTO_UPDATE: "false" } }),
            json!({ "rules": [] }),
            Value::Null,
        );
        roles.observe(&put(let_be), &mut queue);
        assert_eq!(roles.decide(&"eu".to_owned(), now), None);
        roles.observe(&gone(set), &mut queue);
        assert_eq!(roles.decide(&"eu".to_owned(), now), None);
    }
}
