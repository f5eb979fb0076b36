//! Joining by hand, as the README teaches it, and everybody who may not join.
//! Attacks P6 (confinement) and the tokens of decision 0002.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use futures::future::try_join;
use koinon_tests::{Join, Klusterlet, Kubectl, League, Member, eventually, process::tail, stays};
use serde_json::json;

const CLUSTERS: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters";

#[tokio::test]
async fn a_cluster_joins_by_hand_and_nobody_else_does() -> anyhow::Result<()> {
    let mut league = League::start().clusters([]).await?;
    let dir = league.dir().to_owned();
    let (east_dir, rogue_dir) = (dir.join("east"), dir.join("rogue"));
    let (east, rogue) = try_join(
        Member::start("east", &east_dir),
        Member::start("rogue", &rogue_dir),
    )
    .await?;

    token_for_another_cluster_is_refused(&league, &rogue).await?;
    token_that_expired_is_refused(&league, &rogue).await?;
    token_with_a_wrong_secret_is_refused(&league, &rogue).await?;
    token_of_another_hub_is_not_even_sent(&league, &rogue).await?;
    let agent = east_joins_once_it_is_accepted(&mut league, &east).await?;
    spent_token_is_refused(&league, &rogue).await?;
    taken_name_is_refused(&league, &rogue).await?;
    agent_needs_its_token_only_once(&mut league, &east, agent).await?;
    denied_cluster_gets_nothing(&league, &rogue).await?;

    drop((east, rogue));
    league.finish();
    Ok(())
}

/// `koinon join --wait`, with the agent run as its Deployment would: with the account, the Secret and so the rights
/// that were installed, and no others.
#[tokio::test]
async fn koinon_join_brings_a_cluster_in_with_the_rights_it_installs() -> anyhow::Result<()> {
    const NAMESPACE: &str = "open-cluster-management-agent";
    let league = League::start().clusters([]).await?;
    let east = Member::start("east", &league.dir().join("east")).await?;
    let (koinon, kubectl) = (league.koinon(), east.kubectl());
    let create = ["token", "create", "--cluster", "east", "--auto-accept"];
    let token = koinon.run(&create).await?;
    let file = league.dir().join("token");
    std::fs::write(&file, &token)?;
    let (file, member) = (
        file.display().to_string(),
        east.kubeconfig().display().to_string(),
    );
    let hub = league.hub.agent_address().to_string();
    let join = [
        "join",
        "--cluster=east",
        "--wait",
        "--timeout=4m",
        "--token-file",
        &file,
        "--member-kubeconfig",
        &member,
        "--hub-agent-address",
        &hub,
    ];

    let agent = async {
        let text = eventually("join installs the agent", async || {
            let get = ["-n", NAMESPACE, "get"];
            kubectl
                .run(&[&get[..], &["deployment", "klusterlet"]].concat())
                .await?;
            let secret = [&get[..], &["secret", "bootstrap-hub-token"]].concat();
            let template = "go-template={{index .data \"token\" | base64decode}}";
            Ok(Some(
                kubectl
                    .run(&[&secret[..], &["-o", template]].concat())
                    .await?,
            ))
        })
        .await?;
        let kubeconfig = account(&east, league.dir(), NAMESPACE).await?;
        Klusterlet::start(Join {
            cluster: "east",
            kubeconfig: &kubeconfig,
            hub: league.hub.agent_address(),
            token: Some(&text),
            dir: &league.dir().join("deployed"),
            flags: &[],
        })
    };
    let (said, agent) = try_join(koinon.say(&join), agent).await?;
    ensure!(
        said.code == 0 && said.stderr.contains("east is available"),
        "{said:?}\n{}",
        tail(agent.log(), 40)
    );

    let work = json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": { "name": "shop", "namespace": "east" },
        "spec": { "workload": { "manifests": [
            { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } },
            { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "settings", "namespace": "shop" } },
        ] } },
    });
    league.kubectl().apply(&work.to_string()).await?;
    let wait = ["wait", "--for=condition=Applied", "--timeout=90s"];
    let wait = [&wait[..], &["-n", "east", "manifestwork/shop"]].concat();
    league.kubectl().run(&wait).await?;
    kubectl
        .run(&["-n", "shop", "get", "configmap", "settings"])
        .await?;
    drop((agent, east));
    league.finish();
    Ok(())
}

/// A kubeconfig with nothing but the agent's own service account.
async fn account(member: &Member, dir: &Path, namespace: &str) -> anyhow::Result<PathBuf> {
    let path = dir.join("klusterlet.kubeconfig");
    std::fs::copy(member.kubeconfig(), &path)?;
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": [] },
    });
    let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts/klusterlet/token");
    let answer = member
        .kubectl()
        .run_with_input(
            &["create", "--raw", &accounts, "-f", "-"],
            &request.to_string(),
        )
        .await?;
    let answer: serde_json::Value = serde_json::from_str(&answer)?;
    let token = answer["status"]["token"].as_str().context("no token")?;
    let kubectl = Kubectl::new(&path, dir);
    let token = format!("--token={token}");
    let users = ["config", "view", "-o", "jsonpath={.users[*].name}"];
    for user in kubectl.run(&users).await?.split_whitespace() {
        kubectl.run(&["config", "delete-user", user]).await?;
    }
    kubectl
        .run(&["config", "set-credentials", "klusterlet", &token])
        .await?;
    kubectl
        .run(&["config", "set-context", "--current", "--user=klusterlet"])
        .await?;
    Ok(path)
}

