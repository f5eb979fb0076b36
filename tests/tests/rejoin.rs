//! A cluster that was deleted on its hub: what it has stays, it does not come back by itself, and it joins anew when it is given
//! another join token.

use std::time::Duration;

use anyhow::{Context, ensure};
use koinon_tests::{
    Join, Klusterlet, League, condition, eventually, stays,
    storm::{self, NAMESPACE, Witness, work},
};
use serde_json::{Value, json};

const CLUSTERS: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters";
const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";

async fn applied(league: &League, name: &str) -> anyhow::Result<()> {
    eventually(&format!("work {name} is applied"), async || {
        let work = league.get(&format!("{WORKS}/{name}")).await?;
        Ok((condition(&work, "Applied") == "True").then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_deleted_on_the_hub_keeps_what_it_has_until_it_is_joined_anew()
-> anyhow::Result<()> {
    let mut league = League::start().clusters(["east"]).await?;
    storm::prepare(&league.site("east").member).await?;
    let spec = work("east", "kept", 1).to_string();
    league.kubectl().apply(&spec).await?;
    applied(&league, "kept").await?;
    let witness = Witness::of(&league.site("east").member).await?;

    // The cluster is away, and an admin gives it up: the cluster and its works are taken off the hub by force.
    league.site("east").agent.kill();
    let delete = ["delete", "managedcluster", "east", "--wait=false"];
    league.kubectl().run(&delete).await?;
    eventually("the cluster is gone from the hub", async || {
        let free = json!({"metadata": {"finalizers": null}});
        // It may be gone, or not yet be deleted.
        let _ = league.patch(&format!("{WORKS}/kept"), &free).await;
        Ok(league
            .get(&format!("{CLUSTERS}/east"))
            .await
            .is_err()
            .then_some(()))
    })
    .await?;

    // Its agent comes back with the identity, and the token, that it had.
    league.site("east").agent.restart()?;
    let log = league.site("east").agent.log().to_owned();
    eventually("the agent is told", async || {
        let log = std::fs::read_to_string(&log)?;
        Ok(log
            .contains("this cluster was deleted on the hub")
            .then_some(()))
    })
    .await?;
    let kubectl = league.member_kubectl("east");
    let map = ["get", "configmap", "kept", "-n", NAMESPACE];
    kubectl
        .run(&["delete", "configmap", "kept", "-n", NAMESPACE])
        .await?;
    eventually(
        "the agent keeps the cluster as it was told last",
        async || Ok(kubectl.run(&map).await.is_ok().then_some(())),
    )
    .await?;
    stays(
        "what an admin deleted stays deleted",
        Duration::from_secs(8),
        async || Ok(league.get(&format!("{CLUSTERS}/east")).await.is_err()),
    )
    .await?;

    // With another token it joins anew, by itself and without a loss.
    league.site("east").agent.stop().await?;
    let token = league
        .token(&json!({"clusterName": "east", "autoAccept": true}))
        .await?;
    let kubeconfig = league.site("east").member.kubeconfig();
    let dir = league.dir().join("again");
    let agent = Klusterlet::start(Join {
        cluster: "east",
        kubeconfig: &kubeconfig,
        hub: league.hub.agent_address(),
        token: Some(&token),
        dir: &dir,
        flags: &["--mass-deletion-percent=100".to_owned()],
    })?;
    league.site("east").agent = agent;
    league.available("east", "True").await?;
    let unmanaged = async || {
        let cluster: Value = league.get(&format!("{CLUSTERS}/east")).await?;
        let all = cluster["status"]["conditions"]
            .as_array()
            .cloned()
            .context("no conditions")?;
        let found = all.into_iter().find(|c| c["type"] == "UnmanagedWorks");
        anyhow::Ok(found.map(|c| c["message"].as_str().unwrap_or_default().to_owned()))
    };
    eventually(
        "the hub is told of the work that it does not know",
        async || Ok(unmanaged().await?.filter(|said| said.contains("kept"))),
    )
    .await?;
    ensure!(kubectl.run(&map).await.is_ok());
    // The work is made anew, and takes its object over.
    league.kubectl().apply(&spec).await?;
    applied(&league, "kept").await?;
    eventually("nothing is unknown", async || {
        Ok(unmanaged().await?.is_none().then_some(()))
    })
    .await?;
    let deleted = witness.deleted();
    ensure!(
        deleted.len() == 1,
        "only what was deleted by hand: {deleted:?}"
    );
    league.finish();
    Ok(())
}
