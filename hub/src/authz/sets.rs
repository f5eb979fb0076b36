//! Rights on a cluster set reach its clusters.
//!
//! RBAC cannot say "the clusters of this set": it knows names only. So, like OCM's `managedclustersets/join` and
//! `/bind`, two more subresources exist for the authoriser alone: a verb on `managedclustersets/clusters` of a set is
//! that verb on each `ManagedCluster` of it, a verb on `managedclustersets/works` (in the works' group) is that verb on the
//! works in their namespaces, and `update` on `managedclustersets/accept` (in the group of acceptance) accepts them. Membership is the set label, as of now; sets that select by other labels give no rights.

use koinon_api::labels::label;
use koinon_machinery::selector::{LabelSelector, Operator};

use super::Attributes;

/// The clusters of a set.
pub const CLUSTERS: &str = "managedclustersets/clusters";
/// The works for the clusters of a set.
pub const WORKS: &str = "managedclustersets/works";
/// Accepting the clusters of a set.
pub const ACCEPT: &str = "managedclustersets/accept";

/// Store key of clusters.
pub(super) const CLUSTER_KEY: &str = "managedclusters.cluster.open-cluster-management.io";

const GROUP: &str = "cluster.open-cluster-management.io";
pub(super) const WORK: &str = "work.open-cluster-management.io";
const REGISTER: &str = "register.open-cluster-management.io";

/// What has to be allowed, all of it, instead of `asked`; empty when no right on a set can give it.
pub(super) fn translate(
    asked: &Attributes,
    set_of: impl Fn(&str) -> Option<String>,
) -> Vec<Attributes> {
    // Each in the group of what it reaches: everything in the clusters' group must not come to mean works as well.
    let on = |group: &str, verb: &str, resource: &str, set: &str| {
        (!set.is_empty()).then(|| Attributes::of(verb, group, resource).named(set))
    };
    match (asked.group.as_str(), asked.full_resource().as_str()) {
        (GROUP, "managedclusters" | "managedclusters/status") if !asked.name.is_empty() => {
            // The status is the agent's and the controllers'; people read it.
            let reads = matches!(asked.verb.as_str(), "get" | "list" | "watch");
            if !asked.subresource.is_empty() && !reads {
                return Vec::new();
            }
            let set = set_of(&asked.name).unwrap_or_default();
            on(GROUP, &asked.verb, CLUSTERS, &set).into_iter().collect()
        }
        (GROUP, "managedclusters") if matches!(asked.verb.as_str(), "list" | "watch") => {
            selected(&asked.labels)
                .iter()
                .filter_map(|set| on(GROUP, &asked.verb, CLUSTERS, set))
                .collect()
        }
        (REGISTER, "managedclusters/accept") => {
            let set = set_of(&asked.name).unwrap_or_default();
            on(REGISTER, &asked.verb, ACCEPT, &set)
                .into_iter()
                .collect()
        }
        (WORK, "manifestworks" | "manifestworks/status") if !asked.namespace.is_empty() => {
            let set = set_of(&asked.namespace).unwrap_or_default();
            on(WORK, &asked.verb, WORKS, &set).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The sets that a label selector narrows a list to; empty when it does not.
fn selected(labels: &str) -> Vec<String> {
    let Ok(selector) = LabelSelector::parse(labels) else {
        return Vec::new();
    };
    let sets = selector.requirements().iter().find(|one| {
        one.key == label::CLUSTER_SET && matches!(one.operator, Operator::In | Operator::Equals)
    });
    sets.map(|one| one.values.iter().cloned().collect())
        .unwrap_or_default()
}

/// For the reason of a decision.
pub(super) fn described(through: &[Attributes]) -> String {
    let texts: Vec<String> = through
        .iter()
        .map(|asked| format!("{} of {:?}", asked.full_resource(), asked.name))
        .collect();
    texts.join(", ")
}
