//! Manifests that cannot be applied, beside others that can.

use anyhow::ensure;
use koinon_tests::eventually;
use serde_json::{Value, json};

use super::{
    bench::{Bench, applied, config_map},
    safety::why,
};

/// What happens to the other objects of a work, however often, does not put off that a manifest is tried again.
#[tokio::test]
async fn a_busy_object_does_not_keep_a_manifest_that_failed_from_being_tried() -> anyhow::Result<()>
{
    let bench = Bench::start().await?;
    let mut waiting = config_map("waiting", &json!({"k": "v"}));
    waiting["metadata"]["namespace"] = "later".into();
    let busy = config_map("busy", &json!({}));
    bench.put(&busy).await?;
    let spec = json!({"workload": {"manifests": [busy, waiting]}, "manifestConfigs": [{
        "resourceIdentifier": {"resource": "configmaps", "namespace": "default", "name": "busy"},
        "updateStrategy": {"type": "ReadOnly"},
        "feedbackRules": [{"type": "JSONPaths", "jsonPaths": [{"name": "n", "path": ".data.n"}]}],
    }]});
    bench.desire("w", 1, spec)?;
    let status = bench.status("w", 1).await?;
    let message = why(&status, 1);
    assert!(
        message.ends_with("namespaces \"later\" not found"),
        "{message}"
    );

    let mut number = 0;
    let mut happens = async || {
        number += 1;
        let patch = json!({"data": {"n": number.to_string()}}).to_string();
        let patch = ["patch", "configmap", "busy", "--type=merge", "-p", &patch];
        bench.kubectl(&patch).await?;
        let path = "/resourceStatus/manifests/0/statusFeedback/values/0/fieldValue/string";
        let seen = |status: &Value| status.pointer(path) == Some(&number.to_string().into());
        bench.until("it is seen", "w", seen).await
    };
    for _ in 0..10 {
        happens().await?;
    }
    bench.kubectl(&["create", "namespace", "later"]).await?;
    eventually("the other one is tried again meanwhile", async || {
        let status = happens().await?;
        Ok((applied(&status) == "True").then_some(()))
    })
    .await
}

/// Two manifests of one object would undo each other's work for ever: the first one counts, and the other one says so.
#[tokio::test]
async fn a_second_manifest_of_an_object_is_refused() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let role = |verb: &str, namespace: Option<&str>| {
        let rules = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": [verb]}]);
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "rules": rules,
            "metadata": {"name": "twice", "namespace": namespace}})
    };
    let verb = async || {
        let role = bench.read(&["clusterrole", "twice"]).await?;
        anyhow::Ok(role["rules"][0]["verbs"][0].clone())
    };
    let both = [role("get", None), role("list", Some("needless"))];
    bench.desire("w", 1, json!({"workload": {"manifests": both}}))?;
    let status = bench.status("w", 1).await?;
    let is_refused = |status: &Value| {
        assert_eq!(why(status, 0), "Apply manifest complete");
        assert_eq!(applied(status), "False", "{status}");
        let words = "duplicate manifest for resource /twice with resource type rbac.authorization.k8s.io/v1.ClusterRole: manifest 0";
        let why = why(status, 1);
        assert!(why.contains(words), "{why}");
    };
    is_refused(&status);
    bench.settled().await;
    assert_eq!((verb().await?, bench.writes()), ("get".into(), 1));

    // A change of the object concerns both manifests; it is put right once.
    let patch = json!({"rules": role("watch", None)["rules"]}).to_string();
    bench
        .kubectl(&[
            "patch",
            "clusterrole",
            "twice",
            "--type=merge",
            "-p",
            &patch,
        ])
        .await?;
    eventually("it is repaired", async || {
        ensure!(verb().await? == "get");
        Ok(Some(()))
    })
    .await?;
    bench.settled().await;
    assert_eq!(bench.writes(), 2);
    bench.collect()?;
    is_refused(&bench.known("w"));

    // Without the first one it is the second one's, and stays the same object.
    let uid = bench.read(&["clusterrole", "twice"]).await?["metadata"]["uid"].clone();
    bench.desire("w", 2, json!({"workload": {"manifests": [both[1]]}}))?;
    assert_eq!(applied(&bench.status("w", 2).await?), "True");
    let now = bench.read(&["clusterrole", "twice"]).await?;
    assert_eq!(
        (verb().await?, &now["metadata"]["uid"]),
        ("list".into(), &uid)
    );
    bench.delete("w")?;
    bench.removed("w").await?;
    ensure!(bench.read(&["clusterrole", "twice"]).await.is_err());
    Ok(())
}

/// A record's name is longer than its work's, and what the cluster says of it concerns the whole work.
#[tokio::test]
async fn a_work_whose_record_is_refused_says_so() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let name = "l".repeat(250);
    let map = config_map("m", &json!({"k": "v"}));
    bench.desire(&name, 1, json!({"workload": {"manifests": [map]}}))?;
    let status = bench.status(&name, 1).await?;
    assert_eq!(applied(&status), "False");
    let words = "must be no more than 253 characters";
    assert!(status.to_string().contains(words), "{status}");
    assert_eq!(bench.config_map("m").await?, None);
    Ok(())
}
