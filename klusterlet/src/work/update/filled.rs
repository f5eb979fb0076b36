//! What somebody in the cluster fills into objects of a few kinds, and which a replacement must not take away: tokens would be minted
//! anew each time, rights would be gone for a moment, webhooks would not be trusted. The kinds are those that OCM's agent merges too
//! (`resourceapply` of library-go).

use std::borrow::Cow;

use serde_json::{Map, Value};

/// A manifest with what the cluster has filled in, where it declares nothing else.
pub(super) fn with_what_others_fill_in<'r>(required: &'r Value, live: &Value) -> Cow<'r, Value> {
    let text = |key: &str| {
        let text = required.get(key).and_then(Value::as_str);
        text.unwrap_or_default()
    };
    let api = text("apiVersion");
    let group = api.rsplit_once('/').map_or("", |(group, _)| group);
    let fill: fn(&mut Value, &Value) = match (group, text("kind")) {
        ("", "ServiceAccount") => account,
        ("", "Secret") if text("type") == "kubernetes.io/service-account-token" => token,
        ("rbac.authorization.k8s.io", "ClusterRole") => role,
        (
            "admissionregistration.k8s.io",
            "MutatingWebhookConfiguration" | "ValidatingWebhookConfiguration",
        ) => hooks,
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition,
        ("apiregistration.k8s.io", "APIService") => service,
        _ => return Cow::Borrowed(required),
    };
    let mut filled = required.clone();
    fill(&mut filled, live);
    Cow::Owned(filled)
}

/// The token controller and others add to these lists; an item that a newer manifest drops stays.
fn account(object: &mut Value, live: &Value) {
    for field in ["secrets", "imagePullSecrets"] {
        let Some(there) = live.get(field).and_then(Value::as_array) else {
            continue;
        };
        let mut items = there.clone();
        match object.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::Array(declared)) => {
                let is_there = |item: &&Value| {
                    let mut there = there.iter();
                    there.any(|there| there.get("name") == item.get("name"))
                };
                let new = declared.iter().filter(|item| !is_there(item));
                items.extend(new.cloned());
            }
            Some(_) => continue,
        }
        object[field] = items.into();
    }
}

/// The token controller fills in the data.
fn token(object: &mut Value, live: &Value) {
    let Some(there) = live.get("data").and_then(Value::as_object) else {
        return;
    };
    let declared = object.get("data").and_then(Value::as_object);
    let mut data: Map<String, Value> = there.clone();
    data.extend(declared.cloned().unwrap_or_default());
    object["data"] = data.into();
}

/// The rules of an aggregated role are computed.
fn role(object: &mut Value, live: &Value) {
    let aggregated = |role: &Value| {
        role.get("aggregationRule")
            .is_some_and(|rule| !rule.is_null())
    };
    if aggregated(object)
        && aggregated(live)
        && let Some(rules) = live.get("rules")
    {
        object["rules"] = rules.clone();
    }
}

fn hooks(object: &mut Value, live: &Value) {
    let there = live.get("webhooks").and_then(Value::as_array);
    let hooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
    for hook in hooks.into_iter().flatten() {
        let same = there
            .into_iter()
            .flatten()
            .find(|there| there.get("name") == hook.get("name"));
        let from = same.and_then(|same| same.get("clientConfig"));
        bundle(hook.get_mut("clientConfig"), from);
    }
}

fn definition(object: &mut Value, live: &Value) {
    let config = "/spec/conversion/webhook/clientConfig";
    bundle(object.pointer_mut(config), live.pointer(config));
}

/// One that is local, or is trusted whoever it is, has none.
fn service(object: &mut Value, live: &Value) {
    let spec = |field: &str| object.get("spec").and_then(|spec| spec.get(field));
    let trusts_anybody = spec("insecureSkipTLSVerify") == Some(&Value::Bool(true));
    if !trusts_anybody && spec("service").is_some_and(Value::is_object) {
        bundle(object.get_mut("spec"), live.get("spec"));
    }
}

/// An injector fills in whom to trust. Manifests have no empty bundles: they were taken out when they were read.
fn bundle(config: Option<&mut Value>, live: Option<&Value>) {
    if let (Some(config), Some(live)) = (config.and_then(Value::as_object_mut), live)
        && let Some(bundle) = live.get("caBundle")
        && !config.contains_key("caBundle")
    {
        config.insert("caBundle".to_owned(), bundle.clone());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_others_fill_in_stays() {
        let hook = |config: Value| {
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                "webhooks": [{"name": "b"}, {"name": "a", "clientConfig": config}]})
        };
        let role = |rules: Value, aggregated: bool| {
            let mut role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": rules});
            if aggregated {
                role["aggregationRule"] = json!({"clusterRoleSelectors": []});
            }
            role
        };
        let account = |secrets: Value| json!({"apiVersion": "v1", "kind": "ServiceAccount", "imagePullSecrets": secrets});
        let token = |data: Value| json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "data": data});
        let service = |spec: Value| json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "spec": spec});
        for (required, live, expected) in [
            (
                hook(json!({"url": "u"})),
                hook(json!({"url": "old", "caBundle": "x"})),
                hook(json!({"url": "u", "caBundle": "x"})),
            ),
            (
                hook(json!({"caBundle": "mine"})),
                hook(json!({"caBundle": "x"})),
                hook(json!({"caBundle": "mine"})),
            ),
            (
                role(Value::Null, true),
                role(json!([1]), true),
                role(json!([1]), true),
            ),
            // It was an ordinary one before.
            (
                role(Value::Null, true),
                role(json!([1]), false),
                role(Value::Null, true),
            ),
            (
                role(json!([2]), false),
                role(json!([1]), true),
                role(json!([2]), false),
            ),
            (
                account(json!([{"name": "mine"}])),
                account(json!([{"name": "theirs"}])),
                account(json!([{"name": "theirs"}, {"name": "mine"}])),
            ),
            (
                account(Value::Null),
                account(json!([1])),
                account(json!([1])),
            ),
            (
                token(json!({"k": "v"})),
                token(json!({"token": "t", "k": "w"})),
                token(json!({"token": "t", "k": "v"})),
            ),
            (
                service(json!({"service": {"name": "s"}})),
                service(json!({"service": {"name": "s"}, "caBundle": "x"})),
                service(json!({"service": {"name": "s"}, "caBundle": "x"})),
            ),
            (
                service(json!({"service": {"name": "s"}, "insecureSkipTLSVerify": true})),
                service(json!({"service": {"name": "s"}, "caBundle": "x"})),
                service(json!({"service": {"name": "s"}, "insecureSkipTLSVerify": true})),
            ),
            (
                service(json!({"service": null})),
                service(json!({"caBundle": "x"})),
                service(json!({"service": null})),
            ),
            (
                account(json!([{"name": "mine", "namespace": null}])),
                account(json!([{"name": "mine"}])),
                account(json!([{"name": "mine"}])),
            ),
            (
                json!({"apiVersion": "v1", "kind": "Secret", "data": {}}),
                token(json!({"token": "t"})),
                json!({"apiVersion": "v1", "kind": "Secret", "data": {}}),
            ),
        ] {
            let filled = with_what_others_fill_in(&required, &live);
            assert_eq!(*filled, expected, "{required} {live}");
        }
    }
}
