//! Deletions that wait for somebody's finalizer.

use serde_json::{Value, json};

use super::{
    bench::{Bench, config_map},
    safety::{namespace, until_held},
};

fn work(manifest: &Value) -> Value {
    json!({"workload": {"manifests": [manifest]}})
}

const HOLD: &str = "test.koinon.dev/hold";

/// Whoever waits learns for which object, and for which finalizer; a namespace tells what is left in it.
#[tokio::test]
async fn a_deletion_names_the_finalizers_that_it_waits_for() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let finalizers = async |namespace: &str, name: &str, all: Value| {
        let patch = json!({"metadata": {"finalizers": all}}).to_string();
        let args = [
            "patch",
            "configmap",
            name,
            "-n",
            namespace,
            "--type=merge",
            "-p",
            &patch,
        ];
        bench.kubectl(&args).await
    };
    let mut held = config_map("held", &json!({}));
    held["metadata"]["finalizers"] = json!([HOLD]);
    bench.desire("w", 1, work(&held))?;
    bench.status("w", 1).await?;
    bench.delete("w")?;
    let words = ["WaitsForFinalizers", "configmaps", "default/held", HOLD];
    until_held(&bench, "w", &words).await?;
    // An agent that knows nothing but what is in the cluster finds the same, and the end of it.
    bench.restart().await;
    until_held(&bench, "w", &words).await?;
    finalizers("default", "held", Value::Null).await?;
    bench.removed("w").await?;

    bench.desire("space", 1, work(&namespace("kept")))?;
    bench.status("space", 1).await?;
    bench
        .kubectl(&["create", "configmap", "inside", "-n", "kept"])
        .await?;
    finalizers("kept", "inside", json!([HOLD])).await?;
    bench.direct("space", "koinon.dev/approve-deletion", "namespaces/kept")?;
    bench.delete("space")?;
    until_held(
        &bench,
        "space",
        &["WaitsForFinalizers", "namespaces \\\"kept\\\"", HOLD],
    )
    .await?;
    finalizers("kept", "inside", Value::Null).await?;
    bench.removed("space").await
}
