mod embedded;
mod rules;

use std::sync::LazyLock;

use koinon_api::{ManagedCluster, ManagedClusterSet, ManifestWork, Placement};
use kube::CustomResourceExt;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Schema;
use crate::{Object, ResourceInfo};

fn of<K: CustomResourceExt>() -> ResourceInfo {
    ResourceInfo::from_crd(&K::crd()).unwrap()
}

fn schema(document: Value) -> Schema {
    Schema::parse(document).unwrap()
}

/// A schema whose `spec` is the given one.
fn spec(document: Value) -> Schema {
    schema(json!({ "type": "object", "properties": { "spec": document } }))
}

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn normalized(schema: &Schema, value: Value) -> (Value, Vec<String>) {
    let mut object = object(value);
    let unknown = schema.normalize(&mut object);
    (object.into_value(), unknown)
}

/// What validation says of a spec, one line per cause.
fn faults(document: Value, value: Value) -> Vec<String> {
    let schema = spec(document);
    let mut object = object(json!({ "spec": value }));
    schema.normalize(&mut object);
    schema
        .validate(&object, None)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn unknown_fields_are_dropped_and_named() {
    let placement = of::<Placement>();
    let (value, unknown) = normalized(
        &placement.schema,
        json!({
            "apiVersion": "x", "kind": "y", "top": 1,
            "metadata": { "name": "p", "foo": 1, "ownerReferences": [{ "name": "o", "bar": 2 }] },
            "spec": { "foo": 1, "predicates": [{ "requiredClusterSelector": { "labelSelektor": {} } }] },
        }),
    );
    assert_eq!(
        unknown,
        [
            "metadata.foo",
            "metadata.ownerReferences[0].bar",
            "top",
            "spec.foo",
            "spec.predicates[0].requiredClusterSelector.labelSelektor",
        ]
    );
    assert_eq!(
        value["metadata"],
        json!({ "name": "p", "ownerReferences": [{ "name": "o" }] })
    );
    assert!(value.get("top").is_none() && value["spec"].get("foo").is_none());
    assert_eq!(value["kind"], "y");
}

#[test]
fn defaults_fill_what_is_absent_or_null() {
    let cluster = of::<ManagedCluster>();
    let (value, _) = normalized(
        &cluster.schema,
        json!({ "spec": { "leaseDurationSeconds": null } }),
    );
    assert_eq!(value["spec"]["leaseDurationSeconds"], 60);
    let set = of::<ManagedClusterSet>();
    let (value, _) = normalized(&set.schema, json!({ "metadata": { "name": "s" } }));
    assert_eq!(
        value["spec"]["clusterSelector"]["selectorType"],
        "ExclusiveClusterSetLabel"
    );
}

#[test]
fn defaults_of_defaults_are_filled_in() {
    let schema = spec(json!({
        "type": "object", "default": {},
        "properties": { "a": { "type": "object", "default": {}, "properties": { "b": { "type": "integer", "default": 3 } } } },
    }));
    let (value, _) = normalized(&schema, json!({}));
    assert_eq!(value, json!({ "spec": { "a": { "b": 3 } } }));
}

#[test]
fn nulls_stay_only_where_they_may() {
    let schema = spec(json!({
        "type": "object",
        "properties": { "gone": { "type": "string" }, "kept": { "type": "string", "nullable": true } },
    }));
    let (value, unknown) = normalized(&schema, json!({ "spec": { "gone": null, "kept": null } }));
    assert_eq!(value, json!({ "spec": { "kept": null } }));
    assert!(unknown.is_empty());
    assert!(schema.validate(&object(value), None).is_empty());
}

#[test]
fn an_integral_float_becomes_the_integer() {
    let schema = spec(json!({ "type": "object", "properties": { "n": { "type": "integer" } } }));
    let (value, _) = normalized(&schema, json!({ "spec": { "n": 3.0 } }));
    assert!(value["spec"]["n"].is_i64());
}

#[test]
fn faults_are_worded_as_the_api_server_words_them() {
    let of_field = |schema: Value| json!({ "type": "object", "properties": { "f": schema } });
    let cases = [
        (
            json!({ "type": "integer" }),
            json!("x"),
            r#"spec.f: Invalid value: "string": spec.f in body must be of type integer: "string""#,
        ),
        (
            json!({ "type": "integer" }),
            json!(1.5),
            r#"spec.f: Invalid value: "number": spec.f in body must be of type integer: "number""#,
        ),
        (
            json!({ "type": "string" }),
            json!(1),
            r#"spec.f: Invalid value: "integer": spec.f in body must be of type string: "integer""#,
        ),
        (
            json!({ "type": "boolean" }),
            json!({}),
            r#"spec.f: Invalid value: "object": spec.f in body must be of type boolean: "object""#,
        ),
        (
            json!({ "type": "array", "items": { "type": "string" } }),
            json!([null]),
            r#"spec.f[0]: Invalid value: "null": spec.f[0] in body must be of type string: "null""#,
        ),
        (
            json!({ "type": "integer", "format": "int32" }),
            json!(3_000_000_000_i64),
            r#"spec.f: Invalid value: 3000000000: spec.f in body must be of type int32: "3000000000""#,
        ),
        (
            json!({ "type": "integer" }),
            json!(u64::MAX),
            r#"spec.f: Invalid value: "integer": spec.f in body must be of type integer: "integer""#,
        ),
        (
            json!({ "type": "integer", "minimum": 1 }),
            json!(0),
            "spec.f: Invalid value: 0: spec.f in body should be greater than or equal to 1",
        ),
        (
            json!({ "type": "integer", "minimum": 1, "exclusiveMinimum": true }),
            json!(1),
            "spec.f: Invalid value: 1: spec.f in body should be greater than 1",
        ),
        (
            json!({ "type": "integer", "maximum": 10.0 }),
            json!(11),
            "spec.f: Invalid value: 11: spec.f in body should be less than or equal to 10",
        ),
        (
            json!({ "type": "number", "maximum": 1.5 }),
            json!(2),
            "spec.f: Invalid value: 2: spec.f in body should be less than or equal to 1.5",
        ),
        (
            json!({ "type": "integer", "multipleOf": 2 }),
            json!(3),
            "spec.f: Invalid value: 3: spec.f in body should be a multiple of 2",
        ),
        (
            json!({ "type": "string", "enum": ["a", "b"] }),
            json!("c"),
            r#"spec.f: Unsupported value: "c": supported values: "a", "b""#,
        ),
        (
            json!({ "type": "string", "minLength": 1 }),
            json!(""),
            r#"spec.f: Invalid value: "": spec.f in body should be at least 1 chars long"#,
        ),
        (
            json!({ "type": "string", "maxLength": 2 }),
            json!("äöü"),
            "spec.f: Too long: may not be more than 2 bytes",
        ),
        (
            json!({ "type": "string", "pattern": "^a+$" }),
            json!("b"),
            r#"spec.f: Invalid value: "b": spec.f in body should match '^a+$'"#,
        ),
        (
            json!({ "type": "string", "format": "date-time" }),
            json!("now"),
            r#"spec.f: Invalid value: "now": spec.f in body must be of type date-time: "now""#,
        ),
        (
            json!({ "type": "string", "format": "byte" }),
            json!("%%"),
            r#"spec.f: Invalid value: "%%": spec.f in body must be of type byte: "%%""#,
        ),
        (
            json!({ "type": "string", "format": "duration" }),
            json!("5 days"),
            r#"spec.f: Invalid value: "5 days": spec.f in body must be of type duration: "5 days""#,
        ),
        (
            json!({ "type": "array", "minItems": 1 }),
            json!([]),
            "spec.f: Invalid value: 0: spec.f in body should have at least 1 items",
        ),
        (
            json!({ "type": "array", "maxItems": 1 }),
            json!([1, 2]),
            "spec.f: Too many: 2: must have at most 1 items",
        ),
        (
            json!({ "type": "object", "required": ["g"] }),
            json!({}),
            "spec.f.g: Required value",
        ),
        (
            json!({ "type": "object", "minProperties": 1 }),
            json!({}),
            "spec.f: Invalid value: 0: spec.f in body should have at least 1 properties",
        ),
        (
            json!({ "x-kubernetes-int-or-string": true }),
            json!(true),
            r#"spec.f: Invalid value: "boolean": spec.f in body must be of type integer,string: "boolean""#,
        ),
        (
            json!({ "type": "array", "x-kubernetes-list-type": "set" }),
            json!(["a", "a"]),
            r#"spec.f[1]: Duplicate value: "a""#,
        ),
        (
            json!({ "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } }),
            json!([{ "k": 1, "v": 1 }, { "k": 1, "v": 2 }]),
            r#"spec.f[1]: Duplicate value: {"k":1}"#,
        ),
        (
            json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            json!({ "k": 1 }),
            r#"spec.f[k]: Invalid value: "integer": spec.f[k] in body must be of type string: "integer""#,
        ),
        (
            json!({ "oneOf": [{ "type": "string" }, { "type": "integer" }], "x-kubernetes-preserve-unknown-fields": true }),
            json!(true),
            "spec.f: Invalid value: true: spec.f in body must validate one and only one schema (oneOf)",
        ),
    ];
    for (schema, value, expected) in cases {
        let found = faults(of_field(schema.clone()), json!({ "f": value }));
        assert_eq!(found, [expected], "{schema} {value}");
    }
}

#[test]
fn good_values_pass() {
    let of_field = |schema: Value| json!({ "type": "object", "properties": { "f": schema } });
    let cases = [
        (
            json!({ "type": "string", "format": "date-time" }),
            json!("2026-11-20T10:00:00.5+01:00"),
        ),
        (
            json!({ "type": "string", "format": "byte" }),
            json!("aGFsbG8="),
        ),
        (
            json!({ "type": "string", "format": "duration" }),
            json!("1h30m0.5s"),
        ),
        (
            json!({ "type": "string", "format": "duration" }),
            json!("-2us"),
        ),
        (json!({ "type": "string", "maxLength": 3 }), json!("äöü")),
        (json!({ "x-kubernetes-int-or-string": true }), json!("25%")),
        (json!({ "x-kubernetes-int-or-string": true }), json!(25)),
        (json!({ "type": "number" }), json!(1)),
        (
            json!({ "type": "integer", "minimum": i64::MIN, "format": "int64" }),
            json!(i64::MIN),
        ),
        (
            json!({ "type": "string", "format": "some-hint" }),
            json!("anything"),
        ),
    ];
    for (schema, value) in cases {
        let found = faults(of_field(schema.clone()), json!({ "f": value }));
        assert!(found.is_empty(), "{schema} {value}: {found:?}");
    }
}

#[test]
fn a_taint_with_a_wrong_effect_names_the_right_ones() {
    let cluster = of::<ManagedCluster>();
    let object = object(json!({ "spec": { "taints": [{ "key": "a", "effect": "X" }] } }));
    let causes: Vec<String> = cluster
        .schema
        .validate(&object, None)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        causes,
        [
            r#"spec.taints[0].effect: Unsupported value: "X": supported values: "NoSelect", "PreferNoSelect", "NoSelectIfNew""#
        ]
    );
}

#[test]
fn the_number_of_causes_is_bounded() {
    let list: Vec<Value> = (0..10_000).map(|_| json!(1)).collect();
    let document = json!({ "type": "object", "properties": { "f": { "type": "array", "items": { "type": "string" } } } });
    // One more than a refusal names, so that it says that there are more.
    assert_eq!(faults(document, json!({ "f": list })).len(), 101);
}

#[test]
fn a_schema_that_cannot_be_used_is_refused() {
    assert!(Schema::parse(json!({ "type": "strnig" })).is_err());
    assert!(
        Schema::parse(json!({ "properties": { "a": { "type": "string", "pattern": "(" } } }))
            .is_err()
    );
    assert!(Schema::parse(json!([])).is_err());
}

/// Arbitrary JSON, not too large.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z]{0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(field(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Names that the schemas know, and others.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "spec",
            "status",
            "clusterSets",
            "predicates",
            "numberOfClusters",
            "tolerations",
            "workload",
            "manifests",
            "taints",
            "key",
            "value",
            "effect",
            "conditions",
            "type",
            "leaseDurationSeconds",
            "manifestConfigs",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,3}",
    ]
}

