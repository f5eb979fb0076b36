//! The embedded Postgres dies with the hub, comes back by itself, and loses nothing.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{path::Path, time::Duration};

use koinon_hub::embedded::Postgres;
use koinon_store::{Change, Draft, Key, Store, StoreConfig};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn create(name: &str) -> Change {
    Change::Create(Draft {
        key: Key::new("widgets.example.com", "", name),
        uid: uuid::Uuid::new_v4(),
        generation: 1,
        labels: Default::default(),
        metadata: "{}".into(),
        body: "{}".into(),
        status: Default::default(),
    })
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !check().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn alive(pid: i32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// P2: the server is killed under a store; the store goes on with all that was acknowledged.
#[tokio::test]
async fn a_killed_server_comes_back_with_everything() {
    let dir = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(dir.path()).await.unwrap();
    let (first, url) = (postgres.pid().unwrap(), postgres.url());
    let stop = CancellationToken::new();
    let supervised = tokio::spawn(postgres.run(stop.clone()));
    let (store, tasks) = Store::open(StoreConfig::new(url.clone())).await.unwrap();
    let tasks = tokio::spawn(tasks.run(stop.clone()));
    store.write(create("before")).await.unwrap();

    rustix::process::kill_process(
        rustix::process::Pid::from_raw(first).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    eventually("a write succeeds again", async || {
        store.write(create("after")).await.is_ok()
    })
    .await;
    stop.cancel();
    tasks.await.unwrap().unwrap();
    supervised.await.unwrap();

    let again = Postgres::start(dir.path()).await.unwrap();
    assert_eq!(again.url(), url);
    let (store, _tasks) = Store::open(StoreConfig::new(url)).await.unwrap();
    let names: Vec<_> = store
        .snapshot("widgets.example.com")
        .iter()
        .map(|stored| stored.key.name.to_string())
        .collect();
    assert_eq!(names, ["after", "before"]);
    let pid = again.pid().unwrap();
    drop(again);
    eventually("a dropped server ends", async || !alive(pid)).await;
}

/// A folder whose path is too long for a socket, and a `postmaster.pid` of a process that is not ours.
#[tokio::test]
async fn a_stale_lock_and_a_long_path_do_not_stop_it() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("long".repeat(25));
    let postgres = Postgres::start(&long).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    postgres.run(stop).await;
    let lock = long.join("postgres/data/postmaster.pid");
    assert!(!lock.exists());
    std::fs::write(&lock, format!("{}\n", std::process::id())).unwrap();
    let postgres = Postgres::start(&long).await.unwrap();
    assert_ne!(postgres.pid(), i32::try_from(std::process::id()).ok());
}

/// As root, a folder below one that only root may enter.
#[tokio::test]
async fn a_folder_that_only_we_may_enter_is_good_enough() {
    let dir = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
        .tempdir()
        .unwrap();
    let postgres = Postgres::start(&dir.path().join("state")).await.unwrap();
    let (_store, _tasks) = Store::open(StoreConfig::new(postgres.url())).await.unwrap();
}
