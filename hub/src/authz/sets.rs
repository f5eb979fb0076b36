//! Rights on a cluster set reach its clusters.
//!
//! RBAC cannot say "the clusters of this set": it knows names only. So, like OCM's `managedclustersets/join` and
//! `/bind`, two more subresources exist for the authoriser alone: a verb on `managedclustersets/clusters` of a set is
//! that verb on each `ManagedCluster` of it, a verb on `managedclustersets/works` is that verb on the works in their
//! namespaces. Membership is the set label, as of now; sets that select by other labels give no rights.

use koinon_api::labels::label;
use koinon_machinery::selector::{LabelSelector, Operator};

use super::Attributes;

/// The clusters of a set.
pub const CLUSTERS: &str = "managedclustersets/clusters";
/// The works for the clusters of a set.
pub const WORKS: &str = "managedclustersets/works";

/// Store key of clusters.
pub(super) const CLUSTER_KEY: &str = "managedclusters.cluster.open-cluster-management.io";

const GROUP: &str = "cluster.open-cluster-management.io";

/// What has to be allowed, all of it, instead of `asked`; empty when no right on a set can give it.
pub(super) fn translate(
    asked: &Attributes,
    set_of: impl Fn(&str) -> Option<String>,
) -> Vec<Attributes> {
    let on = |verb: &str, resource: &str, set: &str| {
        (!set.is_empty()).then(|| Attributes::of(verb, GROUP, resource).named(set))
    };
    match (asked.group.as_str(), asked.full_resource().as_str()) {
        (GROUP, "managedclusters" | "managedclusters/status") if !asked.name.is_empty() => {
            // The status is the agent's and the controllers'; people read it.
            let reads = matches!(asked.verb.as_str(), "get" | "list" | "watch");
            if !asked.subresource.is_empty() && !reads {
                return Vec::new();
            }
            let set = set_of(&asked.name).unwrap_or_default();
            on(&asked.verb, CLUSTERS, &set).into_iter().collect()
        }
        (GROUP, "managedclusters") if matches!(asked.verb.as_str(), "list" | "watch") => {
            selected(&asked.labels)
                .iter()
                .filter_map(|set| on(&asked.verb, CLUSTERS, set))
                .collect()
        }
        ("register.open-cluster-management.io", "managedclusters/accept") => {
            let set = set_of(&asked.name).unwrap_or_default();
            on("accept", CLUSTERS, &set).into_iter().collect()
        }
        ("work.open-cluster-management.io", "manifestworks" | "manifestworks/status")
            if !asked.namespace.is_empty() =>
        {
            let set = set_of(&asked.namespace).unwrap_or_default();
            on(&asked.verb, WORKS, &set).into_iter().collect()
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
