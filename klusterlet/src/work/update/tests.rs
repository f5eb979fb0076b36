use serde_json::json;

use super::*;

fn owner() -> Owner {
    Owner {
        name: "hub-work".to_owned(),
        uid: "u1".to_owned(),
    }
}

fn required() -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n", "labels": {"l": "1"}}, "data": {"k": "v"}})
}

/// What the API server makes of the creation.
fn live() -> Value {
    let mut live = creation(&required(), &owner(), Ownership::Owned);
    live["metadata"]["uid"] = "x".into();
    live["metadata"]["resourceVersion"] = "7".into();
    live["immutable"] = false.into();
    live
}

fn change(pointer: &str, field: &str, value: Value) -> Value {
    let mut live = live();
    live.pointer_mut(pointer).unwrap()[field] = value;
    live
}

/// What an agent remembers that made `live` of `required`.
fn known(required: &Value, live: &Value) -> Known {
    Known {
        required: diff::fingerprint(required),
        content: diff::declared_fingerprint(required, live),
    }
}

#[test]
fn what_was_created_is_in_sync() {
    assert_eq!(
        decide(&required(), &live(), &owner(), Ownership::Owned, None),
        Decision::InSync
    );
}

#[test]
fn strangers_metadata_and_undeclared_fields_are_left_alone() {
    for live in [
        change("/metadata/labels", "other", "x".into()),
        change("/metadata/annotations", "other", "x".into()),
        change("/metadata", "finalizers", json!(["f"])),
        change(
            "/metadata",
            "ownerReferences",
            json!([{"uid": "u0"}, owner().reference()]),
        ),
        change("/data", "other", "x".into()),
        change("", "binaryData", json!({"b": ""})),
    ] {
        assert_eq!(
            decide(&required(), &live, &owner(), Ownership::Owned, None),
            Decision::InSync,
            "{live}"
        );
    }
}

#[test]
fn drift_in_what_is_declared_is_replaced_with_the_live_version() {
    for live in [
        change("/data", "k", "w".into()),
        change("/metadata/labels", "l", "2".into()),
        change("/metadata", "ownerReferences", json!([])),
        change(
            "/metadata",
            "ownerReferences",
            json!([{"uid": "u0", "kind": "AppliedManifestWork", "name": "hub-work"}]),
        ),
        change("/metadata/annotations", &owner().hash_key(), "older".into()),
    ] {
        let Decision::Replace { object, .. } =
            decide(&required(), &live, &owner(), Ownership::Owned, None)
        else {
            panic!("{live}")
        };
        assert_eq!(object["data"], json!({"k": "v"}));
        assert_eq!(object["metadata"]["resourceVersion"], "7");
        assert_eq!(object["metadata"]["labels"]["l"], "1");
        assert_eq!(references(&object), [owner().reference()]);
    }
}

#[test]
fn a_field_that_a_newer_manifest_no_longer_declares_is_removed() {
    let mut newer = required();
    newer["data"] = json!({});
    let Decision::Replace { object, .. } =
        decide(&newer, &live(), &owner(), Ownership::Owned, None)
    else {
        panic!()
    };
    assert_eq!(object["data"], json!({}));
}

#[test]
fn a_replacement_keeps_strangers_labels_and_finalizers_but_not_their_content() {
    let mut live = change("/data", "k", "w".into());
    live["metadata"]["labels"]["other"] = "x".into();
    live["metadata"]["finalizers"] = json!(["f"]);
    live["data"]["extra"] = "e".into();
    let known = known(&required(), &self::live());
    let Decision::Replace { object, .. } =
        decide(&required(), &live, &owner(), Ownership::Owned, Some(&known))
    else {
        panic!()
    };
    assert_eq!(
        object["metadata"]["labels"],
        json!({"l": "1", "other": "x"})
    );
    assert_eq!(object["metadata"]["finalizers"], json!(["f"]));
    assert_eq!(object["data"], json!({"k": "v"}));
}

#[test]
fn a_server_that_rewrites_the_content_is_not_fought() {
    let live = change("/data", "k", "normalised".into());
    let known = known(&required(), &live);
    assert_eq!(
        decide(&required(), &live, &owner(), Ownership::Owned, Some(&known)),
        Decision::InSync
    );
    let drifted = change("/data", "k", "drift".into());
    assert!(matches!(
        decide(
            &required(),
            &drifted,
            &owner(),
            Ownership::Owned,
            Some(&known)
        ),
        Decision::Replace { .. }
    ));
}

