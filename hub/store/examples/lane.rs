//! Measures the writer lane on a throwaway Postgres with fsync: writes/s and latency at 1, 32 and 256 clients.
//!
//! `cargo run --release -p koinon-store --features testing --example lane [seconds per line]`

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use koinon_store::{
    Beat, Change, Draft, Key, Mutation, Store, server::Durability, testing::TestPostgres,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const RESOURCE: &str = "manifestworks.work.open-cluster-management.io";

fn draft(name: String, round: u64) -> Draft {
    let filler = "x".repeat(800);
    Draft {
        key: Key::new(RESOURCE, "bench", name.clone()),
        uid: Uuid::now_v7(),
        generation: 1,
        labels: Arc::new([("app".to_owned(), "bench".to_owned())].into()),
        metadata: Bytes::from(format!(
            r#"{{"name":"{name}","namespace":"bench","labels":{{"app":"bench"}}}}"#
        )),
        body: Bytes::from(format!(
            r#"{{"spec":{{"round":{round},"text":"{filler}"}}}}"#
        )),
        status: Bytes::new(),
    }
}

/// What a client does over and over.
#[derive(Clone, Copy, Debug)]
enum Load {
    Create,
    Replace,
    /// So many statuses in one call, as an agent's session sends them.
    Status(usize),
}

/// One client with the objects it owns.
struct Client {
    store: Store,
    load: Load,
    name: String,
    round: u64,
    owned: Vec<Draft>,
}

impl Client {
    async fn new(store: &Store, load: Load, name: String) -> Self {
        let mut client = Self {
            store: store.clone(),
            load,
            name,
            round: 0,
            owned: Vec::new(),
        };
        let objects = match load {
            Load::Create => 0,
            Load::Replace => 1,
            Load::Status(objects) => objects,
        };
        for i in 0..objects {
            let draft = draft(format!("{}-{i}", client.name), 0);
            store
                .write(Change::Create(draft.clone()))
                .await
                .expect("the object is new");
            client.owned.push(draft);
        }
        client
    }

    async fn write(&mut self) {
        self.round += 1;
        let mutations: Vec<Mutation> = match self.load {
            Load::Create => {
                vec![Change::Create(draft(format!("{}-{}", self.name, self.round), 0)).into()]
            }
            Load::Replace => {
                let old = &self.owned[0];
                let expected = self
                    .store
                    .get(&old.key)
                    .expect("the object is there")
                    .revision;
                let draft = Draft {
                    uid: old.uid,
                    ..draft(old.key.name.to_string(), self.round)
                };
                vec![Change::Replace { draft, expected }.into()]
            }
            Load::Status(_) => {
                let status = Bytes::from(format!(
                    r#"{{"round":{},"text":"{}"}}"#,
                    self.round,
                    "s".repeat(300)
                ));
                let status = |owned: &Draft| Change::Status {
                    key: owned.key.clone(),
                    uid: owned.uid,
                    status: status.clone(),
                    expected: None,
                };
                self.owned
                    .iter()
                    .map(|owned| status(owned).into())
                    .collect()
            }
        };
        for outcome in self.store.write_many(mutations).await {
            outcome.expect("nobody else writes this object");
        }
    }
}

/// Runs clients for `time`, each one call after the other, and prints a line.
async fn measure(store: &Store, load: Load, clients: usize, time: Duration) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut ready = Vec::new();
    for client in 0..clients {
        ready.push(Client::new(store, load, format!("{}-{client}", Uuid::now_v7().simple())).await);
    }
    let before = store.metrics();
    let began = Instant::now();
    let tasks: Vec<_> = ready
        .into_iter()
        .map(|mut client| {
            let stop = stop.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let began = Instant::now();
                    client.write().await;
                    latencies.push(began.elapsed());
                }
                latencies
            })
        })
        .collect();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no client panics"));
    }
    let took = began.elapsed().as_secs_f64();
    let after = store.metrics();
    latencies.sort_unstable();
    let at = |share: f64| {
        latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0
    };
    let batches = (after.batches - before.batches).max(1) as f64;
    let writes = (after.applied - before.applied) as f64;
    let flush = (after.flush_sum - before.flush_sum).as_secs_f64() * 1000.0;
    println!(
        "{:<14} {clients:>4} clients {:>8.0} writes/s   p50 {:>7.2} ms   p99 {:>7.2} ms   {:>6.1} per batch of {:.2} ms",
        format!("{load:?}"),
        writes / took,
        at(0.5),
        at(0.99),
        writes / batches,
        flush / batches,
    );
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let seconds = std::env::args()
        .nth(1)
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(4.0);
    let time = Duration::from_secs_f64(seconds);
    let postgres = TestPostgres::start_with(Durability::Full)
        .await
        .expect("Postgres is installed");
    let (store, tasks) = Store::open(postgres.config())
        .await
        .expect("the database is new");
    let stop = CancellationToken::new();
    let tasks = tokio::spawn(tasks.run(stop.clone()));
    for load in [Load::Create, Load::Replace] {
        for clients in [1, 32, 256] {
            measure(&store, load, clients, time).await;
        }
    }
    for (load, clients) in [
        (Load::Status(1), 1),
        (Load::Status(1), 256),
        (Load::Status(100), 32),
    ] {
        measure(&store, load, clients, time).await;
    }

    let heartbeats = store.heartbeats();
    let beats: Vec<Beat> = (0..10_000)
        .map(|i| Beat {
            cluster: format!("cluster-{i}"),
            session: Uuid::new_v4(),
        })
        .collect();
    for round in ["first", "next"] {
        let began = Instant::now();
        heartbeats
            .beat_many(&beats)
            .await
            .expect("the database answers");
        println!(
            "10,000 heartbeats, {round}: {:.1} ms",
            began.elapsed().as_secs_f64() * 1000.0
        );
    }
    stop.cancel();
    tasks
        .await
        .expect("the tasks do not panic")
        .expect("the tasks end well");

    let began = Instant::now();
    let (store, _tasks) = Store::open(postgres.config())
        .await
        .expect("the database is there");
    let objects = store.snapshot(RESOURCE).len();
    println!(
        "opened again with {objects} objects in {:.0} ms",
        began.elapsed().as_secs_f64() * 1000.0
    );
}
