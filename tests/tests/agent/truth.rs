//! What is said of works and their objects: conditions, rules, readiness, feedback.

use serde_json::{Value, json};

use super::bench::{Bench, applied, available, condition, config_map};

fn widgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.test.koinon.dev"},
        "spec": {
            "group": "test.koinon.dev", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    })
}

fn widget(size: u32) -> Value {
    json!({"apiVersion": "test.koinon.dev/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "default"}, "spec": {"size": size}})
}

async fn becomes(bench: &Bench, status: &Value) -> anyhow::Result<()> {
    let patch = json!({ "status": status }).to_string();
    bench
        .kubectl(&[
            "patch",
            "widgets",
            "w",
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ])
        .await
}

fn of_manifest(status: &Value, ordinal: usize, kind: &str) -> Value {
    let manifests = &status["resourceStatus"]["manifests"];
    let conditions = manifests[ordinal]["conditions"].as_array();
    conditions
        .and_then(|all| all.iter().find(|c| c["type"] == kind))
        .cloned()
        .unwrap_or_default()
}

#[tokio::test]
async fn a_work_is_available_when_its_objects_do_what_they_are_for() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let manifests = json!([widgets(), widget(1), config_map("beside", &json!({}))]);
    bench.desire("w", 1, json!({"workload": {"manifests": manifests}}))?;
    // Nothing is known against the widget until its controller speaks; its definition takes a moment to be established.
    let status = bench
        .until("the work is available", "w", |s| available(s) == "True")
        .await?;
    assert_eq!(applied(&status), "True", "{status}");

    becomes(
        &bench,
        &json!({"conditions": [{"type": "Ready", "status": "True"}]}),
    )
    .await?;
    let status = bench
        .until("the work is available", "w", |s| available(s) == "True")
        .await?;
    assert_eq!(
        (
            condition(&status, "Progressing").as_str(),
            condition(&status, "Degraded").as_str()
        ),
        ("False", "False")
    );
    Ok(())
}

/// What is complete is not applied again: not when it is gone, not for another spec, not by another agent.
#[tokio::test]
async fn what_is_complete_never_runs_again() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "once", "namespace": "default"}, "spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "example.com/job:1"}]}});
    let config = json!([{"resourceIdentifier": {"resource": "pods", "name": "on*", "namespace": "default"},
        "conditionRules": [{"condition": "Complete", "type": "WellKnownConditions"}]}]);
    bench.desire(
        "once",
        1,
        json!({"workload": {"manifests": [pod]}, "manifestConfigs": config}),
    )?;
    bench
        .until("the pod is known not to be complete", "once", |s| {
            condition(s, "Complete") == "False"
        })
        .await?;
    let done = json!({"status": {"phase": "Succeeded"}}).to_string();
    bench
        .kubectl(&[
            "patch",
            "pod",
            "once",
            "--subresource=status",
            "--type=merge",
            "-p",
            &done,
        ])
        .await?;
    let status = bench
        .until("the work is complete", "once", |s| {
            condition(s, "Complete") == "True"
        })
        .await?;
    assert_eq!(
        of_manifest(&status, 0, "Complete")["message"],
        "Pod is in phase Succeeded"
    );

    bench.kubectl(&["delete", "pod", "once"]).await?;
    let status = bench
        .until("the pod is gone", "once", |s| available(s) == "False")
        .await?;
    assert_eq!(
        (
            applied(&status).as_str(),
            condition(&status, "Complete").as_str()
        ),
        ("True", "True"),
        "{status}"
    );
    bench.restart().await;
    let status = bench.status("once", 1).await?;
    assert_eq!(condition(&status, "Complete"), "True", "{status}");
    bench.desire("once", 2, json!({"workload": {"manifests": [pod, config_map("late", &json!({}))]}, "manifestConfigs": config}))?;
    bench.quiet().await;
    assert!(bench.kubectl(&["get", "pod", "once"]).await.is_err());
    assert!(bench.config_map("late").await?.is_none());
    let status = bench
        .until("what came too late says so", "once", |s| {
            applied(s) == "False"
        })
        .await?;
    assert!(
        of_manifest(&status, 1, "Applied")["message"]
            .to_string()
            .contains("the work is complete")
    );
    Ok(())
}

/// Whoever waits for the end of a work, as its time to live does, takes it away then.
#[tokio::test]
async fn a_work_of_which_something_was_refused_is_not_complete() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let mut refused = config_map("refused", &json!({}));
    refused["metadata"]["namespace"] = "later".into();
    let config = json!([{"resourceIdentifier": {"resource": "configmaps", "namespace": "default", "name": "done"},
        "conditionRules": [{"condition": "Complete", "type": "CEL", "celExpressions": ["true"]}]}]);
    let manifests = json!([config_map("done", &json!({})), refused]);
    bench.desire(
        "w",
        1,
        json!({"workload": {"manifests": manifests}, "manifestConfigs": config}),
    )?;
    let status = bench.status("w", 1).await?;
    assert_eq!(of_manifest(&status, 0, "Complete")["status"], "True");
    assert_eq!(condition(&status, "Complete"), "False", "{status}");
    bench.kubectl(&["create", "namespace", "later"]).await?;
    let status = bench
        .until("the work is complete", "w", |s| {
            condition(s, "Complete") == "True"
        })
        .await?;
    assert_eq!(applied(&status), "True", "{status}");
    Ok(())
}
