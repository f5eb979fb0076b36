//! The network between an agent and its own cluster's API server misbehaves: what is asked for comes about all the same,
//! drift is repaired, nothing else is touched (P3, P8); and the largest work that there may be.

use std::time::Duration;

use anyhow::{Context, ensure};
use koinon_tests::{
    League, Weather,
    eventually::{PATIENCE, eventually_within},
    league::condition,
};
use serde_json::{Value, json};

/// How long ten thousand objects may take to come or go, on two cores that others need too.
const LARGE: Duration = Duration::from_secs(600);

const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";

fn config_map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data})
}

async fn create(league: &League, name: &str, manifests: Vec<Value>) -> anyhow::Result<()> {
    let work = json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork", "metadata": {"name": name}, "spec": {"workload": {"manifests": manifests}}});
    let request = http::Request::post(WORKS)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&work)?)?;
    league.client().await?.request::<Value>(request).await?;
    Ok(())
}

async fn applied(league: &League, name: &str, within: Duration) -> anyhow::Result<Value> {
    eventually_within(within, &format!("work {name} is applied"), async || {
        let work = league.get(&format!("{WORKS}/{name}")).await?;
        ensure!(
            condition(&work, "Applied") == "True",
            "{}",
            work["status"]["conditions"]
        );
        Ok(Some(work))
    })
    .await
}

#[tokio::test]
async fn a_bad_link_to_the_cluster_delays_and_does_no_harm() -> anyhow::Result<()> {
    let mut league = League::start().member_wires().clusters(["east"]).await?;
    let kubectl = league.member_kubectl("east");
    kubectl
        .run(&["create", "configmap", "bystander", "-n", "default"])
        .await?;
    create(&league, "old", vec![config_map("old", &json!({"k": "v"}))]).await?;
    applied(&league, "old", PATIENCE).await?;
    let weathers = [
        Weather::Cut,
        Weather::Stalled,
        Weather::ClientMute,
        Weather::ServerMute,
        Weather::Slow,
        Weather::Jumbled,
    ];
    for (n, weather) in weathers.into_iter().enumerate() {
        let wire = league
            .site("east")
            .member_wire
            .as_ref()
            .context("no wire")?;
        wire.set(weather);
        // A work comes, one changes by hand, and one goes while nobody gets through.
        let (new, gone) = (format!("new-{n}"), format!("new-{}", n.wrapping_sub(1)));
        create(
            &league,
            &new,
            vec![config_map(&new, &json!({"n": n.to_string()}))],
        )
        .await?;
        let drift = r#"{"data":{"k":"drift"}}"#;
        kubectl
            .run(&["patch", "configmap", "old", "--type=merge", "-p", drift])
            .await?;
        if n > 0 {
            let hub = league.kubectl();
            hub.run(&[
                "delete",
                "manifestwork",
                &gone,
                "-n",
                "east",
                "--wait=false",
            ])
            .await?;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let wire = league
            .site("east")
            .member_wire
            .as_ref()
            .context("no wire")?;
        wire.resume();
        // A connection that swallowed its answers is given up after a minute or so.
        let within = Duration::from_secs(300);
        applied(&league, &new, within)
            .await
            .with_context(|| format!("{weather:?}"))?;
        eventually_within(within, "all is as it should be", async || {
            let old = kubectl.json(&["get", "configmap", "old"]).await?;
            ensure!(old["data"] == json!({"k": "v"}), "{old}");
            let left = n > 0 && kubectl.run(&["get", "configmap", &gone]).await.is_ok();
            ensure!(!left, "{gone} is left");
            Ok(Some(()))
        })
        .await
        .with_context(|| format!("{weather:?}"))?;
        kubectl.run(&["get", "configmap", "bystander"]).await?;
    }
    league.finish();
    Ok(())
}

/// 10,000 manifests in close to 16 MiB, through a real hub, agent and API server.
#[tokio::test]
async fn the_largest_work_is_applied_reported_and_removed() -> anyhow::Result<()> {
    const MANIFESTS: usize = 10_000;
    let league = League::start().clusters(["east"]).await?;
    let kubectl = league.member_kubectl("east");
    let payload = "x".repeat(1_400);
    let manifests = (0..MANIFESTS)
        .map(|n| config_map(&format!("tenant-settings-{n:05}"), &json!({"p": payload})))
        .collect();
    create(&league, "huge", manifests).await?;
    let work = applied(&league, "huge", LARGE).await?;
    let shown = work["status"]["resourceStatus"]["manifests"].as_array();
    let shown = shown.map_or(0, Vec::len);
    // What does not fit is counted, and the work's own conditions are of all.
    ensure!(shown > 100 && shown < MANIFESTS, "{shown} are shown");
    let said = work["status"]["conditions"].to_string();
    ensure!(
        said.contains(&format!("{shown} of {MANIFESTS} manifests are shown")),
        "{said}"
    );
    let last = format!("tenant-settings-{:05}", MANIFESTS - 1);
    kubectl.run(&["get", "configmap", &last]).await?;
    let delete = [
        "delete",
        "manifestwork",
        "huge",
        "-n",
        "east",
        "--wait=false",
    ];
    league.kubectl().run(&delete).await?;
    eventually_within(LARGE, "the work is gone", async || {
        let gone = league.get(&format!("{WORKS}/huge")).await.is_err();
        Ok(gone.then_some(()))
    })
    .await?;
    ensure!(kubectl.run(&["get", "configmap", &last]).await.is_err());
    league.finish();
    Ok(())
}
