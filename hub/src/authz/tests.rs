//! Rules against kube-apiserver's own examples, and against a plainer evaluator.

mod cover;
mod index;

use super::{agent::Standing, *};
use crate::auth::tests::agent as certificate;

fn agent(cluster: &str) -> User {
    User::from_certificate(&certificate(cluster)).unwrap()
}

fn path(path: &str) -> Attributes {
    Attributes {
        verb: "get".to_owned(),
        path: path.to_owned(),
        ..Attributes::default()
    }
}

const CLUSTER: &str = "cluster.open-cluster-management.io";
const WORK: &str = "work.open-cluster-management.io";

/// P6: what an agent's certificate opens, spelled out.
#[test]
fn an_agent_reads_its_own_cluster_and_works_and_nothing_else() {
    let cluster = agent("east").cluster.unwrap();
    let may = |standing, asked: &Attributes| super::agent::may(&cluster.name, standing, asked);
    let allowed = |asked: &Attributes| may(Standing::Accepted, asked);
    let works = Attributes::of("list", WORK, "manifestworks").within("east");
    let own = Attributes::of("get", CLUSTER, "managedclusters").named("east");
    // Shut out, it may still learn that; of a later cluster of its name it learns nothing.
    assert!(!may(Standing::Waiting, &works) && may(Standing::Waiting, &own));
    assert!(!may(Standing::Gone, &works) && !may(Standing::Gone, &own));
    assert!(may(Standing::Gone, &path("/version")));
    for verb in ["get", "list", "watch"] {
        let clusters = Attributes::of(verb, CLUSTER, "managedclusters");
        let works = Attributes::of(verb, WORK, "manifestworks");
        assert!(allowed(&clusters.clone().named("east")));
        assert!(allowed(&works.clone().within("east")));
        for refused in [
            clusters.clone().named("west"),
            clusters,
            works.clone().within("west"),
            works,
            Attributes::of(verb, "", "secrets").within("east"),
            Attributes::of(verb, "koinon.dev", "jointokens"),
            Attributes::of(verb, RBAC, "clusterroles"),
        ] {
            assert!(!allowed(&refused), "{refused:?}");
        }
    }
    for verb in [
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
        "impersonate",
    ] {
        assert!(!allowed(
            &Attributes::of(verb, CLUSTER, "managedclusters").named("east")
        ));
        assert!(!allowed(
            &Attributes::of(verb, WORK, "manifestworks")
                .within("east")
                .named("w")
        ));
    }
    assert!(allowed(&path("/apis/work.open-cluster-management.io")));
    assert!(!allowed(&path("/apisx")) && !allowed(&path("/metrics")) && !allowed(&path("/")));
}

#[test]
fn refusals_read_as_kubernetes_words_them() {
    let user = User {
        name: "eve".to_owned(),
        ..User::default()
    };
    let said = |asked: Attributes, reason: &str| {
        let (user, asked) = (&user, &asked);
        Refusal {
            user,
            asked,
            reason,
        }
        .to_string()
    };
    let status = Attributes::of("patch", WORK, "manifestworks/status").within("east");
    for (asked, reason, words) in [
        (
            status,
            "",
            r#"User "eve" cannot patch resource "manifestworks/status" in API group "work.open-cluster-management.io" in the namespace "east""#,
        ),
        (
            Attributes::of("get", CLUSTER, "managedclusters").named("c"),
            "",
            r#"User "eve" cannot get resource "managedclusters" in API group "cluster.open-cluster-management.io" at the cluster scope"#,
        ),
        (
            path("/metrics"),
            r#"RBAC: role.rbac.authorization.k8s.io "x" not found"#,
            r#"User "eve" cannot get path "/metrics": RBAC: role.rbac.authorization.k8s.io "x" not found"#,
        ),
    ] {
        assert_eq!(said(asked, reason), words);
    }
}

#[test]
fn rules_match_as_in_kubernetes() {
    let ask = |verb: &str, resource: &str| Attributes::of(verb, "g", resource).named("n");
    for (rule, asked, allowed) in [
        (Rule::on(&["g"], &["a"], &["get"]), ask("get", "a"), true),
        (Rule::on(&["g"], &["a"], &["get"]), ask("list", "a"), false),
        (
            Rule::on(&["g"], &["a"], &["get"]),
            ask("get", "a/status"),
            false,
        ),
        (
            Rule::on(&["g"], &["a/status"], &["get"]),
            ask("get", "a/status"),
            true,
        ),
        (
            Rule::on(&["g"], &["a/status"], &["get"]),
            ask("get", "a"),
            false,
        ),
        (
            Rule::on(&["g"], &["*/status"], &["get"]),
            ask("get", "a/status"),
            true,
        ),
        (
            Rule::on(&["g"], &["*/status"], &["get"]),
            ask("get", "a"),
            false,
        ),
        (
            Rule::on(&["g"], &["a/*"], &["get"]),
            ask("get", "a/status"),
            false,
        ),
        (Rule::on(&["*"], &["*"], &["*"]), ask("x", "a/status"), true),
        (Rule::on(&[""], &["a"], &["get"]), ask("get", "a"), false),
        (
            Rule::on(&["g"], &["a"], &["get"]).named(&["n"]),
            ask("get", "a"),
            true,
        ),
        (
            Rule::on(&["g"], &["a"], &["get"]).named(&["m"]),
            ask("get", "a"),
            false,
        ),
        (
            Rule::on(&["g"], &["a"], &["list"]).named(&["n"]),
            Attributes::of("list", "g", "a"),
            false,
        ),
        (Rule::on(&["*"], &["*"], &["*"]), path("/x"), false),
        (Rule::on_paths(&["*"], &["get"]), path("/x"), true),
        (Rule::on_paths(&["/x/*"], &["get"]), path("/x/y/z"), true),
        (Rule::on_paths(&["/x/*"], &["get"]), path("/x"), false),
        (Rule::on_paths(&["/x"], &["get"]), path("/x/y"), false),
        (Rule::on_paths(&["*"], &["*"]), ask("get", "a"), false),
    ] {
        assert_eq!(rule.allows(&asked), allowed, "{rule:?} {asked:?}");
    }
}

