//! What a work may not touch it does not see, and what its executor may not give away or delete it does not either.

use koinon_klusterlet::work::{Executing, Rights, Without};
use serde_json::{Value, json};

use super::{
    bench::{AGENT, Bench, applied, config_map},
    safety::{held_because, namespace, secret, until_held, why},
};

fn executor(spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["executor"] = json!({"subject": {"type": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "deployer"}}});
    spec
}

async fn grant(bench: &Bench, rules: &Value) -> anyhow::Result<()> {
    bench.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer", "namespace": "default"}})).await?;
    bench.create(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "deployer", "namespace": "default"}, "rules": rules})).await?;
    bench
        .create(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "deployer", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "default"}]}))
        .await
}

/// The encoded text of the secret.
const HIDDEN: &str = "aGlkZGVu";

#[tokio::test]
async fn what_a_work_may_not_touch_it_does_not_see_either() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    bench.create(&secret("kube-system", "theirs")).await?;
    bench.create(&namespace(AGENT)).await?;
    bench.create(&secret(AGENT, "identity")).await?;
    grant(
        &bench,
        &json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]),
    )
    .await?;
    let look = |namespace: &str, name: &str| {
        json!({
            "workload": {"manifests": [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}]},
            "manifestConfigs": [{
                "resourceIdentifier": {"resource": "secrets", "namespace": "*", "name": "*"},
                "updateStrategy": {"type": "ReadOnly"},
                "feedbackRules": [{"type": "JSONPaths", "jsonPaths": [{"name": "t", "path": ".data.token"}]}],
                "conditionRules": [{"condition": "Seen", "type": "CEL", "celExpressions": ["true"], "messageExpression": "object.data.token"}],
            }],
        })
    };
    // Whoever may look does see it: the rules are sound.
    bench.desire("may", 1, look("kube-system", "theirs"))?;
    let status = bench.status("may", 1).await?;
    assert!(status.to_string().contains(HIDDEN), "{status}");

    bench.create(&json!({"apiVersion": "koinon.dev/v1alpha1", "kind": "WorkPolicy", "metadata": {"name": "limits"}, "spec": {"deniedNamespaces": ["kube-*"]}})).await?;
    // What was seen before is not shown any longer.
    let status = bench
        .until("the policy is followed", "may", |s| applied(s) == "False")
        .await?;
    assert!(!status.to_string().contains(HIDDEN), "{status}");
    for (work, spec, words) in [
        ("policy", look("kube-system", "theirs"), "WorkPolicy"),
        (
            "executor",
            executor(&look("default", "any")),
            "it may not get it",
        ),
        (
            "own",
            look(AGENT, "identity"),
            "may not touch the namespace of the agent",
        ),
    ] {
        bench.create(&secret("default", "any")).await?;
        bench.desire(work, 1, spec)?;
        let status = bench.status(work, 1).await?;
        assert!(why(&status, 0).contains(words), "{status}");
        assert!(!status.to_string().contains(HIDDEN), "{work}: {status}");
        let entry = &status["resourceStatus"]["manifests"][0];
        assert!(
            entry["statusFeedback"]["values"]
                .as_array()
                .is_none_or(Vec::is_empty),
            "{status}"
        );
    }

    // Nor does it change what the agent is made of.
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "koinon:klusterlet:works"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}, "subjects": []});
    let record = json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork", "metadata": {"name": "aaaa-may"}, "spec": {}});
    let service = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1alpha1.koinon.dev"},
        "spec": {"group": "koinon.dev", "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 20}});
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "thief", "namespace": AGENT}, "spec": {"containers": [{"name": "c", "image": "x"}]}});
    let manifests = [namespace(AGENT), binding, record, service, pod];
    bench.desire("reach", 1, json!({"workload": {"manifests": manifests}}))?;
    let status = bench.status("reach", 1).await?;
    for ordinal in 0..5 {
        let why = why(&status, ordinal);
        assert!(why.contains("works may not touch"), "{ordinal}: {why}");
    }
    Ok(())
}

#[tokio::test]
async fn rights_are_given_only_by_who_has_them_and_deletions_are_the_executors()
-> anyhow::Result<()> {
    // The agent may do everything, and asks whether the account may.
    let bench = Bench::start().await?;
    let verbs = json!(["get", "create", "update", "patch", "delete"]);
    grant(&bench, &json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": verbs}])).await?;
    bench
        .create(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "mighty", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "somebody"}]}))
        .await?;
    // No role is named, so as a new object this would be refused for quite another reason than that it gives rights away.
    let join = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "mighty", "namespace": "default"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "default"}]});
    let config = json!([{"resourceIdentifier": {"group": "rbac.authorization.k8s.io", "resource": "rolebindings", "namespace": "*", "name": "*"},
        "updateStrategy": {"type": "ServerSideApply", "serverSideApply": {"force": true}}}]);
    bench.desire(
        "grab",
        1,
        executor(&json!({"workload": {"manifests": [join]}, "manifestConfigs": config})),
    )?;
    let status = bench.status("grab", 1).await?;
    assert!(
        why(&status, 0).contains("attempting to grant RBAC permissions not currently held"),
        "{status}"
    );
    let live = bench.read(&["rolebinding", "mighty"]).await?;
    assert_eq!(live["subjects"][0]["name"], "somebody", "{live}");
    assert_eq!(live["subjects"].as_array().map(Vec::len), Some(1), "{live}");
    drop(bench);

    // The account applies: then it also deletes.
    let bench = Bench::executing(Executing {
        rights: Rights::Account,
        without: Without::Allowed,
    })
    .await?;
    let rule =
        |verbs: &Value| json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]);
    grant(&bench, &rule(&json!(["get", "create", "update", "patch"]))).await?;
    bench.put(&config_map("theirs", &json!({"k": "v"}))).await?;
    let once = json!([{"resourceIdentifier": {"resource": "configmaps", "namespace": "*", "name": "*"}, "updateStrategy": {"type": "CreateOnly"}}]);
    let spec = |names: &[&str]| {
        let maps: Vec<_> = names.iter().map(|n| config_map(n, &json!({}))).collect();
        executor(&json!({"workload": {"manifests": maps}, "manifestConfigs": once}))
    };
    bench.desire("adopt", 1, spec(&["theirs", "other"]))?;
    assert_eq!(applied(&bench.status("adopt", 1).await?), "True");
    bench.desire("adopt", 2, spec(&["other"]))?;
    let status = until_held(
        &bench,
        "adopt",
        &["DeletionFailed", "cannot delete resource"],
    )
    .await?;
    assert!(
        held_because(&status).contains("system:serviceaccount:default:deployer"),
        "{status}"
    );
    assert!(bench.config_map("theirs").await?.is_some());
    grant(
        &bench,
        &rule(&json!(["get", "create", "update", "patch", "delete"])),
    )
    .await?;
    bench.gone("theirs").await?;
    bench.delete("adopt")?;
    bench.removed("adopt").await
}
