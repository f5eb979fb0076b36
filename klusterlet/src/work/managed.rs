//! Who manages which field of an object that was applied with `Update` and is now to be applied server-side. Pure.
//!
//! Under the name of those writes an object would conflict with the agent's own past, and what a newer manifest drops would stay:
//! the API server lets a manager take away only what nobody else owns. kubectl does the same (`csaupgrade` in client-go).

use serde_json::{Map, Value, json};

use super::update::{APPLIED_HASH, Owner};
use crate::cluster::MANAGER;

/// Returns the `managedFields` of `live` with what this work wrote with `Update` as applied by `manager`; `None` if there is
/// nothing to move.
///
/// The owner references stay with the agent, which patches them: all works apply under one manager, and an apply takes away what
/// its manager owns and no longer names. Entries of two versions are not the same fields, so they are left apart.
pub(super) fn handed_over(live: &Value, owner: &Owner, manager: &str) -> Option<Vec<Value>> {
    if !is_updated_by_alone(live, owner) {
        return None;
    }
    let entries = live.pointer("/metadata/managedFields")?.as_array()?;
    let applied = entries.iter().position(|e| is(e, manager, "Apply"));
    // The server sorts them by time: of several versions, the one that was written last.
    let (updated, (moved, left)) = entries.iter().enumerate().rev().find_map(|(at, entry)| {
        let matches = is(entry, MANAGER, "Update")
            && applied.is_none_or(|applied| version(&entries[applied]) == version(entry));
        let fields = entry.get("fieldsV1").filter(|_| matches)?;
        let (moved, left) = without_owners(fields.as_object()?);
        (!moved.is_empty()).then_some((at, (moved, left)))
    })?;

    let mut entries = entries.clone();
    match applied {
        Some(applied) => {
            let fields = entries[applied].get_mut("fieldsV1")?.as_object_mut()?;
            unite(fields, &moved);
        }
        None => {
            let mut entry = entries[updated].clone();
            entry["manager"] = manager.into();
            entry["operation"] = "Apply".into();
            entry["fieldsV1"] = moved.into();
            entries.push(entry);
        }
    }
    if left.is_empty() {
        entries.remove(updated);
    } else {
        entries[updated]["fieldsV1"] = left.into();
    }
    Some(entries)
}

/// Says whether the object carries the digest of this work, and of no other one that may still apply it with `Update`.
fn is_updated_by_alone(live: &Value, owner: &Owner) -> bool {
    let own = owner.hash_key();
    let annotations = live.pointer("/metadata/annotations");
    annotations
        .and_then(Value::as_object)
        .is_some_and(|annotations| {
            let mut hashes = annotations.keys().filter(|k| k.starts_with(APPLIED_HASH));
            annotations.contains_key(&own) && hashes.all(|key| *key == own)
        })
}

/// Says whether an entry is of this manager and about the object itself, not about its status or scale.
fn is(entry: &Value, manager: &str, operation: &str) -> bool {
    let is = |key: &str, value: &str| entry.get(key).and_then(Value::as_str) == Some(value);
    is("manager", manager) && is("operation", operation) && entry.get("subresource").is_none()
}

fn version(entry: &Value) -> Option<&str> {
    entry.get("apiVersion").and_then(Value::as_str)
}

/// Parts fields from those of the owner references.
fn without_owners(fields: &Map<String, Value>) -> (Map<String, Value>, Map<String, Value>) {
    let (mut others, mut owners) = (fields.clone(), Map::new());
    if let Some(metadata) = others.get_mut("f:metadata").and_then(Value::as_object_mut)
        && let Some(references) = metadata.remove("f:ownerReferences")
    {
        // An empty set would speak of the metadata as a whole.
        if metadata.is_empty() {
            others.remove("f:metadata");
        }
        let references = json!({"f:ownerReferences": references});
        owners.insert("f:metadata".to_owned(), references);
    }
    (others, owners)
}

