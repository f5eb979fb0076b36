//! The index against an evaluator that looks at everything each time.

use std::{collections::BTreeMap, ops::ControlFlow};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    auth::User,
    authz::{
        Attributes,
        index::{Index, Part},
    },
};

fn user(name: &str, groups: &[&str]) -> User {
    User {
        name: name.to_owned(),
        groups: groups.iter().map(|&group| group.to_owned()).collect(),
        ..User::default()
    }
}

fn put(index: &mut Index, part: Part, namespace: &str, name: &str, body: &Value) {
    index.observe(part, namespace, name, Some(body.to_string().as_bytes()));
}

fn allowed(index: &Index, user: &User, asked: &Attributes) -> bool {
    let mut allowed = false;
    index.visit(user, &asked.namespace, |_, rule| {
        allowed |= rule.allows(asked);
        ControlFlow::Continue(())
    });
    allowed
}

fn reads(resource: &str) -> Value {
    json!({ "rules": [{ "apiGroups": [""], "resources": [resource], "verbs": ["get"] }] })
}

fn bind(kind: &str, role: &str, subject: Value) -> Value {
    json!({ "roleRef": { "apiGroup": super::RBAC, "kind": kind, "name": role }, "subjects": [subject] })
}

#[test]
fn a_service_account_is_bound_by_its_namespace_or_the_bindings_own() {
    let mut index = Index::default();
    put(&mut index, Part::Roles, "ns", "r", &reads("a"));
    let account = user("system:serviceaccount:ns:robot", &[]);
    let asked = Attributes::of("get", "", "a").within("ns");
    let own = json!({ "kind": "ServiceAccount", "name": "robot" });
    put(
        &mut index,
        Part::Bindings,
        "ns",
        "b",
        &bind("Role", "r", own),
    );
    assert!(allowed(&index, &account, &asked));
    let other = json!({ "kind": "ServiceAccount", "name": "robot", "namespace": "other" });
    put(
        &mut index,
        Part::Bindings,
        "ns",
        "b",
        &bind("Role", "r", other),
    );
    assert!(!allowed(&index, &account, &asked));
    assert!(allowed(
        &index,
        &user("system:serviceaccount:other:robot", &[]),
        &asked
    ));
    index.observe(Part::Bindings, "ns", "b", None);
    assert!(!allowed(
        &index,
        &user("system:serviceaccount:other:robot", &[]),
        &asked
    ));
}

#[test]
fn a_namespaces_binding_gives_nothing_outside_and_no_paths() {
    let mut index = Index::default();
    let rules = json!({ "rules": [
        { "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] },
        { "nonResourceURLs": ["*"], "verbs": ["*"] },
    ] });
    put(&mut index, Part::ClusterRoles, "", "all", &rules);
    let eve = json!({ "kind": "User", "name": "eve" });
    put(
        &mut index,
        Part::Bindings,
        "ns",
        "b",
        &bind("ClusterRole", "all", eve),
    );
    let eve = user("eve", &[]);
    let asked = Attributes::of("get", "", "secrets");
    assert!(allowed(&index, &eve, &asked.clone().within("ns")));
    assert!(!allowed(&index, &eve, &asked.clone().within("other")));
    assert!(!allowed(&index, &eve, &asked));
    assert!(!allowed(&index, &eve, &super::path("/metrics")));
}

#[test]
fn a_role_that_is_missing_is_named_and_malformed_ones_give_nothing() {
    let mut index = Index::default();
    let eve = json!({ "kind": "User", "name": "eve" });
    put(
        &mut index,
        Part::ClusterBindings,
        "",
        "b",
        &bind("ClusterRole", "none", eve),
    );
    put(
        &mut index,
        Part::ClusterBindings,
        "",
        "junk",
        &json!({ "roleRef": 7 }),
    );
    put(
        &mut index,
        Part::ClusterRoles,
        "",
        "junk",
        &json!({ "rules": "all" }),
    );
    let faults = index.visit(&user("eve", &[]), "", |_, _| ControlFlow::Continue(()));
    assert_eq!(
        faults,
        [r#"clusterrole.rbac.authorization.k8s.io "none" not found"#]
    );
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// One change: a role or a binding comes, changes or goes.
fn change() -> impl Strategy<Value = (usize, &'static str, &'static str, Option<Value>)> {
    let name = || prop::sample::select(&NAMES[..]);
    let subject = (
        prop::sample::select(&["User", "Group", "ServiceAccount"][..]),
        name(),
    );
    let kind = prop::sample::select(&["Role", "ClusterRole"][..]);
    (
        0..4_usize,
        name(),
        name(),
        prop::option::weighted(0.8, (kind, name(), subject)),
    )
        .prop_map(|(part, namespace, name, body)| {
            let body = body.map(|(kind, role, (subject, of))| {
                if part < 2 {
                    reads(role)
                } else {
                    bind(kind, role, json!({ "kind": subject, "name": of }))
                }
            });
            let namespace = if part % 2 == 0 { "" } else { namespace };
            (part, namespace, name, body)
        })
}

/// Looks at every binding and every role, without any index.
fn plainly(
    objects: &BTreeMap<(usize, &str, &str), Value>,
    user: &User,
    asked: &Attributes,
) -> bool {
    objects.iter().any(|((part, namespace, _), binding)| {
        let here = *part == 2 || *part == 3 && *namespace == asked.namespace;
        let subject = &binding["subjects"][0];
        let name = subject["name"].as_str().unwrap_or_default();
        let about = match subject["kind"].as_str() {
            Some("User") => user.name == name,
            Some("Group") => user.groups.iter().any(|group| group == name),
            _ => *part == 3 && user.name == format!("system:serviceaccount:{namespace}:{name}"),
        };
        let role = binding["roleRef"]["name"].as_str().unwrap_or_default();
        let role = match binding["roleRef"]["kind"].as_str() {
            Some("ClusterRole") => objects.get(&(0, "", role)),
            // A cluster-wide binding of a role of a namespace finds none.
            _ if *part == 2 => None,
            _ => objects.get(&(1, *namespace, role)),
        };
        here && about && role.is_some_and(|role| role["rules"][0]["resources"][0] == asked.resource)
    })
}

proptest! {
    #[test]
    fn the_index_agrees_with_looking_at_everything(changes in prop::collection::vec(change(), 1..60)) {
        let parts = [Part::ClusterRoles, Part::Roles, Part::ClusterBindings, Part::Bindings];
        let (mut index, mut objects) = (Index::default(), BTreeMap::new());
        for (part, namespace, name, body) in changes {
            let text = body.as_ref().map(Value::to_string);
            index.observe(parts[part], namespace, name, text.as_deref().map(str::as_bytes));
            match body {
                Some(body) => objects.insert((part, namespace, name), body),
                None => objects.remove(&(part, namespace, name)),
            };
        }
        let users = [user("a", &["b"]), user("c", &[]), user("system:serviceaccount:a:b", &["c"])];
        for user in &users {
            for namespace in ["", "a", "b", "c"] {
                for resource in NAMES {
                    let asked = Attributes::of("get", "", resource).within(namespace);
                    prop_assert_eq!(
                        allowed(&index, user, &asked),
                        plainly(&objects, user, &asked),
                        "{:?} {:?}", user, asked
                    );
                }
            }
        }
    }
}