/// `koinon token create`, the agent, `koinon accept`, `koinon get clusters`.
async fn east_joins_once_it_is_accepted(
    league: &mut League,
    east: &Member,
) -> anyhow::Result<Klusterlet> {
    let koinon = league.koinon();
    let token = koinon
        .run(&["token", "create", "--cluster", "east"])
        .await?
        .trim()
        .to_owned();
    std::fs::write(league.dir().join("spent"), &token)?;
    let mut agent = join(league, east, "east", &token)?;
    eventually("the cluster asks to join", async || {
        Ok(league.get(&format!("{CLUSTERS}/east")).await.ok())
    })
    .await?;
    let cluster = league.get(&format!("{CLUSTERS}/east")).await?;
    ensure!(
        cluster["spec"]["hubAcceptsClient"] == false,
        "accepted without an admin: {cluster}"
    );
    ensure!(koinon.run(&["get", "clusters"]).await?.contains("east"));
    stays(
        "nobody joins unaccepted",
        std::time::Duration::from_secs(2),
        async || {
            Ok(koinon_tests::condition(
                &league.get(&format!("{CLUSTERS}/east")).await?,
                "ManagedClusterJoined",
            ) != "True")
        },
    )
    .await?;
    let said = koinon
        .run(&["accept", "east", "--wait", "--timeout", "90s"])
        .await?;
    ensure!(said.contains("east"), "{said}");
    league.available("east", "True").await?;
    agent.process()?.check()?;

    let cluster = league.get(&format!("{CLUSTERS}/east")).await?;
    for condition in ["HubAcceptedManagedCluster", "ManagedClusterJoined"] {
        ensure!(
            koinon_tests::condition(&cluster, condition) == "True",
            "{condition}: {cluster}"
        );
    }
    eventually("the cluster reports itself", async || {
        let cluster = league.get(&format!("{CLUSTERS}/east")).await?;
        let status = &cluster["status"];
        let version = status["version"]["kubernetes"].as_str().unwrap_or_default();
        ensure!(version.starts_with('v'), "no version: {status}");
        ensure!(
            status["capacity"]["cpu"] == "8" && status["allocatable"]["memory"] == "32Gi",
            "two nodes of 4 CPU and 16Gi each: {status}"
        );
        Ok(Some(()))
    })
    .await?;
    Ok(agent)
}

async fn token_for_another_cluster_is_refused(
    league: &League,
    rogue: &Member,
) -> anyhow::Result<()> {
    let token = league
        .token(&json!({"clusterName": "somebody", "autoAccept": true}))
        .await?;
    refused(league, rogue, "rogue", &token).await
}

async fn token_that_expired_is_refused(league: &League, rogue: &Member) -> anyhow::Result<()> {
    let token = league
        .koinon()
        .run(&["token", "create", "--cluster", "rogue", "--ttl", "1s"])
        .await?
        .trim()
        .to_owned();
    let name = token.split('.').nth(1).context("a token without a name")?;
    eventually("the token expires", async || {
        let token = league
            .get(&format!("/apis/koinon.dev/v1alpha1/jointokens/{name}"))
            .await?;
        let expires: jiff::Timestamp = token["spec"]["expiresAt"]
            .as_str()
            .context("no expiry")?
            .parse()?;
        Ok((expires < jiff::Timestamp::now()).then_some(()))
    })
    .await?;
    refused(league, rogue, "rogue", &token).await
}

async fn token_with_a_wrong_secret_is_refused(
    league: &League,
    rogue: &Member,
) -> anyhow::Result<()> {
    let token = league
        .token(&json!({"clusterName": "rogue", "autoAccept": true}))
        .await?;
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    // Any other first letter keeps it well formed.
    let other = if parts[2].starts_with('A') { "B" } else { "A" };
    parts[2].replace_range(0..1, other);
    refused(league, rogue, "rogue", &parts.join(".")).await
}

/// The token names the hub's CA; an agent that meets another one hangs up.
async fn token_of_another_hub_is_not_even_sent(
    league: &League,
    rogue: &Member,
) -> anyhow::Result<()> {
    let token = league
        .token(&json!({"clusterName": "rogue", "autoAccept": true}))
        .await?;
    let (rest, _) = token
        .rsplit_once('.')
        .context("a token without a fingerprint")?;
    let forged = format!("{rest}.{}", "0".repeat(64));
    let before = league.hub.log().metadata()?.len();
    let mut agent = join(league, rogue, "rogue", &forged)?;
    let log = agent.log().to_owned();
    eventually("the agent says that this is not its hub", async || {
        let said = tail(&log, 40).to_lowercase();
        Ok((said.contains("fingerprint") || said.contains("certificate")).then_some(()))
    })
    .await?;
    agent.kill();
    let said = std::fs::read_to_string(league.hub.log())?;
    ensure!(
        !said
            .get(before as usize..)
            .unwrap_or_default()
            .contains(&token),
        "a secret is in the hub's log"
    );
    absent(league, "rogue").await
}

