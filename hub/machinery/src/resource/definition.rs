//! The CRD by which an API server would serve a kind as the hub does.

use serde_json::{Value, json};

use super::{Column, ResourceInfo};

impl ResourceInfo {
    /// A `CustomResourceDefinition` of this kind, `apiextensions.k8s.io/v1`.
    #[must_use]
    pub fn definition(&self) -> Value {
        let mut names = json!({
            "kind": self.kind, "listKind": self.list_kind(), "plural": self.plural, "singular": self.singular,
        });
        for (field, list) in [
            ("shortNames", &self.short_names),
            ("categories", &self.categories),
        ] {
            if !list.is_empty() {
                names[field] = json!(list);
            }
        }
        let mut version = json!({
            "name": self.version, "served": true, "storage": true,
            "schema": { "openAPIV3Schema": self.schema.document() },
            "additionalPrinterColumns": self.columns.iter().map(column).collect::<Vec<_>>(),
        });
        if self.has_status {
            version["subresources"] = json!({ "status": {} });
        }
        if !self.selectable_fields.is_empty() {
            let paths = self.selectable_fields.iter();
            version["selectableFields"] = paths
                .map(|path| json!({ "jsonPath": format!(".{path}") }))
                .collect();
        }
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": self.key() },
            "spec": {
                "group": self.group, "names": names, "versions": [version],
                "scope": if self.namespaced { "Namespaced" } else { "Cluster" },
            },
        })
    }

    /// The same as an API server shows it that has served the kind since then (`null` when nobody knows).
    #[must_use]
    pub fn established(&self, uid: &str, since: &Value) -> Value {
        let mut definition = self.definition();
        let metadata = &mut definition["metadata"];
        metadata["uid"] = json!(uid);
        metadata["generation"] = json!(1);
        metadata["creationTimestamp"] = since.clone();
        let condition = |kind: &str, reason: &str, message: &str| json!({ "type": kind, "status": "True", "lastTransitionTime": since, "reason": reason, "message": message });
        definition["status"] = json!({
            "acceptedNames": definition["spec"]["names"],
            "storedVersions": [self.version],
            "conditions": [
                condition("NamesAccepted", "NoConflicts", "no conflicts found"),
                condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
            ],
        });
        definition
    }
}

fn column(column: &Column) -> Value {
    let mut printed =
        json!({ "name": column.name, "type": column.type_, "jsonPath": column.json_path });
    for (field, text) in [
        ("description", &column.description),
        ("format", &column.format),
    ] {
        if !text.is_empty() {
            printed[field] = json!(text);
        }
    }
    if column.priority != 0 {
        printed["priority"] = json!(column.priority);
    }
    printed
}
