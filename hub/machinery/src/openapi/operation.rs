//! One verb on one path.

use serde_json::{Map, Value, json};

use super::{component, group_version_kind, reference};
use crate::{ResourceInfo, Subresource, Verb, patch::Patch};

pub(super) struct Operation<'a> {
    pub(super) resource: &'a ResourceInfo,
    pub(super) verb: Verb,
    /// What the path is of: tells apart the operations of one verb.
    pub(super) place: Place,
}

/// The path of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Objects, or one object.
    Objects,
    /// The objects of all namespaces.
    AllNamespaces,
    /// The status of an object.
    Status,
}

impl Operation<'_> {
    pub(super) fn to_value(&self) -> Value {
        let Self {
            resource,
            verb,
            place,
        } = self;
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
            "description": self.description(),
            "operationId": identifier(resource, *verb, *place, ""),
            "tags": [tag(resource)],
            "parameters": parameters(*verb),
            "responses": responses(*verb, &reference(&answer)),
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": group_version_kind(resource),
        });
        if let Some(body) = body {
            operation["requestBody"] = body;
        }
        operation
    }

    fn description(&self) -> String {
        let kind = &self.resource.kind;
        let of = match self.place {
            Place::Status => "status of the specified",
            Place::Objects | Place::AllNamespaces => "the specified",
        };
        match self.verb {
            Verb::Get => format!("read {of} {kind}"),
            Verb::List | Verb::Watch => format!("list or watch objects of kind {kind}"),
            Verb::Create => format!("create a {kind}"),
            Verb::Update => format!("replace {of} {kind}"),
            Verb::Patch => format!("partially update {of} {kind}"),
            Verb::Delete => format!("delete a {kind}"),
            Verb::DeleteCollection => format!("delete collection of {kind}"),
        }
    }
}

/// The name of an operation, by which generated clients call it: as kube-apiserver makes it, `readCoreV1NamespacedConfigMap`.
fn identifier(resource: &ResourceInfo, verb: Verb, place: Place, subresource: &str) -> String {
    let verb = match verb {
        Verb::Get => "read",
        Verb::List | Verb::Watch => "list",
        Verb::Create => "create",
        Verb::Update => "replace",
        Verb::Patch => "patch",
        Verb::Delete => "delete",
        Verb::DeleteCollection => "deleteCollection",
    };
    let group = resource.group.strip_suffix(".k8s.io");
    let group = match group.unwrap_or(&resource.group) {
        "" => "core",
        group => group,
    };
    let mut name = verb.to_owned();
    for word in group.split(['.', '-']).chain([resource.version.as_str()]) {
        push_word(&mut name, word);
    }
    if resource.namespaced && place != Place::AllNamespaces {
        name.push_str("Namespaced");
    }
    name.push_str(&resource.kind);
    match place {
        Place::Status => name.push_str("Status"),
        Place::AllNamespaces => name.push_str("ForAllNamespaces"),
        Place::Objects => push_word(&mut name, subresource),
    }
    name
}

fn push_word(name: &mut String, word: &str) {
    let mut letters = word.chars();
    name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
    name.push_str(letters.as_str());
}

fn tag(resource: &ResourceInfo) -> String {
    let group = match resource.group.as_str() {
        "" => "core",
        group => group,
    };
    format!("{}_{}", group.replace(['.', '-'], "_"), resource.version)
}

/// What is answered when it works, and to those whom nobody knows. Every refusal is a `Status`.
fn responses(verb: Verb, schema: &Value) -> Value {
    let codes: &[(&str, &str)] = match verb {
        Verb::Create | Verb::Patch => &[("200", "OK"), ("201", "Created")],
        Verb::Delete => &[("200", "OK"), ("202", "Accepted")],
        _ => &[("200", "OK")],
    };
    let mut all: Map<String, Value> = codes
        .iter()
        .map(|(code, words)| {
            let content = json!({ "application/json": { "schema": schema } });
            (
                (*code).to_owned(),
                json!({ "description": words, "content": content }),
            )
        })
        .collect();
    all.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
    Value::Object(all)
}

