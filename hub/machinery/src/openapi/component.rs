//! The schemas of a document: each kind, its list, and the types that all kinds share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{DeleteOptions, ListMeta, ObjectMeta, Status};
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{group_version_kind, reference};
use crate::ResourceInfo;

pub(super) const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
pub(super) const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
pub(super) const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
pub(super) const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
pub(super) const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

/// The component of a kind: the group backwards, the version, the kind.
pub(super) fn name(resource: &ResourceInfo) -> String {
    let mut parts: Vec<&str> = resource
        .group
        .split('.')
        .filter(|part| !part.is_empty())
        .rev()
        .collect();
    match parts.first() {
        None => parts = vec!["io", "k8s", "api", "core"],
        Some(_) if resource.group.ends_with(".k8s.io") => {
            parts = vec![
                "io",
                "k8s",
                "api",
                resource.group.split('.').next().unwrap_or_default(),
            ];
        }
        Some(_) => {}
    }
    format!("{}.{}.{}", parts.join("."), resource.version, resource.kind)
}

/// The types that every document holds.
pub(super) fn shared() -> Map<String, Value> {
    let settings = SchemaSettings::openapi3().with(|settings| settings.meta_schema = None);
    let mut generator = SchemaGenerator::new(settings);
    generator.subschema_for::<ObjectMeta>();
    generator.subschema_for::<ListMeta>();
    generator.subschema_for::<Status>();
    generator.subschema_for::<DeleteOptions>();
    let mut components = generator.take_definitions(true);
    components.values_mut().for_each(wrap_references);
    if let Some(meta) = components.get_mut(OBJECT_META) {
        annotate_object_meta(meta);
    }
    let patch =
        "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.";
    components.insert(
        PATCH.into(),
        json!({ "type": "object", "description": patch }),
    );
    components
}

/// Adds a kind and its list.
pub(super) fn insert(resource: &ResourceInfo, components: &mut Map<String, Value>) {
    let gvk = group_version_kind(resource);
    let component = name(resource);
    let mut schema = resource.schema.document().clone();
    for field in ["title", "$schema"] {
        schema.as_object_mut().map(|schema| schema.remove(field));
    }
    wrap_references(&mut schema);
    schema["type"] = "object".into();
    schema["x-kubernetes-group-version-kind"] = json!([gvk]);
    let meta = "Standard object's metadata. More info: \
                https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";
    let properties = type_fields([("metadata", described(OBJECT_META, meta))]);
    match schema.get_mut("properties").and_then(Value::as_object_mut) {
        Some(own) => own.extend(properties),
        None => schema["properties"] = Value::Object(properties),
    }
    components.insert(component.clone(), schema);

    let items = json!({ "type": "array", "items": reference(&component), "description": "List of objects." });
    let properties = type_fields([
        ("items", items),
        ("metadata", described(LIST_META, "Standard list metadata.")),
    ]);
    let list_gvk = json!([{ "group": resource.group, "version": resource.version, "kind": resource.list_kind() }]);
    components.insert(
        format!("{component}List"),
        json!({
            "description": format!("{} is a list of {}", resource.list_kind(), resource.kind),
            "type": "object",
            "required": ["items"],
            "properties": properties,
            "x-kubernetes-group-version-kind": list_gvk,
        }),
    );
}

fn type_fields<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    let api_version = "APIVersion defines the versioned schema of this representation of an object. Servers should \
                       convert recognized schemas to the latest internal value, and may reject unrecognized values.";
    let kind = "Kind is a string value representing the REST resource this object represents. Servers may infer this \
                from the endpoint the client submits requests to. Cannot be updated. In CamelCase.";
    let types = [
        (
            "apiVersion",
            json!({ "type": "string", "description": api_version }),
        ),
        ("kind", json!({ "type": "string", "description": kind })),
    ];
    types
        .into_iter()
        .chain(fields)
        .map(|(name, schema)| (name.to_owned(), schema))
        .collect()
}

/// A reference with a description: OpenAPI 3.0 ignores what stands beside `$ref`, so it goes into an `allOf`.
fn described(component: &str, description: &str) -> Value {
    json!({ "allOf": [reference(component)], "default": {}, "description": description })
}

/// Makes `allOf` of every reference that has siblings.
fn wrap_references(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.len() > 1
                && let Some(target) = fields.remove("$ref")
            {
                fields.insert("allOf".into(), json!([{ "$ref": target }]));
            }
            fields.values_mut().for_each(wrap_references);
        }
        Value::Array(list) => list.iter_mut().for_each(wrap_references),
        _ => {}
    }
}

/// How the lists of metadata merge: `kubectl apply` reads it here.
fn annotate_object_meta(meta: &mut Value) {
    let lists = [
        (
            "finalizers",
            json!({ "x-kubernetes-list-type": "set", "x-kubernetes-patch-strategy": "merge" }),
        ),
        (
            "ownerReferences",
            json!({
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["uid"],
                "x-kubernetes-patch-strategy": "merge",
                "x-kubernetes-patch-merge-key": "uid",
            }),
        ),
    ];
    for (field, extensions) in lists {
        let property = meta
            .pointer_mut(&format!("/properties/{field}"))
            .and_then(Value::as_object_mut);
        if let (Some(property), Value::Object(extensions)) = (property, extensions) {
            property.extend(extensions);
        }
    }
}
