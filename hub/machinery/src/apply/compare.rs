//! What a write changed: `TypedValue.Compare` of structured-merge-diff.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    fields_v1::field_step,
    items,
    set::{Entry, FieldSet},
    types::{ListType, MapType, Relation, Type, View},
};

/// The fields by what became of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Comparison {
    pub(super) removed: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) added: FieldSet,
}

impl Comparison {
    pub(super) fn is_same(&self) -> bool {
        self.removed.is_empty() && self.modified.is_empty() && self.added.is_empty()
    }

    /// Leaves out all that begins with a step that is not kept.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        for set in [&mut self.removed, &mut self.modified, &mut self.added] {
            set.retain(&keep);
        }
    }
}

/// Compares two objects.
pub(super) fn objects(
    kind: &Type,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) -> Comparison {
    let mut found = Found::default();
    if let View::Map(map) = kind.view(None) {
        fields(map, Some(old), Some(new), &mut found);
    }
    let Found {
        removed,
        modified,
        added,
    } = found;
    Comparison {
        removed: removed.below,
        modified: modified.below,
        added: added.below,
    }
}

/// The same for one value, whose own path may be among the changed ones.
#[derive(Debug, Default)]
struct Found {
    removed: Entry,
    modified: Entry,
    added: Entry,
}

impl Found {
    /// Notes the change of a value that is owned as a whole.
    fn leaf(&mut self, old: Option<&Value>, new: Option<&Value>) {
        match (old, new) {
            (None, _) => self.added.member = true,
            (_, None) => self.removed.member = true,
            (Some(old), Some(new)) => self.modified.member |= old != new,
        }
    }

    fn put(&mut self, step: Box<str>, found: Self) {
        let Self {
            removed,
            modified,
            added,
        } = found;
        for (below, entry) in [
            (&mut self.removed.below, removed),
            (&mut self.modified.below, modified),
            (&mut self.added.below, added),
        ] {
            if !entry.is_empty() {
                below.put(step.clone(), entry);
            }
        }
    }
}

fn value(kind: &Type, old: Option<&Value>, new: Option<&Value>) -> Found {
    let mut found = Found::default();
    if old == new {
        return found;
    }
    let leaf = match (old, new) {
        // Of two forms, both say what they lost and gained.
        (Some(before), Some(_)) if differs(kind.view(old), kind.view(new)) && !before.is_null() => {
            let one = part(kind.view(old), old, new, &mut found);
            part(kind.view(new), old, new, &mut found) || one
        }
        _ => part(kind.view(new.or(old)), old, new, &mut found),
    };
    if !leaf && (old.is_none() || new.is_none()) {
        found.leaf(old, new);
    }
    found
}

fn differs(one: View<'_>, other: View<'_>) -> bool {
    std::mem::discriminant(&one) != std::mem::discriminant(&other)
}

/// Compares two values as what a view says; returns whether they are owned as a whole.
fn part(view: View<'_>, old: Option<&Value>, new: Option<&Value>, found: &mut Found) -> bool {
    match view {
        View::Map(map) => {
            let (left, right) = (items::filled_map(old), items::filled_map(new));
            if !map.atomic && (left.is_some() || right.is_some()) {
                fields(map, left, right, found);
                return false;
            }
        }
        View::List(list) => {
            let (left, right) = (items::filled_list(old), items::filled_list(new));
            if !matches!(list.relation, Relation::Atomic)
                && (left.is_some() || right.is_some())
                && each(list, left, right, found)
            {
                return false;
            }
        }
        View::Scalar(_) => {}
    }
    found.leaf(old, new);
    true
}

fn fields(
    map: &MapType,
    old: Option<&Map<String, Value>>,
    new: Option<&Map<String, Value>>,
    found: &mut Found,
) {
    for (name, before) in old.into_iter().flatten() {
        let after = new.and_then(|new| new.get(name));
        if after != Some(before) {
            found.put(
                field_step(name),
                value(map.field(name), Some(before), after),
            );
        }
    }
    for (name, after) in new.into_iter().flatten() {
        if old.is_none_or(|old| !old.contains_key(name)) {
            found.put(field_step(name), value(map.field(name), None, Some(after)));
        }
    }
}

/// Compares item by item; returns false for lists whose items cannot be told apart.
fn each(list: &ListType, old: Option<&[Value]>, new: Option<&[Value]>, found: &mut Found) -> bool {
    let (Some(old), Some(new)) = (
        items::identified(list, old.unwrap_or_default()),
        items::identified(list, new.unwrap_or_default()),
    ) else {
        return false;
    };
    let mut after: BTreeMap<Box<str>, &Value> = new.into_iter().collect();
    for (step, before) in old {
        let after = after.remove(&step);
        found.put(step, value(&list.element, Some(before), after));
    }
    for (step, after) in after {
        found.put(step, value(&list.element, None, Some(after)));
    }
    true
}
