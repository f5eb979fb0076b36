//! The paths of a kind.

use serde_json::{Map, Value, json};

use super::{
    operation::{self, Operation, Place},
    prefix,
};
use crate::{ResourceInfo, Verb};

/// Adds the paths of a kind: its collection, its objects, their status and what else is below them.
pub(super) fn insert(resource: &ResourceInfo, paths: &mut Map<String, Value>) {
    let root = format!("/{}", prefix(resource));
    let plural = &resource.plural;
    let scope = if resource.namespaced {
        "/namespaces/{namespace}"
    } else {
        ""
    };
    let collection = format!("{root}{scope}/{plural}");

    let of_collection = [
        ("get", Verb::List),
        ("post", Verb::Create),
        ("delete", Verb::DeleteCollection),
    ];
    paths.insert(
        collection.clone(),
        item(resource, Place::Objects, &of_collection, &scoped(resource)),
    );
    if resource.namespaced && resource.allows(Verb::List) {
        paths.insert(
            format!("{root}/{plural}"),
            item(resource, Place::AllNamespaces, &[("get", Verb::List)], &[]),
        );
    }
    let mut params = vec![operation::path_parameter(
        "name",
        &format!("name of the {}", resource.kind),
    )];
    params.extend(scoped(resource));
    let of_object = [
        ("get", Verb::Get),
        ("put", Verb::Update),
        ("patch", Verb::Patch),
        ("delete", Verb::Delete),
    ];
    // Questions are only asked: there is nothing to get.
    if of_object.iter().any(|(_, verb)| resource.allows(*verb)) {
        paths.insert(
            format!("{collection}/{{name}}"),
            item(resource, Place::Objects, &of_object, &params),
        );
    }
    if resource.has_status {
        let of_status = [
            ("get", Verb::Get),
            ("put", Verb::Update),
            ("patch", Verb::Patch),
        ];
        paths.insert(
            format!("{collection}/{{name}}/status"),
            item(resource, Place::Status, &of_status, &params),
        );
    }
    for subresource in &resource.subresources {
        let mut item: Map<String, Value> = subresource
            .verbs
            .iter()
            .map(|verb| operation::of_subresource(resource, subresource, *verb))
            .collect();
        item.insert("parameters".into(), json!(params));
        paths.insert(
            format!("{collection}/{{name}}/{}", subresource.name),
            Value::Object(item),
        );
    }
}

fn scoped(resource: &ResourceInfo) -> Vec<Value> {
    let description = "object name and auth scope, such as for teams and projects";
    if resource.namespaced {
        vec![operation::path_parameter("namespace", description)]
    } else {
        Vec::new()
    }
}

fn item(
    resource: &ResourceInfo,
    place: Place,
    operations: &[(&str, Verb)],
    parameters: &[Value],
) -> Value {
    let mut item = Map::new();
    for (method, verb) in operations.iter().filter(|(_, verb)| resource.allows(*verb)) {
        item.insert(
            (*method).to_owned(),
            Operation {
                resource,
                verb: *verb,
                place,
            }
            .to_value(),
        );
    }
    item.insert("parameters".into(), json!(parameters));
    Value::Object(item)
}
