//! What is never written down: the contents of Secrets, wherever in a body they are. Pure.

use serde_json::{Map, Value, json};

use crate::authz::Attributes;

/// Stands where something secret stood.
const HIDDEN: &str = "(hidden)";
/// Repeats an object as text.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Deepest nesting that is recorded: a record must be read again, and there is more around it.
const DEEPEST: usize = 64;
/// The group of works and replica sets.
const WORK: &str = "work.open-cluster-management.io";
/// Fields of works, replica sets and options of deletions that hold no secret.
const KNOWN: [&str; 12] = [
    "apiVersion",
    "cascadeDeletionPolicy",
    "deleteOption",
    "dryRun",
    "executor",
    "gracePeriodSeconds",
    "kind",
    "manifestConfigs",
    "orphanDependents",
    "placementRefs",
    "preconditions",
    "propagationPolicy",
];

/// How a Secret looks in a text that repeats one.
const SIGNS: [&str; 2] = ["Secret\"", "Secret\\"];

/// What a body becomes in the log; `None` if it is nested too deep, or no object or patch at all.
///
/// Of works and replica sets it is kept what is known to be no secret: any manifest may hold one under any name, any annotation may repeat
/// one, and what a work reports may be one. Elsewhere the data of Secrets is hidden, and every text that repeats an object. Managed fields
/// are left out: they say nothing that the records do not say better.
pub fn redact(mut value: Value, asked: &Attributes) -> Option<Value> {
    if asked.group == WORK {
        return match value {
            Value::Object(fields) => of_work(fields, 0),
            _ => None,
        };
    }
    if !(value.is_object() || value.is_array()) {
        return None;
    }
    hide(&mut value, 0).then_some(value)
}

fn hide(value: &mut Value, depth: usize) -> bool {
    if depth > DEEPEST {
        return false;
    }
    match value {
        Value::Array(list) => list.iter_mut().all(|item| hide(item, depth + 1)),
        Value::Object(fields) => {
            if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
                metadata.remove("managedFields");
            }
            let is_secret = fields.get("kind").and_then(Value::as_str) == Some("Secret");
            fields
                .iter_mut()
                .all(|(name, value)| match (name.as_str(), &*value) {
                    ("manifests", _) => {
                        *value = outlines(value);
                        true
                    }
                    (LAST_APPLIED | "stringData" | "statusFeedback", _) => hidden(value),
                    ("data", _) if is_secret => hidden(value),
                    _ => hide(value, depth + 1),
                })
        }
        Value::String(text) if SIGNS.iter().any(|sign| text.contains(sign)) => hidden(value),
        _ => true,
    }
}

fn hidden(value: &mut Value) -> bool {
    *value = HIDDEN.into();
    true
}

/// A work, a replica set, the spec or the template in one, or the options of a deletion: fields that are not known keep their names only.
fn of_work(fields: Map<String, Value>, depth: usize) -> Option<Value> {
    // A template is two levels deep; whatever is deeper was made to be.
    if depth > 4 {
        return None;
    }
    let mut kept = Map::new();
    for (name, mut value) in fields {
        let value = match (name.as_str(), &mut value) {
            ("spec" | "manifestWorkTemplate" | "workload", Value::Object(inner)) => {
                of_work(std::mem::take(inner), depth + 1)?
            }
            ("manifests", _) => outlines(&value),
            ("metadata", Value::Object(metadata)) => {
                metadata.remove("managedFields");
                if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
                    let ours = |name: &str| name.starts_with("koinon.dev/");
                    for (_, value) in annotations.iter_mut().filter(|(name, _)| !ours(name)) {
                        *value = HIDDEN.into();
                    }
                }
                if !hide(&mut value, depth + 1) {
                    return None;
                }
                value
            }
            (known, _) if KNOWN.contains(&known) => {
                if !hide(&mut value, depth + 1) {
                    return None;
                }
                value
            }
            _ => HIDDEN.into(),
        };
        kept.insert(name, value);
    }
    Some(kept.into())
}

fn outlines(manifests: &Value) -> Value {
    match manifests {
        Value::Array(list) => list.iter().map(outline).collect(),
        _ => HIDDEN.into(),
    }
}

