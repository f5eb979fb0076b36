//! What a write does to the owners, and an apply to the object: `merge.Updater` of structured-merge-diff.

use serde_json::{Map, Value};

use super::{
    Scope,
    compare::{self, Comparison},
    conflict::Conflicts,
    fields,
    managers::{Identity, Managers, Operation, Owned, nobodys},
    merge, remove,
    set::FieldSet,
    types::Type,
};

/// One write, as far as owners are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Write<'a> {
    pub(super) kind: &'a Type,
    pub(super) scope: Scope,
    pub(super) api_version: &'a str,
}

/// What an apply comes to.
#[derive(Debug)]
pub(super) struct Applied {
    /// `None` when the object stays as it is.
    pub(super) object: Option<Map<String, Value>>,
    pub(super) managers: Managers,
}

impl Write<'_> {
    /// Gives what changed from `old` to `new` to `writer`, and takes it from whoever had it.
    pub(super) fn update(
        &self,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        managers: &mut Managers,
        writer: &Identity,
        time: &str,
    ) {
        self.forget_other_versions(managers);
        let changes = self.compare(old, new);
        if changes.is_same() {
            return;
        }
        for owned in managers.0.values_mut() {
            // Nobody is asked: a write that is no apply takes what it changes.
            for taken in [&changes.modified, &changes.added, &changes.removed] {
                // Most managers lose nothing, and a set that stays as it is need not be made anew.
                if owned.fields.meets(taken) {
                    owned.fields = owned.fields.difference(taken);
                }
            }
        }
        let taken = changes
            .modified
            .union(changes.added)
            .difference(&changes.removed)
            .difference(nobodys());
        if !taken.is_empty() {
            let owned = managers.0.entry(writer.clone()).or_insert_with(|| Owned {
                api_version: self.api_version.to_owned(),
                time: None,
                fields: FieldSet::default(),
            });
            owned.fields = std::mem::take(&mut owned.fields).union(taken);
            owned.time = Some(time.to_owned());
        }
        managers.tidy();
    }

    /// Lays a configuration over an object and makes `writer` the owner of what it says.
    ///
    /// # Errors
    /// The fields that others own and that would change, unless `force` takes them.
    pub(super) fn apply(
        &self,
        live: &Value,
        config: &Value,
        mut managers: Managers,
        writer: &Identity,
        force: bool,
    ) -> Result<Applied, Conflicts> {
        self.forget_other_versions(&mut managers);
        let merged = merge::merge(self.kind, Some(live), Some(config)).unwrap_or_default();
        let last = managers.0.remove(writer);
        let mut wanted = fields::of(self.kind, config);
        wanted.retain(|step| self.scope.covers(step));
        let owned = Owned {
            api_version: self.api_version.to_owned(),
            time: last.as_ref().and_then(|last| last.time.clone()),
            fields: wanted.clone(),
        };
        managers.0.insert(writer.clone(), owned);
        let new = match last.map(|last| last.fields) {
            Some(last) if !last.is_empty() => self.prune(&merged, &managers, &last),
            _ => merged,
        };
        let empty = Map::new();
        let maps = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let new = maps(&new);
        let changes = self.compare(live.as_object().unwrap_or(&empty), &new);
        let changed = changes.modified.clone().union(changes.added.clone());
        let mut conflicts = Vec::new();
        for (identity, owned) in managers.0.iter_mut().filter(|(other, _)| *other != writer) {
            let taken = owned.fields.intersection(&changed);
            owned.fields = owned.fields.difference(&taken).difference(&changes.removed);
            if !taken.is_empty() {
                conflicts.push((identity.clone(), taken));
            }
        }
        if !force && !conflicts.is_empty() {
            return Err(Conflicts(conflicts));
        }
        for owned in managers.0.values_mut() {
            owned.fields = owned.fields.difference(nobodys());
        }
        managers.tidy();
        Ok(Applied {
            // A new order changes nobody's fields, and yet the object.
            object: (live.as_object() != Some(&new)).then_some(new),
            managers,
        })
    }

    /// What changed, as far as this write may change anything.
    fn compare(&self, old: &Map<String, Value>, new: &Map<String, Value>) -> Comparison {
        let mut changes = compare::objects(self.kind, old, new);
        changes.retain(|step| self.scope.covers(step));
        changes
    }

    /// Takes out what the writer applied last and does not now, unless somebody else owns it.
    fn prune(&self, merged: &Value, managers: &Managers, last: &FieldSet) -> Value {
        let named = |set: &FieldSet| remove::with_named_fields(self.kind, set);
        let has = |value: &Value| named(&fields::of(self.kind, value));
        let last = named(last);
        let pruned = remove::remove(self.kind, merged, &last);
        // What others own, or this writer owns again, comes back with all that leads to it.
        let owned = managers.0.values().fold(FieldSet::default(), |all, owned| {
            all.union(owned.fields.clone())
        });
        let all = has(merged);
        let lost = all.difference(&has(&pruned).union(named(&owned)));
        let pruned = remove::remove(self.kind, merged, &lost);
        // And what nobody applied but the removal of something around it took away.
        let lost = all.difference(&has(&pruned)).intersection(&last);
        remove::remove(self.kind, merged, &lost)
    }

    /// The hub serves one version of a kind: what was owned at another means nothing here.
    fn forget_other_versions(&self, managers: &mut Managers) {
        managers
            .0
            .retain(|_, owned| owned.api_version == self.api_version);
    }
}

/// The owner of whatever an object had when nobody had applied anything to it yet.
pub(super) fn before_first_apply(
    write: &Write<'_>,
    live: &Map<String, Value>,
    subresource: &str,
    time: &str,
) -> Managers {
    let mut managers = Managers::default();
    let everybody = Identity::new(
        "before-first-apply",
        Operation::Update,
        subresource,
        write.api_version,
    );
    write.update(&Map::new(), live, &mut managers, &everybody, time);
    managers
}
