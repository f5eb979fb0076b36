//! What a user may do in a namespace, as rules, for `kubectl auth can-i --list`. It decides nothing.

use super::{
    Authorizer, Rule, agent,
    sets::{self, WORKS},
};
use crate::auth::User;

/// Verbs that a right on a set may be.
const VERBS: [&str; 8] = [
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
];

impl Authorizer {
    /// The rules that hold for `user` in `namespace` and cluster-wide, with what follows from rights on the set of the namespace's cluster and, for
    /// an agent, what its certificate opens; and what could not be found on the way.
    pub fn shown(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        if let Some(cluster) = &user.cluster {
            let standing = self.standing(cluster);
            return (agent::rules(&cluster.name, standing, namespace), Vec::new());
        }
        let (mut rules, faults) = self.rules(user, namespace);
        if let Some(set) = self.set_of(namespace) {
            rules.extend(works_of(&set, &rules));
        }
        (rules, faults)
    }
}

/// What rights on the works of a set mean in the namespaces of its clusters.
fn works_of(set: &str, rules: &[Rule]) -> Option<Rule> {
    let named = |rule: &&Rule| rule.resources.iter().any(|resource| resource == WORKS);
    let verbs: Vec<&str> = VERBS
        .into_iter()
        .filter(|verb| {
            let asked = super::Attributes::of(verb, sets::WORK, WORKS).named(set);
            rules.iter().filter(named).any(|rule| rule.allows(&asked))
        })
        .collect();
    let works = ["manifestworks", "manifestworks/status"];
    (!verbs.is_empty()).then(|| Rule::on(&[sets::WORK], &works, &verbs))
}
