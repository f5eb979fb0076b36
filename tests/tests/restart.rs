//! Every process is killed at moments that it did not choose: P2 (durable), P3 (absence is not deletion),
//! P4 (a restored hub harms nobody), P8 (autonomy), P13 (quiet at rest).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use koinon_tests::{
    League, eventually, stays,
    storm::{self, Account, NAMESPACE, Storm, Witness, work},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_everything_is_killed_in_a_storm() -> anyhow::Result<()> {
    let mut league = League::start().clusters(["east"]).await?;
    storm::prepare(&league.site("east").member).await?;
    let witness = Witness::of(&league.site("east").member).await?;
    let storm = Storm::unleash(&league.hub, "east", "s", 4).await?;
    for round in 0..3 {
        // After different numbers of writes, so that the blows fall at different moments.
        storm.blows(40 + 17 * round).await?;
        league.hub.kill();
        league.hub.restart().await?;
        storm.blows(30 + 13 * round).await?;
        kill_postgres(&league)?;
        storm.blows(30 + 11 * round).await?;
        league.site("east").agent.kill();
        storm.blows(20).await?;
        league.site("east").agent.restart()?;
        storm.blows(20).await?;
        // All at once.
        kill_postgres(&league)?;
        league.site("east").agent.kill();
        league.hub.kill();
        league.hub.restart().await?;
        league.site("east").agent.restart()?;
    }
    storm.blows(40).await?;
    let account = storm.calm().await?;
    settles(&mut league, "east", &account).await?;
    account.permits(&witness.deleted())?;
    nothing_moves_at_rest(&mut league).await?;
    agent_without_its_hub_keeps_its_cluster(&mut league).await?;
    league.finish();
    Ok(())
}

/// P13: with nothing changing, no revision is made on the hub and nothing is written in the member.
async fn nothing_moves_at_rest(league: &mut League) -> anyhow::Result<()> {
    league.available("east", "True").await?;
    let mut last = None;
    let mut quiet = 0;
    // It may take a moment until the last statuses are in.
    eventually("hub and member come to rest", async || {
        let now = (revision(league).await?, versions(league).await?);
        quiet = if last.as_ref() == Some(&now) {
            quiet + 1
        } else {
            0
        };
        last = Some(now);
        Ok((quiet >= 8).then_some(()))
    })
    .await?;
    let before = last.context("nothing was seen")?;
    stays(
        "nothing is written at rest",
        Duration::from_secs(5),
        async || Ok((revision(league).await?, versions(league).await?) == before),
    )
    .await
}

/// P3, P8: an agent that starts while there is no hub deletes nothing, and still repairs what somebody breaks.
async fn agent_without_its_hub_keeps_its_cluster(league: &mut League) -> anyhow::Result<()> {
    let before = versions(league).await?;
    let witness = Witness::of(&league.site("east").member).await?;
    league.hub.kill();
    league.site("east").agent.kill();
    league.site("east").agent.restart()?;
    let victim = before
        .keys()
        .next()
        .context("the storm left no work")?
        .clone();
    stays(
        "the agent changes nothing",
        Duration::from_secs(5),
        async || Ok(versions(league).await? == before),
    )
    .await?;
    ensure!(
        witness.deleted().is_empty(),
        "deleted without a hub: {:?}",
        witness.deleted()
    );

    let kubectl = league.member_kubectl("east");
    kubectl
        .run(&["-n", NAMESPACE, "delete", "configmap", &victim])
        .await?;
    eventually("the deleted map comes back without the hub", async || {
        Ok(versions(league).await?.contains_key(&victim).then_some(()))
    })
    .await?;
    league.hub.restart().await?;
    league.available("east", "True").await
}

/// P4: a hub whose database is an older copy neither deletes nor rolls back what the agent knows to be newer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_restored_from_a_backup_leaves_the_member_as_it_is() -> anyhow::Result<()> {
    let mut league = League::start().clusters(["east"]).await?;
    storm::prepare(&league.site("east").member).await?;
    put(&league, "kept", 1).await?;
    applied(&league, &[("kept", "1")]).await?;
    league.hub.stop().await?;
    let (database, backup) = (database(&league), league.dir().join("backup"));
    copy(&database, &backup)?;
    league.hub.restart().await?;
    put(&league, "kept", 2).await?;
    put(&league, "newer", 1).await?;
    applied(&league, &[("kept", "2"), ("newer", "1")]).await?;
    let before = versions(&league).await?;

    league.hub.stop().await?;
    std::fs::remove_dir_all(&database)?;
    copy(&backup, &database)?;
    let witness = Witness::of(&league.site("east").member).await?;
    league.hub.restart().await?;
    ensure!(
        league.get(&format!("{WORKS}/newer")).await.is_err(),
        "the backup is not older"
    );
    league.available("east", "True").await?;
    stays(
        "the restored hub changes nothing",
        Duration::from_secs(10),
        async || Ok(versions(&league).await? == before),
    )
    .await?;
    ensure!(
        witness.deleted().is_empty(),
        "deleted by a restored hub: {:?}",
        witness.deleted()
    );
    league.finish();
    Ok(())
}

