//! Hosted mode: the agent runs outside of its cluster, with a kubeconfig of the account that `koinon join` installs there and no
//! other rights; its credentials are exchanged while it runs.

use std::path::Path;

use anyhow::{Context, ensure};
use koinon_tests::{
    Join, Klusterlet, League, Member, condition, eventually,
    storm::{self, NAMESPACE, work},
};
use serde_json::{Value, json};

const AGENTS: &str = "open-cluster-management-agent";
const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/far/manifestworks";

/// Writes the kubeconfig of the agent's account, as whoever hosts it would: with a token of the account.
async fn credentials(member: &Member, file: &Path) -> anyhow::Result<String> {
    let kubectl = member.kubectl();
    // TokenRequest: what `kubectl create token` sends, also for a kubectl that is too old for it.
    let path = format!("/api/v1/namespaces/{AGENTS}/serviceaccounts/klusterlet/token");
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}});
    let made = kubectl
        .run_with_input(&["create", "--raw", &path, "-f", "-"], &request.to_string())
        .await?;
    let made: Value = serde_json::from_str(&made)?;
    let token = made["status"]["token"]
        .as_str()
        .context("no token")?
        .to_owned();
    let admin: Value = serde_json::from_str(&std::fs::read_to_string(member.kubeconfig())?)?;
    let mut config = admin;
    config["users"][0]["user"] = json!({ "token": token });
    // In one step, as a mounted Secret is exchanged.
    let next = file.with_extension("next");
    std::fs::write(&next, config.to_string())?;
    std::fs::rename(&next, file)?;
    Ok(token)
}

async fn applied(league: &League, name: &str, value: u64) -> anyhow::Result<()> {
    league
        .kubectl()
        .apply(&work("far", name, value).to_string())
        .await?;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_runs_elsewhere_works_with_its_own_account_and_new_credentials()
-> anyhow::Result<()> {
    let mut league = League::start().clusters([]).await?;
    let dir = league.dir().join("far");
    let member = Member::start("far", &dir).await?;
    storm::prepare(&member).await?;
    let token = league
        .token(&json!({"clusterName": "far", "autoAccept": true}))
        .await?;
    let token_file = dir.join("token");
    std::fs::write(&token_file, &token)?;
    let (hub, admin) = (league.hub.agent_address().to_string(), member.kubeconfig());
    let join = [
        "join",
        "--no-deployment",
        "--cluster=far",
        "--hub-agent-address",
        &hub,
        "--member-kubeconfig",
        &admin.to_string_lossy(),
        "--token-file",
        &token_file.to_string_lossy(),
    ];
    let said = league.koinon().say(&join).await?;
    ensure!(said.code == 0, "{said:?}");

    let kubeconfig = dir.join("hosted.kubeconfig");
    let first = credentials(&member, &kubeconfig).await?;
    let mut agent = Klusterlet::start(Join {
        cluster: "far",
        kubeconfig: &kubeconfig,
        hub: league.hub.agent_address(),
        token: Some(&token),
        dir: &dir.join("agent"),
        flags: &[],
    })?;
    league.available("far", "True").await?;
    applied(&league, "one", 1).await?;
    // What it needs to know is in the member, in the namespace that was prepared there.
    let kubectl = member.kubectl();
    let held = [
        "get",
        "secrets",
        "-n",
        AGENTS,
        "-l",
        "koinon.dev/held-work",
        "-o",
        "name",
    ];
    ensure!(!kubectl.run(&held).await?.is_empty());
    kubectl
        .run(&["get", "secret", "hub-identity", "-n", AGENTS])
        .await?;
    // Drift is seen and repaired through the kubeconfig alone.
    kubectl
        .run(&["delete", "configmap", "one", "-n", NAMESPACE])
        .await?;
    eventually("it is repaired", async || {
        let get = ["get", "configmap", "one", "-n", NAMESPACE];
        Ok(kubectl.run(&get).await.is_ok().then_some(()))
    })
    .await?;

    // Other credentials: the agent ends, to be started with them.
    let second = credentials(&member, &kubeconfig).await?;
    ensure!(first != second);
    eventually("the agent ends", async || Ok(agent.process()?.ended()?)).await?;
    let log = std::fs::read_to_string(agent.log())?;
    ensure!(log.contains("the kubeconfig has changed"), "{log}");
    agent.restart()?;
    applied(&league, "one", 2).await?;
    // It leaves nothing behind.
    let delete = [
        "delete",
        "manifestwork",
        "one",
        "-n",
        "far",
        "--timeout=60s",
    ];
    league.kubectl().run(&delete).await?;
    ensure!(
        kubectl
            .run(&["get", "configmap", "one", "-n", NAMESPACE])
            .await
            .is_err()
    );
    agent.stop().await?;
    league.finish();
    Ok(())
}