/// Adds fields to others. A field with nothing below it is owned itself, which `.` says where there is something below.
fn unite(fields: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (key, more) in more {
        let Some(below) = fields.get_mut(key) else {
            fields.insert(key.clone(), more.clone());
            continue;
        };
        if let (Some(below), Some(more)) = (below.as_object_mut(), more.as_object()) {
            if below.is_empty() != more.is_empty() {
                below.insert(".".to_owned(), json!({}));
            }
            unite(below, more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        Owner {
            name: "hub-one".into(),
            uid: "1a2b3c4d-5e6f".into(),
        }
    }

    fn entry(manager: &str, operation: &str, fields: Value) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "time": "2026-01-01T00:00:00Z",
            "fieldsType": "FieldsV1", "fieldsV1": fields})
    }

    fn ours(fields: Value) -> Value {
        entry(MANAGER, "Update", fields)
    }

    fn with(mut entry: Value, key: &str, value: &str) -> Value {
        entry[key] = value.into();
        entry
    }

    fn live(hashes: &[&str], entries: &Value) -> Value {
        let hashes: Map<String, Value> = hashes
            .iter()
            .map(|hash| (format!("koinon.dev/applied-hash{hash}"), "x".into()))
            .collect();
        json!({"metadata": {"annotations": hashes, "managedFields": entries}})
    }

    #[test]
    fn what_was_written_with_update_is_handed_to_the_manager_that_applies() {
        let owners = || json!({"f:ownerReferences": {".": {}, "k:{\"uid\":\"u\"}": {}}});
        let owned = || json!({"f:metadata": owners()});
        let image = || json!({"f:spec": {"f:image": {}}});
        let whole = || {
            let mut fields = json!({"f:metadata": owners(), "f:spec": {"f:image": {}}});
            fields["f:metadata"]["f:labels"] = json!({".": {}, "f:app": {}});
            fields
        };
        let parted = || json!({"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": {"f:image": {}}});
        let apply = |fields| entry("work-agent", "Apply", fields);
        let scaler = || with(ours(image()), "subresource", "scale");
        let kubectl = || entry("kubectl", "Update", image());
        let older = |entry| with(entry, "apiVersion", "apps/v1beta1");
        let mine = [".1a2b3c4d"].as_slice();
        // what it is about, hashes (after their prefix), entries, and what becomes of them
        let cases: [(&str, &[&str], Value, Option<Value>); 17] = [
            (
                "owner references stay",
                mine,
                json!([ours(whole())]),
                Some(json!([ours(owned()), apply(parted())])),
            ),
            (
                "an entry with nothing left goes",
                mine,
                json!([ours(image())]),
                Some(json!([apply(image())])),
            ),
            (
                "an empty metadata goes",
                mine,
                json!([ours(
                    json!({"f:metadata": owners(), "f:spec": {"f:image": {}}})
                )]),
                Some(json!([ours(owned()), apply(image())])),
            ),
            (
                "owner references alone",
                mine,
                json!([apply(image()), ours(owned())]),
                None,
            ),
            ("nothing of ours", mine, json!([kubectl()]), None),
            ("no entries", mine, Value::Null, None),
            ("no digest", &[], json!([ours(whole())]), None),
            (
                "another work's digest",
                &[".99999999"],
                json!([ours(whole())]),
                None,
            ),
            (
                "another work's digest too",
                &[".1a2b3c4d", ".99999999"],
                json!([ours(whole())]),
                None,
            ),
            (
                "an earlier agent's digest, for all works",
                &[".1a2b3c4d", ""],
                json!([ours(whole())]),
                None,
            ),
            (
                "another version than what is applied",
                mine,
                json!([apply(image()), older(ours(whole()))]),
                None,
            ),
            (
                "of two versions the one that is applied",
                mine,
                json!([
                    older(apply(image())),
                    older(ours(image())),
                    ours(json!({"f:data": {}}))
                ]),
                Some(json!([older(apply(image())), ours(json!({"f:data": {}}))])),
            ),
            (
                "of two versions the one that was written last",
                mine,
                json!([older(ours(image())), ours(whole())]),
                Some(json!([
                    older(ours(image())),
                    ours(owned()),
                    apply(parted())
                ])),
            ),
            (
                "a subresource",
                mine,
                json!([scaler(), with(ours(image()), "subresource", "status")]),
                None,
            ),
            (
                "others and subresources stay as they are",
                mine,
                json!([kubectl(), ours(image()), scaler()]),
                Some(json!([kubectl(), scaler(), apply(image())])),
            ),
            (
                "another manager that applies",
                mine,
                json!([entry("work-agent-x", "Apply", image()), ours(image())]),
                Some(json!([
                    entry("work-agent-x", "Apply", image()),
                    apply(image())
                ])),
            ),
            (
                "fields are united",
                mine,
                json!([
                    apply(
                        json!({"f:data": {"f:a": {}, "f:leaf": {}, "f:map": {"f:x": {}}}, "f:only": {}})
                    ),
                    ours(
                        json!({"f:data": {".": {}, "f:b": {}, "f:leaf": {"f:y": {}}, "f:map": {}}, "f:more": {}})
                    )
                ]),
                Some(json!([apply(
                    json!({"f:data": {".": {}, "f:a": {}, "f:b": {}, "f:leaf": {".": {}, "f:y": {}},
                        "f:map": {".": {}, "f:x": {}}}, "f:only": {}, "f:more": {}})
                )])),
            ),
        ];
        for (what, hashes, entries, expected) in cases {
            let live = live(hashes, &entries);
            let found = handed_over(&live, &owner(), "work-agent");
            assert_eq!(found.map(Value::from), expected, "{what}");
        }
    }

    #[test]
    fn it_is_handed_over_once() {
        let owners = json!({"f:ownerReferences": {"k:{\"uid\":\"u\"}": {}}, "f:labels": {}});
        let mut live = live(
            &[".1a2b3c4d"],
            &json!([ours(json!({"f:metadata": owners}))]),
        );
        let first = handed_over(&live, &owner(), "work-agent");
        live["metadata"]["managedFields"] = first.map(Value::from).unwrap_or_default();
        assert_eq!(live["metadata"]["managedFields"][1]["operation"], "Apply");
        assert_eq!(handed_over(&live, &owner(), "work-agent"), None);
    }
}
