//! Whose word keeps an object, and for how long.

use serde_json::{Value, json};

use super::*;
use crate::cluster::known::{CONFIG_MAPS, NAMESPACES};

fn manifest(kind: &str, namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": namespace}})
}

fn held(name: &str, generation: i64, manifests: &[Value]) -> Arc<Held> {
    let body = json!({"spec": {"workload": {"manifests": manifests}}});
    Arc::new(Held::new(name, "u", generation, body.to_string().as_bytes()).unwrap())
}

fn map(name: &str) -> Value {
    manifest("ConfigMap", "n", name)
}

fn name(kind: &str, namespace: &str, name: &str) -> Name {
    Name {
        group: String::new(),
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn wants(missing: &[&str], unowned: &[&str]) -> Wants {
    let (mut wants, of) = (Wants::default(), |name: &str| {
        let body = held("w", 1, &[map(name)]);
        let object = plan::manifests(&body.spec().unwrap())
            .remove(0)
            .object
            .unwrap();
        let key = ObjectKey {
            resource: Arc::new(CONFIG_MAPS.clone()),
            namespace: "n".into(),
            name: name.to_owned(),
        };
        (object, key)
    });
    for (object, key) in missing.iter().map(|name| of(name)) {
        wants.misses(&object, Some(&key));
    }
    for (object, key) in unowned.iter().map(|name| of(name)) {
        wants.has(&object, Some(&key));
    }
    wants
}

#[test]
fn a_work_claims_what_it_is_told_until_it_has_it() {
    let claims = Claims::default();
    let generated =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x"}});
    let of = |work: &str, map: &str| claims.of_others(work).want(&name("ConfigMap", "n", map));
    let two = held("two", 2, &[map("b"), map("c"), map("d")]);
    claims.begin(&held("one", 1, &[map("a"), generated]));
    claims.begin(&two);
    assert_eq!(
        (of("two", "a"), of("one", "b")),
        (Some(Claimed::Soon), Some(Claimed::Soon))
    );
    // Not of itself, and not another object.
    assert_eq!(
        (of("one", "a"), of("two", "c"), of("one", "z")),
        (None, None, None)
    );

    // An older look does not count, and a look that did not come about changes nothing but what is said.
    claims.looked(&held("two", 1, &[]), Wants::default());
    claims.tried(&two);
    let missed = || Some(Claimed::Missed("two".to_owned()));
    assert_eq!((of("one", "b"), claims.is_open(&two)), (missed(), true));

    // What it has is its own by now; what it could not apply it still wants; what it does not own nobody else may delete.
    claims.looked(&two, wants(&["c"], &["d"]));
    assert_eq!(
        (of("one", "b"), of("one", "c"), of("one", "d")),
        (None, missed(), Some(Claimed::Unowned))
    );
    assert!(claims.is_open(&two));
    claims.looked(&two, wants(&[], &["d"]));
    assert_eq!(
        (of("one", "c"), of("one", "d")),
        (None, Some(Claimed::Unowned))
    );
    assert!(!claims.is_open(&two));

    // A work that is deleted wants nothing.
    let mut gone = Held::clone(&two);
    gone.tombstone = true;
    claims.begin(&Arc::new(gone));
    assert_eq!(of("one", "d"), None);
    claims.forget("one");
    assert_eq!(of("two", "a"), None);
}

#[test]
fn a_namespace_that_a_kind_has_no_use_for_hides_no_claim() {
    let claims = Claims::default();
    claims.begin(&held(
        "w",
        1,
        &[manifest("Namespace", "needless", "a"), map("b")],
    ));
    for (wanted, expected) in [
        (name("Namespace", "", "a"), Some(Claimed::Soon)),
        (name("ConfigMap", "n", "b"), Some(Claimed::Soon)),
        (name("ConfigMap", "other", "b"), None),
    ] {
        assert_eq!(claims.of_others("x").want(&wanted), expected, "{wanted:?}");
    }
    // Known exactly once its kind is.
    let key = ObjectKey {
        resource: Arc::new(NAMESPACES.clone()),
        namespace: String::new(),
        name: "a".into(),
    };
    let body = held("w", 1, &[manifest("Namespace", "needless", "a")]);
    let object = plan::manifests(&body.spec().unwrap())
        .remove(0)
        .object
        .unwrap();
    let mut wants = Wants::default();
    wants.misses(&object, Some(&key));
    claims.looked(&body, wants);
    let found = claims.of_others("x").want(&name("Namespace", "", "a"));
    assert_eq!(found, Some(Claimed::Missed("w".to_owned())));
}

/// A kind may be served in two groups, and two groups may have kinds of one name: only the objects themselves tell.
#[test]
fn a_claim_in_another_group_is_told_apart() {
    let claims = Claims::default();
    let of = |api_version: &str, name: &str| json!({"apiVersion": api_version, "kind": "Ingress", "metadata": {"name": name, "namespace": "n"}});
    let told = held(
        "b",
        1,
        &[
            of("networking.k8s.io/v1", "door"),
            of("extensions/v1beta1", "gate"),
        ],
    );
    claims.begin(&told);
    let ingress = |group: &str, name: &str| Name {
        group: group.into(),
        kind: "Ingress".into(),
        namespace: "n".into(),
        name: name.into(),
    };
    let elsewhere =
        |group: &str, name: &str| claims.of_others("a").want_elsewhere(&ingress(group, name));
    let (new, old) = ("networking.k8s.io", "extensions");
    assert_eq!(elsewhere(old, "door"), [(new.to_owned(), Claimed::Soon)]);
    assert_eq!(elsewhere(new, "gate"), [(old.to_owned(), Claimed::Soon)]);
    // In its own group it is no other one; and neither is another name, or another kind.
    assert_eq!(
        claims.of_others("a").want(&ingress(new, "door")),
        Some(Claimed::Soon)
    );
    assert_eq!(claims.of_others("a").want(&ingress(old, "door")), None);
    for (group, name) in [(new, "door"), (old, "gate"), (old, "window")] {
        assert_eq!(elsewhere(group, name), [], "{group} {name}");
    }
    let other = Name {
        kind: "Door".into(),
        ..ingress(old, "door")
    };
    assert_eq!(claims.of_others("a").want_elsewhere(&other), []);
    assert_eq!(
        claims.of_others("b").want_elsewhere(&ingress(old, "door")),
        []
    );
    claims.tried(&told);
    let missed = Claimed::Missed("b".to_owned());
    assert_eq!(elsewhere(old, "door"), [(new.to_owned(), missed)]);
}

#[test]
fn who_is_to_own_an_object_comes_first() {
    let missed = || Claimed::Missed("b".to_owned());
    for (claims, expected) in [
        (vec![], None),
        (vec![Claimed::Unowned], Some(Claimed::Unowned)),
        (vec![Claimed::Unowned, missed()], Some(missed())),
        (vec![missed(), Claimed::Unowned], Some(missed())),
        (vec![Claimed::Unowned, Claimed::Soon], Some(Claimed::Soon)),
    ] {
        assert_eq!(Claimed::strongest(claims.into_iter()), expected);
    }
}
