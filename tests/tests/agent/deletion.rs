//! What others have in a namespace or of a kind is not deleted with a work.

use koinon_tests::{member::Apis, tools::kubernetes_minor};
use serde_json::{Value, json};

use super::{
    bench::{Bench, condition, config_map},
    settings::Settings,
};

fn held_because(status: &Value) -> String {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|c| c["type"] == "DeletionHeld" && c["reason"] == "ContentOfOthers")
        .filter_map(|c| c["message"].as_str())
        .collect()
}

#[tokio::test]
async fn a_namespace_and_a_definition_wait_for_what_others_have_in_them() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}});
    let own = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own", "namespace": "team"}});
    bench.desire(
        "team",
        1,
        json!({"workload": {"manifests": [namespace, own]}}),
    )?;
    bench.status("team", 1).await?;
    bench
        .kubectl(&["create", "configmap", "theirs", "-n", "team"])
        .await?;
    bench.delete("team")?;
    let status = bench
        .until("the deletion is held up", "team", |s| {
            !held_because(s).is_empty()
        })
        .await?;
    let why = held_because(&status);
    assert!(
        why.contains(r#"configmaps "theirs""#)
            && why.contains("koinon.dev/approve-deletion=namespaces/team"),
        "{why}"
    );
    assert_eq!(condition(&status, "Deleting"), "True");
    bench.quiet().await;
    assert!(!bench.is_removed("team").await);
    let left = bench.read(&["configmap", "theirs", "-n", "team"]).await?;
    assert!(
        left["metadata"].get("deletionTimestamp").is_none(),
        "{left}"
    );

    // It goes on by itself once the things of others are gone …
    bench
        .kubectl(&["delete", "configmap", "theirs", "-n", "team"])
        .await?;
    bench.removed("team").await?;

    // … and when somebody says so.
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "gadgets.test.koinon.dev"},
        "spec": {"group": "test.koinon.dev", "scope": "Namespaced", "names": {"kind": "Gadget", "plural": "gadgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    let own = json!({"apiVersion": "test.koinon.dev/v1", "kind": "Gadget", "metadata": {"name": "own", "namespace": "default"}});
    bench.desire(
        "kind",
        1,
        json!({"workload": {"manifests": [definition, own]}}),
    )?;
    bench.status("kind", 1).await?;
    bench.create(&json!({"apiVersion": "test.koinon.dev/v1", "kind": "Gadget", "metadata": {"name": "theirs", "namespace": "default"}})).await?;
    // Also when it is only dropped from the work.
    let map = config_map("left", &json!({}));
    bench.desire("kind", 2, json!({"workload": {"manifests": [map]}}))?;
    let status = bench
        .until("the deletion is held up", "kind", |s| {
            !held_because(s).is_empty()
        })
        .await?;
    assert!(
        held_because(&status).contains(r#"gadgets "theirs""#),
        "{status}"
    );
    bench.read(&["gadget", "theirs"]).await?;
    bench.direct(
        "kind",
        "koinon.dev/approve-deletion",
        "customresourcedefinitions/gadgets.test.koinon.dev",
    )?;
    bench
        .until("nothing waits any more", "kind", |s| {
            condition(s, "DeletionHeld").is_empty() && condition(s, "Applied") == "True"
        })
        .await?;
    koinon_tests::eventually("the definition is gone", async || {
        Ok(bench
            .read(&["crd", "gadgets.test.koinon.dev"])
            .await
            .is_err()
            .then_some(()))
    })
    .await
}

/// What stays is decided when the work goes, by what the work says then.
#[tokio::test]
async fn what_is_orphaned_or_only_read_stays_whenever_that_was_said() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let maps = |names: &[&str]| -> Vec<Value> {
        names
            .iter()
            .map(|n| config_map(n, &json!({"k": "v"})))
            .collect()
    };
    let owners = async |name: &str| {
        let live = bench.config_map(name).await?.unwrap_or_default();
        anyhow::Ok(
            live["metadata"]["ownerReferences"]
                .as_array()
                .map_or(0, Vec::len),
        )
    };

    // The rule comes with the deletion itself: the agent was away.
    bench.desire(
        "late",
        1,
        json!({"workload": {"manifests": maps(&["late-a"])}}),
    )?;
    bench.status("late", 1).await?;
    bench.delete_as("late", 2, json!({"workload": {"manifests": maps(&["late-a"])}, "deleteOption": {"propagationPolicy": "Orphan"}}))?;
    bench.removed("late").await?;
    assert_eq!(owners("late-a").await?, 0);
    assert!(bench.config_map("late-a").await?.is_some());

    // The rule comes together with the object's leaving the work.
    bench.desire(
        "drop",
        1,
        json!({"workload": {"manifests": maps(&["drop-a", "drop-b", "drop-c"])}}),
    )?;
    bench.status("drop", 1).await?;
    let rules = json!({"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {"orphaningRules": [{"resource": "configmaps", "namespace": "default", "name": "drop-b"}]}});
    bench.desire(
        "drop",
        2,
        json!({"workload": {"manifests": maps(&["drop-a"])}, "deleteOption": rules}),
    )?;
    bench.status("drop", 2).await?;
    bench.gone("drop-c").await?;
    koinon_tests::eventually("the orphan is let go", async || {
        Ok((owners("drop-b").await? == 0).then_some(()))
    })
    .await?;
    assert!(bench.config_map("drop-b").await?.is_some());

    // What was applied once is only read now.
    bench.desire(
        "read",
        1,
        json!({"workload": {"manifests": maps(&["read-a"])}}),
    )?;
    bench.status("read", 1).await?;
    let config = json!([{"resourceIdentifier": {"resource": "configmaps", "namespace": "*", "name": "*"}, "updateStrategy": {"type": "ReadOnly"}}]);
    bench.desire(
        "read",
        2,
        json!({"workload": {"manifests": maps(&["read-a"])}, "manifestConfigs": config}),
    )?;
    bench.status("read", 2).await?;
    assert_eq!(owners("read-a").await?, 0);
    bench.delete("read")?;
    bench.removed("read").await?;
    assert!(bench.config_map("read-a").await?.is_some());
    Ok(())
}

/// Two groups may serve one kind: what goes in the one is what stays in the other.
#[tokio::test]
async fn a_manifest_that_moves_to_another_group_is_about_the_same_object() -> anyhow::Result<()> {
    if kubernetes_minor()? >= 22 {
        // No kind but events is served in two groups any more.
        return Ok(());
    }
    let bench = Bench::with(Settings {
        apis: Apis::Whole,
        ..Settings::default()
    })
    .await?;
    let old = json!({"apiVersion": "extensions/v1beta1", "kind": "Ingress", "metadata": {"name": "door", "namespace": "default"},
        "spec": {"backend": {"serviceName": "web", "servicePort": 80}}});
    let new = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "door", "namespace": "default"},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}});
    bench.desire("w", 1, json!({"workload": {"manifests": [old]}}))?;
    bench.status("w", 1).await?;
    let uid = bench
        .read(&["ingresses.v1.networking.k8s.io", "door"])
        .await?["metadata"]["uid"]
        .clone();
    bench.desire("w", 2, json!({"workload": {"manifests": [new]}}))?;
    bench.status("w", 2).await?;
    bench.quiet().await;
    let live = bench
        .read(&["ingresses.v1.networking.k8s.io", "door"])
        .await?;
    assert_eq!(live["metadata"]["uid"], uid);
    assert!(
        live["metadata"].get("deletionTimestamp").is_none(),
        "{live}"
    );
    let record = bench.read(&["appliedmanifestwork", "aaaa-w"]).await?;
    let applied = &record["status"]["appliedResources"];
    assert_eq!(applied.as_array().map(Vec::len), Some(1), "{applied}");
    assert_eq!(applied[0]["group"], "networking.k8s.io");
    bench.delete("w")?;
    bench.removed("w").await
}
