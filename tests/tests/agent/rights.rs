//! What a work may do: its executor's rights, and the member's own policies.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use koinon_klusterlet::work::{Executing, Rights, Without};
use koinon_tests::eventually;
use rcgen::{KeyPair, SigningKey as _};
use serde_json::{Value, json};

use super::{
    bench::{AGENT, Bench, applied, condition, config_map},
    safety::why,
    settings::{Account, Settings},
};

fn work(manifests: &[Value]) -> Value {
    json!({
        "workload": {"manifests": manifests},
        "executor": {"subject": {"type": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "deployer"}}},
    })
}

fn role(verbs: &Value) -> Value {
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "deployer", "namespace": "default"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]})
}

async fn grant(bench: &Bench, verbs: &Value) -> anyhow::Result<()> {
    bench.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer", "namespace": "default"}})).await?;
    bench.create(&role(verbs)).await?;
    bench
        .create(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "deployer", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "default"}]}))
        .await
}

#[tokio::test]
async fn a_work_may_do_what_its_executor_may_and_follows_its_rights() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    grant(&bench, &json!(["get", "create"])).await?;
    let map = config_map("mine", &json!({"k": "1"}));
    bench.desire("w", 1, work(std::slice::from_ref(&map)))?;
    let status = bench.status("w", 1).await?;
    assert_eq!(applied(&status), "False", "{status}");
    assert!(why(&status, 0).contains("system:serviceaccount:default:deployer is not allowed to apply the resource  configmaps, default mine: it may not update it"), "{}", why(&status, 0));
    assert!(bench.config_map("mine").await?.is_none());

    // A change of RBAC is noticed at once.
    bench
        .create(&role(&json!(["get", "create", "update", "delete"])))
        .await?;
    bench
        .until("the work is applied", "w", |s| applied(s) == "True")
        .await?;
    bench.data("mine", &json!({"k": "1"})).await?;

    // It may make roles, but none that may more than itself.
    bench.create(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "deployer", "namespace": "default"}, "rules": [
        {"apiGroups": ["", "rbac.authorization.k8s.io"], "resources": ["configmaps", "roles"], "verbs": ["get", "create", "update", "delete"]}]})).await?;
    let mighty = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "mighty", "namespace": "default"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]});
    let modest = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "modest", "namespace": "default"},
        "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]});
    bench.desire("roles", 1, work(&[mighty, modest]))?;
    let status = bench
        .until("the modest role is made", "roles", |s| {
            why(s, 1) == "Apply manifest complete"
        })
        .await?;
    assert!(
        why(&status, 0).contains("attempting to grant RBAC permissions not currently held"),
        "{}",
        why(&status, 0)
    );
    assert!(bench.read(&["role", "mighty"]).await.is_err());

    // What it may no longer do it no longer does.
    bench.create(&role(&json!(["get"]))).await?;
    let status = bench
        .until("the work is refused", "w", |s| applied(s) == "False")
        .await?;
    // It may still look.
    assert_eq!(condition(&status, "Available"), "True", "{status}");
    bench.create(&role(&json!(["list"]))).await?;
    bench
        .until("nothing is told", "w", |s| {
            condition(s, "Available") == "Unknown"
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn an_agent_may_apply_as_the_executor_and_refuse_works_without_one() -> anyhow::Result<()> {
    let bench = Bench::executing(Executing {
        rights: Rights::Account,
        without: Without::Refused,
    })
    .await?;
    grant(&bench, &json!(["get", "create"])).await?;
    bench.desire("w", 1, work(&[config_map("mine", &json!({"k": "1"}))]))?;
    let status = bench.status("w", 1).await?;
    assert_eq!(applied(&status), "True", "{status}");
    // The API server itself refuses the rest, in its own words.
    bench.desire("w", 2, work(&[config_map("mine", &json!({"k": "2"}))]))?;
    let status = bench.status("w", 2).await?;
    assert!(
        why(&status, 0).contains(
            r#"User "system:serviceaccount:default:deployer" cannot update resource "configmaps""#
        ),
        "{}",
        why(&status, 0)
    );

    bench.desire(
        "none",
        1,
        json!({"workload": {"manifests": [config_map("none", &json!({}))]}}),
    )?;
    let status = bench.status("none", 1).await?;
    assert!(
        why(&status, 0).contains("applies no work without an executor"),
        "{}",
        why(&status, 0)
    );
    Ok(())
}

#[tokio::test]
async fn the_cluster_sets_limits_that_works_cannot_change() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let policy = |spec: Value| json!({"apiVersion": "koinon.dev/v1alpha1", "kind": "WorkPolicy", "metadata": {"name": "limits"}, "spec": spec});
    bench.desire(
        "before",
        1,
        json!({"workload": {"manifests": [config_map("before", &json!({"k": "1"}))]}}),
    )?;
    bench.status("before", 1).await?;
    bench.create(&policy(json!({"deniedNamespaces": ["kube-*"], "allowedVerbs": ["Create", "Update"], "allowedImages": ["good.io/*"]}))).await?;

    let pod = |image: &str, name: &str| json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [{"name": "c", "image": image}]}});
    let system = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "kube-system"}});
    let own = policy(json!({}));
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "workpolicies.koinon.dev"}});
    let manifests = [
        system,
        pod("evil.io/a", "evil"),
        pod("good.io/a", "good"),
        own,
        definition,
    ];
    bench.desire("w", 1, json!({"workload": {"manifests": manifests}}))?;
    let status = bench
        .until("the policy is known", "w", |s| {
            why(s, 0).contains("WorkPolicy")
        })
        .await?;
    let words: Vec<String> = (0..5).map(|n| why(&status, n)).collect();
    assert!(
        words[0].contains(
            r#"WorkPolicy "limits" of the cluster does not allow namespace "kube-system""#
        ),
        "{words:?}"
    );
    assert!(words[1].contains(r#"image "evil.io/a""#), "{words:?}");
    assert_eq!(words[2], "Apply manifest complete");
    for own in &words[3..] {
        assert!(own.contains("may not touch the policies"), "{words:?}");
    }

    // What is there may not be deleted either, until the cluster allows it.
    bench.delete("before")?;
    let status = bench
        .until("the deletion is held up", "before", |s| {
            condition(s, "DeletionHeld") == "True"
        })
        .await?;
    assert!(
        status
            .to_string()
            .contains("does not allow works to delete"),
        "{status}"
    );
    assert!(bench.config_map("before").await?.is_some());
    bench.kubectl(&["delete", "workpolicy", "limits"]).await?;
    bench.removed("before").await?;
    bench
        .until("everything else is applied", "w", |s| {
            why(s, 0) == "Apply manifest complete"
        })
        .await?;

    // An image is what one signed whose key the cluster knows.
    let key = KeyPair::generate()?;
    let pinned = |digit: &str| format!("good.io/a@sha256:{}", digit.repeat(64));
    let payload = json!({"critical": {
        "identity": {"docker-reference": "good.io/a"}, "type": "cosign container image signature",
        "image": {"docker-manifest-digest": format!("sha256:{}", "1".repeat(64))},
    }})
    .to_string();
    let signature = BASE64_STANDARD.encode(key.sign(payload.as_bytes())?);
    let signature =
        json!({"Base64Signature": signature, "Payload": BASE64_STANDARD.encode(payload)});
    bench
        .create(&policy(
            json!({"deniedNamespaces": ["kube-*"], "allowedSigners": [key.public_key_pem()]}),
        ))
        .await?;
    bench
        .until("the signers are known", "w", |s| {
            why(s, 0).contains("WorkPolicy")
        })
        .await?;
    let signed = |image: &str, name: &str| {
        let mut pod = pod(image, name);
        pod["metadata"]["annotations"] =
            json!({"koinon.dev/image-signatures": signature.to_string()});
        pod
    };
    let manifests = [
        pod(&pinned("1"), "bare"),
        signed(&pinned("1"), "signed"),
        signed(&pinned("2"), "another"),
        signed("good.io/a:1", "tag"),
    ];
    bench.desire("signers", 1, json!({"workload": {"manifests": manifests}}))?;
    let status = bench.status("signers", 1).await?;
    assert!(why(&status, 0).contains("without a signature"), "{status}");
    assert_eq!(why(&status, 1), "Apply manifest complete");
    assert!(why(&status, 2).contains("without a signature"), "{status}");
    assert!(why(&status, 3).contains("without its digest"), "{status}");
    Ok(())
}

/// With no rights but in one namespace: drift is seen at once all the same, and what is lacking is said.
#[tokio::test]
async fn an_agent_with_rights_in_one_namespace_keeps_what_it_may() -> anyhow::Result<()> {
    let bench = Bench::with(Settings {
        account: Account::Narrow,
        ..Settings::default()
    })
    .await?;
    let mine = config_map("mine", &json!({"k": "v"}));
    let beyond = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "kube-public"}});
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "mighty"}});
    let work = json!({"workload": {"manifests": [mine, beyond, role]}});
    bench.desire("w", 1, work.clone())?;
    let status = bench.status("w", 1).await?;
    assert_eq!(why(&status, 0), "Apply manifest complete");
    for ordinal in [1, 2] {
        let why = why(&status, ordinal);
        assert!(
            why.contains("cannot") && why.contains("klusterlet"),
            "{why}"
        );
    }
    for round in ["1", "2"] {
        let patch = json!({"data": {"k": round}}).to_string();
        bench
            .kubectl(&["patch", "configmap", "mine", "--type=merge", "-p", &patch])
            .await?;
        bench.data("mine", &json!({"k": "v"})).await?;
    }

    // An object in no namespace that it may watch by its name alone.
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "named"}, "value": 5, "description": "declared"});
    let rule = |names: &Value, verbs: &Value| json!({"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "resourceNames": names, "verbs": verbs});
    let named = json!(["get", "list", "watch", "update", "patch", "delete"]);
    let rules = [
        rule(&json!([]), &json!(["create"])),
        rule(&json!(["named"]), &named),
    ];
    bench
        .create(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "classes"}, "rules": rules}))
        .await?;
    bench
        .create(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "classes"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "classes"},
            "subjects": [{"kind": "ServiceAccount", "name": "klusterlet", "namespace": AGENT}]}))
        .await?;
    bench.desire("class", 1, json!({"workload": {"manifests": [class]}}))?;
    bench
        .until("the class is applied", "class", |s| applied(s) == "True")
        .await?;
    for round in ["1", "2"] {
        let patch = json!({"description": round}).to_string();
        bench
            .kubectl(&[
                "patch",
                "priorityclass",
                "named",
                "--type=merge",
                "-p",
                &patch,
            ])
            .await?;
        eventually("the class is repaired", async || {
            let live = bench.read(&["priorityclass", "named"]).await?;
            Ok((live["description"] == "declared").then_some(()))
        })
        .await?;
    }
    bench.delete("class")?;
    bench.removed("class").await?;

    let uid = bench.read(&["configmap", "mine"]).await?["metadata"]["uid"].clone();
    bench.kubectl(&["delete", "configmap", "mine"]).await?;
    eventually("it is made anew", async || {
        let live = bench.read(&["configmap", "mine"]).await?;
        Ok((live["metadata"]["uid"] != uid).then_some(()))
    })
    .await?;
    bench.delete("w")?;
    // What was refused when it was to be made does not keep the work.
    bench.removed("w").await?;
    bench.gone("mine").await
}