#[test]
fn rights_on_a_set_reach_its_clusters_and_no_others() {
    let set_of = |cluster: &str| (cluster != "lone").then(|| format!("set-of-{cluster}"));
    let through = |asked: Attributes| {
        let through = sets::translate(&asked, set_of);
        through
            .iter()
            .map(|asked| format!("{} {} {}", asked.verb, asked.full_resource(), asked.name))
            .collect::<Vec<_>>()
    };
    let clusters = |verb| Attributes::of(verb, CLUSTER, "managedclusters");
    let labelled = |labels: &str| Attributes {
        labels: labels.to_owned(),
        ..clusters("list")
    };
    let key = "cluster.open-cluster-management.io/clusterset";
    for (asked, wanted) in [
        (
            clusters("get").named("c"),
            vec!["get managedclustersets/clusters set-of-c"],
        ),
        (
            clusters("delete").named("c"),
            vec!["delete managedclustersets/clusters set-of-c"],
        ),
        (clusters("get").named("lone"), vec![]),
        (clusters("list"), vec![]),
        (clusters("create"), vec![]),
        (clusters("deletecollection"), vec![]),
        (
            labelled(&format!("{key}=eu")),
            vec!["list managedclustersets/clusters eu"],
        ),
        (
            labelled(&format!("env=prod,{key} in (eu,us)")),
            vec![
                "list managedclustersets/clusters eu",
                "list managedclustersets/clusters us",
            ],
        ),
        (labelled(&format!("{key}!=eu")), vec![]),
        (labelled(&format!("{key} notin (eu)")), vec![]),
        (labelled(key), vec![]),
        (labelled("not a selector("), vec![]),
        (
            Attributes::of("patch", CLUSTER, "managedclusters/status").named("c"),
            vec![],
        ),
        (
            Attributes::of(
                "update",
                "register.open-cluster-management.io",
                "managedclusters/accept",
            )
            .named("c"),
            vec!["update managedclustersets/accept set-of-c"],
        ),
        (
            Attributes::of("create", WORK, "manifestworks").within("c"),
            vec!["create managedclustersets/works set-of-c"],
        ),
        (Attributes::of("list", WORK, "manifestworks"), vec![]),
        (Attributes::of("get", "", "secrets").within("c"), vec![]),
    ] {
        let shown = format!("{asked:?}");
        assert_eq!(through(asked), wanted, "{shown}");
    }
}

#[test]
fn the_defaults_hold_each_other_up() {
    let objects = defaults();
    let rules = |name: &str| {
        let object = objects
            .iter()
            .find(|object| object.kind() == "ClusterRole" && object.name() == name);
        let list = object.and_then(|object| object.get("rules")?.as_array().cloned());
        rules_of(&list.unwrap_or_default())
    };
    for (more, less) in [
        ("admin", "edit"),
        ("edit", "view"),
        ("cluster-admin", "admin"),
        ("cluster-admin", "koinon:fleet-admin"),
        ("koinon:fleet-admin", "koinon:fleet-view"),
    ] {
        assert!(!rules(less).is_empty(), "{less}");
        assert_eq!(
            missing(&rules(more), &rules(less)),
            None,
            "{less} in {more}"
        );
    }
    for (less, more) in [
        ("view", "edit"),
        ("edit", "admin"),
        ("admin", "cluster-admin"),
    ] {
        assert!(
            missing(&rules(less), &rules(more)).is_some(),
            "{more} in {less}"
        );
    }
    // Who may only look sees no secrets and asks for no tokens.
    for (verb, secret) in [("get", "secrets"), ("create", "serviceaccounts/token")] {
        let asked = Attributes::of(verb, "", secret);
        assert!(
            !rules("view").iter().any(|rule| rule.allows(&asked)),
            "{secret}"
        );
    }
}

#[test]
fn defaults_are_added_to_and_never_taken_from() {
    let wanted = defaults()
        .into_iter()
        .find(|object| object.name() == "system:discovery" && object.kind() == "ClusterRole")
        .unwrap();
    assert_eq!(brought_up(&wanted, &wanted), None);
    let mut old = wanted.clone();
    let extra = serde_json::json!({ "nonResourceURLs": ["/extra"], "verbs": ["get"] });
    old.as_map_mut()
        .insert("rules".to_owned(), serde_json::json!([extra]));
    let new = brought_up(&old, &wanted).unwrap();
    let rules = new.get("rules").unwrap().as_array().unwrap();
    assert!(rules.len() == 2 && rules[0] == extra, "{rules:?}");
    assert_eq!(brought_up(&new, &wanted), None);
    old.set_annotation("rbac.authorization.kubernetes.io/autoupdate", "false");
    assert_eq!(brought_up(&old, &wanted), None);
}
