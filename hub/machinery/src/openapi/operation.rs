//! One verb on one path.

use serde_json::{Map, Value, json};

use super::{component, group_version_kind, reference};
use crate::{ResourceInfo, Subresource, Verb, patch::Patch};

pub(super) struct Operation<'a> {
    pub(super) resource: &'a ResourceInfo,
    pub(super) verb: Verb,
}

impl Operation<'_> {
    pub(super) fn to_value(&self) -> Value {
        let Self { resource, verb } = self;
        let kind = component::name(resource);
        let (action, body, answer) = match verb {
            Verb::Get => ("get", None, kind),
            Verb::List | Verb::Watch => ("list", None, format!("{kind}List")),
            Verb::Create => ("post", Some(json_body(&kind)), kind.clone()),
            Verb::Update => ("put", Some(json_body(&kind)), kind.clone()),
            Verb::Patch => ("patch", Some(patch_body(resource)), kind),
            Verb::Delete => (
                "delete",
                Some(json_body(component::DELETE_OPTIONS)),
                component::STATUS.to_owned(),
            ),
            Verb::DeleteCollection => (
                "deletecollection",
                Some(json_body(component::DELETE_OPTIONS)),
                component::STATUS.to_owned(),
            ),
        };
        let mut operation = json!({
            "description": format!("{action} {}", resource.kind),
            "parameters": parameters(*verb),
            "responses": {
                "200": {
                    "description": "OK",
                    "content": { "application/json": { "schema": reference(&answer) } },
                },
            },
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": group_version_kind(resource),
        });
        if let Some(body) = body {
            operation["requestBody"] = body;
        }
        operation
    }
}

/// What is done to a subresource with a kind of its own, by its method. That kind may be of another document, so it is named and
/// not referred to.
pub(super) fn of_subresource(subresource: &Subresource, verb: Verb) -> (String, Value) {
    let (method, action) = match verb {
        Verb::Create => ("post", "post"),
        Verb::Update => ("put", "put"),
        Verb::Patch => ("patch", "patch"),
        Verb::Delete | Verb::DeleteCollection => ("delete", "delete"),
        Verb::Get | Verb::List | Verb::Watch => ("get", "get"),
    };
    let kind = json!({ "group": subresource.group, "version": subresource.version, "kind": subresource.kind });
    let content = json!({ "application/json": { "schema": { "type": "object" } } });
    let mut operation = json!({
        "description": format!("{action} {} of an object", subresource.name),
        "parameters": parameters(verb),
        "responses": { "200": { "description": "OK", "content": content } },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
    });
    if matches!(method, "post" | "put" | "patch") {
        operation["requestBody"] = json!({ "content": content });
    }
    (method.to_owned(), operation)
}

fn json_body(component: &str) -> Value {
    json!({ "content": { "application/json": { "schema": reference(component) } } })
}

fn patch_body(resource: &ResourceInfo) -> Value {
    let content: Map<String, Value> = Patch::accepted(resource)
        .into_iter()
        .map(|media_type| {
            (
                media_type.to_owned(),
                json!({ "schema": reference(component::PATCH) }),
            )
        })
        .collect();
    json!({ "content": content, "required": true })
}

fn parameters(verb: Verb) -> Vec<Value> {
    const WRITE: &[(&str, &str)] = &[
        ("dryRun", "string"),
        ("fieldManager", "string"),
        ("fieldValidation", "string"),
    ];
    const SELECT: &[(&str, &str)] = &[
        ("continue", "string"),
        ("fieldSelector", "string"),
        ("labelSelector", "string"),
        ("limit", "integer"),
        ("resourceVersion", "string"),
        ("resourceVersionMatch", "string"),
        ("timeoutSeconds", "integer"),
    ];
    const WATCH: &[(&str, &str)] = &[
        ("allowWatchBookmarks", "boolean"),
        ("sendInitialEvents", "boolean"),
        ("watch", "boolean"),
    ];
    const DELETE: &[(&str, &str)] = &[
        ("dryRun", "string"),
        ("gracePeriodSeconds", "integer"),
        ("propagationPolicy", "string"),
    ];
    let groups: &[&[(&str, &str)]] = match verb {
        Verb::Get => &[],
        Verb::List | Verb::Watch => &[SELECT, WATCH],
        Verb::Create | Verb::Update => &[WRITE],
        Verb::Patch => &[WRITE, &[("force", "boolean")]],
        Verb::Delete => &[DELETE],
        Verb::DeleteCollection => &[DELETE, SELECT],
    };
    groups
        .iter()
        .copied()
        .flatten()
        .map(|(name, kind)| query_parameter(name, kind))
        .collect()
}

fn query_parameter(name: &str, kind: &str) -> Value {
    json!({ "name": name, "in": "query", "schema": { "type": kind, "uniqueItems": true } })
}

pub(super) fn path_parameter(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "in": "path",
        "required": true,
        "description": description,
        "schema": { "type": "string", "uniqueItems": true },
    })
}
