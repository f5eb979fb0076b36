//! Taking a cluster away, bringing it back, and looking.

use std::time::Duration;

use anyhow::Context;

use crate::{
    demo::{
        LEASE_SECONDS, Refused,
        control::{Ask, ClusterStatus, Control, Status},
        known,
        look::{Look, rows, runs, runs_fully},
        say::{Say, table},
        state,
    },
    eventually::{eventually, eventually_within},
};

const UNREACHABLE: &str = "cluster.open-cluster-management.io/unreachable";

/// Takes a cluster away and tells what the hub does about it.
///
/// # Errors
/// [`Refused`] when that cannot be done now; when the workload does not move.
pub async fn lose(cluster: &str) -> anyhow::Result<()> {
    known(cluster)?;
    let mut control = Control::connect(&state::folder())?;
    let status = control.ask(&Ask::Status).await?;
    if find(&status, cluster)?.lost {
        return Err(Refused::Lost(cluster.to_owned()).into());
    }
    let look = Look::at(&status.hub_kubeconfig).await?;
    let before = look.chosen().await?;
    let say = Say::new(&format!("Taking {cluster} away"));
    let status = say
        .step(
            &format!("agent, API server, controllers and etcd of {cluster} are killed"),
            control.ask(&Ask::Lose {
                cluster: cluster.into(),
            }),
        )
        .await?;
    let what = format!(
        "the hub says Available=Unknown: no heartbeat for 5 × leaseDurationSeconds = {} s",
        5 * LEASE_SECONDS
    );
    say.step(
        &what,
        eventually("the cluster is Unknown", async || {
            Ok((look.available(cluster).await? == "Unknown").then_some(()))
        }),
    )
    .await?;
    say.step(
        &format!("{cluster} has the taint {UNREACHABLE}"),
        eventually("the taint", async || {
            Ok(look.tainted(cluster, UNREACHABLE).await?.then_some(()))
        }),
    )
    .await?;
    if before.iter().any(|name| name == cluster) {
        follow(&say, &look, &status, cluster, &before).await?;
    } else {
        say.line(&format!("{cluster} was not chosen, so nothing moves"));
    }
    print_table(&status).await
}

/// Tells where the workload of a lost cluster goes.
async fn follow(
    say: &Say,
    look: &Look,
    status: &Status,
    lost: &str,
    before: &[String],
) -> anyhow::Result<()> {
    let after = say.step("the placement has decided anew", async {
        eventually("the lost cluster is no longer chosen", async || {
            Ok(Some(look.chosen().await?).filter(|chosen| !chosen.iter().any(|name| name == lost)))
        })
        .await
    });
    let mut after = after.await?;
    let spare = status
        .clusters
        .iter()
        .any(|cluster| !cluster.lost && !before.contains(&cluster.name));
    if spare && after.len() < before.len() {
        after = eventually("another cluster is chosen", async || {
            Ok(Some(look.chosen().await?).filter(|chosen| chosen.len() == before.len()))
        })
        .await?;
    }
    let Some(next) = after.iter().find(|name| !before.contains(name)) else {
        say.line("no other cluster is left to take it; what the lost one ran runs nowhere now");
        return Ok(());
    };
    let next = find(status, next)?;
    say.step(
        &format!("the workload runs in {} instead", next.name),
        eventually("it runs", async || {
            Ok(runs_fully(next).await?.then_some(()))
        }),
    )
    .await
}

/// Brings a lost cluster back and tells what the hub does about it.
///
/// # Errors
/// [`Refused`] when that cannot be done now; when the cluster does not come back.
pub async fn bring_back(cluster: &str) -> anyhow::Result<()> {
    known(cluster)?;
    let mut control = Control::connect(&state::folder())?;
    let status = control.ask(&Ask::Status).await?;
    if !find(&status, cluster)?.lost {
        return Err(Refused::NotLost(cluster.to_owned()).into());
    }
    let look = Look::at(&status.hub_kubeconfig).await?;
    let say = Say::new(&format!("Bringing {cluster} back"));
    let status = say
        .step(
            &format!("{cluster} serves again, and its agent is started"),
            control.ask(&Ask::Return {
                cluster: cluster.into(),
            }),
        )
        .await?;
    say.step(
        "the hub says Available=True",
        eventually("the cluster is back", async || {
            Ok((look.available(cluster).await? == "True").then_some(()))
        }),
    )
    .await?;
    say.step(
        "the taint is gone",
        eventually("no taint", async || {
            Ok((!look.tainted(cluster, UNREACHABLE).await?).then_some(()))
        }),
    )
    .await?;
    let site = find(&status, cluster)?;
    let settled = eventually_within(
        Duration::from_secs(60),
        "the cluster is as the hub wants it",
        async || {
            let chosen = look.chosen().await?.iter().any(|name| name == cluster);
            let done = if chosen {
                runs_fully(site).await?
            } else {
                runs(site).await?.is_none() && look.work(cluster).await?.is_none()
            };
            Ok(done.then_some(chosen))
        },
    );
    if say
        .step("the cluster is as the hub wants it", settled)
        .await?
    {
        say.line(&format!("{cluster} is chosen and runs the workload"));
    } else {
        say.line(&format!("the workload moved on while {cluster} was away, so the old copy is removed; {cluster} can be chosen again"));
    }
    print_table(&status).await
}

/// Prints what runs where.
///
/// # Errors
/// [`Refused::NotRunning`]; when the hub does not answer.
pub async fn show() -> anyhow::Result<()> {
    let status = Control::connect(&state::folder())?
        .ask(&Ask::Status)
        .await?;
    print_table(&status).await
}

pub(super) async fn print_table(status: &Status) -> anyhow::Result<()> {
    println!("\n{}", table(&rows(status).await?));
    Ok(())
}

fn find<'a>(status: &'a Status, cluster: &str) -> anyhow::Result<&'a ClusterStatus> {
    status
        .clusters
        .iter()
        .find(|known| known.name == cluster)
        .with_context(|| format!("the demo has no cluster {cluster}"))
}
