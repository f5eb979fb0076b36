//! What is never written down: the contents of Secrets, wherever in a body they are. Pure.

use serde_json::{Value, json};

/// Stands where something secret stood.
const HIDDEN: &str = "(hidden)";
/// Repeats an object as text.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Deepest nesting that is recorded: a record must be read again, and there is more around it.
const DEEPEST: usize = 64;

/// What a body becomes in the log; `None` if it is nested too deep.
///
/// Manifests of works are reduced to what they are about, for any of them may hold a secret under any name. Elsewhere the data of Secrets is
/// hidden, and every text that repeats an object. Managed fields are left out: they say nothing that the records do not say better.
pub fn redact(mut value: Value) -> Option<Value> {
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
                    ("manifests", Value::Array(list)) => {
                        *value = list.iter().map(outline).collect();
                        true
                    }
                    (LAST_APPLIED, _) => hidden(value),
                    ("data" | "stringData", _) if is_secret => hidden(value),
                    _ => hide(value, depth + 1),
                })
        }
        _ => true,
    }
}

fn hidden(value: &mut Value) -> bool {
    *value = HIDDEN.into();
    true
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
        let redacted = redact(body).unwrap();
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
        assert!(redact(nested(DEEPEST)).is_some());
        assert_eq!(redact(nested(DEEPEST + 1)), None);
    }
}
