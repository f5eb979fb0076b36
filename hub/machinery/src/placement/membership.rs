//! Which clusters a cluster set has.

use std::collections::BTreeMap;

use koinon_api::{
    cluster::{ManagedClusterSet, SelectorType},
    labels::label,
};

use super::{Operator, Requirement, Selector};

/// How a set selects its members.
#[derive(Clone, Debug, PartialEq)]
pub enum Membership {
    /// Clusters whose cluster-set label names this set.
    Exclusive(String),
    /// Clusters whose labels match.
    Labels(Selector),
    /// No cluster: there is no selector, or it cannot be evaluated.
    Nobody,
}

impl Membership {
    #[must_use]
    pub fn of(set: &ManagedClusterSet) -> Self {
        let selector = &set.spec.cluster_selector;
        match (selector.selector_type, &selector.label_selector) {
            (SelectorType::ExclusiveClusterSetLabel, _) => {
                Self::Exclusive(set.metadata.name.clone().unwrap_or_default())
            }
            (SelectorType::LabelSelector, Some(labels)) => {
                Selector::compile(labels).map_or(Self::Nobody, Self::Labels)
            }
            (SelectorType::LabelSelector, None) => Self::Nobody,
        }
    }

    /// As a selector over labels.
    #[must_use]
    pub fn selector(&self) -> Option<Selector> {
        match self {
            Self::Exclusive(name) => Some(Selector::new(vec![Requirement {
                key: label::CLUSTER_SET.to_owned(),
                operator: Operator::In,
                values: vec![name.clone()],
            }])),
            Self::Labels(selector) => Some(selector.clone()),
            Self::Nobody => None,
        }
    }

    #[must_use]
    pub fn includes(&self, labels: &BTreeMap<String, String>) -> bool {
        match self {
            Self::Exclusive(name) => labels.get(label::CLUSTER_SET) == Some(name),
            Self::Labels(selector) => selector.matches(labels),
            Self::Nobody => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn membership(selector: serde_json::Value) -> Membership {
        let set = json!({
            "apiVersion": "cluster.open-cluster-management.io/v1beta2", "kind": "ManagedClusterSet",
            "metadata": { "name": "prod" }, "spec": { "clusterSelector": selector },
        });
        Membership::of(&serde_json::from_value(set).unwrap())
    }

    #[test]
    fn members_are_those_labelled_or_selected() {
        let labelled: BTreeMap<_, _> = [(label::CLUSTER_SET.to_owned(), "prod".to_owned())].into();
        let other = BTreeMap::default();
        let exclusive = membership(json!({}));
        assert!(exclusive.includes(&labelled) && !exclusive.includes(&other));
        let everybody = membership(json!({ "selectorType": "LabelSelector", "labelSelector": {} }));
        assert!(everybody.includes(&labelled) && everybody.includes(&other));
        assert_eq!(
            membership(json!({ "selectorType": "LabelSelector" })),
            Membership::Nobody
        );
        let invalid = json!({ "matchExpressions": [{ "key": "k", "operator": "Near" }] });
        assert_eq!(
            membership(json!({ "selectorType": "LabelSelector", "labelSelector": invalid })),
            Membership::Nobody
        );
    }
}
