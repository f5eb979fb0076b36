//! The kinds that a namespace can hold, from discovery.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::{Cluster, Resource, Result};

/// Resources that clusters fill by themselves, or that go with what they are about.
const FILLED: [(&str, &str); 4] = [
    ("", "events"),
    ("events.k8s.io", "events"),
    ("", "endpoints"),
    ("coordination.k8s.io", "leases"),
];

/// Groups that only OpenShift's own API server has.
const OF_OPENSHIFT: [&str; 4] = [
    "apps.openshift.io",
    "authorization.openshift.io",
    "image.openshift.io",
    "template.openshift.io",
];

/// What discovery says of namespaced kinds.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    listable: Vec<Resource>,
    /// Group and kind.
    namespaced: BTreeSet<(String, String)>,
}

impl Kinds {
    /// Asks the member for every version of every group: a kind may be served in one that is not its group's preferred one.
    ///
    /// # Errors
    /// Fails when a group does not answer.
    pub(super) async fn discover(cluster: &Cluster) -> Result<Self> {
        let mut kinds = Self::default();
        for (group, version) in versions(&cluster.document("/apis").await?) {
            let path = if group.is_empty() {
                format!("/api/{version}")
            } else {
                format!("/apis/{group}/{version}")
            };
            match cluster.document(&path).await {
                Ok(document) => kinds.add(&document, &group, &version),
                // Gone since the groups were listed.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(kinds)
    }

    /// Every kind that can be listed, in one version each.
    pub(super) fn listable(&self) -> &[Resource] {
        &self.listable
    }

    /// Says whether the cluster is one of OpenShift: definitions of its other groups are installed elsewhere, too.
    pub(super) fn is_openshift(&self) -> bool {
        let mut groups = self.namespaced.iter().map(|(group, _)| group.as_str());
        groups.any(|group| OF_OPENSHIFT.contains(&group))
    }

    /// Says whether objects of a kind live in namespaces, whatever its version.
    pub(super) fn is_namespaced(&self, api_version: &str, kind: &str) -> bool {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        self.namespaced
            .contains(&(group.to_owned(), kind.to_owned()))
    }

    /// Adds what an `APIResourceList` says.
    pub(super) fn add(&mut self, document: &Value, group: &str, version: &str) {
        let entries = document.get("resources").and_then(Value::as_array);
        for entry in entries.into_iter().flatten() {
            let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
            let (kind, plural) = (text("kind"), text("name"));
            if entry.get("namespaced") != Some(&Value::Bool(true)) || plural.contains('/') {
                continue;
            }
            self.namespaced.insert((group.to_owned(), kind.to_owned()));
            let verbs = entry.get("verbs").and_then(Value::as_array);
            let listable = verbs.is_some_and(|verbs| verbs.iter().any(|verb| verb == "list"));
            // Views of what others hold.
            let view = group == "metrics.k8s.io" || group.ends_with(".metrics.k8s.io");
            let known = self
                .listable
                .iter()
                .any(|known| (known.group.as_str(), known.plural.as_str()) == (group, plural));
            if listable && !view && !known && !FILLED.contains(&(group, plural)) {
                self.listable.push(Resource {
                    group: group.to_owned(),
                    version: version.to_owned(),
                    kind: kind.to_owned(),
                    plural: plural.to_owned(),
                    namespaced: true,
                });
            }
        }
    }
}

/// Every version of every group, a group's preferred one first.
fn versions(groups: &Value) -> Vec<(String, String)> {
    let mut all = vec![(String::new(), "v1".to_owned())];
    let groups = groups.get("groups").and_then(Value::as_array);
    for group in groups.into_iter().flatten() {
        let name = group
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let version = |entry: &Value| Some(entry.get("version")?.as_str()?.to_owned());
        let preferred = group.get("preferredVersion").and_then(version);
        let served = group.get("versions").and_then(Value::as_array);
        let served = served.into_iter().flatten().filter_map(version);
        let rest: Vec<_> = served
            .filter(|served| Some(served) != preferred.as_ref())
            .collect();
        all.extend(
            preferred
                .into_iter()
                .chain(rest)
                .map(|version| (name.to_owned(), version)),
        );
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn kinds_are_found_in_discovery_without_subresources_and_views() {
        let document = json!({"resources": [
            {"name": "pods", "kind": "Pod", "namespaced": true, "verbs": ["get", "list"]},
            {"name": "pods/status", "kind": "Pod", "namespaced": true, "verbs": ["get", "list"]},
            {"name": "bindings", "kind": "Binding", "namespaced": true, "verbs": ["create"]},
            {"name": "nodes", "kind": "Node", "namespaced": false, "verbs": ["list"]},
            {"name": "events", "kind": "Event", "namespaced": true, "verbs": ["list"]},
        ]});
        let listable = |group: &str| {
            let mut kinds = Kinds::default();
            kinds.add(&document, group, "v1");
            kinds
                .listable
                .into_iter()
                .map(|k| k.plural)
                .collect::<Vec<_>>()
        };
        assert_eq!(listable(""), ["pods"]);
        // A custom kind is not taken for the core kind of that name.
        assert_eq!(listable("test.dev"), ["pods", "events"]);
        assert!(listable("metrics.k8s.io").is_empty());
        assert!(listable("custom.metrics.k8s.io").is_empty());
        let mut kinds = Kinds::default();
        kinds.add(&document, "", "v1");
        assert!(kinds.is_namespaced("v1", "Pod") && kinds.is_namespaced("v1", "Binding"));
        assert!(!kinds.is_namespaced("v1", "Node") && !kinds.is_namespaced("apps/v1", "Pod"));
    }

    #[test]
    fn kinds_of_all_versions_count_once_each() {
        let groups = json!({"groups": [{"name": "gateway.dev", "preferredVersion": {"version": "v1"},
            "versions": [{"version": "v1"}, {"version": "v1alpha1"}]}]});
        let pairs = versions(&groups);
        let pairs: Vec<_> = pairs
            .iter()
            .map(|(group, version)| (group.as_str(), version.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("", "v1"),
                ("gateway.dev", "v1"),
                ("gateway.dev", "v1alpha1")
            ]
        );
        let list = |plural: &str| json!({"resources": [{"name": plural, "kind": "K", "namespaced": true, "verbs": ["list"]}]});
        let mut kinds = Kinds::default();
        kinds.add(&list("routes"), "gateway.dev", "v1");
        kinds.add(&list("routes"), "gateway.dev", "v1alpha1");
        kinds.add(&list("grants"), "gateway.dev", "v1alpha1");
        let found: Vec<_> = kinds
            .listable()
            .iter()
            .map(|k| (k.plural.as_str(), k.version.as_str()))
            .collect();
        assert_eq!(found, [("routes", "v1"), ("grants", "v1alpha1")]);
    }
}
