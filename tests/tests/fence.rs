//! Two agents for one cluster: only one of them writes, and one that was stopped for a while does nothing when it goes on.

use std::time::Duration;

use anyhow::{Context, ensure};
use koinon_tests::{
    Join, Klusterlet, League, condition, eventually, stays,
    storm::{self, NAMESPACE, Witness, work},
};
use rustix::process::Signal;
use serde_json::Value;

const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";
const AGENTS: &str = "open-cluster-management-agent";

async fn put(league: &League, name: &str, value: u64) -> anyhow::Result<()> {
    let work = work("east", name, value).to_string();
    league.kubectl().apply(&work).await.map(drop)
}

async fn applied(league: &League, name: &str) -> anyhow::Result<()> {
    eventually(
        &format!("work {name} is applied as it is now"),
        async || {
            let work = league.get(&format!("{WORKS}/{name}")).await?;
            let all = work["status"]["conditions"].as_array();
            let applied = all.and_then(|all| all.iter().find(|c| c["type"] == "Applied"));
            let now = applied.map(|c| c["observedGeneration"] == work["metadata"]["generation"]);
            Ok((now == Some(true) && condition(&work, "Applied") == "True").then_some(()))
        },
    )
    .await
}

/// Versions of everything that was applied.
async fn versions(league: &League) -> anyhow::Result<Vec<String>> {
    let get = ["get", "configmaps,appliedmanifestworks", "-n", NAMESPACE];
    let list: Value = league.member_kubectl("east").json(&get).await?;
    let items = list["items"].as_array().context("no list")?;
    Ok(items
        .iter()
        .map(|item| {
            format!(
                "{} {}",
                item["metadata"]["name"], item["metadata"]["resourceVersion"]
            )
        })
        .collect())
}

async fn holder(league: &League) -> anyhow::Result<String> {
    let get = ["get", "lease", "klusterlet", "-n", AGENTS];
    let lease: Value = league.member_kubectl("east").json(&get).await?;
    let holder = lease["spec"]["holderIdentity"].as_str();
    Ok(holder.unwrap_or_default().to_owned())
}

/// The versions, once every record names the uid of what was applied: it is written a while after the object.
async fn settled(league: &League) -> anyhow::Result<Vec<String>> {
    let get = ["get", "appliedmanifestworks"];
    eventually("all is recorded", async || {
        let records: Value = league.member_kubectl("east").json(&get).await?;
        let records = records["items"].as_array().context("no list")?;
        let recorded = records.iter().all(|record| {
            let resources = record["status"]["appliedResources"].as_array();
            resources.is_some_and(|all| all.len() == 1 && all[0]["uid"].is_string())
        });
        Ok((recorded && records.len() == 2).then_some(()))
    })
    .await?;
    versions(league).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_agents_one_writes_and_a_stopped_one_does_nothing_when_it_goes_on()
-> anyhow::Result<()> {
    let mut league = League::start().clusters(["east"]).await?;
    storm::prepare(&league.site("east").member).await?;
    put(&league, "kept", 1).await?;
    put(&league, "doomed", 1).await?;
    applied(&league, "kept").await?;
    applied(&league, "doomed").await?;
    let first = holder(&league).await?;

    // A second one comes while the first one works: it waits, and nobody notices.
    let kubeconfig = league.site("east").member.kubeconfig();
    let dir = league.dir().join("second");
    let mut second = Klusterlet::start(Join {
        cluster: "east",
        kubeconfig: &kubeconfig,
        hub: league.hub.agent_address(),
        token: None,
        dir: &dir,
        flags: &[],
    })?;
    let log = second.log().to_owned();
    let waits = |log: &std::path::Path| -> anyhow::Result<bool> {
        Ok(std::fs::read_to_string(log)?.contains("another agent works in this cluster"))
    };
    eventually("the second agent waits", async || {
        Ok(waits(&log)?.then_some(()))
    })
    .await?;
    stays(
        "the first agent is the holder",
        Duration::from_secs(25),
        async || Ok(holder(&league).await? == first),
    )
    .await?;
    put(&league, "kept", 2).await?;
    applied(&league, "kept").await?;

    // The first one stops in the middle of life; the second one takes over, and things go on.
    league.site("east").agent.process()?.signal(Signal::STOP)?;
    eventually("the second agent takes over", async || {
        Ok((holder(&league).await? != first).then_some(()))
    })
    .await?;
    put(&league, "kept", 3).await?;
    put(&league, "newer", 1).await?;
    let delete = [
        "delete",
        "manifestwork",
        "doomed",
        "-n",
        "east",
        "--timeout=90s",
    ];
    league.kubectl().run(&delete).await?;
    applied(&league, "kept").await?;
    applied(&league, "newer").await?;
    let (before, now) = (settled(&league).await?, holder(&league).await?);

    // The first one goes on with all that it knew: it ends, and has changed nothing.
    let witness = Witness::of(&league.site("east").member).await?;
    let agent = &mut league.site("east").agent;
    agent.process()?.signal(Signal::CONT)?;
    eventually("the first agent ends", async || agent.process()?.ended()).await?;
    let log = std::fs::read_to_string(agent.log())?;
    ensure!(log.contains("another agent has taken over"), "{log}");
    ensure!(versions(&league).await? == before, "something was written");
    ensure!(witness.deleted().is_empty(), "{:?}", witness.deleted());

    // Started anew it waits; when the second one ends in order it takes over at once.
    league.site("east").agent.restart()?;
    stays("nothing changes", Duration::from_secs(5), async || {
        Ok(versions(&league).await? == before && holder(&league).await? == now)
    })
    .await?;
    second.stop().await?;
    league.available("east", "True").await?;
    put(&league, "kept", 4).await?;
    applied(&league, "kept").await?;
    ensure!(holder(&league).await? != now);
    league.finish();
    Ok(())
}
