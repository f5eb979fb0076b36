//! What waits for somebody: kept as it was meanwhile, and never taken for gone.

use koinon_klusterlet::work::Allowance;
use koinon_tests::eventually;
use serde_json::json;

use super::{
    bench::{Bench, applied, condition, config_map},
    safety::until_held,
    settings::Settings,
};

/// An aggregated API that is away takes nothing along: its objects are in a store of its own, and come back with it.
#[tokio::test]
async fn an_object_whose_kind_nobody_serves_is_not_taken_for_gone() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    // What an agent recorded that applied an object of another API server, which is gone with its APIService.
    let record = |work: &str| {
        json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork",
            "metadata": {"name": format!("aaaa-{work}"), "finalizers": ["cluster.open-cluster-management.io/applied-manifest-work-cleanup"],
                "annotations": {"koinon.dev/planned": "ext.test.koinon.dev/v1/things/default/far"}},
            "spec": {"hubHash": "aaaa", "agentID": "test", "manifestWorkName": work}})
    };
    bench.create(&record("w")).await?;
    let map = config_map("near", &json!({"k": "v"}));
    bench.desire("w", 1, json!({"workload": {"manifests": [map]}}))?;
    let words = ["KindNotServed", "things.ext.test.koinon.dev", "far"];
    let status = until_held(&bench, "w", &words).await?;
    assert_eq!(applied(&status), "True");
    bench.delete("w")?;
    bench.gone("near").await?;
    until_held(&bench, "w", &words).await?;
    bench.quiet().await;
    assert!(!bench.is_removed("w").await);
    // Nobody can know but somebody who knows.
    let key = "koinon.dev/approve-deletion";
    bench.direct("w", key, "things.other.koinon.dev")?;
    bench.quiet().await;
    assert!(!bench.is_removed("w").await);
    bench.direct("w", key, "things.ext.test.koinon.dev")?;
    bench.removed("w").await?;

    // Somebody deletes the record of a work that stays: what cannot be let go of keeps it, and somebody is told, and may say the same.
    bench.create(&record("x")).await?;
    let map = config_map("stays", &json!({"k": "v"}));
    bench.desire("x", 1, json!({"workload": {"manifests": [map]}}))?;
    until_held(&bench, "x", &["KindNotServed"]).await?;
    let before = bench.read(&["appliedmanifestwork", "aaaa-x"]).await?["metadata"]["uid"].clone();
    bench
        .kubectl(&["delete", "appliedmanifestwork", "aaaa-x", "--wait=false"])
        .await?;
    until_held(&bench, "x", &["DeletionFailed"]).await?;
    bench.direct("x", key, "things.ext.test.koinon.dev")?;
    eventually("the record is a new one", async || {
        let record = bench.read(&["appliedmanifestwork", "aaaa-x"]).await;
        Ok(record
            .is_ok_and(|record| record["metadata"]["uid"] != before)
            .then_some(()))
    })
    .await?;
    bench.data("stays", &json!({"k": "v"})).await?;

    // A kind with a definition is another matter: without it there are no objects.
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "gizmos.test.koinon.dev"},
        "spec": {"group": "test.koinon.dev", "scope": "Namespaced", "names": {"kind": "Gizmo", "plural": "gizmos"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    bench.create(&definition).await?;
    let gizmo = json!({"apiVersion": "test.koinon.dev/v1", "kind": "Gizmo", "metadata": {"name": "g", "namespace": "default"}});
    bench.desire("kind", 1, json!({"workload": {"manifests": [gizmo]}}))?;
    bench
        .until("it is applied", "kind", |s| applied(s) == "True")
        .await?;
    bench
        .kubectl(&["delete", "crd", "gizmos.test.koinon.dev"])
        .await?;
    bench.restart().await;
    bench.delete("kind")?;
    bench.removed("kind").await
}

/// Nobody may have meant it, and it may take days until somebody looks.
#[tokio::test]
async fn what_waits_for_an_approval_is_kept_as_it_was() -> anyhow::Result<()> {
    let none = Allowance {
        percent: 0,
        objects: 0,
    };
    let bench = Bench::with(Settings {
        allowance: none,
        ..Settings::default()
    })
    .await?;
    let maps = ["a", "b"].map(|name| config_map(name, &json!({"k": "v"})));
    bench.desire("w", 1, json!({"workload": {"manifests": maps}}))?;
    bench.status("w", 1).await?;
    bench.delete_at("w", 7)?;
    for round in ["before", "after a restart"] {
        until_held(&bench, "w", &["MassDeletion", "2 of 2"]).await?;
        bench
            .kubectl(&[
                "patch",
                "configmap",
                "a",
                "--type=merge",
                "-p",
                r#"{"data":{"k":"x"}}"#,
            ])
            .await?;
        bench.data("a", &json!({"k": "v"})).await?;
        bench.kubectl(&["delete", "configmap", "b"]).await?;
        bench.data("b", &json!({"k": "v"})).await?;
        let status = until_held(&bench, "w", &["MassDeletion", "2 of 2"]).await?;
        assert_eq!(condition(&status, "Deleting"), "True", "{round}: {status}");
        // Nothing is asked while nothing happens.
        bench.quiet().await;
        let asked = bench.gate.reads();
        bench.quiet().await;
        let asked = bench.gate.reads() - asked;
        assert!(asked < 10, "{round}: {asked} requests");
        if round == "before" {
            bench.restart().await;
        }
    }
    bench.approve(6);
    bench.quiet().await;
    bench.data("a", &json!({"k": "v"})).await?;
    bench.approve(7);
    bench.removed("w").await?;
    bench.gone("a").await?;
    bench.gone("b").await
}
