//! A configuration laid over an object: `TypedValue.Merge` of structured-merge-diff.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    items,
    types::{ListType, MapType, Relation, Type, View},
};

/// Lays `config` over `live`; what the configuration does not mention stays. `None` is an absent value.
pub(super) fn merge(kind: &Type, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    // What is absent takes the form that the other side has.
    let seen = config.or(live);
    match kind.view(seen) {
        View::Map(map) => maps(map, live, config),
        View::List(list) => lists(list, live, config),
        View::Scalar(_) => whole(live, config),
    }
}

fn whole(live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    config.or(live).cloned()
}

fn maps(map: &MapType, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let (left, right) = match (items::filled_map(live), items::filled_map(config)) {
        // Empty and null stay apart.
        (None, None) => return whole(live, config),
        _ if map.atomic => return whole(live, config),
        (left, right) => (left, right),
    };
    let mut merged = Map::new();
    for (name, live) in left.into_iter().flatten() {
        let config = right.and_then(|right| right.get(name));
        if let Some(value) = merge(map.field(name), Some(live), config) {
            merged.insert(name.clone(), value);
        }
    }
    for (name, config) in right.into_iter().flatten() {
        if left.is_none_or(|left| !left.contains_key(name))
            && let Some(value) = merge(map.field(name), None, Some(config))
        {
            merged.insert(name.clone(), value);
        }
    }
    Some(Value::Object(merged))
}

fn lists(list: &ListType, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let (left, right) = match (items::filled_list(live), items::filled_list(config)) {
        (None, None) => return whole(live, config),
        _ if matches!(list.relation, Relation::Atomic) => return whole(live, config),
        (left, right) => (left.unwrap_or_default(), right.unwrap_or_default()),
    };
    match (
        items::identified(list, left),
        items::identified(list, right),
    ) {
        (Some(left), Some(right)) => Some(Value::Array(interleave(list, &left, &right))),
        _ => whole(live, config),
    }
}

/// Merges two lists item by item. Items of both come in the order of the configuration, items of the object alone
/// stay where they are between them, as in Kubernetes since 1.27.
fn interleave(
    list: &ListType,
    left: &[(Box<str>, &Value)],
    right: &[(Box<str>, &Value)],
) -> Vec<Value> {
    let of_left: BTreeMap<&str, &Value> =
        left.iter().map(|(step, item)| (&**step, *item)).collect();
    let of_right: BTreeMap<&str, &Value> =
        right.iter().map(|(step, item)| (&**step, *item)).collect();
    let mut shared = right
        .iter()
        .map(|(step, _)| &**step)
        .filter(|step| of_left.contains_key(step));
    let mut next_shared = shared.next();
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let mut done = BTreeSet::new();
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let Some((step, live)) = left.get(l) {
            let step = &**step;
            match right.get(r) {
                Some((theirs, config)) if **theirs == *step => {
                    done.insert(step);
                    merged.extend(merge(&list.element, Some(live), Some(config)));
                    (l, r) = (l + 1, r + 1);
                    next_shared = shared.next();
                    continue;
                }
                Some(_)
                    if of_right.contains_key(step)
                        && next_shared.is_some_and(|next| next != step) =>
                {
                    // Both have it, and its turn in the configuration's order has not come.
                    l += 1;
                    continue;
                }
                _ => {}
            }
            if !of_right.contains_key(step) {
                merged.extend(merge(&list.element, Some(live), None));
                l += 1;
                continue;
            }
            if done.contains(step) {
                l += 1;
            }
        }
        if let Some((step, config)) = right.get(r) {
            let step = &**step;
            done.insert(step);
            let live = of_left.get(step).copied();
            merged.extend(merge(&list.element, live, Some(config)));
            r += 1;
            if next_shared == Some(step) {
                next_shared = shared.next();
            }
        }
    }
    merged
}
