//! `Event` objects: what a controller wants an operator to see.
//!
//! They are written on the side: the queue is bounded, and what does not fit is counted and dropped. The same event
//! about the same object is counted up instead of being written again.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use koinon_machinery::{ApiError, Reason};
use kube::Resource;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{clock, registry::Client};

/// Events waiting to be written: a fan-out to thousands of objects says little more than its first thousand.
const QUEUE: usize = 1024;
/// Events remembered for counting up.
const REMEMBERED: usize = 4096;
const SOURCE: &str = "koinon-hub";

/// The object that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct About {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
    uid: String,
    /// Namespace of the event.
    at: String,
}

impl About {
    pub(super) fn new<K: Resource<DynamicType = ()>>(
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Self {
        let at = if namespace.is_empty() {
            "default"
        } else {
            namespace
        };
        Self {
            api_version: K::api_version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            at: at.to_owned(),
        }
    }

    /// Puts the event into another namespace than the object's.
    pub(super) fn reported_in(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.at);
        self
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Note {
    pub(super) about: About,
    pub(super) warning: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// Takes events and never waits.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
}

impl Recorder {
    pub(super) fn record(&self, note: Note) {
        if self.queue.try_send(note).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes what the recorder takes.
#[derive(Debug)]
pub(super) struct Writer {
    client: Client,
    queue: mpsc::Receiver<Note>,
    dropped: Arc<AtomicU64>,
    /// Names of events written before.
    known: HashMap<Note, String>,
    order: VecDeque<Note>,
}

pub(super) fn recorder(client: Client) -> (Recorder, Writer) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let dropped = Arc::<AtomicU64>::default();
    let recorder = Recorder {
        queue: sender,
        dropped: Arc::clone(&dropped),
    };
    (
        recorder,
        Writer {
            client,
            queue: receiver,
            dropped,
            known: HashMap::new(),
            order: VecDeque::new(),
        },
    )
}

impl Writer {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        while let Some(note) = stop.run_until_cancelled(self.queue.recv()).await.flatten() {
            // An event that cannot be written (its namespace is gone, the database is away) is not worth a retry.
            if let Err(error) = self.write(note).await {
                tracing::debug!(%error, "event not written");
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::debug!(dropped, "events dropped");
            }
        }
    }

    async fn write(&mut self, note: Note) -> Result<(), ApiError> {
        let now = Time(clock::now());
        if let Some(name) = self.known.get(&note) {
            let count_up = |event: &mut Event| {
                event.count = Some(event.count.unwrap_or(1).saturating_add(1));
                event.last_timestamp = Some(now.clone());
                true
            };
            match self
                .client
                .modify::<Event>(&note.about.at, name, count_up)
                .await
            {
                Err(error) if error.reason == Reason::NotFound => {}
                done => return done.map(drop),
            }
        }
        let name = format!("{}.{:016x}", note.about.name, rand::random::<u64>());
        self.client.create(&event(&note, &name, now)).await?;
        if self.known.insert(note.clone(), name).is_none() {
            self.order.push_back(note);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        Ok(())
    }
}

fn event(note: &Note, name: &str, now: Time) -> Event {
    let About {
        api_version,
        kind,
        namespace,
        name: object,
        uid,
        at,
    } = note.about.clone();
    Event {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(at),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(api_version),
            kind: Some(kind),
            namespace: (!namespace.is_empty()).then_some(namespace),
            name: Some(object),
            uid: Some(uid),
            ..ObjectReference::default()
        },
        type_: Some(if note.warning { "Warning" } else { "Normal" }.to_owned()),
        reason: Some(note.reason.to_owned()),
        message: Some(note.message.clone()),
        count: Some(1),
        first_timestamp: Some(now.clone()),
        last_timestamp: Some(now),
        source: Some(EventSource {
            component: Some(SOURCE.to_owned()),
            host: None,
        }),
        reporting_component: Some(SOURCE.to_owned()),
        ..Event::default()
    }
}
