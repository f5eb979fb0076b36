//! Cluster roles that are made of others: their rules are kept to what their selectors select.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::{
    api::rbac::v1::{ClusterRole, PolicyRule},
    apimachinery::pkg::apis::meta::v1 as meta,
};
use koinon_machinery::{ApiError, LabelSelector};
use koinon_store::Event;

use super::{
    Context, decode,
    keyed::{Again, Keyed, gone_is_fine},
    queue::Queue,
    resource,
};
use crate::authz::{Aggregated, Rule, aggregate};

#[derive(Debug, Default)]
pub(super) struct Aggregation {
    roles: BTreeMap<String, Role>,
    /// Those that are made of others.
    made: BTreeSet<String>,
}

#[derive(Debug)]
struct Role {
    part: Aggregated,
    /// `None` for an ordinary role, and for one whose selectors cannot be read: it stays as it is.
    selectors: Option<Vec<LabelSelector>>,
}

impl Keyed for Aggregation {
    type Key = String;
    /// The role, and what its rules shall be.
    type Plan = (String, Vec<Rule>);

    fn resources(&self) -> Vec<Arc<str>> {
        vec![resource::CLUSTER_ROLES.into()]
    }

    fn period(&self) -> Duration {
        Duration::from_secs(300)
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn observe(&mut self, event: &Event, queue: &mut Queue<String>) {
        let name = event.latest().key.name.to_string();
        let role = event
            .after
            .as_deref()
            .and_then(decode::typed::<ClusterRole>);
        match role {
            Some(role) => {
                let role = read(role);
                if role.selectors.is_some() {
                    self.made.insert(name.clone());
                } else {
                    self.made.remove(&name);
                }
                self.roles.insert(name, role);
            }
            None => {
                self.roles.remove(&name);
                self.made.remove(&name);
            }
        }
        // Any role may be a part of any aggregated one; there are few of those.
        self.mark_all(queue);
    }

    fn mark_all(&self, queue: &mut Queue<String>) {
        self.made.iter().for_each(|name| queue.add(name.clone()));
    }

    fn decide(&mut self, key: &String, _: Timestamp) -> Option<Self::Plan> {
        let role = self.roles.get(key)?;
        let selectors = role.selectors.as_deref()?;
        let parts = self.roles.values().map(|role| &role.part);
        let rules = aggregate(key, selectors, parts);
        (rules != role.part.rules).then(|| (key.clone(), rules))
    }

    fn carry_out<'a>(
        (name, rules): Self::Plan,
        context: &'a Context,
    ) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            let rules: Vec<PolicyRule> = rules.into_iter().map(policy_rule).collect();
            let change = |role: &mut ClusterRole| {
                let changes = role.aggregation_rule.is_some()
                    && role.rules.as_deref().unwrap_or_default() != rules;
                if changes {
                    role.rules = Some(rules.clone());
                }
                changes
            };
            gone_is_fine(
                context
                    .client
                    .modify::<ClusterRole>("", &name, change)
                    .await,
            )?;
            Ok(Again::OnChange)
        })
    }
}

fn read(role: ClusterRole) -> Role {
    let rules = role.rules.unwrap_or_default();
    Role {
        part: Aggregated {
            name: role.metadata.name.unwrap_or_default(),
            labels: role.metadata.labels.unwrap_or_default(),
            rules: rules.into_iter().map(rule).collect(),
        },
        selectors: role
            .aggregation_rule
            .and_then(|rule| selectors(rule.cluster_role_selectors.as_deref().unwrap_or_default())),
    }
}

fn selectors(list: &[meta::LabelSelector]) -> Option<Vec<LabelSelector>> {
    list.iter()
        .map(|selector| LabelSelector::try_from(selector).ok())
        .collect()
}

pub(super) fn rule(rule: PolicyRule) -> Rule {
    let PolicyRule {
        api_groups,
        non_resource_urls,
        resource_names,
        resources,
        verbs,
    } = rule;
    Rule {
        api_groups: api_groups.unwrap_or_default(),
        non_resource_urls: non_resource_urls.unwrap_or_default(),
        resource_names: resource_names.unwrap_or_default(),
        resources: resources.unwrap_or_default(),
        verbs,
    }
}

pub(super) fn policy_rule(rule: Rule) -> PolicyRule {
    let some = |list: Vec<String>| (!list.is_empty()).then_some(list);
    PolicyRule {
        api_groups: some(rule.api_groups),
        non_resource_urls: some(rule.non_resource_urls),
        resource_names: some(rule.resource_names),
        resources: some(rule.resources),
        verbs: rule.verbs,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::fixtures::{gone, put, stored},
        *,
    };

    fn role(name: &str, labels: Value, body: Value) -> Arc<koinon_store::Stored> {
        let metadata = json!({ "labels": labels });
        stored(
            resource::CLUSTER_ROLES,
            "",
            name,
            metadata,
            body,
            Value::Null,
        )
    }

    fn reads(resource: &str) -> Value {
        json!({ "rules": [{ "apiGroups": [""], "resources": [resource], "verbs": ["get"] }] })
    }

    fn resources(plan: Option<(String, Vec<Rule>)>) -> Option<Vec<String>> {
        plan.map(|(_, rules)| rules.into_iter().flat_map(|rule| rule.resources).collect())
    }

    #[test]
    fn a_role_is_made_of_what_its_selectors_select_and_follows_it() {
        let (mut roles, mut queue) = (Aggregation::default(), Queue::default());
        let (all, now) = ("all".to_owned(), Timestamp::UNIX_EPOCH);
        let body = json!({ "aggregationRule": { "clusterRoleSelectors": [{ "matchLabels": { "into": "all" } }] } });
        // It matches its own selector, which must not feed it with itself.
        roles.observe(
            &put(role("all", json!({ "into": "all" }), body)),
            &mut queue,
        );
        assert_eq!(roles.decide(&all, now), None);
        let b = role("b", json!({ "into": "all" }), reads("b"));
        roles.observe(&put(b.clone()), &mut queue);
        roles.observe(
            &put(role("a", json!({ "into": "all" }), reads("a"))),
            &mut queue,
        );
        roles.observe(&put(role("other", json!({}), reads("other"))), &mut queue);
        roles.observe(
            &put(role("c", json!({ "into": "all" }), reads("a"))),
            &mut queue,
        );
        assert_eq!(
            resources(roles.decide(&all, now)),
            Some(vec!["a".to_owned(), "b".to_owned()])
        );
        queue.take(tokio::time::Instant::now());
        roles.observe(&gone(b), &mut queue);
        assert_eq!(queue.take(tokio::time::Instant::now()), ["all"]);
        assert_eq!(
            resources(roles.decide(&all, now)),
            Some(vec!["a".to_owned()])
        );
        assert_eq!(roles.decide(&"other".to_owned(), now), None);
    }
}
