//! Aggregated discovery: everything below `/api` or `/apis` in one document
//! ([KEP-3352](https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/3352-aggregated-discovery)).

use serde_json::{Value, json};

use super::{
    Aggregated, Document,
    legacy::{status_verbs, verbs, versions},
};
use crate::ResourceInfo;

pub(super) fn document(groups: &[(&str, &[&ResourceInfo])], version: Aggregated) -> Document {
    let items: Vec<Value> = groups
        .iter()
        .map(|(name, resources)| group(name, resources))
        .collect();
    Document::new(&json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{}", version.version()),
        "metadata": {},
        "items": items,
    }))
}

fn group(name: &str, resources: &[&ResourceInfo]) -> Value {
    let versions: Vec<Value> = versions(resources)
        .into_iter()
        .map(|version| {
            let of_version = resources
                .iter()
                .filter(|resource| resource.version == version);
            let resources: Vec<Value> = of_version.map(|resource| entry(resource)).collect();
            json!({ "version": version, "resources": resources, "freshness": "Current" })
        })
        .collect();
    let mut metadata = json!({ "creationTimestamp": null });
    if !name.is_empty() {
        metadata["name"] = name.into();
    }
    json!({ "metadata": metadata, "versions": versions })
}

fn entry(resource: &ResourceInfo) -> Value {
    let response_kind =
        json!({ "group": resource.group, "version": resource.version, "kind": resource.kind });
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": response_kind,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": verbs(resource),
    });
    for (field, names) in [
        ("shortNames", &resource.short_names),
        ("categories", &resource.categories),
    ] {
        if !names.is_empty() {
            entry[field] = names.clone().into();
        }
    }
    let status = resource.has_status.then(|| {
        json!({
            "subresource": "status",
            "responseKind": response_kind,
            "verbs": status_verbs(resource),
        })
    });
    let others = resource.subresources.iter().map(|one| {
        json!({
            "subresource": one.name,
            "responseKind": { "group": one.group, "version": one.version, "kind": one.kind },
            "verbs": one.verbs.iter().map(|verb| verb.as_str()).collect::<Vec<_>>(),
        })
    });
    let subresources: Vec<Value> = status.into_iter().chain(others).collect();
    if !subresources.is_empty() {
        entry["subresources"] = subresources.into();
    }
    entry
}
