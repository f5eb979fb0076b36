//! What a work asks for, read from its body. Pure.

use koinon_api::applied::AppliedManifestResourceMeta as Applied;
use koinon_api::work::{
    ConditionRule, DeleteOption, DeletePropagationPolicy, FeedbackRule, ManifestConfigOption,
    ManifestWorkSpec, UpdateStrategy, UpdateStrategyType,
};
use serde_json::Value;

use super::order;
use crate::cluster::Resource;

/// One manifest of a work.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Manifest {
    /// Place in the work.
    pub(super) ordinal: usize,
    /// Lower ranks are applied first.
    pub(super) rank: u16,
    /// The object, or why it is none.
    pub(super) object: Result<Object, String>,
}

/// A manifest that can be tried.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// As declared, without what only a live object has.
    pub(super) value: Value,
}

/// How one manifest is treated.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Treatment {
    pub(super) strategy: UpdateStrategy,
    pub(super) feedback: Vec<FeedbackRule>,
    pub(super) conditions: Vec<ConditionRule>,
}

/// Whether the object goes when the work goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    Owned,
    Orphaned,
}

/// Reads all manifests and sorts them into the order in which they are applied; equal ranks keep their order.
pub(super) fn manifests(spec: &ManifestWorkSpec) -> Vec<Manifest> {
    let mut manifests: Vec<Manifest> = spec
        .workload
        .manifests
        .iter()
        .enumerate()
        .map(|(ordinal, manifest)| {
            let object = read(&manifest.0);
            let rank = object
                .as_ref()
                .map_or(order::UNREADABLE, |o| order::rank(&o.kind));
            Manifest {
                ordinal,
                rank,
                object,
            }
        })
        .collect();
    manifests.sort_by_key(|m| m.rank);
    manifests
}

fn read(manifest: &Value) -> Result<Object, String> {
    let text = |pointer: &str| {
        manifest
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (api_version, kind, name) = (text("/apiVersion"), text("/kind"), text("/metadata/name"));
    if kind.is_empty() {
        return Err("Object 'Kind' is missing".to_owned());
    }
    if api_version.is_empty() {
        return Err("Object 'apiVersion' is missing".to_owned());
    }
    if !text("/metadata/generateName").is_empty() {
        return Err("generateName must not be set in manifest".to_owned());
    }
    if name.is_empty() {
        return Err("name must be set in manifest".to_owned());
    }
    let namespace = text("/metadata/namespace");
    // These become parts of a URL. The API server allows more characters in names than in most places, but none of these.
    for part in [&name, &namespace, &api_version] {
        if part.contains(|c: char| c.is_whitespace() || c.is_control() || "%?#\\".contains(c))
            || part == "."
            || part == ".."
        {
            return Err(format!("invalid name {part:?}"));
        }
    }
    if name.contains('/') || namespace.contains('/') || api_version.matches('/').count() > 1 {
        return Err(format!("invalid name {name:?}: may not contain '/'"));
    }
    for field in ["labels", "annotations"] {
        let map = manifest.get("metadata").and_then(|m| m.get(field));
        if map.is_some_and(|map| !map.is_object() && !map.is_null()) {
            return Err(format!("metadata.{field} must be a map"));
        }
    }
    let mut value = manifest.clone();
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
            "managedFields",
            "selfLink",
        ] {
            metadata.remove(field);
        }
    }
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    fold_string_data(&mut value);
    leave_to_the_cluster(&mut value);
    drop_null_timestamps(&mut value);
    Ok(Object {
        api_version,
        kind,
        namespace,
        name,
        value,
    })
}

/// A Secret's `stringData` is write-only: it can be compared with what is live only as `data`.
fn fold_string_data(value: &mut Value) {
    use base64::Engine as _;

    if value.get("kind").and_then(Value::as_str) != Some("Secret")
        || value.get("apiVersion").and_then(Value::as_str) != Some("v1")
    {
        return;
    }
    let Some(object) = value.as_object_mut() else {
        return;
    };
    let strings = match object.get("stringData") {
        Some(Value::Object(strings)) => strings.clone(),
        Some(Value::Null) => serde_json::Map::new(),
        _ => return,
    };
    // What the API server does not take it shall refuse, in its own words.
    let is_text = |value: &Value| value.is_string() || value.is_null();
    let data = object.get("data").unwrap_or(&Value::Null);
    if !strings.values().all(is_text) || !(data.is_object() || data.is_null()) {
        return;
    }
    object.remove("stringData");
    if strings.is_empty() {
        return;
    }
    let data = object.entry("data").or_insert(Value::Null);
    if data.is_null() {
        *data = Value::Object(serde_json::Map::new());
    }
    if let Some(data) = data.as_object_mut() {
        for (key, text) in strings {
            let text = text.as_str().unwrap_or_default();
            let text = base64::engine::general_purpose::STANDARD.encode(text);
            data.insert(key, Value::String(text));
        }
    }
}

