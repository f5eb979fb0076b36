//! Bodies by name and digest, in chunks.

mod places;

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use bytes::Bytes;
use futures::{Stream, stream};
use koinon_machinery::validation::MAX_LABEL_BYTES;
use koinon_proto::{
    CHUNK, MAX_BATCH,
    v1::{PullChunk, PullRequest, WorkRef},
};
use koinon_store::{Key, Store, Stored};
use serde::Deserialize;
use tonic::Status;

use super::{Agents, resource};

pub(super) use self::places::Places;

/// Labels of a work that are sent, in bytes: twice what a work may have. What was stored before there was a bound may have
/// more, which fits neither into a message nor into the object where an agent keeps it.
const MOST_LABELS: usize = 2 * MAX_LABEL_BYTES;

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
    let works = once_each(request.works);
    let total: usize = works
        .iter()
        .filter_map(|work| current(&store, &cluster, work))
        .filter(|stored| is_sendable(stored))
        .map(|stored| size(&stored))
        .sum();
    // More than a chunk: what is on its way out must not add up over the fleet.
    let place = if total > CHUNK {
        let taken = agents.0.pulls.take(&cluster).await;
        Some(taken.map_err(|full| {
            agents.0.metrics.reject("pull");
            Status::unavailable(full.to_string())
        })?)
    } else {
        None
    };
    let pulled = agents.0.metrics.pulled_bytes.clone();
    let state = (store, cluster, works, VecDeque::new(), place);
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

/// What is asked for twice is sent once: else many small pulls make a large one that nobody counts.
fn once_each(works: Vec<WorkRef>) -> VecDeque<WorkRef> {
    let mut seen = HashSet::new();
    works
        .into_iter()
        .filter(|work| seen.insert(work.clone()))
        .collect()
}

/// The work that is meant, if it is still as it is meant.
fn current(store: &Store, cluster: &Arc<str>, work: &WorkRef) -> Option<Arc<Stored>> {
    // The namespace is the certificate's (P6).
    let key = Key::new(resource::WORKS, cluster.clone(), work.name.as_str());
    store.get(&key).filter(|stored| {
        stored.uid.to_string() == work.uid && stored.digest.0[..] == work.digest[..]
    })
}

/// What a work takes when it is sent, in bytes: its body and its labels.
pub(super) fn size(stored: &Stored) -> usize {
    stored.body.len() + bytes_of(&stored.labels)
}

/// Whether the labels of a work can be sent.
pub(super) fn is_sendable(stored: &Stored) -> bool {
    bytes_of(&stored.labels) <= MOST_LABELS
}

fn bytes_of(labels: &BTreeMap<String, String>) -> usize {
    labels
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum()
}

fn chunks_of(store: &Store, cluster: &Arc<str>, work: WorkRef) -> VecDeque<PullChunk> {
    let found = current(store, cluster, &work);
    let WorkRef { name, uid, digest } = work;
    let bare = |data: Bytes| PullChunk {
        name: name.clone(),
        uid: uid.clone(),
        digest: digest.clone(),
        data,
        ..PullChunk::default()
    };
    let gone = || {
        VecDeque::from([PullChunk {
            gone: true,
            last: true,
            ..bare(Bytes::new())
        }])
    };
    let Some(stored) = found else {
        return gone();
    };
    if !is_sendable(&stored) {
        // It alone: a message that is too large would end the pull for those behind it. The router tells it again once its
        // labels fit.
        tracing::warn!(
            cluster = %cluster,
            work = %name,
            bytes = bytes_of(&stored.labels),
            most = MOST_LABELS,
            "a work is not sent to its cluster: its labels are too large, take some off"
        );
        return gone();
    }
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

fn annotations(metadata: &[u8]) -> BTreeMap<String, String> {
    #[derive(Deserialize, Default)]
    struct Metadata {
        #[serde(default)]
        annotations: BTreeMap<String, String>,
    }
    serde_json::from_slice::<Metadata>(metadata)
        .unwrap_or_default()
        .annotations
}

#[cfg(test)]
mod tests {
    use koinon_machinery::validation::MAX_ANNOTATION_BYTES;
    use koinon_proto::MAX_MESSAGE;
    use prost::Message as _;

    use super::*;

    /// As many short labels as there may be in `bytes`: they take most room in a message. Of shorter keys there are few.
    fn shortest(bytes: usize) -> BTreeMap<String, String> {
        let letters: Vec<char> = ('a'..='z').chain('A'..='Z').chain('0'..='9').collect();
        let keys = keys_of_three(&letters).take(bytes / 3);
        let labels = keys.map(|key| (key, String::new())).collect();
        assert_eq!(bytes_of(&labels), bytes / 3 * 3);
        labels
    }

    fn keys_of_three(letters: &[char]) -> impl Iterator<Item = String> {
        letters.iter().flat_map(move |one| {
            let pairs = letters
                .iter()
                .flat_map(move |two| letters.iter().map(move |three| (two, three)));
            pairs.map(move |(two, three)| [one, two, three].into_iter().collect())
        })
    }

    #[test]
    fn the_largest_first_chunk_fits_into_a_message() {
        let (labels, annotations) = (shortest(MOST_LABELS), shortest(MAX_ANNOTATION_BYTES));
        let chunk = PullChunk {
            name: "n".repeat(253),
            uid: uuid::Uuid::nil().to_string(),
            digest: vec![0; 32].into(),
            labels,
            annotations,
            data: vec![0; CHUNK].into(),
            last: true,
            gone: false,
        };
        assert!(chunk.encoded_len() < MAX_MESSAGE);
    }

    #[test]
    fn what_is_asked_for_twice_is_sent_once() {
        let work = |name: &str, digest: u8| WorkRef {
            name: name.to_owned(),
            uid: "u".to_owned(),
            digest: vec![digest].into(),
        };
        let asked = vec![
            work("a", 1),
            work("b", 1),
            work("a", 1),
            work("a", 2),
            work("b", 1),
        ];
        assert_eq!(once_each(asked), [work("a", 1), work("b", 1), work("a", 2)]);
        assert_eq!(once_each(vec![work("a", 1); MAX_BATCH]).len(), 1);
    }
}
