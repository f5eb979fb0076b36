//! Who changed what a work declares. Pure.

use serde_json::Value;

use super::{
    diff::{self, Zero},
    update::{Owner, references},
};
use crate::cluster::MANAGER;

/// Somebody who changed an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rival {
    /// Another work that owns it as well, by the name of its record.
    Work(String),
    /// By the name under which it writes.
    Manager(String),
}

impl std::fmt::Display for Rival {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Work(record) => write!(f, "AppliedManifestWork {record:?}"),
            Self::Manager(name) => f.write_str(name),
        }
    }
}

/// Names who is most likely to have made `live` differ from what is declared: whoever manages a field that does, also through
/// a subresource as an autoscaler does; else another work that has the object too, since all works write under one name;
/// else whoever wrote last. `own` are further names that the work writes under.
pub(super) fn rival(declared: &Value, live: &Value, own: &[&str], owner: &Owner) -> Option<Rival> {
    let text = |entry: &Value, key: &str| {
        let text = entry.get(key).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    let entries = live.pointer("/metadata/managedFields");
    let others: Vec<&Value> = entries
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|entry| {
            let manager = entry.get("manager").and_then(Value::as_str);
            manager.is_none_or(|manager| manager != MANAGER && !own.contains(&manager))
        })
        .collect();
    let last = |entries: &mut dyn Iterator<Item = &&Value>| {
        entries
            .map(|entry| (text(entry, "time"), text(entry, "manager")))
            .max()
            .map(|(_, manager)| Rival::Manager(manager))
    };
    let manages = |entry: &&&Value| {
        let fields = entry.get("fieldsV1");
        fields.is_some_and(|fields| differs(fields, declared, live))
    };
    last(&mut others.iter().filter(manages))
        .or_else(|| other_work(live, owner))
        .or_else(|| {
            let direct = |entry: &&&Value| entry.get("subresource").is_none();
            last(&mut others.iter().filter(direct))
        })
}

/// Says whether any of these fields is declared and not as declared.
fn differs(fields: &Value, declared: &Value, live: &Value) -> bool {
    let Some(fields) = fields.as_object() else {
        return false;
    };
    let mut below = fields.iter().filter(|(key, _)| *key != ".").peekable();
    if below.peek().is_none() {
        return !diff::within(declared, live, Zero::Missing);
    }
    below.any(|(key, fields)| {
        let (declared, live) = (child(declared, key), child(live, key));
        declared.is_some_and(|declared| differs(fields, declared, live.unwrap_or(&Value::Null)))
    })
}

/// The part of a value that a key of `fieldsV1` speaks of.
fn child<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    if let Some(name) = key.strip_prefix("f:") {
        return value.get(name);
    }
    let keys: Value = serde_json::from_str(key.strip_prefix("k:")?).ok()?;
    value.as_array()?.iter().find(|item| {
        let mut keys = keys.as_object().into_iter().flatten();
        keys.all(|(name, wanted)| item.get(name) == Some(wanted))
    })
}

/// Names another work that owns the object as well.
pub(super) fn other_work(live: &Value, owner: &Owner) -> Option<Rival> {
    let text = |reference: &Value, key: &str| Some(reference.get(key)?.as_str()?.to_owned());
    references(live)
        .iter()
        .filter(|r| text(r, "kind").as_deref() == Some("AppliedManifestWork"))
        .filter(|r| text(r, "uid").as_deref() != Some(&owner.uid))
        .find_map(|r| Some(Rival::Work(text(r, "name")?)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(manager: &str, time: u8, subresource: Option<&str>, fields: &Value) -> Value {
        let mut entry = json!({"manager": manager, "operation": "Update", "time": format!("2026-01-01T00:00:{time:02}Z"), "fieldsV1": fields});
        if let Some(subresource) = subresource {
            entry["subresource"] = subresource.into();
        }
        entry
    }

    #[test]
    fn the_manager_of_what_differs_is_named_and_not_whoever_came_by() {
        let owner = Owner {
            name: "hub-one".into(),
            uid: "u1".into(),
        };
        let declared = json!({"metadata": {"labels": {"l": "1"}}, "spec": {"replicas": 2, "containers": [{"name": "c", "image": "a"}, {"name": "d", "image": "b"}]}});
        let ours = entry(MANAGER, 9, None, &json!({"f:spec": {"f:replicas": {}}}));
        let scaler = entry(
            "kube-controller-manager",
            2,
            Some("scale"),
            &json!({"f:spec": {"f:replicas": {}}}),
        );
        let labeller = entry(
            "labeller",
            5,
            None,
            &json!({"f:metadata": {"f:labels": {".": {}, "f:l": {}, "f:other": {}}}}),
        );
        let image = entry(
            "keel",
            3,
            None,
            &json!({"f:spec": {"f:containers": {"k:{\"name\":\"d\"}": {".": {}, "f:image": {}}}}}),
        );
        let status = entry(
            "kubelet",
            8,
            Some("status"),
            &json!({"f:status": {"f:phase": {}}}),
        );
        let live = |replicas: u8,
                    image_of_d: &str,
                    label: &str,
                    entries: &[&Value],
                    owners: Value| {
            json!({
                "metadata": {"labels": {"l": label, "other": "x"}, "managedFields": entries, "ownerReferences": owners},
                "spec": {"replicas": replicas, "containers": [{"name": "c", "image": "a"}, {"name": "d", "image": image_of_d}]},
            })
        };
        let all = [&ours, &scaler, &labeller, &image, &status];
        let two = json!([owner.reference(), {"kind": "AppliedManifestWork", "name": "hub-two", "uid": "u2"}]);
        let alone = json!([owner.reference()]);
        for (live, expected) in [
            (
                live(5, "b", "1", &all, alone.clone()),
                Some("kube-controller-manager"),
            ),
            (live(2, "x", "1", &all, alone.clone()), Some("keel")),
            (live(2, "b", "2", &all, alone.clone()), Some("labeller")),
            // A field that nobody has any more was taken away by whoever wrote last.
            (live(2, "b", "1", &all, alone.clone()), Some("labeller")),
            (
                live(5, "b", "1", &[&ours], two.clone()),
                Some("AppliedManifestWork \"hub-two\""),
            ),
            (
                live(5, "b", "1", &[&ours, &scaler], two),
                Some("kube-controller-manager"),
            ),
            (live(5, "b", "1", &[&ours, &status], alone), None),
        ] {
            let found = rival(&declared, &live, &[], &owner);
            assert_eq!(
                found.map(|rival| rival.to_string()).as_deref(),
                expected,
                "{live}"
            );
        }
    }
}
