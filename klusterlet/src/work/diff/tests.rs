use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn defaulted_fields_are_no_difference_but_changed_ones_are() {
    let cases = [
        (json!({"a": 1}), json!({"a": 1, "b": 2}), true),
        (json!({"a": 1}), json!({"a": 2}), false),
        (json!({"a": 1}), json!({}), false),
        (
            json!({"a": 0, "b": false, "c": "", "d": [], "e": {}, "f": null}),
            json!({}),
            true,
        ),
        (json!({"a": 1.0}), json!({"a": 1}), true),
        (
            json!({"a": [{"n": 1}]}),
            json!({"a": [{"n": 1, "default": true}]}),
            true,
        ),
        (
            json!({"a": [{"n": 1}]}),
            json!({"a": [{"n": 1}, {"n": 2}]}),
            false,
        ),
        (json!({"a": [1, 2]}), json!({"a": [2, 1]}), false),
        (json!({"a": "1"}), json!({"a": 1}), false),
        (json!({"a": null}), json!({"a": 3}), false),
    ];
    for (required, live, expected) in cases {
        let found = within(&required, &live, Zero::LeftOut);
        assert_eq!(found, expected, "{required} {live}");
    }
}

#[test]
fn a_zero_that_was_taken_away_is_missed() {
    for (declared, live, expected) in [
        (json!({"a": false}), json!({}), false),
        (json!({"a": 0}), json!({}), false),
        (json!({"a": ""}), json!({}), false),
        (json!({"a": {"b": false}}), json!({}), false),
        (json!({"a": [{"b": 0}]}), json!({"a": [{}]}), false),
        (json!({"a": null}), json!({}), true),
        (json!({"a": false}), json!({"a": false}), true),
        (json!({"a": 0}), json!({"a": 0.0}), true),
    ] {
        assert_eq!(
            within(&declared, &live, Zero::Missing),
            expected,
            "{declared} {live}"
        );
        assert!(within(&declared, &live, Zero::LeftOut), "{declared} {live}");
    }
}

#[test]
fn metadata_and_status_do_not_count() {
    let required = json!({"kind": "A", "metadata": {"labels": {"a": "b"}}, "status": {"x": 1}, "data": {"k": "v"}});
    assert!(is_satisfied(
        &required,
        &json!({"kind": "A", "metadata": {}, "data": {"k": "v", "extra": "e"}}),
        Zero::Missing
    ));
    assert!(!is_satisfied(
        &required,
        &json!({"kind": "A", "data": {"k": "w"}}),
        Zero::LeftOut
    ));
}

#[test]
fn what_others_do_beside_what_is_declared_does_not_count() {
    let required = json!({"spec": {"cpu": "1000m", "list": [{"name": "a", "x": 1}], "plain": [1, 2], "map": {}}});
    let live = json!({"metadata": {"labels": {}}, "status": {"ready": 1}, "spec": {
        "cpu": "1", "list": [{"name": "injected"}, {"name": "a", "x": 2, "more": 1}], "plain": [1, 3], "replicas": 1}});
    let of = |live: &Value| declared_fingerprint(&required, live);
    let with = |pointer: &str, value: Value| {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let mut changed = live.clone();
        match changed.pointer_mut(parent).unwrap() {
            Value::Array(items) => items[key.parse::<usize>().unwrap()] = value,
            parent => parent[key] = value,
        }
        changed
    };
    for beside in [
        with("/spec/replicas", 5.into()),
        with("/spec/template", json!({})),
        with("/spec/list/1/more", 2.into()),
        with("/metadata/labels", json!({"a": "b"})),
        with("/status/ready", 2.into()),
    ] {
        assert_eq!(of(&beside), of(&live), "{beside}");
    }
    for declared in [
        with("/spec/cpu", "2".into()),
        with("/spec/list/1/x", 3.into()),
        with("/spec/list/0", json!({"name": "another"})),
        with("/spec/list/0/image", "x".into()),
        with("/spec/plain", json!([1, 3, 4])),
        with("/spec/map", json!({})),
    ] {
        assert_ne!(of(&declared), of(&live), "{declared}");
    }
}

