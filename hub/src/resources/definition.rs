//! `CustomResourceDefinition`: the hub's own kinds as what they would be elsewhere, for clients that look whether a kind is there.
//! A read-only view: what the hub serves does not change while it runs.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use koinon_machinery::{ResourceInfo, Verb};
use serde_json::{Value, json};

use crate::registry::{Strategy, View};

#[derive(Debug)]
pub(super) struct Definitions;

impl Strategy for Definitions {
    fn info(&self) -> ResourceInfo {
        let definition: CustomResourceDefinition = serde_json::from_value(definition())
            .expect("the definition of definitions is one, which a test checks");
        ResourceInfo::from_crd(&definition)
            .expect("it is structural, which a test checks")
            .with_verbs([Verb::Get, Verb::List, Verb::Watch])
    }

    fn view(&self) -> View {
        View::Definitions
    }
}

/// Its schema says no more than that there is a spec and a status: Kubernetes' own refers to itself.
fn definition() -> Value {
    let open = |description: &str| json!({ "type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": true });
    json!({
        "metadata": { "name": "customresourcedefinitions.apiextensions.k8s.io" },
        "spec": {
            "group": "apiextensions.k8s.io",
            "scope": "Cluster",
            "names": {
                "kind": "CustomResourceDefinition",
                "plural": "customresourcedefinitions",
                "singular": "customresourcedefinition",
                "shortNames": ["crd", "crds"],
                "categories": ["api-extensions"],
            },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "additionalPrinterColumns": [
                    { "name": "Created At", "type": "string", "jsonPath": ".metadata.creationTimestamp" },
                ],
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "description": "A kind of this hub, as a cluster would define it.",
                    "properties": {
                        "spec": open("Names, scope, versions and schemas of the kind."),
                        "status": open("That the hub serves it."),
                    },
                } },
            }],
        },
    })
}
