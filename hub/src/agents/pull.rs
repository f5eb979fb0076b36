//! Bodies by name and digest, in chunks.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use koinon_proto::{
    CHUNK, MAX_BATCH,
    v1::{PullChunk, PullRequest, WorkRef},
};
use koinon_store::{Key, Store};
use serde::Deserialize;
use tokio::{sync::oneshot, time::timeout};
use tonic::Status;

use super::{Agents, resource};

/// Pulls of more than one chunk that may be under way on a replica; a chunk takes half a MiB on its way out.
pub(super) const LARGE_PULLS: usize = 128;
/// How long such a pull may hold its place. An agent that reads slower goes on without one.
const PLACE: Duration = Duration::from_secs(30);
/// How long a pull waits for a place before the agent is asked to come back.
const WAIT: Duration = Duration::from_secs(20);

/// Answers a pull of `cluster`.
///
/// # Errors
///
/// `INVALID_ARGUMENT` for too many works, `UNAVAILABLE` when there is no room.
pub(super) async fn pull(
    agents: &Agents,
    cluster: Arc<str>,
    request: PullRequest,
) -> Result<impl Stream<Item = Result<PullChunk, Status>> + Send + 'static, Status> {
    if request.works.len() > MAX_BATCH {
        return Err(Status::invalid_argument(format!(
            "at most {MAX_BATCH} works in one pull"
        )));
    }
    let store = agents.store().clone();
    let total: usize = request
        .works
        .iter()
        .filter_map(|work| store.get(&key(&cluster, work)))
        .map(|stored| stored.body.len())
        .sum();
    let place = if total > CHUNK {
        Some(place(agents).await?)
    } else {
        None
    };
    let pulled = agents.0.metrics.pulled_bytes.clone();
    let state = (
        store,
        cluster,
        VecDeque::from(request.works),
        VecDeque::new(),
        place,
    );
    Ok(stream::unfold(
        state,
        move |(store, cluster, mut works, mut chunks, place)| {
            let pulled = pulled.clone();
            async move {
                while chunks.is_empty() {
                    chunks = chunks_of(&store, &cluster, works.pop_front()?);
                }
                let chunk: PullChunk = chunks.pop_front()?;
                pulled.inc_by(chunk.data.len() as u64);
                Some((Ok(chunk), (store, cluster, works, chunks, place)))
            }
        },
    ))
}

/// Takes a place among the large pulls, until dropped or for so long.
async fn place(agents: &Agents) -> Result<oneshot::Sender<()>, Status> {
    let acquired = timeout(WAIT, agents.0.pulls.clone().acquire_owned()).await;
    let Ok(Ok(permit)) = acquired else {
        return Err(Status::unavailable(
            "too many pulls are under way; try again",
        ));
    };
    let (held, dropped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        // Either end frees the place: the pull is over, or too slow to keep it from others (P12).
        let _ = timeout(PLACE, dropped).await;
        drop(permit);
    });
    Ok(held)
}

fn key(cluster: &Arc<str>, work: &WorkRef) -> Key {
    // The namespace is the certificate's (P6).
    Key::new(resource::WORKS, cluster.clone(), work.name.as_str())
}

fn chunks_of(store: &Store, cluster: &Arc<str>, work: WorkRef) -> VecDeque<PullChunk> {
    let stored = store.get(&key(cluster, &work));
    let current = stored.filter(|stored| {
        stored.uid.to_string() == work.uid && stored.digest.0[..] == work.digest[..]
    });
    let WorkRef { name, uid, digest } = work;
    let bare = |data: Bytes| PullChunk {
        name: name.clone(),
        uid: uid.clone(),
        digest: digest.clone(),
        data,
        ..PullChunk::default()
    };
    let Some(stored) = current else {
        return VecDeque::from([PullChunk {
            gone: true,
            last: true,
            ..bare(Bytes::new())
        }]);
    };
    let starts = (0..stored.body.len().max(1)).step_by(CHUNK);
    let mut chunks: VecDeque<_> = starts
        .map(|start| {
            bare(
                stored
                    .body
                    .slice(start..stored.body.len().min(start + CHUNK)),
            )
        })
        .collect();
    if let Some(first) = chunks.front_mut() {
        first.labels = (*stored.labels).clone();
        first.annotations = annotations(&stored.metadata);
    }
    if let Some(last) = chunks.back_mut() {
        last.last = true;
    }
    chunks
}

fn annotations(metadata: &[u8]) -> std::collections::BTreeMap<String, String> {
    #[derive(Deserialize, Default)]
    struct Metadata {
        #[serde(default)]
        annotations: std::collections::BTreeMap<String, String>,
    }
    serde_json::from_slice::<Metadata>(metadata)
        .unwrap_or_default()
        .annotations
}