/// P4: it does not help a restored hub to make more revisions than it lost before an agent comes back to it; and once an
/// admin has accepted it, it is followed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_hub_that_went_past_what_it_lost_is_still_held_off() -> anyhow::Result<()> {
    let mut league = League::start().clusters(["east"]).await?;
    storm::prepare(&league.site("east").member).await?;
    put(&league, "kept", 1).await?;
    put(&league, "doomed", 1).await?;
    applied(&league, &[("kept", "1"), ("doomed", "1")]).await?;
    league.hub.stop().await?;
    let (database, backup) = (database(&league), league.dir().join("backup"));
    copy(&database, &backup)?;
    league.hub.restart().await?;
    put(&league, "kept", 2).await?;
    put(&league, "newer", 1).await?;
    applied(&league, &[("kept", "2"), ("newer", "1")]).await?;
    league.available("east", "True").await?;
    let lost: i64 = text(&revision(&league).await?).parse()?;
    let before = versions(&league).await?;

    league.hub.stop().await?;
    league.site("east").wire.cut();
    std::fs::remove_dir_all(&database)?;
    copy(&backup, &database)?;
    league.hub.restart().await?;
    // Its users go on: they change and delete, and go past everything that the agent has seen.
    for value in 5.. {
        put(&league, "kept", value).await?;
        let now: i64 = text(&revision(&league).await?).parse()?;
        if now > lost + 20 {
            break;
        }
    }
    let doomed = [
        "delete",
        "manifestwork",
        "doomed",
        "-n",
        "east",
        "--wait=false",
    ];
    league.kubectl().run(&doomed).await?;
    let witness = Witness::of(&league.site("east").member).await?;
    league.site("east").wire.resume();
    eventually("the hub learns that it is held off", async || {
        let cluster = league
            .get("/apis/cluster.open-cluster-management.io/v1/managedclusters/east")
            .await?;
        Ok((koinon_tests::condition(&cluster, "RollbackHold") == "True").then_some(()))
    })
    .await?;
    stays(
        "the restored hub changes nothing",
        Duration::from_secs(5),
        async || Ok(versions(&league).await? == before),
    )
    .await?;
    ensure!(
        witness.deleted().is_empty(),
        "deleted by a restored hub: {:?}",
        witness.deleted()
    );

    let accept = league
        .koinon()
        .run(&["cluster", "accept-rollback", "east"])
        .await?;
    ensure!(accept.contains("follows the hub"), "{accept}");
    eventually("the accepted hub is followed", async || {
        let left = versions(&league).await?;
        Ok((!left.contains_key("doomed") && left.get("kept") != before.get("kept")).then_some(()))
    })
    .await?;
    // Absence is not deletion: what the hub no longer knows of stays until somebody says otherwise (P3).
    applied(&league, &[("newer", "1")]).await?;
    unknown_works_are_told_and_disposed_of(&mut league).await?;
    league.finish();
    Ok(())
}

/// `newer` is in the cluster, and the hub does not know it.
async fn unknown_works_are_told_and_disposed_of(league: &mut League) -> anyhow::Result<()> {
    let cluster = "/apis/cluster.open-cluster-management.io/v1/managedclusters/east";
    let until = async |league: &League, reason: Option<&str>| {
        eventually(
            &format!("UnmanagedWorks has the reason {reason:?}"),
            async || {
                let cluster = league.get(cluster).await?;
                let all = cluster["status"]["conditions"].as_array().cloned();
                let all = all.unwrap_or_default();
                let found = all.iter().find(|c| c["type"] == "UnmanagedWorks");
                ensure!(
                    found.map(|c| c["reason"].as_str().unwrap_or_default()) == reason,
                    "{found:?}"
                );
                Ok(Some(found.cloned().unwrap_or_default()))
            },
        )
        .await
    };
    let said = until(league, Some("NotOnHub")).await?;
    ensure!(
        text(&said["message"]).contains("1 works are kept applied"),
        "{said}"
    );
    ensure!(text(&said["message"]).contains("newer"), "{said}");

    // Hub and agent agree on the rest, and say so from the first word, also after a restart of the agent.
    let log = league.site("east").agent.log().to_owned();
    let opened = || -> anyhow::Result<Vec<bool>> {
        let log = std::fs::read_to_string(&log)?;
        let lines = log.lines().filter(|line| line.contains("session opened"));
        // Lines are coloured.
        Ok(lines
            .map(|line| line.contains("in_sync") && line.contains("true"))
            .collect())
    };
    let before = opened()?.len();
    league.site("east").agent.kill();
    league.site("east").agent.restart()?;
    eventually("the agent is back", async || {
        Ok((opened()?.len() > before).then_some(()))
    })
    .await?;
    ensure!(
        opened()?.last() == Some(&true),
        "a stray work brings a resync about"
    );
    league.available("east", "True").await?;
    applied(league, &[("newer", "1")]).await?;
    until(league, Some("NotOnHub")).await?;

    let dispose = ["cluster", "dispose-unmanaged", "east"];
    let said = league.koinon().run(&dispose).await?;
    ensure!(said.contains("deletes the works"), "{said}");
    eventually("the unknown work is gone, and nothing else", async || {
        let left = versions(league).await?;
        Ok((!left.contains_key("newer") && left.contains_key("kept")).then_some(()))
    })
    .await?;
    until(league, None).await?;
    eventually("there is nothing to dispose of any more", async || {
        let said = league.koinon().say(&dispose).await?;
        Ok((said.code != 0).then_some(()))
    })
    .await
}