#[test]
fn a_zero_that_is_gone_is_put_back_without_taking_anything_away() {
    let required = json!({"kind": "Deployment", "metadata": {"name": "a"}, "spec": {"hostNetwork": false, "image": "x"}});
    let mut live = creation(&required, &owner(), Ownership::Owned);
    live["spec"] = json!({"image": "x", "replicas": 5});
    let decided = decide(&required, &live, &owner(), Ownership::Owned, None);
    let Decision::Replace { object, otherwise } = decided else {
        panic!()
    };
    assert_eq!(
        object["spec"],
        json!({"hostNetwork": false, "image": "x", "replicas": 5})
    );
    // Somebody put something else in its place that cannot be beside it.
    let [Otherwise::Declared(otherwise)] = otherwise.as_slice() else {
        panic!("{otherwise:?}")
    };
    assert_eq!(otherwise["spec"], required["spec"]);
    // The server left it out: what it made of the manifest is remembered.
    let known = known(&required, &live);
    let decided = decide(&required, &live, &owner(), Ownership::Owned, Some(&known));
    assert_eq!(decided, Decision::InSync);
}

/// A server writes quantities in its own way, for ever: what others do beside them is no reason to write, nor is a new process.
#[test]
fn an_autoscaler_is_left_alone_beside_what_the_server_rewrites() {
    let required = json!({"kind": "Deployment", "metadata": {"name": "a"}, "spec": {"template": {"cpu": "1000m", "containers": [{"name": "c"}]}}});
    let made = |replicas: i64, cpu: &str| {
        let mut live = creation(&required, &owner(), Ownership::Owned);
        live["spec"]["replicas"] = replicas.into();
        live["spec"]["template"]["cpu"] = cpu.into();
        live
    };
    let known = known(&required, &made(1, "1"));
    let decided = |live: &Value, known: Option<&Known>| {
        decide(&required, live, &owner(), Ownership::Owned, known)
    };
    let mut scaled = made(5, "1");
    scaled["spec"]["template"]["annotations"] = json!({"kubectl.kubernetes.io/restartedAt": "now"});
    assert_eq!(decided(&scaled, Some(&known)), Decision::InSync);
    let replaced = |live: &Value, known: Option<&Known>| match decided(live, known) {
        Decision::Replace { object, .. } => object["spec"].clone(),
        Decision::InSync => panic!("{live}"),
    };
    // Nothing is known after a restart, so what is declared is offered once, and nothing is taken away.
    let mut kept = scaled["spec"].clone();
    kept["template"]["cpu"] = "1000m".into();
    assert_eq!(replaced(&scaled, None), kept);
    // Only the label is not as declared.
    let mut labelled = scaled.clone();
    labelled["metadata"]["ownerReferences"] = json!([]);
    assert_eq!(replaced(&labelled, Some(&known)), kept);
    // A container that somebody added while the agent was away goes, for a list is declared whole.
    let mut added = made(5, "1");
    added["spec"]["template"]["containers"] = json!([{"name": "c", "more": 1}, {"name": "theirs"}]);
    assert_eq!(
        replaced(&added, None)["template"]["containers"],
        json!([{"name": "c", "more": 1}])
    );
    // What is declared was changed: all that is not declared goes.
    assert_eq!(replaced(&made(5, "2"), Some(&known)), required["spec"]);
    // So it does when another manifest made the object.
    let mut older = made(5, "1");
    older["metadata"]["annotations"][owner().hash_key()] = "older".into();
    assert_eq!(replaced(&older, Some(&known)), required["spec"]);
}

/// Of kinds of which an object has one, another one was chosen while the agent was away: both together may be refused.
#[test]
fn what_took_the_place_of_what_is_declared_goes_if_they_cannot_be_together() {
    let required =
        json!({"kind": "Issuer", "metadata": {"name": "a"}, "spec": {"acme": {"server": "s"}}});
    let mut live = creation(&required, &owner(), Ownership::Owned);
    live["spec"] = json!({"ca": {"secret": "s"}});
    let decided = decide(&required, &live, &owner(), Ownership::Owned, None);
    let Decision::Replace { object, otherwise } = decided else {
        panic!()
    };
    let both = json!({"acme": {"server": "s"}, "ca": {"secret": "s"}});
    assert_eq!(object["spec"], both);
    let [Otherwise::Instead(otherwise)] = otherwise.as_slice() else {
        panic!("{otherwise:?}")
    };
    assert_eq!(otherwise["spec"], required["spec"]);
}