/// What is done to a subresource with a kind of its own, by its method. That kind may be of another document, so it is named and
/// not referred to.
pub(super) fn of_subresource(
    resource: &ResourceInfo,
    subresource: &Subresource,
    verb: Verb,
) -> (String, Value) {
    let (method, action) = match verb {
        Verb::Create => ("post", "post"),
        Verb::Update => ("put", "put"),
        Verb::Patch => ("patch", "patch"),
        Verb::Delete | Verb::DeleteCollection => ("delete", "delete"),
        Verb::Get | Verb::List | Verb::Watch => ("get", "get"),
    };
    let kind = json!({ "group": subresource.group, "version": subresource.version, "kind": subresource.kind });
    let schema = json!({ "type": "object" });
    let mut operation = json!({
        "description": format!("{action} {} of the specified {}", subresource.name, resource.kind),
        "operationId": identifier(resource, verb, Place::Objects, &subresource.name),
        "tags": [tag(resource)],
        "parameters": parameters(verb),
        "responses": responses(verb, &schema),
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind,
    });
    if matches!(method, "post" | "put" | "patch") {
        operation["requestBody"] =
            json!({ "content": { "application/json": { "schema": schema } } });
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

/// A parameter of a query: its name, its type and what it means.
type Parameter = (&'static str, &'static str, &'static str);

const DRY_RUN: Parameter = (
    "dryRun",
    "string",
    "All: the request is checked and answered, and nothing is stored.",
);
const WRITE: &[Parameter] = &[
    DRY_RUN,
    (
        "fieldManager",
        "string",
        "Who writes, as managedFields name it. Apply requires it; otherwise it is taken from the user agent.",
    ),
    (
        "fieldValidation",
        "string",
        "What becomes of unknown and repeated fields. Ignore: they are dropped. Warn, the default: they are dropped with a \
         warning. Strict: the request is refused.",
    ),
];
const FORCE: &[Parameter] = &[(
    "force",
    "boolean",
    "Of an apply: fields that others own are taken over.",
)];
const SELECT: &[Parameter] = &[
    (
        "continue",
        "string",
        "The token of the page before, for the next one of the same list.",
    ),
    (
        "fieldSelector",
        "string",
        "Selects by fields. Every kind has metadata.name and metadata.namespace.",
    ),
    ("labelSelector", "string", "Selects by labels."),
    (
        "limit",
        "integer",
        "The most objects of one page. Where there are more, the list has a token to continue by.",
    ),
    (
        "resourceVersion",
        "string",
        "The revision that is read from, as resourceVersionMatch says; of a watch, the one after which it begins.",
    ),
    (
        "resourceVersionMatch",
        "string",
        "Exact: the list at resourceVersion. NotOlderThan: at it or later.",
    ),
    (
        "timeoutSeconds",
        "integer",
        "After this a list or a watch ends.",
    ),
];
const WATCH: &[Parameter] = &[
    (
        "allowWatchBookmarks",
        "boolean",
        "Events of the type BOOKMARK may say how far a watch has come.",
    ),
    (
        "sendInitialEvents",
        "boolean",
        "A watch begins with what is there, and says by a bookmark where that ends.",
    ),
    (
        "watch",
        "boolean",
        "Changes are sent as they happen, in the place of a list.",
    ),
];
const DELETE: &[Parameter] = &[
    DRY_RUN,
    (
        "gracePeriodSeconds",
        "integer",
        "Taken for the sake of clients; nothing here ends gradually.",
    ),
    (
        "orphanDependents",
        "boolean",
        "Older than propagationPolicy: whether dependents stay.",
    ),
    (
        "propagationPolicy",
        "string",
        "What becomes of dependents. Orphan: they stay. Background: they are deleted afterwards. Foreground: they are deleted first.",
    ),
];

fn parameters(verb: Verb) -> Vec<Value> {
    let groups: &[&[Parameter]] = match verb {
        Verb::Get => &[],
        Verb::List | Verb::Watch => &[SELECT, WATCH],
        Verb::Create | Verb::Update => &[WRITE],
        Verb::Patch => &[WRITE, FORCE],
        Verb::Delete => &[DELETE],
        Verb::DeleteCollection => &[DELETE, SELECT],
    };
    groups
        .iter()
        .copied()
        .flatten()
        .map(query_parameter)
        .collect()
}

fn query_parameter((name, kind, description): &Parameter) -> Value {
    json!({ "name": name, "in": "query", "description": description,
        "schema": { "type": kind, "uniqueItems": true } })
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