/// Takes out what somebody in the cluster fills in where the manifest says, in so many words, that it says nothing: the rules of an
/// aggregated role, and the authority behind a webhook.
fn leave_to_the_cluster(value: &mut Value) {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let api = text("apiVersion");
    let group = api.rsplit_once('/').map_or("", |(group, _)| group);
    let is_aggregated = value
        .get("aggregationRule")
        .is_some_and(|rule| !rule.is_null());
    match (group, text("kind")) {
        ("rbac.authorization.k8s.io", "ClusterRole") if is_aggregated => {
            if let Some(role) = value.as_object_mut() {
                role.remove("rules");
            }
        }
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => {
            let hooks = value.get_mut("webhooks").and_then(Value::as_array_mut);
            for hook in hooks.into_iter().flatten() {
                drop_empty_bundle(hook.get_mut("clientConfig"));
            }
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            drop_empty_bundle(value.pointer_mut("/spec/conversion/webhook/clientConfig"));
        }
        ("apiregistration.k8s.io", "APIService") => drop_empty_bundle(value.get_mut("spec")),
        _ => {}
    }
}

fn drop_empty_bundle(config: Option<&mut Value>) {
    if let Some(config) = config.and_then(Value::as_object_mut)
        && config
            .get("caBundle")
            .is_some_and(|bundle| bundle.is_null() || bundle == "")
    {
        config.remove("caBundle");
    }
}

/// Go clients serialise an absent time as `creationTimestamp: null`, also inside templates.
fn drop_null_timestamps(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if map.get("creationTimestamp").is_some_and(Value::is_null) {
                map.remove("creationTimestamp");
            }
            map.values_mut().for_each(drop_null_timestamps);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_null_timestamps),
        _ => {}
    }
}

/// Merges the configuration options that name this object: the first that says something wins, per aspect.
pub(super) fn treatment(
    configs: &[ManifestConfigOption],
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Treatment {
    let mut treatment = Treatment::default();
    let mut strategy = None;
    for option in configs {
        let id = &option.resource_identifier;
        if id.group != resource.group
            || id.resource != resource.plural
            || !matches(&id.namespace, namespace)
            || !matches(&id.name, name)
        {
            continue;
        }
        if strategy.is_none() {
            strategy.clone_from(&option.update_strategy);
        }
        if treatment.feedback.is_empty() {
            treatment.feedback.clone_from(&option.feedback_rules);
        }
        if treatment.conditions.is_empty() {
            treatment.conditions.clone_from(&option.condition_rules);
        }
    }
    treatment.strategy = strategy.unwrap_or_default();
    treatment
}

/// Matches a name against a pattern in which `*` stands for any characters, also none.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

/// Says whether the object is deleted with its work.
pub(super) fn ownership(
    option: Option<&DeleteOption>,
    strategy: UpdateStrategyType,
    resource: &Resource,
    namespace: &str,
    name: &str,
) -> Ownership {
    if strategy == UpdateStrategyType::ReadOnly {
        return Ownership::Orphaned;
    }
    match option.map_or(DeletePropagationPolicy::Foreground, |o| {
        o.propagation_policy
    }) {
        DeletePropagationPolicy::Foreground => Ownership::Owned,
        DeletePropagationPolicy::Orphan => Ownership::Orphaned,
        DeletePropagationPolicy::SelectivelyOrphan => {
            let rules = option
                .and_then(|o| o.selectively_orphans.as_ref())
                .map(|s| s.orphaning_rules.as_slice())
                .unwrap_or_default();
            let named = rules.iter().any(|r| {
                r.group == resource.group
                    && r.resource == resource.plural
                    && r.namespace == namespace
                    && r.name == name
            });
            if named {
                Ownership::Orphaned
            } else {
                Ownership::Owned
            }
        }
    }
}

/// Returns an object as it is recorded, without a uid.
pub(super) fn recorded(object: &Object, resource: &Resource) -> Applied {
    Applied {
        group: resource.group.clone(),
        version: resource.version.clone(),
        resource: resource.plural.clone(),
        namespace: if resource.namespaced {
            object.namespace.clone()
        } else {
            String::new()
        },
        name: object.name.clone(),
        uid: String::new(),
    }
}

/// The resource of a recorded object, in the version that it was applied with.
pub(super) fn resource_of(recorded: &Applied) -> Resource {
    Resource {
        group: recorded.group.clone(),
        version: recorded.version.clone(),
        kind: String::new(),
        plural: recorded.resource.clone(),
        namespaced: !recorded.namespace.is_empty(),
    }
}

/// Says whether a recorded object goes when it is no longer asked for, by what the work says now.
pub(super) fn fate(spec: &ManifestWorkSpec, recorded: &Applied) -> Ownership {
    let resource = resource_of(recorded);
    let (namespace, name) = (recorded.namespace.as_str(), recorded.name.as_str());
    let strategy = treatment(&spec.manifest_configs, &resource, namespace, name).strategy;
    ownership(
        spec.delete_option.as_ref(),
        strategy.type_,
        &resource,
        namespace,
        name,
    )
}

#[cfg(test)]
mod tests;
