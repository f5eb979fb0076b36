//! Builders and waiting.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use koinon_store::{
    Change, Draft, Key, Revision, Store, StoreConfig, Written, testing::TestPostgres,
};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub(crate) const WIDGETS: &str = "widgets.example.com";

pub(crate) fn key(name: &str) -> Key {
    Key::new(WIDGETS, "default", name)
}

pub(crate) fn draft(name: &str, spec: &str) -> Draft {
    Draft {
        key: key(name),
        uid: Uuid::new_v4(),
        generation: 1,
        labels: Arc::new(BTreeMap::from([("app".to_owned(), name.to_owned())])),
        metadata: Bytes::from(format!(r#"{{"name":"{name}","namespace":"default"}}"#)),
        body: Bytes::from(format!(r#"{{"spec":{{"text":"{spec}"}}}}"#)),
        status: Bytes::new(),
    }
}

pub(crate) fn create(name: &str) -> Change {
    Change::Create(draft(name, "first"))
}

pub(crate) fn replace(written: &Written, spec: &str) -> Change {
    let draft = Draft {
        uid: written.stored.uid,
        generation: written.stored.generation + 1,
        ..draft(&written.stored.key.name, spec)
    };
    Change::Replace {
        draft,
        expected: written.stored.revision,
    }
}

pub(crate) fn status(written: &Written, text: &str) -> Change {
    let status = Bytes::from(format!(r#"{{"text":"{text}"}}"#));
    Change::Status {
        key: written.stored.key.clone(),
        uid: written.stored.uid,
        status,
        expected: None,
    }
}

pub(crate) fn delete(written: &Written) -> Change {
    Change::Delete {
        key: written.stored.key.clone(),
        uid: Some(written.stored.uid),
        expected: None,
    }
}

/// A store with its tasks, as one hub replica has it.
pub(crate) struct Replica {
    pub(crate) store: Store,
    stop: CancellationToken,
    tasks: JoinHandle<Result<(), koinon_store::Error>>,
}

impl Replica {
    pub(crate) async fn open(config: StoreConfig) -> Self {
        let (store, tasks) = Store::open(config).await.unwrap();
        let stop = CancellationToken::new();
        let tasks = tokio::spawn(tasks.run(stop.clone()));
        Self { store, stop, tasks }
    }

    /// Stops in order.
    pub(crate) async fn close(self) {
        self.stop.cancel();
        self.tasks.await.unwrap().unwrap();
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(self) {
        self.tasks.abort();
    }

    /// How its tasks ended by themselves.
    pub(crate) async fn ended(self) -> Result<(), koinon_store::Error> {
        self.tasks.await.unwrap()
    }
}

pub(crate) async fn one() -> (TestPostgres, Replica) {
    let postgres = TestPostgres::start().await.unwrap();
    let replica = Replica::open(postgres.config()).await;
    (postgres, replica)
}

/// Waits until `check` holds.
pub(crate) async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !check().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Names and kinds of what a watcher sees up to `revision`.
pub(crate) async fn seen(
    store: &Store,
    from: Revision,
    upto: Revision,
) -> Vec<(i64, String, &'static str)> {
    let mut watch = store.watch(WIDGETS, from).unwrap();
    let mut seen = Vec::new();
    let mut at = from;
    while at < upto {
        let batch = watch.next().await.unwrap();
        for event in &batch.events {
            let kind = match (&event.before, &event.after) {
                (None, Some(_)) => "added",
                (Some(_), Some(_)) => "modified",
                (Some(_), None) => "deleted",
                (None, None) => "nothing",
            };
            seen.push((event.revision.0, event.latest().key.name.to_string(), kind));
        }
        at = batch.revision;
    }
    seen
}
