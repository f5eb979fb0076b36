//! Discovery as it was before aggregation: a document for every group and every version of it.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Document;
use crate::{ResourceInfo, Verb};

pub(super) fn core_versions() -> Document {
    // Clients ignore the addresses; the hub does not know by which name it is reached, so it lists none.
    Document::new(
        &json!({ "kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [] }),
    )
}

pub(super) fn group_list(groups: &[(&str, &[&ResourceInfo])]) -> Document {
    let groups: Vec<Value> = groups
        .iter()
        .map(|(name, resources)| group_entry(name, resources))
        .collect();
    Document::new(&json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups }))
}

pub(super) fn group(name: &str, resources: &[&ResourceInfo]) -> Document {
    let mut entry = group_entry(name, resources);
    entry["kind"] = "APIGroup".into();
    entry["apiVersion"] = "v1".into();
    Document::new(&entry)
}

fn group_entry(name: &str, resources: &[&ResourceInfo]) -> Value {
    let versions: Vec<Value> = versions(resources)
        .into_iter()
        .map(|version| json!({ "groupVersion": format!("{name}/{version}"), "version": version }))
        .collect();
    json!({ "name": name, "versions": versions, "preferredVersion": versions.first() })
}

/// The versions of a group, the most stable first.
pub(super) fn versions<'a>(resources: &[&'a ResourceInfo]) -> Vec<&'a str> {
    let mut versions: Vec<&str> = resources
        .iter()
        .map(|resource| resource.version.as_str())
        .collect();
    versions.sort_by_key(|version| std::cmp::Reverse(rank(version)));
    versions.dedup();
    versions
}

/// `v2` before `v1` before `v1beta2` before `v1alpha1`, as kube-aware version sorting has it.
fn rank(version: &str) -> (u8, u32, u32) {
    let number = |text: &str| text.parse::<u32>().unwrap_or_default();
    let rest = version.trim_start_matches('v');
    if let Some((major, minor)) = rest.split_once("beta") {
        (1, number(major), number(minor))
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (0, number(major), number(minor))
    } else {
        (2, number(rest), 0)
    }
}

pub(super) fn resources(group_version: &str, resources: &[&ResourceInfo]) -> Document {
    let mut list = Vec::new();
    for resource in resources {
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": verbs(resource),
            "storageVersionHash": storage_hash(resource),
        });
        for (field, names) in [
            ("shortNames", &resource.short_names),
            ("categories", &resource.categories),
        ] {
            if !names.is_empty() {
                entry[field] = names.clone().into();
            }
        }
        list.push(entry);
        if resource.has_status {
            list.push(json!({
                "name": format!("{}/status", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": resource.kind,
                "verbs": status_verbs(resource),
            }));
        }
        list.extend(resource.subresources.iter().map(|one| {
            json!({
                "name": format!("{}/{}", resource.plural, one.name),
                "singularName": "",
                "namespaced": resource.namespaced,
                "group": one.group,
                "version": one.version,
                "kind": one.kind,
                "verbs": one.verbs.iter().map(|verb| verb.as_str()).collect::<Vec<_>>(),
            })
        }));
    }
    Document::new(&json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version,
        "resources": list,
    }))
}

pub(super) fn verbs(resource: &ResourceInfo) -> Vec<&'static str> {
    resource.verbs.iter().map(|verb| verb.as_str()).collect()
}

/// The verbs of `/status`.
pub(super) fn status_verbs(resource: &ResourceInfo) -> Vec<&'static str> {
    let verbs = [Verb::Get, Verb::Patch, Verb::Update];
    verbs
        .into_iter()
        .filter(|verb| resource.allows(*verb))
        .map(Verb::as_str)
        .collect()
}

fn storage_hash(resource: &ResourceInfo) -> String {
    let digest = Sha256::digest(format!(
        "{}/{}/{}",
        resource.group, resource.version, resource.kind
    ));
    STANDARD.encode(&digest[..8])
}
