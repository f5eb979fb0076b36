//! A work that goes over to another strategy: what it wrote before is its own, and is not in its way.

use anyhow::{Context as _, ensure};
use koinon_tests::eventually;
use serde_json::{Value, json};

use super::bench::{Bench, applied};

/// A Deployment with these environment variables.
fn deployment(image: &str, variables: &[&str]) -> Value {
    let labels = json!({"app": "web"});
    let env: Vec<Value> = variables
        .iter()
        .map(|name| json!({"name": name, "value": "x"}))
        .collect();
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": {
        "replicas": 0, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image, "env": env}]}}}})
}

fn spec(manifest: &Value, strategy: &Value) -> Value {
    let config = json!([{"resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "web", "namespace": "default"}, "updateStrategy": strategy}]);
    json!({"workload": {"manifests": [manifest]}, "manifestConfigs": config})
}

/// Waits until it is applied: the Deployment's controller may come in between, and then it is tried again.
async fn desire(bench: &Bench, generation: i64, spec: Value) -> anyhow::Result<()> {
    bench.desire("web", generation, spec)?;
    let what = format!("generation {generation} is applied");
    let conditions = |s: &Value| s["conditions"].as_array().cloned().unwrap_or_default();
    let is_applied = |c: &Value| {
        c["type"] == "Applied" && c["status"] == "True" && c["observedGeneration"] == generation
    };
    bench
        .until(&what, "web", |s| conditions(s).iter().any(is_applied))
        .await?;
    Ok(())
}

/// Reads the Deployment once its controller is done with it, and nobody else writes.
async fn at_rest(bench: &Bench) -> anyhow::Result<Value> {
    bench.quiet().await;
    eventually("the controller has seen the deployment", async || {
        let live = bench.read(&["deployment", "web"]).await?;
        let is_seen = live["status"]["observedGeneration"] == live["metadata"]["generation"];
        Ok(is_seen.then_some(live))
    })
    .await
}

/// Image and environment.
fn facts(live: &Value) -> (&str, Vec<&str>) {
    let container = &live["spec"]["template"]["spec"]["containers"][0];
    let env = container["env"].as_array().into_iter().flatten();
    let names = env.filter_map(|v| v["name"].as_str()).collect();
    (container["image"].as_str().unwrap_or_default(), names)
}

/// What a manager owns of the Deployment itself.
fn fields<'a>(live: &'a Value, manager: &str, operation: &str) -> Option<&'a Value> {
    let entries = live["metadata"]["managedFields"].as_array()?;
    let is = |e: &&Value| {
        e["manager"] == manager && e["operation"] == operation && e["subresource"].is_null()
    };
    entries.iter().find(is).map(|entry| &entry["fieldsV1"])
}

/// Neither another look nor another process finds anything to write.
async fn stays(bench: &Bench, generation: i64) -> anyhow::Result<()> {
    let before = at_rest(bench).await?;
    let _ = bench.gate.take_writes();
    bench.look_again("web")?;
    bench.quiet().await;
    bench.restart().await;
    bench.status("web", generation).await?;
    let after = at_rest(bench).await?;
    let writes = bench.gate.take_writes();
    ensure!(writes.is_empty(), "{writes:?}");
    let version = |live: &Value| live["metadata"]["resourceVersion"].clone();
    ensure!(version(&before) == version(&after), "{after}");
    Ok(())
}

#[tokio::test]
async fn a_work_that_goes_over_to_server_side_apply_does_not_conflict_with_itself()
-> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let update = json!({"type": "Update"});
    let apply = json!({"type": "ServerSideApply"});

    let old = deployment("web:1", &["OLD", "KEPT"]);
    desire(&bench, 1, spec(&old, &update)).await?;
    let live = at_rest(&bench).await?;
    assert!(
        fields(&live, "koinon-klusterlet", "Update").is_some(),
        "{live}"
    );
    let (uid, owners) = (
        &live["metadata"]["uid"],
        &live["metadata"]["ownerReferences"],
    );
    assert_eq!(owners.as_array().map(Vec::len), Some(1), "{live}");

    // Without `force`: the fields were the work's all the time.
    let new = deployment("web:2", &["KEPT", "NEW"]);
    let writes = bench.writes();
    desire(&bench, 2, spec(&new, &apply)).await?;
    let moved = at_rest(&bench).await?;
    assert_eq!(facts(&moved), ("web:2", vec!["KEPT", "NEW"]));
    // What it had is moved, and then it is applied.
    assert_eq!(bench.writes() - writes, 2);
    assert_eq!(
        (
            &moved["metadata"]["uid"],
            &moved["metadata"]["ownerReferences"]
        ),
        (uid, owners)
    );
    let left = fields(&moved, "koinon-klusterlet", "Update").context("the owner is nobody's")?;
    let left: Vec<&String> = left["f:metadata"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, _)| key)
        .collect();
    assert_eq!(left, ["f:ownerReferences"], "{moved}");
    let annotations = moved["metadata"]["annotations"].as_object();
    let digests = annotations
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with("koinon.dev/"));
    assert_eq!(digests.count(), 0, "{moved}");
    stays(&bench, 2).await?;

    // A field of somebody else is a conflict as ever.
    bench
        .kubectl(&["set", "image", "deployment/web", "c=drift:1"])
        .await?;
    bench
        .until("it is a conflict", "web", |s| applied(s) == "False")
        .await?;
    bench
        .kubectl(&["set", "image", "deployment/web", "c=web:2"])
        .await?;
    bench
        .until("they agree", "web", |s| applied(s) == "True")
        .await?;

    // There and back again.
    desire(&bench, 3, spec(&old, &update)).await?;
    assert_eq!(
        facts(&at_rest(&bench).await?),
        ("web:1", vec!["OLD", "KEPT"])
    );
    stays(&bench, 3).await?;
    desire(&bench, 4, spec(&new, &apply)).await?;
    let again = at_rest(&bench).await?;
    assert_eq!(facts(&again), ("web:2", vec!["KEPT", "NEW"]));
    assert_eq!(
        (
            &again["metadata"]["uid"],
            &again["metadata"]["ownerReferences"]
        ),
        (uid, owners)
    );
    stays(&bench, 4).await
}
