//! The rules of a role that is made of others: `clusterroleaggregation` of kube-controller-manager.

use std::collections::{BTreeMap, HashSet};

use koinon_machinery::LabelSelector;

use super::Rule;

/// A role that may be a part of another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Aggregated {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) rules: Vec<Rule>,
}

/// The rules of `name`: those of all roles that one of the selectors selects, each once, in order of selectors and
/// names. `roles` are in order of their names.
pub(crate) fn aggregate<'a>(
    name: &str,
    selectors: &[LabelSelector],
    roles: impl Iterator<Item = &'a Aggregated> + Clone,
) -> Vec<Rule> {
    let mut rules = Vec::new();
    let mut seen = HashSet::new();
    for selector in selectors {
        let parts = roles
            .clone()
            .filter(|role| role.name != name && selector.matches(&role.labels));
        for rule in parts.flat_map(|role| &role.rules) {
            if seen.insert(rule) {
                rules.push(rule.clone());
            }
        }
    }
    rules
}
