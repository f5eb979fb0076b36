use proptest::prelude::*;
use serde_json::{Value, json};

use super::JsonPath;

fn document() -> Value {
    json!({
        "metadata": { "name": "x", "labels": { "a.b/c": "dotted" } },
        "spec": { "urls": [{ "url": "one" }, { "url": "two" }], "n": 3 },
        "status": {
            "conditions": [
                { "type": "Joined", "status": "True", "n": 1 },
                { "type": "Available", "status": "False", "n": 2 },
            ],
        },
    })
}

fn found(path: &str) -> Value {
    let document = document();
    let values = JsonPath::parse(path)
        .unwrap_or_else(|error| panic!("{error}"))
        .find(&document);
    let values: Vec<Value> = values.into_iter().cloned().collect();
    // What a column shows is the first of the same values.
    let fields = document.as_object().unwrap();
    let first = JsonPath::parse(path).unwrap().find_in(fields).cloned();
    if values.first() != Some(&document) {
        assert_eq!(first.as_ref(), values.first(), "{path}");
    }
    Value::from(values)
}

#[test]
fn paths_find_what_kubectl_finds() {
    let cases = [
        (".metadata.name", json!(["x"])),
        ("{.metadata.name}", json!(["x"])),
        ("$.metadata.name", json!(["x"])),
        ("metadata.name", json!(["x"])),
        ("{ .metadata['name'] }", json!(["x"])),
        (r".metadata.labels.a\.b/c", json!(["dotted"])),
        (".metadata.labels['a.b/c']", json!(["dotted"])),
        (r".metadata.labels['a\.b/c']", json!(["dotted"])),
        (".spec.urls[*].url", json!(["one", "two"])),
        (".spec.urls[0].url", json!(["one"])),
        (".spec.urls[-1].url", json!(["two"])),
        (".spec.urls[5].url", json!([])),
        (".spec.urls[0:1].url", json!(["one"])),
        (".spec.urls[::2].url", json!(["one"])),
        (".spec.urls[0,1].url", json!(["one", "two"])),
        (
            ".spec['urls','n']",
            json!([[{ "url": "one" }, { "url": "two" }], 3]),
        ),
        (
            r#".status.conditions[?(@.type=="Available")].status"#,
            json!(["False"]),
        ),
        (
            ".status.conditions[?(@.type=='Joined')].status",
            json!(["True"]),
        ),
        (
            r#".status.conditions[?(@.type == "None")].status"#,
            json!([]),
        ),
        (".status.conditions[?(@.n > 1)].type", json!(["Available"])),
        (".status.conditions[?(@.n<=1)].type", json!(["Joined"])),
        (r#".status.conditions[?(@.type!="Joined")].n"#, json!([2])),
        (".status.conditions[?(@.missing)].n", json!([])),
        (".status.conditions[?(@.type)].n", json!([1, 2])),
        ("..url", json!(["one", "two"])),
        (".spec.*", json!([3, [{ "url": "one" }, { "url": "two" }]])),
        (".missing.name", json!([])),
        (".spec.n.deeper", json!([])),
        (".metadata[0]", json!([])),
    ];
    for (path, expected) in cases {
        assert_eq!(found(path), expected, "{path}");
    }
}

#[test]
fn what_is_no_path_is_refused() {
    for path in [
        "",
        "{.a",
        ".a[",
        ".a[]",
        ".a['b",
        ".a[?(@.b==)]",
        ".a[?(@.b=='c']",
        ".a]",
        "{range .a[*]}",
        "{end}",
        ".a\\",
        ".a[1:2:0]",
        "a b",
    ] {
        let error = JsonPath::parse(path).unwrap_err();
        assert!(error.to_string().starts_with("invalid JSONPath"), "{error}");
    }
}

#[test]
fn a_hostile_path_ends() {
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner, {}]));
    let path = JsonPath::parse(&"..*".repeat(20)).unwrap();
    assert!(path.find(&deep).len() <= 100_000);
    assert!(JsonPath::parse(&"[?(@[".repeat(1000)).is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_path_or_refused(path in r#"[.\[\]*a'"?(@=)0-9:,\\ -]{0,20}|.{0,20}"#) {
        if let Ok(path) = JsonPath::parse(&path) {
            let _ = path.find(&document());
        }
    }
}

#[test]
fn filters_within_descents_within_filters_end() {
    let mut deep = json!({ "x": 1 });
    for _ in 0..120 {
        deep = json!({ "a": [deep, { "b": [1, 2] }] });
    }
    let path = JsonPath::parse("..[?(@..[?(@..[?(@..[?(@..[?(@..x==2)])])])])]").unwrap();
    assert!(path.find(&deep).is_empty());
    assert_eq!(JsonPath::parse("..x").unwrap().find(&deep).len(), 1);
}