#[test]
fn overlay_keeps_what_the_server_added_to_named_items() {
    let required = json!({"containers": [{"name": "c", "image": "new"}]});
    let live = json!({"nodeName": "n", "containers": [{"name": "c", "image": "old", "mounts": [1]}, {"name": "injected"}]});
    assert_eq!(
        overlay(&required, &live, Further::Stay),
        json!({"nodeName": "n", "containers": [{"name": "c", "image": "new", "mounts": [1]}, {"name": "injected"}]})
    );
    assert_eq!(
        overlay(&required, &live, Further::Go),
        json!({"nodeName": "n", "containers": [{"name": "c", "image": "new", "mounts": [1]}]})
    );
}

/// `name` does not tell mounts apart, nor does the place of an item that was changed.
#[test]
fn nothing_gets_from_one_item_of_a_list_into_another() {
    let mounts =
        |second: Value| json!([{"name": "data", "mountPath": "/ro", "readOnly": true}, second]);
    let rw = json!({"name": "data", "mountPath": "/rw"});
    let live = mounts(json!({"name": "data", "mountPath": "/rw", "subPath": "x"}));
    assert_eq!(overlay(&mounts(rw.clone()), &live, Further::Stay), live);
    let swapped = json!([{"port": 80}, {"port": 53, "protocol": "UDP"}]);
    let ports = json!([{"port": 53}, {"port": 80}]);
    for further in [Further::Go, Further::Stay] {
        assert_eq!(overlay(&ports, &swapped, further), ports);
    }
    // A change of any of them shows, also beside one that somebody added.
    let mut longer = live;
    longer.as_array_mut().unwrap().push(rw.clone());
    let required = json!({"mounts": mounts(rw)});
    let of = |mounts: &Value| declared_fingerprint(&required, &json!({"mounts": mounts}));
    let before = of(&longer);
    longer[1]["mountPath"] = "/elsewhere".into();
    assert_ne!(of(&longer), before);
}

#[test]
fn a_selector_that_is_declared_empty_means_all() {
    let policy = |selector: Value| json!({"spec": {"podSelector": selector, "resources": {}}});
    let narrowed = policy(json!({"matchLabels": {"x": "y"}}));
    let all = policy(json!({}));
    for zero in [Zero::LeftOut, Zero::Missing] {
        assert!(!is_satisfied(&all, &narrowed, zero));
        assert!(is_satisfied(&all, &all, zero));
    }
    assert_ne!(
        declared_fingerprint(&all, &narrowed),
        declared_fingerprint(&all, &all)
    );
    let filled = json!({"spec": {"podSelector": {}, "resources": {"cpu": 1}}});
    assert!(is_satisfied(&all, &filled, Zero::Missing));
    // What is laid over does not take it in, unless the server lets nobody take it away.
    assert_eq!(overlay(&all, &narrowed, Further::Go), all);
    assert_eq!(overlay(&all, &narrowed, Further::Stay), narrowed);
}

/// Arbitrary JSON of small depth.
fn arbitrary() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[ab]|name|selector|aSelector", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_is_within_itself(value in arbitrary()) {
        prop_assert!(within(&value, &value, Zero::Missing));
    }

    #[test]
    fn what_was_laid_over_is_satisfied_unless_items_were_kept(required in arbitrary(), live in arbitrary()) {
        // Named items keep strangers on purpose, with `Stay`.
        prop_assert!(within(&required, &overlay(&required, &live, Further::Go), Zero::Missing));
    }

    #[test]
    fn equal_values_have_equal_digests(value in arbitrary()) {
        let copy: Value = serde_json::from_str(&value.to_string()).unwrap();
        prop_assert_eq!(digest(&value), digest(&copy));
    }
}

#[test]
fn an_empty_map_in_an_item_of_a_list_is_a_choice() {
    let declared = json!({"spec": {"volumes": [{"name": "a", "emptyDir": {}}], "strategy": {}}});
    assert!(is_satisfied(
        &declared,
        &json!({"spec": {"volumes": [{"name": "a", "emptyDir": {}}]}}),
        Zero::LeftOut
    ));
    assert!(!is_satisfied(
        &declared,
        &json!({"spec": {"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}}),
        Zero::LeftOut
    ));
}
