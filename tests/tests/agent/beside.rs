//! What others do to an object beside what its manifest declares, and what a manifest may not do.

use anyhow::ensure;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use koinon_tests::eventually;
use serde_json::{Value, json};

use super::{
    bench::{Bench, applied, config_map},
    safety::why,
};

fn work(manifests: &[&Value]) -> Value {
    json!({"workload": {"manifests": manifests}})
}

fn deployment(image: &str) -> Value {
    let labels = json!({"app": "web"});
    let container = json!({"name": "c", "image": image, "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default", "labels": {"team": "a"}}, "spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}}})
}

async fn patch(bench: &Bench, kind: &str, name: &str, patch: &Value) -> anyhow::Result<()> {
    let patch = patch.to_string();
    bench
        .kubectl(&["patch", kind, name, "--type=merge", "-p", &patch])
        .await
}

/// The server writes `1000m` as `1` for ever, which is no reason to scale a Deployment down that an autoscaler has scaled up.
#[tokio::test]
async fn an_autoscaler_and_a_restart_are_left_alone_whatever_the_server_rewrites()
-> anyhow::Result<()> {
    let bench = Bench::start().await?;
    bench.desire("w", 1, work(&[&deployment("web:1")]))?;
    assert_eq!(applied(&bench.status("w", 1).await?), "True");
    let restarted = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"});
    let theirs =
        json!({"spec": {"replicas": 4, "template": {"metadata": {"annotations": restarted}}}});
    patch(&bench, "deployment", "web", &theirs).await?;
    let is = async |replicas: u64, annotations: &Value, image: &str| {
        let live = bench.read(&["deployment", "web"]).await?;
        let template = &live["spec"]["template"];
        let found = (
            live["spec"]["replicas"].as_u64(),
            &template["metadata"]["annotations"],
            template["spec"]["containers"][0]["image"].as_str(),
            &live["metadata"]["labels"]["team"],
        );
        let expected = (Some(replicas), annotations, Some(image), &json!("a"));
        ensure!(found == expected, "{live}");
        anyhow::Ok(())
    };
    bench.quiet().await;
    is(4, &restarted, "web:1").await?;
    assert_eq!(bench.writes(), 1);
    bench.restart().await;
    bench.status("w", 1).await?;
    bench.quiet().await;
    is(4, &restarted, "web:1").await?;
    // An agent that knows nothing offers once what is declared, and the server finds that nothing changes.
    assert_eq!(bench.writes(), 1);

    patch(
        &bench,
        "deployment",
        "web",
        &json!({"metadata": {"labels": {"team": "b"}}}),
    )
    .await?;
    eventually("the label is put back, and nothing else", async || {
        is(4, &restarted, "web:1").await.map(Some)
    })
    .await?;
    patch(
        &bench,
        "deployment",
        "web",
        &json!({"spec": {"paused": true}}),
    )
    .await?;
    bench.quiet().await;
    is(4, &restarted, "web:1").await?;
    bench
        .kubectl(&["set", "image", "deployment/web", "c=drift:1"])
        .await?;
    eventually("what is declared is put back whole", async || {
        is(1, &Value::Null, "web:1").await.map(Some)
    })
    .await
}

/// Controllers fill in rules, authorities and tokens; a newer manifest must not take them away for a moment.
#[tokio::test]
async fn what_controllers_fill_in_stays() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let label = |object: &Value, generation: i64| {
        let mut object = object.clone();
        object["metadata"]["labels"] = json!({"generation": generation.to_string()});
        object
    };
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "sum"},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"test.koinon.dev/part": "none"}}]}, "rules": []});
    let hook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "hook"}, "webhooks": [{"name": "a.test.koinon.dev", "sideEffects": "None", "failurePolicy": "Ignore",
            "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/", "caBundle": ""},
            "rules": [{"apiGroups": ["test.koinon.dev"], "apiVersions": ["v1"], "resources": ["none"], "operations": ["CREATE"]}]}]});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app", "namespace": "default"},
        "imagePullSecrets": [{"name": "mine"}]});
    let all = |generation| [&role, &hook, &account].map(|object| label(object, generation));
    let spec = |generation| work(&all(generation).iter().collect::<Vec<_>>());
    bench.desire("w", 1, spec(1))?;
    let status = bench.status("w", 1).await?;
    assert_eq!(applied(&status), "True", "{status}");
    let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let pulls = json!([{"name": "mine"}, {"name": "theirs"}]);
    // PEM of a certificate is checked by the server; this one is made by its own cluster.
    let bundle = bench
        .read(&[
            "configmap",
            "extension-apiserver-authentication",
            "-n",
            "kube-system",
        ])
        .await?;
    let bundle = bundle["data"]["client-ca-file"]
        .as_str()
        .unwrap_or_default();
    ensure!(!bundle.is_empty(), "the API server shows no authority");
    let bundle = json!(BASE64_STANDARD.encode(bundle));
    let before = bench.writes();
    patch(&bench, "clusterrole", "sum", &json!({"rules": rules})).await?;
    let json_patch =
        json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": bundle}])
            .to_string();
    bench
        .kubectl(&[
            "patch",
            "validatingwebhookconfiguration",
            "hook",
            "--type=json",
            "-p",
            &json_patch,
        ])
        .await?;
    patch(
        &bench,
        "serviceaccount",
        "app",
        &json!({"imagePullSecrets": pulls}),
    )
    .await?;
    bench.quiet().await;
    let is = async |generation: &str| {
        let role = bench.read(&["clusterrole", "sum"]).await?;
        let hook = bench
            .read(&["validatingwebhookconfiguration", "hook"])
            .await?;
        let account = bench.read(&["serviceaccount", "app"]).await?;
        for (live, found, expected) in [
            (&role, &role["rules"], &rules),
            (
                &hook,
                &hook["webhooks"][0]["clientConfig"]["caBundle"],
                &bundle,
            ),
            (&account, &account["imagePullSecrets"], &pulls),
        ] {
            assert_eq!(found, expected, "{live}");
            assert_eq!(
                live["metadata"]["labels"]["generation"], generation,
                "{live}"
            );
        }
        anyhow::Ok(())
    };
    is("1").await?;
    assert_eq!(bench.writes(), before);
    bench.desire("w", 2, spec(2))?;
    assert_eq!(applied(&bench.status("w", 2).await?), "True");
    is("2").await
}

