//! Single rules, as KEP-555 and structured-merge-diff's own tests state them.

use serde_json::{Value, json};

use super::{apply, create, fields_of, force, message, object, owners, spec, update};
use crate::apply::{self as machinery, Manager, Scope, Track};

#[test]
fn what_is_applied_is_owned() {
    let live = create(
        json!({ "metadata": { "name": "x", "labels": { "a": "1" } },
            "spec": { "size": 1, "node": { "a": "x" }, "set": ["p"], "list": ["q"], "ports": [{ "port": 80 }], "maps": { "m": {} } } }),
        "ann",
    );
    assert_eq!(
        fields_of(&live, "ann"),
        json!({
            "f:metadata": { "f:labels": { "f:a": {} } },
            "f:spec": { "f:size": {}, "f:node": { "f:a": {} }, "f:set": { "v:\"p\"": {} }, "f:list": {},
                "f:ports": { "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:port": {} } },
                "f:maps": { "f:m": {} } },
        })
    );
}

#[test]
fn what_is_written_otherwise_is_owned_with_what_leads_to_it() {
    let mut new =
        object(json!({ "metadata": { "labels": { "a": "1" } }, "spec": { "map": { "k": "v" } } }));
    let writer = super::manager("kubectl-create");
    machinery::update(
        &super::kind(),
        Scope::AllButStatus,
        &object(json!({})),
        &mut new,
        &writer,
        Track::Always,
    );
    assert_eq!(
        owners(&new),
        [(
            "kubectl-create".to_owned(),
            "Update".to_owned(),
            json!({ "f:metadata": { "f:labels": { ".": {}, "f:a": {} } }, "f:spec": { ".": {}, "f:map": { ".": {}, "f:k": {} } } }),
        )]
    );
}

#[test]
fn a_conflict_is_worded_as_kubernetes_words_it() {
    let live = create(
        json!({ "spec": { "size": 1, "text": "a", "ports": [{ "port": 80, "name": "x" }] } }),
        "ann",
    );
    let error = apply(&live, json!({ "spec": { "size": 2 } }), "bob").unwrap_err();
    assert_eq!(
        error.message,
        r#"Apply failed with 1 conflict: conflict with "ann": .spec.size"#
    );
    assert_eq!(error.code, 409);
    assert_eq!(
        error.to_status()["details"],
        json!({ "causes": [{ "reason": "FieldManagerConflict", "message": "conflict with \"ann\"", "field": ".spec.size" }] })
    );
    let live = update(
        &live,
        json!({ "size": 1, "text": "b", "ports": [{ "port": 80, "name": "x" }] }),
        "eve",
    );
    let several = apply(
        &live,
        json!({ "spec": { "size": 2, "text": "c", "ports": [{ "port": 80, "name": "y" }] } }),
        "bob",
    );
    assert_eq!(
        message(several),
        "Apply failed with 3 conflicts: conflicts with \"ann\":\n- .spec.size\n- .spec.ports[port=80,protocol=\"TCP\"].name\n\
         conflicts with \"eve\" using example.org/v1:\n- .spec.text"
    );
    let forced = force(&live, json!({ "spec": { "size": 2 } }), "bob");
    assert_eq!(spec(&forced)["size"], 2);
    assert!(fields_of(&forced, "ann")["f:spec"].get("f:size").is_none());
}

#[test]
fn agreeing_shares_and_leaving_out_hands_over() {
    let live = create(json!({ "spec": { "size": 1, "text": "a" } }), "ann");
    let shared = apply(&live, json!({ "spec": { "size": 1 } }), "bob").unwrap();
    let handed = apply(&shared, json!({ "spec": { "text": "a" } }), "ann").unwrap();
    assert_eq!(
        spec(&handed),
        json!({ "size": 1, "text": "a" }),
        "bob still wants it"
    );
    assert!(apply(&handed, json!({ "spec": { "size": 2 } }), "bob").is_ok());
    let gone = apply(&handed, json!({ "spec": {} }), "bob").unwrap();
    assert_eq!(
        spec(&gone),
        json!({ "text": "a" }),
        "nobody wants it any more"
    );
}