static KINDS: LazyLock<[ResourceInfo; 3]> = LazyLock::new(|| {
    [
        of::<Placement>(),
        of::<ManagedCluster>(),
        of::<ManifestWork>(),
    ]
});

proptest! {
    #[test]
    fn normalizing_twice_is_normalizing_once(value in any_json(), status in any_json()) {
        for info in &*KINDS {
            let mut once = object(json!({ "metadata": { "name": "x" }, "spec": value, "status": status }));
            info.schema.normalize(&mut once);
            let mut twice = once.clone();
            let unknown = info.schema.normalize(&mut twice);
            prop_assert!(unknown.is_empty(), "{unknown:?}");
            prop_assert_eq!(&once, &twice);
            // Whatever it is, it is judged and not a panic.
            let _ = info.schema.validate(&once, None);
        }
    }

    #[test]
    fn what_validates_reads_as_the_type(value in any_json()) {
        let info = &KINDS[0];
        let mut placement = object(json!({
            "apiVersion": info.api_version(), "kind": "Placement", "metadata": { "name": "x" }, "spec": value,
        }));
        info.schema.normalize(&mut placement);
        if info.schema.validate(&placement, None).is_empty() {
            let read = placement.into_typed::<Placement>();
            prop_assert!(read.is_ok(), "{read:?}");
        }
    }
}