/// P4: a hub that lost its database altogether has another authority; agents do not talk to it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_hub_leaves_the_member_as_it_is() -> anyhow::Result<()> {
    let mut league = League::start().clusters(["east"]).await?;
    storm::prepare(&league.site("east").member).await?;
    put(&league, "kept", 1).await?;
    applied(&league, &[("kept", "1")]).await?;
    let before = versions(&league).await?;
    league.hub.stop().await?;
    std::fs::remove_dir_all(league.hub.kubeconfig().parent().context("no data folder")?)?;
    let witness = Witness::of(&league.site("east").member).await?;
    league.hub.restart().await?;
    league.site("east").agent.kill();
    league.site("east").agent.restart()?;
    stays(
        "the empty hub changes nothing",
        Duration::from_secs(10),
        async || Ok(versions(&league).await? == before),
    )
    .await?;
    ensure!(
        witness.deleted().is_empty(),
        "deleted by an empty hub: {:?}",
        witness.deleted()
    );
    league.finish();
    Ok(())
}

fn database(league: &League) -> PathBuf {
    league
        .hub
        .kubeconfig()
        .with_file_name("postgres")
        .join("data")
}

/// Kills the embedded Postgres with all its processes; the hub starts another.
fn kill_postgres(league: &League) -> anyhow::Result<()> {
    let lock = std::fs::read_to_string(database(league).join("postmaster.pid"))?;
    let postmaster: i32 = lock
        .lines()
        .next()
        .context("an empty lock file")?
        .trim()
        .parse()?;
    let children =
        std::fs::read_to_string(format!("/proc/{postmaster}/task/{postmaster}/children"))?;
    let children = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok());
    for pid in std::iter::once(postmaster)
        .chain(children)
        .filter_map(Pid::from_raw)
    {
        let _ = kill_process(pid, Signal::KILL); // it may have ended just now
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .status()?;
    ensure!(status.success(), "cannot copy {}", from.display());
    Ok(())
}

async fn put(league: &League, name: &str, value: u64) -> anyhow::Result<()> {
    league
        .kubectl()
        .apply(&work("east", name, value).to_string())
        .await
        .map(drop)
}

async fn applied(league: &League, expected: &[(&str, &str)]) -> anyhow::Result<()> {
    eventually("the member has the works", async || {
        let maps = league
            .member_kubectl("east")
            .json(&["-n", NAMESPACE, "get", "configmaps"])
            .await?;
        let maps = maps["items"].as_array().context("not a list")?;
        let has = |(name, value): &(&str, &str)| {
            maps.iter()
                .any(|map| map["metadata"]["name"] == *name && map["data"]["value"] == *value)
        };
        Ok(expected.iter().all(has).then_some(()))
    })
    .await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The hub's present revision.
async fn revision(league: &League) -> anyhow::Result<Value> {
    Ok(league.get("/api/v1/namespaces").await?["metadata"]["resourceVersion"].clone())
}

/// Which version each map of the works has in the member.
async fn versions(league: &League) -> anyhow::Result<BTreeMap<String, String>> {
    let maps = league
        .member_kubectl("east")
        .json(&["-n", NAMESPACE, "get", "configmaps"])
        .await?;
    let maps = maps["items"].as_array().context("not a list")?;
    let version = |map: &Value| {
        (
            text(&map["metadata"]["name"]),
            text(&map["metadata"]["resourceVersion"]),
        )
    };
    Ok(maps
        .iter()
        .map(version)
        .filter(|(name, _)| name != "kube-root-ca.crt")
        .collect())
}

/// Waits until hub and member agree with the account.
async fn settles(league: &mut League, cluster: &str, account: &Account) -> anyhow::Result<()> {
    let (hub, member) = (
        league.client().await?,
        league.site(cluster).member.client().await?,
    );
    account.settles(&hub, &member).await
}