#[test]
fn what_is_left_out_goes_with_what_it_was_in() {
    let live = create(
        json!({ "spec": { "node": { "a": "1", "b": "2" }, "set": ["p", "q"], "ports": [{ "port": 1 }, { "port": 2, "name": "x" }], "any": { "x": { "y": [1] } } } }),
        "ann",
    );
    let live = apply(
        &live,
        json!({ "spec": { "node": { "a": "1" }, "set": ["q"], "ports": [{ "port": 2 }] } }),
        "ann",
    )
    .unwrap();
    assert_eq!(
        spec(&live),
        json!({ "node": { "a": "1" }, "set": ["q"], "ports": [{ "port": 2 }] })
    );
    let empty = apply(&live, json!({}), "ann").unwrap();
    assert_eq!(empty.spec(), None);
    assert!(owners(&empty).is_empty());
}

/// structured-merge-diff gives back what others own by its own path, and an item's path is its keys: who wrote only a
/// field inside an item does not hold the item.
#[test]
fn an_item_goes_with_who_applied_it_unless_another_owns_the_item() {
    let one = json!({ "spec": { "ports": [{ "port": 1, "name": "x" }] } });
    let live = create(one, "ann");
    let renamed = update(
        &live,
        json!({ "ports": [{ "port": 1, "name": "y" }] }),
        "eve",
    );
    let gone = apply(&renamed, json!({ "spec": { "size": 1 } }), "ann").unwrap();
    assert_eq!(spec(&gone), json!({ "size": 1 }));
    let item = json!({ "spec": { "ports": [{ "port": 1 }] } });
    let shared = apply(&live, item, "bob").unwrap();
    let kept = apply(&shared, json!({ "spec": { "size": 1 } }), "ann").unwrap();
    assert_eq!(spec(&kept), json!({ "size": 1, "ports": [{ "port": 1 }] }));
}

#[test]
fn lists_keep_the_order_that_was_applied() {
    let live = create(json!({ "spec": { "set": ["a", "b", "c"] } }), "ann");
    for (applied, merged) in [
        (json!(["c", "x", "a"]), json!(["b", "c", "x", "a"])),
        (json!(["x"]), json!(["a", "b", "c", "x"])),
        (json!(["a", "x"]), json!(["a", "b", "c", "x"])),
        (json!(["c", "b", "a"]), json!(["c", "b", "a"])),
    ] {
        let config = json!({ "spec": { "set": applied } });
        let live = apply(&live, config, "bob").unwrap();
        assert_eq!(spec(&live)["set"], merged, "{applied}");
    }
}

