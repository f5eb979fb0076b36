//! P1 as clients see it: several replicas, writers at all of them, connections that break all the time and a replica that is
//! killed. Whoever resumes where it was misses nothing, repeats nothing, and sees what everybody else sees.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, future::try_join_all};
use k8s_openapi::api::core::v1::ConfigMap;
use koinon_tests::{Hub, Postgres, Proxy, client::install_provider, eventually};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt as _, reflector, watcher},
};
use serde_json::json;
use tokio::task::JoinHandle;

/// What the last object is called: whoever has seen it has seen everything.
const LAST: &str = "the-last";
/// Objects that all writers write.
const NAMES: u64 = 10;
const ROUNDS: usize = 60;

/// One event: revision, what happened, to which object.
type Seen = (u64, &'static str, String);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_sees_one_history_whatever_breaks() -> anyhow::Result<()> {
    install_provider();
    let dir = tempfile::tempdir()?;
    let postgres = Postgres::start().await?;
    let database = format!("--database-url={}", postgres.url());
    let mut hubs = Vec::new();
    for name in ["one", "two"] {
        hubs.push(Hub::start_with(&dir.path().join(name), &[&database]).await?);
    }
    let mut wires = Vec::new();
    let mut direct = Vec::new();
    let mut broken = Vec::new();
    for hub in &hubs {
        let wire = Proxy::to(hub.api_address()).await?;
        direct.push(maps(hub, None).await?);
        broken.push(maps(hub, Some(&wire)).await?);
        wires.push(wire);
    }
    let from = revision(
        &direct[0]
            .list(&ListParams::default())
            .await?
            .metadata
            .resource_version,
    )?;

    let followers: Vec<JoinHandle<anyhow::Result<Vec<Seen>>>> = broken
        .iter()
        .flat_map(|maps| (0..3).map(|_| tokio::spawn(follow(maps.clone(), from))))
        .collect();
    let (mirror, writer) = reflector::store();
    let mirrored = tokio::spawn(
        reflector::reflector(
            writer,
            watcher(broken[1].clone(), watcher::Config::default()),
        )
        .default_backoff()
        .for_each(|_| std::future::ready(())),
    );
    let calm = Arc::new(AtomicBool::new(false));
    let storm = tokio::spawn(storm(wires, Arc::clone(&calm)));

    let writers = (0..6).map(|seed| tokio::spawn(write(direct[seed % 2].clone(), seed as u64)));
    let writing = try_join_all(writers);
    let killing = async {
        eventually("half of the writing is done", async || {
            let list = direct[0].list(&ListParams::default().limit(1)).await?;
            Ok((revision(&list.metadata.resource_version)? > from + 120).then_some(()))
        })
        .await?;
        hubs[1].kill();
        hubs[1].restart().await
    };
    let (acknowledged, killed) = tokio::join!(writing, killing);
    killed?;
    let acknowledged: Vec<u64> = acknowledged?.into_iter().flatten().collect();
    ensure!(
        acknowledged.len() > 100,
        "only {} writes were acknowledged",
        acknowledged.len()
    );
    direct[1]
        .create(&PostParams::default(), &map(LAST, ""))
        .await?;

    let mut histories = Vec::new();
    for follower in followers {
        histories.push(follower.await??);
    }
    calm.store(true, Ordering::Relaxed);
    // They are kept: the reflector still needs its wire.
    let _wires = storm.await?;
    for history in &histories[1..] {
        assert_eq!(history, &histories[0]);
    }
    let revisions: Vec<u64> = histories[0]
        .iter()
        .map(|(revision, ..)| *revision)
        .collect();
    for revision in acknowledged {
        assert!(
            revisions.binary_search(&revision).is_ok(),
            "{revision} was acknowledged, and nobody saw it"
        );
    }
    // The history adds up to the state, and so does what a reflector made of it.
    let mut state = BTreeMap::new();
    for (revision, kind, name) in &histories[0] {
        match *kind {
            "DELETED" => drop(state.remove(name)),
            _ => drop(state.insert(name.clone(), *revision)),
        }
    }
    for maps in &direct {
        assert_eq!(listed(maps).await?, state);
    }
    eventually("the reflector holds the same", async || {
        let held: BTreeMap<String, u64> = mirror
            .state()
            .iter()
            .map(|map| Ok((map.name_any(), revision(&map.metadata.resource_version)?)))
            .collect::<anyhow::Result<_>>()?;
        Ok((held == state).then_some(()))
    })
    .await?;
    mirrored.abort();
    Ok(())
}

