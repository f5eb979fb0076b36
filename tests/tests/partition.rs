//! The network between agent and hub misbehaves: P3 (absence is not deletion), P8 (autonomy), P12 (isolation).

use std::time::Duration;

use koinon_tests::{
    League, Weather, stays,
    storm::{self, Account, Storm, Witness},
};

/// Cut, stalled, deaf in one direction, slow, out of order between connections, at different moments of a storm; then everything comes to agree.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_network_delays_and_does_no_harm() -> anyhow::Result<()> {
    let mut league = League::start().clusters(["east"]).await?;
    storm::prepare(&league.site("east").member).await?;
    let witness = Witness::of(&league.site("east").member).await?;
    let storm = Storm::unleash(&league.hub, "east", "n", 3).await?;
    let weathers = [
        Weather::Cut,
        Weather::Stalled,
        Weather::ClientMute,
        Weather::ServerMute,
        Weather::Slow,
        Weather::Jumbled,
    ];
    for (round, weather) in weathers.into_iter().cycle().take(9).enumerate() {
        storm.blows(25 + 7 * round).await?;
        league.site("east").wire.set(weather);
        storm.blows(30).await?;
        league.site("east").wire.resume();
    }
    // The hub and the wire go together.
    league.site("east").wire.stall();
    league.hub.kill();
    league.hub.restart().await?;
    storm.blows(20).await?;
    league.site("east").wire.resume();
    let account = storm.calm().await?;
    settles(&mut league, "east", &account).await?;
    account.permits(&witness.deleted())?;
    league.available("east", "True").await?;
    league.finish();
    Ok(())
}

/// P12: a cluster that takes nothing any more does not slow another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_cluster_does_not_slow_its_neighbour() -> anyhow::Result<()> {
    let mut league = League::start().clusters(["east", "west"]).await?;
    for name in ["east", "west"] {
        storm::prepare(&league.site(name).member).await?;
    }
    let witness = Witness::of(&league.site("west").member).await?;
    league.site("west").wire.stall();
    let east = Storm::unleash(&league.hub, "east", "e", 2).await?;
    let west = Storm::unleash(&league.hub, "west", "w", 2).await?;
    east.blows(150).await?;
    west.blows(150).await?;
    let (east, west) = (east.calm().await?, west.calm().await?);
    settles(&mut league, "east", &east).await?;
    stays(
        "the stalled cluster loses nothing",
        Duration::from_secs(2),
        async || Ok(witness.deleted().is_empty()),
    )
    .await?;
    league.site("west").wire.resume();
    settles(&mut league, "west", &west).await?;
    west.permits(&witness.deleted())?;
    league.finish();
    Ok(())
}

/// Waits until hub and member agree with the account.
async fn settles(league: &mut League, cluster: &str, account: &Account) -> anyhow::Result<()> {
    let (hub, member) = (
        league.client().await?,
        league.site(cluster).member.client().await?,
    );
    account.settles(&hub, &member).await
}