#[test]
fn atomic_values_are_owned_as_a_whole() {
    let live = create(
        json!({ "spec": { "whole": { "a": "1" }, "list": ["p"] } }),
        "ann",
    );
    assert_eq!(
        fields_of(&live, "ann"),
        json!({ "f:spec": { "f:whole": {}, "f:list": {} } })
    );
    let conflict = apply(&live, json!({ "spec": { "whole": { "b": "1" } } }), "bob");
    assert!(message(conflict).ends_with(".spec.whole"));
    let replaced = apply(
        &live,
        json!({ "spec": { "whole": { "b": "2" }, "list": ["q"] } }),
        "ann",
    )
    .unwrap();
    assert_eq!(
        spec(&replaced),
        json!({ "whole": { "b": "2" }, "list": ["q"] })
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let live = create(json!({ "spec": {} }), "ann");
    for (config, fault) in [
        (
            json!({ "spec": { "nope": 1 } }),
            ".spec.nope: field not declared in schema",
        ),
        (
            json!({ "spec": { "size": "x" } }),
            ".spec.size: expected numeric (int or float), got string",
        ),
        (
            json!({ "spec": { "set": ["a", "a"] } }),
            ".spec.set: duplicate entries for key [=\"a\"]",
        ),
        (
            json!({ "spec": { "ports": [{ "name": "x" }] } }),
            "omits key field \"port\"",
        ),
        (
            json!({ "spec": { "node": [] } }),
            ".spec.node: expected map, got list",
        ),
    ] {
        let error = apply(&live, config, "ann").unwrap_err();
        assert_eq!(error.code, 400);
        assert!(error.message.contains(fault), "{}", error.message);
    }
    let mut other = object(json!({}));
    other.set_type("example.org/v2", "Thing");
    let error = machinery::apply(
        &super::kind(),
        Scope::Everything,
        &live,
        &other,
        &super::manager("ann"),
        false,
    )
    .unwrap_err();
    assert_eq!(
        error.message,
        "Incorrect version specified in apply patch. Specified patch version: example.org/v2, expected: example.org/v1"
    );
    let error = apply(&live, json!({ "metadata": { "managedFields": [] } }), "ann").unwrap_err();
    assert_eq!(error.message, "metadata.managedFields must be nil");
}

#[test]
fn the_status_is_another_managers_matter() {
    let live = create(
        json!({ "spec": { "size": 1 }, "status": { "phase": "x" } }),
        "ann",
    );
    assert_eq!(
        fields_of(&live, "ann"),
        json!({ "f:spec": { "f:size": {} } })
    );
    let writer = Manager {
        subresource: "status",
        ..super::manager("ann")
    };
    let config = object(json!({ "spec": { "size": 7 }, "status": { "phase": "y" } }));
    let live = machinery::apply(
        &super::kind(),
        Scope::Status,
        &live,
        &config,
        &writer,
        false,
    )
    .unwrap();
    let entry = live.metadata()["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["subresource"] == "status")
        .cloned()
        .unwrap();
    assert_eq!(entry["fieldsV1"], json!({ "f:status": { "f:phase": {} } }));
    let other = Manager {
        subresource: "status",
        ..super::manager("bob")
    };
    let config = object(json!({ "status": { "phase": "z" } }));
    let error =
        machinery::apply(&super::kind(), Scope::Status, &live, &config, &other, false).unwrap_err();
    assert_eq!(
        error.message,
        r#"Apply failed with 1 conflict: conflict with "ann" with subresource "status": .status.phase"#
    );
}

#[test]
fn an_untracked_object_belongs_to_nobody_until_somebody_applies() {
    let mut live = object(json!({ "spec": { "size": 1, "text": "a" } }));
    live.set_uid("u");
    assert!(owners(&update(&live, json!({ "size": 2, "text": "a" }), "eve")).is_empty());
    let conflict = apply(&live, json!({ "spec": { "size": 2 } }), "ann");
    assert_eq!(
        message(conflict),
        r#"Apply failed with 1 conflict: conflict with "before-first-apply" using example.org/v1: .spec.size"#
    );
    let shared = apply(&live, json!({ "spec": { "size": 1 } }), "ann").unwrap();
    let names: Vec<String> = owners(&shared).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, ["ann", "before-first-apply"]);
}

#[test]
fn a_write_may_edit_the_managers_but_not_lose_them() {
    let live = create(json!({ "spec": { "size": 1 } }), "ann");
    let write = |managed: Option<Value>| {
        let mut new = live.clone();
        match managed {
            Some(managed) => {
                _ = new
                    .metadata_mut()
                    .insert("managedFields".to_owned(), managed)
            }
            None => _ = new.metadata_mut().remove("managedFields"),
        }
        machinery::update(
            &super::kind(),
            Scope::AllButStatus,
            &live,
            &mut new,
            &super::manager("eve"),
            Track::IfTracked,
        );
        new
    };
    for kept in [
        None,
        Some(json!([])),
        Some(json!([{ "manager": "x", "operation": "Nonsense" }])),
        Some(
            json!([{ "manager": "x", "operation": "Update", "apiVersion": "example.org/v1", "fieldsType": "FieldsV1", "fieldsV1": [] }]),
        ),
    ] {
        assert_eq!(
            fields_of(&write(kept), "ann"),
            json!({ "f:spec": { "f:size": {} } })
        );
    }
    assert!(owners(&write(Some(json!([{}])))).is_empty());
    let edited = write(Some(
        json!([{ "manager": "new", "operation": "Apply", "apiVersion": "example.org/v1", "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:text": {} } } }]),
    ));
    assert_eq!(owners(&edited).len(), 1);
    assert_eq!(
        fields_of(&edited, "new"),
        json!({ "f:spec": { "f:text": {} } })
    );
}

