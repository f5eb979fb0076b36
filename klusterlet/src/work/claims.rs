//! What works are about to want.
//!
//! An object may move from one work to another in one go. The one that gives it up must not delete what the other one has not
//! taken over yet: it lets go of it.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use super::plan;
use crate::desired::Held;

/// Names an object by what a manifest says: group, kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A state of a work that was not brought about yet.
#[derive(Debug)]
struct Claim {
    held: Arc<Held>,
    /// Read when somebody asks, once.
    names: OnceLock<HashSet<Name>>,
}

/// The works that are told to want something and have not looked at it yet.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<String, Arc<Claim>>>);

impl Claims {
    /// A work is told what to want.
    pub(super) fn begin(&self, held: &Arc<Held>) {
        let claim = Claim {
            held: held.clone(),
            names: OnceLock::new(),
        };
        self.0.lock().insert(held.name.clone(), Arc::new(claim));
    }

    /// A work has looked at all that it was told: what it wants, it owns.
    pub(super) fn end(&self, held: &Held) {
        let mut claims = self.0.lock();
        let same = |claim: &Arc<Claim>| {
            (&claim.held.uid, claim.held.generation) == (&held.uid, held.generation)
        };
        if claims.get(&held.name).is_some_and(same) {
            claims.remove(&held.name);
        }
    }

    /// There is no such work any more.
    pub(super) fn forget(&self, work: &str) {
        self.0.lock().remove(work);
    }

    /// Says whether another work is about to want an object.
    pub(super) fn has(&self, work: &str, name: &Name) -> bool {
        let others: Vec<_> = {
            let claims = self.0.lock();
            let others = claims
                .values()
                .filter(|claim| claim.held.name != work && !claim.held.tombstone);
            others.cloned().collect()
        };
        let placeless = Name {
            namespace: String::new(),
            ..name.clone()
        };
        others.iter().any(|claim| {
            let names = claim.names.get_or_init(|| names(&claim.held));
            names.contains(name) || names.contains(&placeless)
        })
    }
}

/// What a work names; nothing if its body makes no sense.
fn names(held: &Held) -> HashSet<Name> {
    let Ok(spec) = held.spec() else {
        return HashSet::new();
    };
    plan::manifests(&spec)
        .into_iter()
        .filter_map(|manifest| manifest.object.ok())
        .map(|object| {
            let group = object.api_version.rsplit_once('/');
            Name {
                group: group.map_or("", |(group, _)| group).to_owned(),
                kind: object.kind,
                namespace: object.namespace,
                name: object.name,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_work_claims_what_it_is_told_until_it_has_looked() {
        let held = |name: &str, generation: i64, map: &str| {
            let body = json!({"spec": {"workload": {"manifests": [
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map, "namespace": "n"}},
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x"}},
            ]}}});
            Arc::new(Held::new(name, "u", generation, body.to_string().as_bytes()).unwrap())
        };
        let name = |name: &str| Name {
            group: String::new(),
            kind: "ConfigMap".into(),
            namespace: "n".into(),
            name: name.into(),
        };
        let claims = Claims::default();
        claims.begin(&held("one", 1, "a"));
        claims.begin(&held("two", 2, "b"));
        assert!(claims.has("two", &name("a")) && claims.has("one", &name("b")));
        // Not of itself, and not of another place.
        assert!(!claims.has("one", &name("a")) && !claims.has("two", &name("c")));
        // An older look does not count.
        claims.end(&held("two", 1, "b"));
        assert!(claims.has("one", &name("b")));
        claims.end(&held("two", 2, "b"));
        assert!(!claims.has("one", &name("b")));
        let mut gone = Held::clone(&held("one", 2, "a"));
        gone.tombstone = true;
        claims.begin(&Arc::new(gone));
        assert!(!claims.has("two", &name("a")));
    }
}