/// The config maps of a hub, reached directly or by a wire.
async fn maps(hub: &Hub, wire: Option<&Proxy>) -> anyhow::Result<Api<ConfigMap>> {
    let file = Kubeconfig::read_from(hub.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    if let Some(wire) = wire {
        config.cluster_url = format!("https://{}", wire.address()).parse()?;
    }
    Ok(Api::namespaced(Client::try_from(config)?, "default"))
}

fn map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: kube::api::ObjectMeta {
            name: Some(name.to_owned()),
            ..Default::default()
        },
        data: Some(BTreeMap::from([("k".to_owned(), value.to_owned())])),
        ..Default::default()
    }
}

fn revision(text: &Option<String>) -> anyhow::Result<u64> {
    Ok(text.as_deref().context("no revision")?.parse()?)
}

async fn listed(maps: &Api<ConfigMap>) -> anyhow::Result<BTreeMap<String, u64>> {
    let list = maps.list(&ListParams::default()).await?;
    list.iter()
        .map(|map| Ok((map.name_any(), revision(&map.metadata.resource_version)?)))
        .collect()
}

/// Watches until the last object, over as many connections as it takes, each from where the one before had come.
async fn follow(maps: Api<ConfigMap>, from: u64) -> anyhow::Result<Vec<Seen>> {
    let (mut seen, mut at) = (Vec::new(), from);
    loop {
        let params = WatchParams::default();
        let Ok(stream) = maps.watch(&params, &at.to_string()).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let mut stream = stream.boxed();
        while let Some(Ok(event)) = stream.next().await {
            let (kind, map) = match event {
                WatchEvent::Added(map) => ("ADDED", map),
                WatchEvent::Modified(map) => ("MODIFIED", map),
                WatchEvent::Deleted(map) => ("DELETED", map),
                WatchEvent::Bookmark(mark) => {
                    let reached = mark.metadata.resource_version.parse()?;
                    ensure!(reached >= at, "a bookmark of {reached} after {at}");
                    at = reached;
                    continue;
                }
                WatchEvent::Error(error) => anyhow::bail!("{error:?}"),
            };
            let now = revision(&map.metadata.resource_version)?;
            ensure!(now > at, "{now} was learned of after {at}");
            at = now;
            let name = map.name_any();
            let done = name == LAST;
            seen.push((now, kind, name));
            if done {
                return Ok(seen);
            }
        }
    }
}

/// Creates, changes and deletes what others write as well; returns the revisions that were acknowledged.
async fn write(maps: Api<ConfigMap>, seed: u64) -> Vec<u64> {
    let mut state = seed.wrapping_mul(2) + 1;
    let mut random = move |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("m{}", random(NAMES));
        let value = format!("{seed}-{round}");
        let written = match random(5) {
            0 => {
                // A deletion says nothing of its revision.
                let _ = maps.delete(&name, &DeleteParams::default()).await;
                continue;
            }
            1 | 2 => {
                maps.create(&PostParams::default(), &map(&name, &value))
                    .await
            }
            _ => {
                let patch = Patch::Merge(json!({ "data": { "k": value } }));
                maps.patch(&name, &PatchParams::default(), &patch).await
            }
        };
        // It exists, it does not, somebody was first, or the hub was killed: all of that is to be expected here.
        if let Ok(map) = written
            && let Ok(revision) = revision(&map.metadata.resource_version)
        {
            acknowledged.push(revision);
        }
    }
    acknowledged
}

/// Cuts every connection again and again.
async fn storm(wires: Vec<Proxy>, calm: Arc<AtomicBool>) -> Vec<Proxy> {
    for round in 0.. {
        let wire = &wires[round % wires.len()];
        if calm.load(Ordering::Relaxed) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
        wire.cut();
        tokio::time::sleep(Duration::from_millis(10)).await;
        wire.resume();
    }
    wires
}