async fn spent_token_is_refused(league: &League, rogue: &Member) -> anyhow::Result<()> {
    let token = std::fs::read_to_string(league.dir().join("spent"))?;
    refused(league, rogue, "rogue", &token).await
}

/// The name is bound to the first cluster's `kube-system`, whatever the token says.
async fn taken_name_is_refused(league: &League, rogue: &Member) -> anyhow::Result<()> {
    let token = league
        .token(&json!({"clusterName": "east", "autoAccept": true}))
        .await?;
    let mut agent = join(league, rogue, "east", &token)?;
    said_refused(&agent).await?;
    agent.kill();
    let cluster = league.get(&format!("{CLUSTERS}/east")).await?;
    ensure!(
        koinon_tests::condition(&cluster, "ManagedClusterConditionAvailable") == "True",
        "the rightful cluster suffers: {cluster}"
    );
    Ok(())
}

/// The identity is in the member cluster: an agent started again needs no token.
async fn agent_needs_its_token_only_once(
    league: &mut League,
    east: &Member,
    mut agent: Klusterlet,
) -> anyhow::Result<()> {
    agent.kill();
    let dir = league.dir().join("again");
    let mut agent = Klusterlet::start(Join {
        cluster: "east",
        kubeconfig: &east.kubeconfig(),
        hub: league.hub.agent_address(),
        token: None,
        dir: &dir,
        flags: &[],
    })?;
    league
        .kubectl()
        .run(&[
            "patch",
            "managedcluster",
            "east",
            "--type=merge",
            "-p",
            r#"{"spec":{"leaseDurationSeconds":1}}"#,
        ])
        .await?;
    // Longer than the lease: only a new session can keep the cluster available.
    stays(
        "the cluster is available",
        std::time::Duration::from_secs(8),
        async || {
            agent.process()?.check()?;
            Ok(koinon_tests::condition(
                &league.get(&format!("{CLUSTERS}/east")).await?,
                "ManagedClusterConditionAvailable",
            ) == "True")
        },
    )
    .await
}

async fn denied_cluster_gets_nothing(league: &League, rogue: &Member) -> anyhow::Result<()> {
    let koinon = league.koinon();
    let token = koinon
        .run(&["token", "create", "--cluster", "rogue"])
        .await?
        .trim()
        .to_owned();
    let mut agent = join(league, rogue, "rogue", &token)?;
    eventually("the cluster asks to join", async || {
        Ok(league.get(&format!("{CLUSTERS}/rogue")).await.ok())
    })
    .await?;
    koinon.run(&["deny", "rogue"]).await?;
    stays(
        "a denied cluster does not join",
        std::time::Duration::from_secs(3),
        async || {
            Ok(koinon_tests::condition(
                &league.get(&format!("{CLUSTERS}/rogue")).await?,
                "ManagedClusterJoined",
            ) != "True")
        },
    )
    .await?;
    agent.kill();
    Ok(())
}

/// An agent that must not get in: it says so, and the hub has no such cluster.
async fn refused(
    league: &League,
    member: &Member,
    cluster: &str,
    token: &str,
) -> anyhow::Result<()> {
    let mut agent = join(league, member, cluster, token)?;
    said_refused(&agent).await?;
    agent.kill();
    absent(league, cluster).await
}

async fn said_refused(agent: &Klusterlet) -> anyhow::Result<()> {
    let log = agent.log().to_owned();
    eventually("the agent says that it was refused", async || {
        let said = tail(&log, 40).to_lowercase();
        ensure!(
            [
                "refused",
                "denied",
                "unauthenticated",
                "already exists",
                "another cluster"
            ]
            .iter()
            .any(|word| said.contains(word)),
            "{said}"
        );
        Ok(Some(()))
    })
    .await
}

async fn absent(league: &League, cluster: &str) -> anyhow::Result<()> {
    let found = league.get(&format!("{CLUSTERS}/{cluster}")).await;
    ensure!(found.is_err(), "the hub has the cluster: {found:?}");
    Ok(())
}

/// Each agent logs into a folder of its own, so that what it says is about this attempt.
fn join(
    league: &League,
    member: &Member,
    cluster: &str,
    token: &str,
) -> anyhow::Result<Klusterlet> {
    let dir = tempfile::Builder::new()
        .prefix("agent-")
        .tempdir_in(league.dir())?
        .keep();
    Klusterlet::start(Join {
        cluster,
        kubeconfig: &member.kubeconfig(),
        hub: league.hub.agent_address(),
        token: Some(token),
        dir: &dir,
        flags: &[],
    })
}
