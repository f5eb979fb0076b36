use proptest::prelude::*;
use serde_json::json;

use super::*;

fn manifest() -> Value {
    json!({"metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "web", "keep": "x"}}, "spec": {"replicas": 3, "template": {"spec": {
        "containers": [{"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}]}, {"name": "side", "image": "side:1"}]}}}})
}

fn present(paths: &[&str], pointers: &[&str], jq: &[&str]) -> Result<Value, String> {
    let own = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let field = IgnoreField {
        condition: IgnoreFieldsCondition::OnSpokePresent,
        json_paths: own(paths),
        json_pointers: own(pointers),
        jq_path_expressions: own(jq),
    };
    Ok(Ignored::of(&[field], &manifest())?.renewed(&manifest()))
}

/// What is left of the manifest, in one of the three languages.
#[test]
fn places_are_named_in_three_languages() {
    let gone = |pointer: &str| {
        let mut left = manifest();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        match left.pointer_mut(parent).unwrap() {
            Value::Object(fields) => drop(fields.remove(&key.replace("~1", "/"))),
            Value::Array(items) => drop(items.remove(key.parse().unwrap())),
            other => panic!("{other}"),
        }
        Ok(left)
    };
    let containers = "/spec/template/spec/containers";
    let label = gone("/metadata/labels/app.kubernetes.io~1name");
    let image = gone(&format!("{containers}/0/image"));
    let side = gone(&format!("{containers}/1"));
    for path in [".spec.replicas", "{.spec.replicas}", "$.spec.replicas"] {
        assert_eq!(present(&[path], &[], &[]), gone("/spec/replicas"), "{path}");
    }
    assert_eq!(
        present(&[r".metadata.labels.app\.kubernetes\.io/name"], &[], &[]),
        label
    );
    assert_eq!(
        present(
            &[r#".spec.template.spec.containers[?(@.name=="web")].image"#],
            &[],
            &[]
        ),
        image
    );
    assert_eq!(
        present(&[], &["/spec/replicas", "/spec/none"], &[]),
        gone("/spec/replicas")
    );
    assert_eq!(
        present(&[], &["/metadata/labels/app.kubernetes.io~1name"], &[]),
        label
    );
    assert_eq!(present(&[], &[&format!("{containers}/1")], &[]), side);
    for jq in [
        r#".metadata.labels."app.kubernetes.io/name""#,
        r#".metadata.labels["app.kubernetes.io/name"]"#,
        r#".metadata | .labels | .["app.kubernetes.io/name"]?"#,
    ] {
        assert_eq!(present(&[], &[], &[jq]), label, "{jq}");
    }
    for jq in [
        r#".spec.template.spec.containers[] | select(.name == "side")"#,
        r#".spec.template.spec.containers[-1]"#,
        r#".spec.template.spec.containers[]? | select(.name | startswith("si"))"#,
        r#".spec.template.spec.containers[] | select(.env | not)"#,
        r#".spec.template.spec.containers[] | select(.none == null and (.image < 1 | not) and .name == "side")"#,
        r#".spec.template.spec.containers[] | select((has("env") | not) and (.image != "x" or .name == "y"))"#,
        r#".spec.template.spec | .containers[] | select(has("env") | not)"#,
    ] {
        assert_eq!(present(&[], &[], &[jq]), side, "{jq}");
    }
    assert_eq!(
        present(
            &[],
            &[],
            &[r#".spec.template.spec.containers[] | select(.env[].name == "A") | .image"#]
        ),
        image
    );
    assert_eq!(
        present(&[], &[], &[".none[].x, .spec.replicas"]),
        gone("/spec/replicas")
    );
    assert_eq!(present(&[".none"], &["/none"], &[".none"]), Ok(manifest()));
    // The whole object is no field of it.
    assert_eq!(present(&["$"], &[], &["."]), Ok(manifest()));
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    for (paths, pointers, jq) in [
        (vec![".spec["], vec![], vec![]),
        (vec![], vec!["spec"], vec![]),
        (vec![], vec![], vec!["[range(1e18)]"]),
        (vec![], vec![], vec![".a as $x | .b"]),
        (vec![], vec![], vec!["select(.a == .b)"]),
        (vec![], vec![], vec![".a["]),
        (vec![], vec![], vec!["env"]),
        (vec![], vec![], vec![""]),
    ] {
        assert!(
            present(&paths, &pointers, &jq).is_err(),
            "{paths:?} {pointers:?} {jq:?}"
        );
    }
    let deep = format!("{}.a{}", "(".repeat(99), ")".repeat(99));
    assert!(present(&[], &[], &[&deep]).unwrap_err().contains("deeply"));
}

#[test]
fn several_items_of_a_list_go_without_shifting_each_other() {
    let left = present(&[], &[], &[".spec.template.spec.containers[]"]).unwrap();
    assert_eq!(
        left.pointer("/spec/template/spec/containers"),
        Some(&json!([]))
    );
}

#[test]
fn a_field_that_is_left_alone_is_kept_as_it_is_if_it_is_ours() {
    let field = |path: &str| IgnoreField {
        json_paths: vec![path.to_owned()],
        ..IgnoreField::default()
    };
    let fields = json!({"f:spec": {"f:replicas": {}, "f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"web\"}": {"f:image": {}, ".": {}}}}}}});
    let live = |fields: Value| {
        json!({"metadata": {"managedFields": [
            {"manager": "other", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "work-agent", "operation": "Update", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
            {"manager": "work-agent", "operation": "Apply", "fieldsV1": fields}]},
            "spec": {"replicas": 7, "template": {"spec": {"containers": [{"name": "injected"}, {"name": "web", "image": "web:live"}]}}}})
    };
    let keep = |path: &str, live: &Value| {
        let ignored = Ignored::of(&[field(path)], &manifest()).unwrap();
        let mut desired = ignored.renewed(&manifest());
        ignored.keep_owned(&mut desired, &manifest(), live, "work-agent");
        desired
    };
    let image = r#".spec.template.spec.containers[?(@.name=="web")].image"#;
    assert_eq!(
        keep(".spec.replicas", &live(fields.clone())).pointer("/spec/replicas"),
        Some(&json!(7))
    );
    assert_eq!(
        keep(image, &live(fields)).pointer("/spec/template/spec/containers/0/image"),
        Some(&json!("web:live"))
    );
    assert_eq!(
        keep(".spec.replicas", &live(json!({}))).pointer("/spec/replicas"),
        None
    );
}

/// Newer servers complete the keys of a list's items, and own the items under the whole key.
#[test]
fn an_item_without_a_defaulted_part_of_its_key_is_still_that_item() {
    let fields = json!({"f:spec": {"f:ports": {
        "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}}});
    let declares = |ports: Value| owns_only(&fields, &json!({"spec": {"ports": ports}}));
    assert!(declares(json!([{"port": 80}])));
    assert!(declares(json!([{"port": 80, "protocol": "TCP"}])));
    assert!(!declares(json!([{"port": 80, "protocol": "UDP"}])));
    assert!(!declares(json!([{"port": 81}])));
    assert!(!declares(json!([])));
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in ".{0,60}") {
        let _ = jq::find(&text, &manifest());
        let _ = present(&[&text], &[&text], &[&text]);
    }

    #[test]
    fn no_expression_like_text_makes_the_parser_panic(parts in prop::collection::vec(prop::sample::select(vec![".", "a", "[", "]", "(", ")", "select", "|", "not", "and", "\"x\"", "==", "1", ",", "?", "..", "has", " "]), 0..14)) {
        let _ = jq::find(&parts.concat(), &manifest());
    }
}
