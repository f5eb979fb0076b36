//! Random writes against a model that knows nothing of trees.
//!
//! The oracle: a granular map is a set of independent keys, so server-side apply on it is a table of values and, for
//! each manager, a set of keys. KEP-555's rules then take a line each: an update takes what it changes and loses what
//! it removes; an apply conflicts where another manager owns a key whose value it changes; it drops the keys that it
//! applied last, does not apply now and nobody else owns.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{create, object, owners, spec};
use crate::{
    Object,
    apply::{self, Manager, Scope, Track},
};

const MANAGERS: [&str; 3] = ["ann", "bob", "eve"];

type Fields = BTreeMap<u8, u8>;

#[derive(Clone, Debug)]
enum Write {
    Apply {
        by: usize,
        fields: Fields,
        force: bool,
    },
    Update {
        by: usize,
        fields: Fields,
    },
}

#[derive(Debug, Default)]
struct Model {
    values: Fields,
    appliers: BTreeMap<usize, BTreeSet<u8>>,
    updaters: BTreeMap<usize, BTreeSet<u8>>,
}

impl Model {
    /// Returns the conflicts as pairs of whether the owner applied, owner and key; the state then stays.
    fn write(&mut self, write: &Write) -> BTreeSet<(bool, usize, u8)> {
        match write {
            Write::Update { by, fields } => {
                let touched: BTreeSet<u8> = self
                    .values
                    .keys()
                    .chain(fields.keys())
                    .filter(|key| self.values.get(key) != fields.get(key))
                    .copied()
                    .collect();
                for owned in self.appliers.values_mut().chain(self.updaters.values_mut()) {
                    owned.retain(|key| !touched.contains(key));
                }
                let taken = touched.iter().filter(|key| fields.contains_key(key));
                self.updaters.entry(*by).or_default().extend(taken);
                self.values.clone_from(fields);
                BTreeSet::new()
            }
            Write::Apply { by, fields, force } => {
                let last = self.appliers.get(by).cloned().unwrap_or_default();
                let others = |key: &u8| {
                    self.updaters.values().any(|owned| owned.contains(key))
                        || self
                            .appliers
                            .iter()
                            .any(|(manager, owned)| manager != by && owned.contains(key))
                };
                let mut after = self.values.clone();
                after.extend(fields);
                after.retain(|key, _| {
                    !last.contains(key) || fields.contains_key(key) || others(key)
                });
                let changed: BTreeSet<u8> = fields
                    .keys()
                    .filter(|key| self.values.get(key) != fields.get(key))
                    .copied()
                    .collect();
                let mut conflicts = BTreeSet::new();
                for (applied, managers) in [(true, &self.appliers), (false, &self.updaters)] {
                    for (manager, owned) in managers {
                        if !(applied && manager == by) {
                            let hit = owned.intersection(&changed);
                            conflicts.extend(hit.map(|key| (applied, *manager, *key)));
                        }
                    }
                }
                if !conflicts.is_empty() && !force {
                    return conflicts;
                }
                let gone = |key: &u8| !after.contains_key(key);
                for (manager, owned) in &mut self.appliers {
                    owned.retain(|key| manager == by || !(changed.contains(key) || gone(key)));
                }
                for owned in self.updaters.values_mut() {
                    owned.retain(|key| !(changed.contains(key) || gone(key)));
                }
                self.appliers.insert(*by, fields.keys().copied().collect());
                self.values = after;
                BTreeSet::new()
            }
        }
    }
}

/// How a model's keys and values look in an object. A map without keys is left out: as an empty one it would be a
/// value of its own.
fn spec_of(fields: &Fields) -> Value {
    let map: BTreeMap<String, String> = fields
        .iter()
        .map(|(key, value)| (format!("k{key}"), value.to_string()))
        .collect();
    if map.is_empty() {
        json!({ "text": "x" })
    } else {
        json!({ "text": "x", "map": map })
    }
}

fn read(spec: &Value) -> Fields {
    let map = spec["map"].as_object();
    map.into_iter()
        .flatten()
        .map(|(key, value)| {
            let value = value.as_str().unwrap_or_default();
            (key[1..].parse().unwrap(), value.parse().unwrap())
        })
        .collect()
}

fn keys_of(fields: &Value) -> BTreeSet<u8> {
    let below = fields["f:spec"]["f:map"].as_object();
    below
        .into_iter()
        .flatten()
        .filter(|(step, _)| *step != ".")
        .map(|(step, _)| step["f:k".len()..].parse().unwrap())
        .collect()
}

fn real(live: &Object, write: &Write) -> crate::Result<Object> {
    let now = "2026-01-01T00:00:00Z".parse().unwrap();
    match write {
        Write::Apply { by, fields, force } => apply::apply(
            &super::kind(),
            Scope::AllButStatus,
            live,
            &object(json!({ "spec": spec_of(fields) })),
            &Manager {
                name: MANAGERS[*by],
                subresource: "",
                now,
            },
            *force,
        ),
        Write::Update { by, fields } => {
            let mut new = live.clone();
            new.as_map_mut().insert("spec".to_owned(), spec_of(fields));
            let writer = Manager {
                name: MANAGERS[*by],
                subresource: "",
                now,
            };
            apply::update(
                &super::kind(),
                Scope::AllButStatus,
                live,
                &mut new,
                &writer,
                Track::Always,
            );
            Ok(new)
        }
    }
}

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let fields = || prop::collection::btree_map(0..4u8, 0..3u8, 0..4);
    let write = prop_oneof![
        2 => (0..3usize, fields(), any::<bool>()).prop_map(|(by, fields, force)| Write::Apply { by, fields, force }),
        1 => (0..3usize, fields()).prop_map(|(by, fields)| Write::Update { by, fields }),
    ];
    prop::collection::vec(write, 1..12)
}

fn agree(writes: &[Write]) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    let mut live = create(json!({ "spec": { "text": "x" } }), "maker");
    // Everybody writes the same text beside the map: it is not part of the model.
    for write in writes {
        let conflicts = model.write(write);
        match real(&live, write) {
            Ok(after) => {
                prop_assert!(conflicts.is_empty(), "{conflicts:?} {write:?}");
                live = after;
            }
            Err(error) => {
                let paths: BTreeSet<String> = error
                    .causes()
                    .iter()
                    .map(|cause| cause.field.clone())
                    .collect();
                let wanted: BTreeSet<String> = conflicts
                    .iter()
                    .map(|(_, _, key)| format!(".spec.map.k{key}"))
                    .collect();
                prop_assert_eq!(paths, wanted, "{}", error.message);
                prop_assert_eq!(error.causes().len(), conflicts.len());
            }
        }
        prop_assert_eq!(read(&spec(&live)), model.values.clone());
        for (operation, owned) in [("Apply", &model.appliers), ("Update", &model.updaters)] {
            for (by, name) in MANAGERS.iter().enumerate() {
                let real = owners(&live)
                    .into_iter()
                    .find(|(manager, how, _)| manager == name && how == operation)
                    .map_or_else(BTreeSet::new, |(_, _, fields)| keys_of(&fields));
                let wanted = owned.get(&by).cloned().unwrap_or_default();
                prop_assert_eq!(real, wanted, "{} {} after {:?}", name, operation, write);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_map_is_owned_key_by_key(writes in writes()) {
        agree(&writes)?;
    }
}
