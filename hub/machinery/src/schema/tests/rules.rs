use koinon_api::ManifestWork;
use serde_json::{Value, json};

use super::{Schema, object, of, spec};

/// A spec with a list-map, a plain list and a map, each with rules.
fn ruled() -> Schema {
    spec(json!({
        "type": "object",
        "x-kubernetes-validations": [
            { "rule": "self.min <= self.max", "message": "min must not exceed max", "fieldPath": ".min" },
            { "rule": "!has(oldSelf.name) || self.name == oldSelf.name", "messageExpression": "'name is ' + oldSelf.name + ' for ever'" },
        ],
        "properties": {
            "min": { "type": "integer" }, "max": { "type": "integer" }, "name": { "type": "string" },
            "ports": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
                "items": {
                    "type": "object", "required": ["port"],
                    "properties": { "port": { "type": "integer" }, "protocol": { "type": "string" } },
                    "x-kubernetes-validations": [
                        { "rule": "self.protocol == oldSelf.protocol", "reason": "FieldValueForbidden", "message": "immutable" },
                    ],
                },
            },
            "words": {
                "type": "array",
                "items": { "type": "string", "x-kubernetes-validations": [{ "rule": "self == oldSelf" }] },
            },
            "by_name": {
                "type": "object",
                "additionalProperties": { "type": "integer", "x-kubernetes-validations": [{ "rule": "self >= oldSelf" }] },
            },
        },
    }))
}

fn judged(value: Value, old: Option<Value>) -> Vec<String> {
    let of = |value: Value| {
        let mut spec = json!({ "min": 1, "max": 2 });
        json_patch::merge(&mut spec, &value);
        object(json!({ "spec": spec }))
    };
    let old = old.map(of);
    let causes = ruled().validate(&of(value), old.as_ref());
    causes.iter().map(ToString::to_string).collect()
}

#[test]
fn rules_are_judged_in_kubernetes_words() {
    assert!(judged(json!({}), None).is_empty());
    assert_eq!(
        judged(json!({ "min": 3 }), None),
        [r#"spec.min: Invalid value: "object": min must not exceed max"#]
    );
    assert_eq!(
        judged(json!({ "min": null }), None),
        [
            r#"spec.min: Invalid value: "object": no such key: min evaluating rule: min must not exceed max"#
        ]
    );
}

#[test]
fn rules_on_changes_compare_what_belongs_together() {
    let name = json!({ "name": "b" });
    assert!(
        judged(name.clone(), None).is_empty(),
        "there is nothing to compare with"
    );
    assert!(judged(name.clone(), Some(json!({}))).is_empty());
    assert_eq!(
        judged(name, Some(json!({ "name": "a" }))),
        [r#"spec: Invalid value: "object": name is a for ever"#]
    );
    let ports = |one: &str, two: &str| json!({ "ports": [{ "port": 2, "protocol": two }, { "port": 1, "protocol": one }] });
    let before = json!({ "ports": [{ "port": 1, "protocol": "TCP" }] });
    assert!(judged(ports("TCP", "UDP"), Some(before.clone())).is_empty());
    assert_eq!(
        judged(ports("UDP", "UDP"), Some(before)),
        ["spec.ports[1]: Forbidden: immutable"]
    );
    // Items of a list without keys are nobody's successors.
    assert!(judged(json!({ "words": ["a"] }), Some(json!({ "words": ["b"] }))).is_empty());
    assert_eq!(
        judged(
            json!({ "by_name": { "a": 1, "new": 0 } }),
            Some(json!({ "by_name": { "a": 2 } }))
        ),
        [r#"spec.by_name[a]: Invalid value: "integer": failed rule: self >= oldSelf"#]
    );
}

#[test]
fn malformed_objects_are_not_judged_by_rules() {
    let found = judged(json!({ "min": "x", "max": 0 }), None);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[1].contains("some validation rules were not checked because the object was invalid")
    );
}

#[test]
fn rules_have_a_budget() {
    let rule = "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))";
    let schema = spec(json!({
        "type": "array", "items": { "type": "integer" },
        "x-kubernetes-validations": [{ "rule": rule }, { "rule": "false" }],
    }));
    let many: Vec<u32> = (0..2000).collect();
    let causes = schema.validate(&object(json!({ "spec": many })), None);
    let words: Vec<String> = causes.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), 1, "the second rule is not run: {words:?}");
    assert!(words[0].contains("actual cost limit exceeded"), "{words:?}");
}

/// Each of the items is compared with one old item, which is found by its key.
#[test]
fn a_long_list_is_judged_item_by_item() {
    let ports = |of: &str| -> Value {
        let port = |port| json!({ "port": port, "protocol": of });
        json!({ "ports": (0..3_000).map(port).collect::<Vec<_>>() })
    };
    assert!(judged(ports("TCP"), Some(ports("TCP"))).is_empty());
    let faults = judged(ports("UDP"), Some(ports("TCP")));
    assert_eq!(faults.len(), 101, "the rest is left out");
    assert_eq!(faults[100], "spec.ports[100]: Forbidden: immutable");
}

#[test]
fn old_items_are_looked_up_only_for_rules_that_look_at_them() {
    assert!(ruled().root.looks_back);
    let work = of::<ManifestWork>();
    assert!(work.schema.root.ruled && !work.schema.root.looks_back);
    let said = |rule: Value| {
        spec(
            json!({ "type": "array", "items": { "type": "string", "x-kubernetes-validations": [rule] } }),
        )
    };
    assert!(
        said(json!({ "rule": "true", "messageExpression": "'was ' + oldSelf" }))
            .root
            .looks_back
    );
    assert!(
        !said(json!({ "rule": "self == 'a'", "messageExpression": "'is ' + self" }))
            .root
            .looks_back
    );
}

#[test]
fn a_rule_that_does_not_compile_is_no_schema() {
    let document = json!({ "type": "object", "x-kubernetes-validations": [{ "rule": "self.(" }] });
    assert!(matches!(
        Schema::parse(document),
        Err(crate::schema::Error::Rule { .. })
    ));
}

#[test]
fn works_have_ocms_rule() {
    let work = of::<ManifestWork>();
    let with = |condition: &str| {
        let value = json!({ "spec": { "manifestConfigs": [{
            "resourceIdentifier": { "group": "", "resource": "configmaps", "name": "a", "namespace": "b" },
            "conditionRules": [{ "type": "CEL", "condition": condition }],
        }] } });
        let causes = work.schema.validate(&object(value), None);
        causes.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(with("Ready").is_empty(), "{:?}", with("Ready"));
    assert_eq!(
        with(""),
        [
            r#"spec.manifestConfigs[0].conditionRules[0]: Invalid value: "object": Condition is required for CEL rules"#
        ]
    );
}
