//! What goes first, what is counted, and what an approval names.

use serde_json::json;

use super::*;
use crate::cluster::Resource;

fn doomed(group: &str, plural: &str, kind: &str) -> Doomed {
    let recorded = Applied {
        group: group.into(),
        version: "v1".into(),
        resource: plural.into(),
        name: "a".into(),
        ..Default::default()
    };
    Doomed {
        container: Container::of(group, plural),
        resource: Resource {
            group: group.into(),
            version: "v1".into(),
            kind: kind.into(),
            plural: plural.into(),
            namespaced: false,
        },
        live: json!({"kind": kind}),
        uid: String::new(),
        recorded,
    }
}

#[test]
fn what_was_applied_last_goes_first_and_containers_last() {
    let mut all = [
        doomed("", "namespaces", "Namespace"),
        doomed("", "secrets", "Secret"),
        doomed("apps", "deployments", "Deployment"),
        doomed(
            "apiextensions.k8s.io",
            "customresourcedefinitions",
            "CustomResourceDefinition",
        ),
        doomed("test.dev", "widgets", "Widget"),
        doomed("storage.k8s.io", "storageclasses", "StorageClass"),
    ];
    all.sort_by_key(|one| std::cmp::Reverse(rank(one)));
    let order: Vec<_> = all
        .iter()
        .map(|one| one.recorded.resource.as_str())
        .collect();
    assert_eq!(
        order,
        [
            "widgets",
            "deployments",
            "secrets",
            "storageclasses",
            "namespaces",
            "customresourcedefinitions"
        ]
    );
}

#[test]
fn an_object_that_the_work_wants_in_another_group_stays() {
    let mut one = doomed("extensions", "ingresses", "Ingress");
    one.uid = "1".into();
    let kept = |plural: &str, name: &str, uid: &str| Applied {
        group: "networking.k8s.io".into(),
        version: "v1".into(),
        resource: plural.into(),
        name: name.into(),
        uid: uid.into(),
        ..Default::default()
    };
    for (keep, expected) in [
        (vec![], Elsewhere::No),
        (vec![kept("ingresses", "a", "1")], Elsewhere::Surely),
        // Another object of the same name: the groups have nothing to do with each other.
        (vec![kept("ingresses", "a", "2")], Elsewhere::No),
        (vec![kept("ingresses", "a", "")], Elsewhere::Perhaps),
        (vec![kept("ingresses", "b", "")], Elsewhere::No),
        (vec![kept("services", "a", "")], Elsewhere::No),
        (
            vec![kept("services", "a", ""), kept("ingresses", "a", "1")],
            Elsewhere::Surely,
        ),
    ] {
        assert_eq!(kept_elsewhere(&one, &keep), expected, "{keep:?}");
    }
}

#[test]
fn each_object_is_counted_once_until_it_is_gone() {
    let guard = DeletionGuard::new(crate::work::Allowance {
        percent: 0,
        objects: 3,
    });
    let quota = Quota {
        guard: &guard,
        work: "w",
        told: 1,
        kept: 0,
    };
    let with = |uid: &str| Doomed {
        uid: uid.to_owned(),
        ..doomed("", "secrets", "Secret")
    };
    let mut removal = Removal::default();
    let mut granted = |uids: &[&str], pending: &[Applied]| {
        let doomed: Vec<_> = uids.iter().map(|uid| with(uid)).collect();
        let held = quota.ask(removal.fresh(&doomed, pending)) != Permit::Granted;
        if !held {
            removal
                .granted
                .extend(doomed.into_iter().map(|one| one.uid));
        }
        !held
    };
    // Two that do not go, looked at again and again, take two of three places.
    for _ in 0..50 {
        assert!(granted(&["a", "b"], &[]));
    }
    // Also while they cannot be read.
    let unread = Applied {
        uid: "b".into(),
        ..Default::default()
    };
    assert!(granted(&["a"], &[unread]));
    assert!(granted(&["a", "b", "c"], &[]));
    assert!(!granted(&["a", "b", "c", "d"], &[]));
    assert!(guard.hold().is_some());
    assert!(granted(&["a", "b", "c"], &[]));
    assert_eq!(guard.hold(), None);
}

#[test]
fn an_approval_names_what_may_go() {
    let directives =
        |text: &str| BTreeMap::from([(annotation::APPROVE_DELETION.to_owned(), text.to_owned())]);
    for (text, expected) in [
        ("namespaces/shop", true),
        ("x/y, namespaces/shop ,z", true),
        ("namespaces/shop-2", false),
        ("shop", false),
        ("", false),
    ] {
        assert_eq!(
            is_approved(&directives(text), "namespaces/shop"),
            expected,
            "{text}"
        );
    }
}

#[test]
fn what_cannot_be_seen_is_kept_unless_somebody_knows_that_it_is_not_there() {
    let recorded = |uid: &str| Applied {
        uid: uid.to_owned(),
        ..doomed("test.dev", "widgets", "Widget").recorded
    };
    let error =
        |code: u16| crate::cluster::refused(code, "Forbidden", "it is forbidden".to_owned());
    // Only what was never recorded may never have been made, and only where the agent may not look.
    assert!(is_unseen(&recorded(""), &error(403)));
    for (uid, error) in [
        ("1", error(403)),
        ("", error(404)),
        ("", error(500)),
        ("", Error::Timeout),
    ] {
        assert!(!is_unseen(&recorded(uid), &error), "{uid} {error}");
    }
    let approved =
        |text: &str| BTreeMap::from([(annotation::APPROVE_DELETION.to_owned(), text.to_owned())]);
    for (is_unmade, directives, expected) in [
        (false, BTreeMap::new(), "held"),
        (true, BTreeMap::new(), "done"),
        (false, approved("widgets.test.dev"), "done"),
        (false, approved("widgets"), "held"),
        (false, approved("things.test.dev"), "held"),
    ] {
        let first = sift::unseen(&recorded(""), is_unmade, &directives, &error(403));
        let found = match first {
            sift::First::Done => "done",
            sift::First::Held(why) => {
                let why = why.message();
                assert!(
                    why.contains("it is forbidden") && why.contains("=widgets.test.dev"),
                    "{why}"
                );
                "held"
            }
            _ => "else",
        };
        assert_eq!(found, expected, "{is_unmade} {directives:?}");
    }
}
