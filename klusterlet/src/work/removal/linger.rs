//! What is being deleted and does not go, because somebody's finalizer keeps it. Pure.
//!
//! Kubernetes gives no error for that: the deletion was accepted. Whoever waits for it learns here for whom.

use std::{collections::BTreeMap, time::Duration};

use koinon_api::applied::AppliedManifestResourceMeta as Applied;
use serde_json::Value;
use tokio::time::Instant;

use super::sift;

/// So long an object may take to go before anything is said: most controllers need less.
const PATIENCE: Duration = Duration::from_secs(5);

/// Objects that were seen on their way out, by uid.
#[derive(Debug, Default)]
pub(super) struct Lingering(BTreeMap<String, Instant>);

/// An object on its way out, and what keeps it.
#[derive(Debug)]
pub(super) struct Going {
    pub(super) uid: String,
    pub(super) kept: Option<String>,
}

impl Going {
    pub(super) fn of(recorded: &Applied, live: &Value) -> Self {
        Self {
            uid: sift::uid(live).to_owned(),
            kept: keeper(live).map(|keeper| format!("{} {keeper}", place(recorded))),
        }
    }
}

impl Lingering {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes in what is on its way out now, and says what of that has been kept for long: the first of them, and how many more.
    pub(super) fn see(&mut self, going: Vec<Going>, now: Instant) -> Option<String> {
        let mut before = std::mem::take(&mut self.0);
        let mut kept = Vec::new();
        for Going { uid, kept: why } in going {
            let since = before.remove(&uid).unwrap_or(now);
            if now.duration_since(since) >= PATIENCE {
                kept.extend(why);
            }
            self.0.insert(uid, since);
        }
        let first = kept.iter().min()?;
        Some(match kept.len() - 1 {
            0 => first.clone(),
            more => format!("{first}; and {more} more wait"),
        })
    }
}

fn place(object: &Applied) -> String {
    let mut place = object.resource.clone();
    if !object.group.is_empty() {
        place = format!("{place}.{}", object.group);
    }
    match object.namespace.as_str() {
        "" => format!("{place} {:?}", object.name),
        namespace => format!("{place} {:?}", format!("{namespace}/{}", object.name)),
    }
}

/// What keeps an object that is being deleted, as far as it tells.
fn keeper(live: &Value) -> Option<String> {
    // A Namespace and a definition say themselves what is left in them.
    let conditions = live.pointer("/status/conditions").and_then(Value::as_array);
    let mut left: Vec<&str> = conditions
        .into_iter()
        .flatten()
        .filter(|condition| {
            let is =
                |key: &str, value: &str| condition.get(key).and_then(Value::as_str) == Some(value);
            is("status", "True")
                && condition
                    .get("type")
                    .and_then(Value::as_str)
                    .is_some_and(|kind| CONTENT.contains(&kind))
        })
        .filter_map(|condition| condition.get("message")?.as_str())
        .collect();
    left.sort_unstable();
    if !left.is_empty() {
        return Some(format!("is being deleted: {}", left.join("; ")));
    }
    let finalizers = live
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array);
    let finalizers = finalizers.into_iter().flatten().filter_map(Value::as_str);
    let finalizers = finalizers.collect::<Vec<_>>().join(", ");
    (!finalizers.is_empty())
        .then(|| format!("is being deleted and waits for its finalizers: {finalizers}"))
}

/// Conditions of Namespaces and definitions that say what keeps them.
const CONTENT: [&str; 6] = [
    "NamespaceContentRemaining",
    "NamespaceFinalizersRemaining",
    "NamespaceDeletionContentFailure",
    "NamespaceDeletionDiscoveryFailure",
    "NamespaceDeletionGroupVersionParsingFailure",
    "Terminating",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn going(name: &str, live: &Value) -> Going {
        let recorded = Applied {
            group: "apps".into(),
            version: "v1".into(),
            resource: "deployments".into(),
            namespace: "shop".into(),
            name: name.into(),
            ..Default::default()
        };
        let mut live = live.clone();
        live["metadata"]["uid"] = name.into();
        Going::of(&recorded, &live)
    }

    #[test]
    fn only_what_is_kept_for_long_is_told() {
        let held = json!({"metadata": {"finalizers": ["example.org/a", "example.org/b"]}});
        let graceful = json!({"metadata": {}});
        let start = Instant::now();
        let mut lingering = Lingering::default();
        let all = || {
            vec![
                going("b", &held),
                going("a", &held),
                going("pod", &graceful),
            ]
        };
        assert_eq!(lingering.see(all(), start), None);
        assert_eq!(lingering.see(all(), start + PATIENCE / 2), None);
        let told = lingering.see(all(), start + PATIENCE).unwrap();
        assert_eq!(
            told,
            "deployments.apps \"shop/a\" is being deleted and waits for its finalizers: example.org/a, example.org/b; and 1 more wait"
        );
        // One went, and what has its name now is another one.
        let later = vec![going("b", &graceful), going("c", &held)];
        assert_eq!(lingering.see(later, start + PATIENCE), None);
        assert_eq!(lingering.0.len(), 2);
    }

    #[test]
    fn a_namespace_says_what_is_left_in_it() {
        let condition = |kind: &str, status: &str, message: &str| json!({"type": kind, "status": status, "message": message});
        let live = json!({"metadata": {}, "spec": {"finalizers": ["kubernetes"]}, "status": {"conditions": [
            condition("NamespaceFinalizersRemaining", "True", "Some content in the namespace has finalizers remaining: x in 1 resource instances"),
            condition("NamespaceDeletionDiscoveryFailure", "False", "All resources successfully discovered"),
            condition("NamespaceContentRemaining", "True", "Some resources are remaining: pods. has 1 resource instances"),
        ]}});
        assert_eq!(
            keeper(&live).unwrap(),
            "is being deleted: Some content in the namespace has finalizers remaining: x in 1 resource instances; \
             Some resources are remaining: pods. has 1 resource instances"
        );
        let definition = json!({"metadata": {"finalizers": ["customresourcecleanup.apiextensions.k8s.io"]},
            "status": {"conditions": [condition("Established", "True", "the initial CRD has been applied")]}});
        assert!(
            keeper(&definition)
                .unwrap()
                .ends_with("customresourcecleanup.apiextensions.k8s.io")
        );
    }
}
