use jiff::{SignedDuration, Timestamp};
use koinon_api::{ManagedCluster, ManifestWork, Placement};
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{IncludeObject, ListMeta, Printer, human_duration};
use crate::{Column, Object, ResourceInfo};

fn printer<K: CustomResourceExt>() -> Printer {
    Printer::new(&ResourceInfo::from_crd(&K::crd()).unwrap()).unwrap()
}

fn object(value: Value) -> Object {
    Object::from_value(value).unwrap()
}

fn now() -> Timestamp {
    "2026-01-02T00:00:00Z".parse().unwrap()
}

fn cells(printer: &Printer, value: Value) -> Value {
    printer.row(&object(value), now(), IncludeObject::None)["cells"].clone()
}

#[test]
fn ages_are_kubectls() {
    let cases = [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (11_100, "3h5m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (180_000, "2d2h"),
        (691_200, "8d"),
        (63_071_999, "729d"),
        (63_072_000, "2y"),
        (63_200_000, "2y1d"),
        (252_288_000, "8y"),
        (400_000_000, "12y"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(
            human_duration(SignedDuration::from_secs(seconds)),
            expected,
            "{seconds}"
        );
    }
}

#[test]
fn a_cluster_prints_as_ocm_prints_it() {
    let printer = printer::<ManagedCluster>();
    let row = cells(
        &printer,
        json!({
            "metadata": { "name": "east", "creationTimestamp": "2026-01-01T00:00:00Z" },
            "spec": { "hubAcceptsClient": true, "managedClusterClientConfigs": [{ "url": "https://a" }, { "url": "https://b" }] },
            "status": { "conditions": [
                { "type": "ManagedClusterJoined", "status": "True" },
                { "type": "ManagedClusterConditionAvailable", "status": "Unknown" },
            ] },
        }),
    );
    // `Hub Accepted` is a boolean column: kubectl prints the JSON value.
    assert_eq!(
        row,
        json!(["east", true, "https://a", "True", "Unknown", "24h"])
    );
    let bare = cells(&printer, json!({ "metadata": { "name": "east" } }));
    assert_eq!(bare, json!(["east", null, null, null, null, null]));
}

#[test]
fn a_column_shows_values_of_its_type_only() {
    let mut info = ResourceInfo::from_crd(&Placement::crd()).unwrap();
    let typed = |type_: &str| Column {
        type_: type_.to_owned(),
        ..Column::text(type_, ".spec.v")
    };
    info.columns = ["integer", "number", "boolean", "string", "date"]
        .map(typed)
        .to_vec();
    let printer = Printer::new(&info).unwrap();
    let of = |value: Value| {
        cells(
            &printer,
            json!({ "metadata": { "name": "x" }, "spec": { "v": value } }),
        )
    };
    assert_eq!(of(json!(3)), json!(["x", 3, 3, null, "3", null]));
    assert_eq!(of(json!(2.5)), json!(["x", 2, 2.5, null, "2.5", null]));
    assert_eq!(
        of(json!(true)),
        json!(["x", null, null, true, "true", null])
    );
    assert_eq!(
        of(json!("t")),
        json!(["x", null, null, null, "t", "<invalid>"])
    );
    assert_eq!(
        of(json!({ "a": [1] })),
        json!(["x", null, null, null, "{\"a\":[1]}", null])
    );
}

#[test]
fn a_table_has_definitions_rows_and_the_revision() {
    let printer = printer::<ManifestWork>();
    let work =
        object(json!({ "metadata": { "name": "w", "uid": "u" }, "spec": { "workload": {} } }));
    let table = |include, definitions| {
        let meta = ListMeta {
            resource_version: "9".into(),
            continue_token: "c".into(),
            remaining_item_count: Some(2),
        };
        printer.table(vec![printer.row(&work, now(), include)], &meta, definitions)
    };
    let full = table(IncludeObject::Metadata, true);
    assert_eq!(
        (&full["kind"], &full["apiVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    assert_eq!(
        full["metadata"],
        json!({ "resourceVersion": "9", "continue": "c", "remainingItemCount": 2 })
    );
    assert_eq!(full["columnDefinitions"][0]["format"], "name");
    assert_eq!(full["columnDefinitions"][1]["name"], "Age");
    assert_eq!(
        full["rows"][0]["object"],
        json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": { "name": "w", "uid": "u" } })
    );
    assert_eq!(
        table(IncludeObject::Object, true)["rows"][0]["object"]["spec"],
        json!({ "workload": {} })
    );
    let bare = table(IncludeObject::None, false);
    assert_eq!(
        (&bare["columnDefinitions"], bare["rows"][0].get("object")),
        (&json!([]), Some(&Value::Null))
    );
}

#[test]
fn include_object_is_read_as_kubernetes_spells_it() {
    assert_eq!(IncludeObject::parse(""), Some(IncludeObject::Metadata));
    assert_eq!(IncludeObject::parse("Object"), Some(IncludeObject::Object));
    assert_eq!(IncludeObject::parse("object"), None);
}

#[test]
fn a_table_can_be_written_row_by_row() {
    let printer = printer::<ManagedCluster>();
    let meta = ListMeta {
        resource_version: "7".to_owned(),
        continue_token: "more".to_owned(),
        remaining_item_count: Some(3),
    };
    let rows: Vec<Value> = ["a", "b"]
        .map(|name| {
            printer.row(
                &object(json!({ "metadata": { "name": name } })),
                now(),
                IncludeObject::Metadata,
            )
        })
        .into();
    let (mut text, end) = printer.around_rows(&meta);
    let written: Vec<String> = rows.iter().map(Value::to_string).collect();
    text.extend_from_slice(written.join(",").as_bytes());
    text.extend_from_slice(end);
    let read: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(read, printer.table(rows, &meta, true));
}