fn outline(manifest: &Value) -> Value {
    let text = |pointer: &str| {
        let found = manifest.pointer(pointer).and_then(Value::as_str);
        found.unwrap_or_default().to_owned()
    };
    json!({
        "apiVersion": text("/apiVersion"), "kind": text("/kind"),
        "metadata": { "namespace": text("/metadata/namespace"), "name": text("/metadata/name") },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_they_are_and_nothing_else_is() {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "s" }, "data": { "p": "cGFzcw==" }, "stringData": { "q": "pass" },
        });
        let odd = json!({ "kind": "Custom", "metadata": { "name": "odd" }, "spec": { "password": "pass" } });
        let body = json!({
            "kind": "List",
            "metadata": { "annotations": { LAST_APPLIED: "{\"stringData\":{\"q\":\"pass\"}}", "other": "kept" }, "managedFields": [{ "manager": "pass" }] },
            "items": [secret, { "kind": "ConfigMap", "data": { "k": "plain" } }],
            "spec": { "workload": { "manifests": [secret, odd, "pass"] } },
        });
        let redacted = redact(body, &Attributes::of("create", "", "configmaps")).unwrap();
        let text = redacted.to_string();
        assert!(!text.contains("pass") && !text.contains("cGFzcw"), "{text}");
        assert!(text.contains("plain") && text.contains("kept"), "{text}");
        assert_eq!(redacted["items"][0]["data"], HIDDEN);
        let about = &redacted["spec"]["workload"]["manifests"][1];
        assert_eq!(
            (&about["kind"], &about["metadata"]["name"]),
            (&json!("Custom"), &json!("odd"))
        );
    }

    #[test]
    fn what_is_nested_too_deep_is_not_recorded() {
        let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        let maps = Attributes::of("create", "", "configmaps");
        assert!(redact(nested(DEEPEST), &maps).is_some());
        assert_eq!(redact(nested(DEEPEST + 1), &maps), None);
        let works = Attributes::of("create", WORK, "manifestworks");
        let deep = (0..9).fold(json!({}), |inner, _| json!({ "spec": inner }));
        assert_eq!(redact(deep, &works), None);
        let deep = json!({ "metadata": nested(DEEPEST), "spec": { "executor": nested(DEEPEST) } });
        assert_eq!(redact(deep, &works), None);
    }

    #[test]
    fn of_a_work_only_what_is_known_is_kept() {
        let works = Attributes::of("update", WORK, "manifestworks");
        let secret =
            json!({ "kind": "Secret", "metadata": { "name": "s" }, "data": { "p": "pass" } });
        let body = json!({
            "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
            "metadata": {
                "name": "w", "labels": { "team": "a" },
                "annotations": { "objectset.rio.cattle.io/applied": "pass", "koinon.dev/availability": "exists" },
                "managedFields": [{ "manager": "pass" }],
            },
            "spec": {
                "workload": { "manifests": [secret], "manifest": [secret], "other": "pass" },
                "deleteOption": { "propagationPolicy": "Orphan" }, "worklod": { "x": "pass" },
            },
            "status": { "resourceStatus": { "manifests": [{ "statusFeedback": { "values": [{ "fieldValue": { "string": "pass" } }] } }] } },
            "stringData": "pass",
        });
        let redacted = redact(body.clone(), &works).unwrap();
        let text = redacted.to_string();
        assert!(!text.contains("pass"), "{text}");
        for kept in ["Orphan", "exists", "team", "worklod", "objectset"] {
            assert!(text.contains(kept), "{kept}: {text}");
        }
        assert_eq!(
            redacted["spec"]["workload"]["manifests"][0]["kind"],
            "Secret"
        );
        let set = json!({ "spec": { "manifestWorkTemplate": body["spec"], "placementRefs": [{ "name": "p" }] } });
        let sets = Attributes::of("create", WORK, "manifestworkreplicasets");
        let redacted = redact(set, &sets).unwrap();
        assert!(!redacted.to_string().contains("pass"), "{redacted}");
        assert_eq!(redacted["spec"]["placementRefs"][0]["name"], "p");
        let options = json!({ "kind": "DeleteOptions", "propagationPolicy": "Foreground" });
        assert_eq!(redact(options.clone(), &works), Some(options));
        // What is no object says nothing that can be told apart.
        for odd in [json!("pass"), json!([secret]), json!(7)] {
            assert_eq!(redact(odd, &works), None);
        }
        assert_eq!(
            redact(
                json!("stringData: pass"),
                &Attributes::of("create", "", "configmaps")
            ),
            None
        );
    }

    #[test]
    fn texts_and_feedback_are_hidden_in_whatever_they_are() {
        let asked = Attributes::of("create", "", "configmaps");
        let body = json!({
            "data": { "copy": "{\"kind\":\"Secret\",\"data\":{\"p\":\"pass\"}}", "k": "plain" },
            "stringData": { "p": "pass" },
            "manifests": { "kind": "Vault", "p": "pass" },
            "status": { "statusFeedback": { "values": ["pass"] } },
        });
        let redacted = redact(body, &asked).unwrap().to_string();
        assert!(
            !redacted.contains("pass") && redacted.contains("plain"),
            "{redacted}"
        );
    }
}