#[test]
fn the_time_moves_only_when_something_does() {
    let live = create(json!({ "spec": { "size": 1 } }), "ann");
    let later = Manager {
        now: "2026-02-01T00:00:00Z".parse().unwrap(),
        ..super::manager("ann")
    };
    let again = |config: Value| {
        machinery::apply(
            &super::kind(),
            Scope::AllButStatus,
            &live,
            &object(config),
            &later,
            false,
        )
        .unwrap()
    };
    assert_eq!(again(json!({ "spec": { "size": 1 } })), live);
    let moved = again(json!({ "spec": { "size": 2 } }));
    assert_eq!(
        moved.metadata()["managedFields"][0]["time"],
        "2026-02-01T00:00:00Z"
    );
}

#[test]
fn the_oldest_updaters_become_one() {
    let mut live = create(json!({ "spec": {} }), "ann");
    for at in 0..15 {
        let mut new = live.clone();
        new.set_label(&format!("l{at}"), "x");
        let name = format!("m{at:02}");
        let writer = Manager {
            name: &name,
            subresource: "",
            now: format!("2026-01-01T00:00:{at:02}Z").parse().unwrap(),
        };
        machinery::update(
            &super::kind(),
            Scope::AllButStatus,
            &live,
            &mut new,
            &writer,
            Track::IfTracked,
        );
        live = new;
    }
    let updaters: Vec<String> = owners(&live)
        .into_iter()
        .filter(|(_, how, _)| how == "Update")
        .map(|(name, ..)| name)
        .collect();
    assert_eq!(updaters.len(), 10, "{updaters:?}");
    assert_eq!(updaters[0], "ancient-changes");
    let ancient = fields_of(&live, "ancient-changes");
    assert_eq!(
        ancient["f:metadata"]["f:labels"].as_object().unwrap().len(),
        6 + 1,
        "{ancient}"
    );
}

#[test]
fn kubectl_may_take_what_its_annotation_says() {
    const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let text = json!({ "apiVersion": "example.org/v1", "kind": "Thing", "spec": { "size": 1, "text": "a" } }).to_string();
    let mut live = object(
        json!({ "metadata": { "annotations": { ANNOTATION: text } }, "spec": { "size": 1, "text": "a" } }),
    );
    machinery::update(
        &super::kind(),
        Scope::AllButStatus,
        &object(json!({})),
        &mut live,
        &super::manager("kubectl-client-side-apply"),
        Track::Always,
    );
    live.set_uid("u");
    assert!(apply(&live, json!({ "spec": { "size": 2 } }), "other").is_err());
    let taken = apply(&live, json!({ "spec": { "size": 2 } }), "kubectl").unwrap();
    assert_eq!(spec(&taken)["size"], 2);
    assert!(
        taken
            .annotation(ANNOTATION)
            .unwrap()
            .contains(r#""size":2"#)
    );
    let changed = update(&live, json!({ "size": 3, "text": "a" }), "eve");
    assert!(
        apply(&changed, json!({ "spec": { "size": 2 } }), "kubectl").is_err(),
        "somebody else has changed it since"
    );
}

#[test]
fn managers_are_named_after_user_agents() {
    for (manager, agent, name) in [
        (
            "",
            "kubectl/v1.20.2 (linux/amd64) kubernetes/faecb19",
            "kubectl",
        ),
        ("mine", "kubectl/v1.20.2", "mine"),
        ("", "", ""),
        ("", "a\u{7}b/1", "ab"),
    ] {
        assert_eq!(machinery::manager_or_user_agent(manager, agent), name);
    }
    assert_eq!(
        machinery::manager_or_user_agent("", &"é".repeat(100)).len(),
        128
    );
    assert!(machinery::check_manager("kubectl").is_empty());
    assert_eq!(machinery::check_manager("a\tb").len(), 1);
    assert_eq!(machinery::check_manager(&"x".repeat(129)).len(), 1);
}

#[test]
fn owners_are_applied_one_by_one() {
    let owner = |uid: &str| json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": uid, "controller": false });
    let config = |uid: &str| json!({ "metadata": { "ownerReferences": [owner(uid)] } });
    let live = create(config("u1"), "ann");
    let shared = apply(&live, config("u2"), "bob").unwrap();
    assert_eq!(shared.owner_references().len(), 2);
    assert_eq!(
        fields_of(&shared, "bob"),
        json!({ "f:metadata": { "f:ownerReferences": { "k:{\"uid\":\"u2\"}": {} } } })
    );
}