/// What cannot be replaced because the server lets nobody take away what it has put there is laid over it; what is not valid is not.
#[tokio::test]
async fn only_what_may_not_change_is_laid_over_what_is_there() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let job = |parallelism: u32| {
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job", "namespace": "default"}, "spec": {
            "parallelism": parallelism, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "job:1"}]}}}})
    };
    let secret = |port: Value| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}, "stringData": {"port": port}});
    bench.desire(
        "w",
        1,
        work(&[&job(1), &deployment("web:1"), &secret(json!("5432"))]),
    )?;
    let status = bench.status("w", 1).await?;
    assert_eq!(applied(&status), "True", "{status}");
    let mut broken = deployment("web:2");
    let container = broken.pointer_mut("/spec/template/spec/containers/0");
    if let Some(container) = container.and_then(Value::as_object_mut) {
        let image = container.remove("image").unwrap_or_default();
        container.insert("imagee".to_owned(), image);
    }
    bench.desire("w", 2, work(&[&job(2), &broken, &secret(json!(5433))]))?;
    let status = bench.status("w", 2).await?;
    assert_eq!(why(&status, 0), "Apply manifest complete");
    for (ordinal, words) in [(1, "image: Required value"), (2, "tringData")] {
        let why = why(&status, ordinal);
        assert!(why.contains(words), "{why}");
    }
    let live = bench.read(&["job", "job"]).await?;
    assert_eq!(live["spec"]["parallelism"], 2);
    let live = bench.read(&["deployment", "web"]).await?;
    assert_eq!(
        live["spec"]["template"]["spec"]["containers"][0]["image"],
        "web:1"
    );
    let live = bench.read(&["secret", "s"]).await?;
    assert_eq!(live["data"]["port"], "NTQzMg==");
    Ok(())
}

/// A definition in one work, its objects in another one that came before and has waited for long.
#[tokio::test]
async fn what_another_work_brings_is_not_waited_for_in_vain() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let mut inside = config_map("inside", &json!({"k": "v"}));
    inside["metadata"]["namespace"] = "later".into();
    let thing = json!({"apiVersion": "test.koinon.dev/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "later"}});
    bench.desire("early", 1, work(&[&inside, &thing]))?;
    assert_eq!(applied(&bench.status("early", 1).await?), "False");
    bench.quiet().await;
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.test.koinon.dev"}, "spec": {
            "group": "test.koinon.dev", "scope": "Namespaced", "names": {"kind": "Thing", "plural": "things"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "later"}});
    bench.desire("late", 1, work(&[&definition, &namespace]))?;
    bench.status("late", 1).await?;
    let status = bench
        .until("both are applied", "early", |s| applied(s) == "True")
        .await?;
    assert_eq!(why(&status, 1), "Apply manifest complete");
    Ok(())
}
