use serde_json::json;

use super::*;

fn owner() -> Owner {
    Owner {
        name: "hub-work".into(),
        uid: "u1".into(),
    }
}

fn kind(group: &str, plural: &str) -> Resource {
    Resource {
        group: group.into(),
        version: "v1".into(),
        kind: String::new(),
        plural: plural.into(),
        namespaced: true,
    }
}

#[test]
fn what_is_ours_derived_or_the_clusters_own_is_not_of_others() {
    let owner = owner();
    let spec: ManifestWorkSpec = serde_json::from_value(json!({
        "workload": {"manifests": []},
        "deleteOption": {"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {"orphaningRules": [
            {"resource": "persistentvolumeclaims", "namespace": "shop", "name": "data"}]}},
    }))
    .unwrap();
    let eyes = Eyes {
        owner: &owner,
        spec: &spec,
    };
    let mut kinds = Kinds::default();
    kinds.add(
        &json!({"resources": [{"name": "replicasets", "kind": "ReplicaSet", "namespaced": true, "verbs": ["list"]}]}),
        "apps",
        "v1",
    );
    let object = |name: &str, owners: Value| json!({"metadata": {"name": name, "namespace": "shop", "ownerReferences": owners}});
    let token = |name: &str, account: &str| json!({"metadata": {"name": name, "annotations": {"kubernetes.io/service-account.name": account}}});
    let (ours, theirs) = (
        owner.reference(),
        json!({"kind": "AppliedManifestWork", "uid": "u2"}),
    );
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "uid": "x"});
    let outside = json!({"apiVersion": "example.org/v1", "kind": "XDatabase", "uid": "y"});
    for (kind, object, expected) in [
        (kind("", "configmaps"), object("mine", json!([ours])), false),
        (
            kind("", "configmaps"),
            object("kube-root-ca.crt", json!([])),
            false,
        ),
        (kind("", "configmaps"), object("theirs", json!([])), true),
        (
            kind("", "configmaps"),
            object("theirs", json!([theirs])),
            true,
        ),
        // Of two works, one of which goes.
        (
            kind("", "secrets"),
            object("shared", json!([ours, theirs])),
            true,
        ),
        // To stay, whoever has it.
        (
            kind("", "persistentvolumeclaims"),
            object("data", json!([ours])),
            true,
        ),
        (
            kind("", "persistentvolumeclaims"),
            object("scratch", json!([ours])),
            false,
        ),
        (kind("", "pods"), object("web-1", json!([set])), false),
        // Nobody looks at an owner outside of the namespace.
        (kind("", "secrets"), object("db", json!([outside])), true),
        (
            kind("", "secrets"),
            object("db", json!([set, outside])),
            true,
        ),
        (
            kind("", "serviceaccounts"),
            object("default", json!([])),
            false,
        ),
        (
            kind("rbac.authorization.k8s.io", "rolebindings"),
            object("system:deployers", json!([])),
            true,
        ),
        (
            kind("", "serviceaccounts"),
            object("deployer", json!([])),
            true,
        ),
        (
            kind("rbac.authorization.k8s.io", "rolebindings"),
            object("theirs", json!([])),
            true,
        ),
        (kind("", "secrets"), object("default", json!([])), true),
        (
            kind("", "secrets"),
            token("default-token-x7k2p", "default"),
            false,
        ),
        (kind("", "secrets"), token("by-hand", "default"), true),
        (
            kind("", "secrets"),
            token("deployer-token-x7k2p", "deployer"),
            true,
        ),
        (
            kind("", "pods"),
            json!({"metadata": {"name": "going", "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            false,
        ),
    ] {
        assert_eq!(
            eyes.is_foreign(&kind, &object, &kinds),
            expected,
            "{object}"
        );
    }
}

#[test]
fn openshift_fills_namespaces_with_more() {
    let (owner, spec) = (owner(), ManifestWorkSpec::default());
    let eyes = Eyes {
        owner: &owner,
        spec: &spec,
    };
    let mut kinds = Kinds::default();
    kinds.add(&json!({"resources": [{"name": "templates", "kind": "Template", "namespaced": true, "verbs": ["list"]}]}), "template.openshift.io", "v1");
    for (group, plural, name, expected) in [
        ("", "serviceaccounts", "deployer", false),
        ("", "serviceaccounts", "theirs", true),
        (
            "rbac.authorization.k8s.io",
            "rolebindings",
            "system:deployers",
            false,
        ),
        ("rbac.authorization.k8s.io", "rolebindings", "theirs", true),
    ] {
        let object = json!({"metadata": {"name": name}});
        let found = eyes.is_foreign(&kind(group, plural), &object, &kinds);
        assert_eq!(found, expected, "{plural} {name}");
    }
}

#[test]
fn containers_know_what_is_in_them() {
    let object = |group: &str, resource: &str, namespace: &str| Applied {
        group: group.into(),
        resource: resource.into(),
        namespace: namespace.into(),
        ..Default::default()
    };
    let namespace = Container::of("", "namespaces").unwrap();
    let definition = Container::of("apiextensions.k8s.io", "customresourcedefinitions").unwrap();
    assert_eq!(
        Container::of("project.openshift.io", "projects"),
        Some(namespace)
    );
    assert_eq!(Container::of("project.openshift.io", "namespaces"), None);
    for (container, name, object, expected) in [
        (namespace, "shop", object("", "secrets", "shop"), true),
        (namespace, "shop", object("", "secrets", "shop-2"), false),
        (namespace, "shop", object("", "nodes", ""), false),
        (
            definition,
            "things.test.dev",
            object("test.dev", "things", "a"),
            true,
        ),
        (
            definition,
            "things.test.dev",
            object("test.dev", "others", "a"),
            false,
        ),
        (
            definition,
            "things.test.dev",
            object("dev", "things", "a"),
            false,
        ),
    ] {
        assert_eq!(
            container.holds(name, &object),
            expected,
            "{name} {object:?}"
        );
    }
}