/// A Pod lets nobody take away what admission has put into it, and a Job what its controller has.
#[test]
fn what_nobody_may_take_away_is_tried_last() {
    let required = json!({"kind": "Pod", "metadata": {"name": "a", "labels": {"l": "1"}}, "spec": {"containers": [{"name": "c"}]}});
    let mut live = creation(&required, &owner(), Ownership::Owned);
    live["spec"] = json!({"nodeName": "n", "containers": [{"name": "c", "mounts": [1]}, {"name": "injected"}]});
    live["metadata"]["labels"]["l"] = "2".into();
    let containers = |decision: Decision| match decision {
        Decision::Replace { object, otherwise } => {
            let rest = otherwise.iter().map(Otherwise::object);
            let all = [&object].into_iter().chain(rest);
            let spec = |object: &Value| {
                let containers = object["spec"]["containers"].as_array().map(Vec::len);
                (
                    containers.unwrap_or(0),
                    object["spec"].get("nodeName").is_some(),
                )
            };
            all.map(spec).collect::<Vec<_>>()
        }
        Decision::InSync => Vec::new(),
    };
    let decided = |live: &Value| decide(&required, live, &owner(), Ownership::Owned, None);
    assert_eq!(
        containers(decided(&live)),
        [(1, true), (1, false), (2, true)]
    );
    live["metadata"]["annotations"][owner().hash_key()] = "older".into();
    assert_eq!(
        containers(decided(&live)),
        [(1, false), (1, true), (2, true)]
    );
}

#[test]
fn orphaned_objects_lose_our_reference_only() {
    let live = change(
        "/metadata",
        "ownerReferences",
        json!([{"uid": "u0"}, owner().reference()]),
    );
    let Decision::Replace { object, .. } =
        decide(&required(), &live, &owner(), Ownership::Orphaned, None)
    else {
        panic!()
    };
    assert_eq!(references(&object), [json!({"uid": "u0"})]);
    assert!(references(&creation(&required(), &owner(), Ownership::Orphaned)).is_empty());
}

#[test]
fn a_key_that_ends_with_a_dash_removes() {
    let mut required = required();
    required["metadata"]["labels"] = json!({"l-": "", "m": "1"});
    assert_eq!(
        creation(&required, &owner(), Ownership::Owned)["metadata"]["labels"],
        json!({"m": "1"})
    );
    let Decision::Replace { object, .. } =
        decide(&required, &live(), &owner(), Ownership::Owned, None)
    else {
        panic!()
    };
    assert_eq!(object["metadata"]["labels"], json!({"m": "1"}));
}

#[test]
fn token_lists_of_service_accounts_are_kept() {
    let required = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a", "labels": {"x": "y"}}});
    let live = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}, "secrets": [{"name": "a-token"}]});
    let Decision::Replace { object, .. } =
        decide(&required, &live, &owner(), Ownership::Owned, None)
    else {
        panic!()
    };
    assert_eq!(object["secrets"], json!([{"name": "a-token"}]));
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    fn map() -> impl Strategy<Value = Value> {
        prop::collection::btree_map("[abc]", "[xyz]?", 0..4).prop_map(|m| json!(m))
    }

    proptest! {
        /// Applying once is enough: the object that a decision leads to is in sync with the same manifest.
        #[test]
        fn a_replacement_settles(labels in map(), data in map(), live_labels in map(), live_data in map(), extra in map()) {
            let required = json!({"kind": "ConfigMap", "metadata": {"name": "a", "labels": labels}, "data": data});
            let live = json!({"kind": "ConfigMap", "metadata": {"name": "a", "labels": live_labels}, "data": live_data, "extra": extra});
            for ownership in [Ownership::Owned, Ownership::Orphaned] {
                if let Decision::Replace { object, .. } = decide(&required, &live, &owner(), ownership, None) {
                    prop_assert_eq!(decide(&required, &object, &owner(), ownership, None), Decision::InSync);
                }
                let created = creation(&required, &owner(), ownership);
                prop_assert_eq!(decide(&required, &created, &owner(), ownership, None), Decision::InSync);
            }
        }
    }
}
