use super::*;
use crate::auth::tests::agent as certificate;

fn agent(cluster: &str) -> User {
    User::from_certificate(&certificate(cluster)).unwrap()
}

fn resource(verb: &str, group: &str, resource: &str, namespace: &str, name: &str) -> Attributes {
    Attributes {
        verb: verb.to_owned(),
        group: group.to_owned(),
        resource: resource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    }
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
    let east = agent("east");
    let allowed = |asked: &Attributes| authorize(Some(&east), asked).is_ok();
    for verb in ["get", "list", "watch"] {
        assert!(allowed(&resource(
            verb,
            CLUSTER,
            "managedclusters",
            "",
            "east"
        )));
        assert!(allowed(&resource(verb, WORK, "manifestworks", "east", "")));
        assert!(!allowed(&resource(
            verb,
            CLUSTER,
            "managedclusters",
            "",
            "west"
        )));
        assert!(!allowed(&resource(
            verb,
            CLUSTER,
            "managedclusters",
            "",
            ""
        )));
        assert!(!allowed(&resource(verb, WORK, "manifestworks", "west", "")));
        assert!(!allowed(&resource(verb, WORK, "manifestworks", "", "")));
        assert!(!allowed(&resource(verb, "", "secrets", "east", "")));
        assert!(!allowed(&resource(
            verb,
            "koinon.dev",
            "jointokens",
            "",
            ""
        )));
    }
    for verb in ["create", "update", "patch", "delete", "deletecollection"] {
        assert!(!allowed(&resource(
            verb,
            CLUSTER,
            "managedclusters",
            "",
            "east"
        )));
        assert!(!allowed(&resource(
            verb,
            WORK,
            "manifestworks",
            "east",
            "w"
        )));
    }
}

#[test]
fn nobody_sees_health_and_version_only() {
    for open in ["/livez", "/readyz", "/healthz", "/version"] {
        assert_eq!(authorize(None, &path(open)), Ok(()));
    }
    for closed in ["/api", "/apis", "/openapi/v3", "/metrics", "/"] {
        assert_eq!(authorize(None, &path(closed)), Err(Denied::Unauthenticated));
    }
}

#[test]
fn a_user_without_rights_sees_discovery_and_himself() {
    let user = User {
        name: "eve".to_owned(),
        groups: Vec::new(),
        cluster: None,
    };
    assert!(authorize(Some(&user), &path("/apis/work.open-cluster-management.io")).is_ok());
    assert!(authorize(Some(&user), &path("/apisx")).is_err());
    let whoami = resource(
        "create",
        "authentication.k8s.io",
        "selfsubjectreviews",
        "",
        "",
    );
    assert!(authorize(Some(&user), &whoami).is_ok());
}

#[test]
fn refusals_read_as_kubernetes_words_them() {
    let user = User {
        name: "eve".to_owned(),
        groups: Vec::new(),
        cluster: None,
    };
    let said = |asked: &Attributes| match authorize(Some(&user), asked) {
        Err(Denied::Forbidden(words)) => words,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        said(&resource("list", WORK, "manifestworks", "east", "")),
        r#"User "eve" cannot list resource "manifestworks" in API group "work.open-cluster-management.io" in the namespace "east""#
    );
    assert_eq!(
        said(&resource("get", CLUSTER, "managedclusters", "", "c")),
        r#"User "eve" cannot get resource "managedclusters" in API group "cluster.open-cluster-management.io" at the cluster scope"#
    );
    assert_eq!(
        said(&path("/metrics")),
        r#"User "eve" cannot get path "/metrics""#
    );
}
