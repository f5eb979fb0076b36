//! Fetches bodies and stores them as they come.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use koinon_proto::v1::{PullChunk, WorkBody, WorkRef};
use tonic::Streaming;
use tracing::{debug, warn};

use super::{
    super::{
        Held, Notice, Origin, Store, compress,
        pull::{Assembly, Error, Pulled},
    },
    Keeper, work,
};
use crate::{cluster, hub::Puller};

/// Writes of bodies that are under way at the same time.
const STORING: usize = 8;

/// New works that are stored together, at most.
const TOGETHER: usize = 64;

/// Longest silence within a pull.
const PULL_TIMEOUT: Duration = Duration::from_secs(60);

impl Keeper {
    /// Fetches the bodies that did not come along, and stores all; what fails goes back to the inbox.
    ///
    /// New works that arrive together are stored together: what has arrived waits only as long as more is at hand.
    pub(super) async fn pull(
        &self,
        session: u64,
        wanted: &mut BTreeMap<String, Notice>,
        mut puller: Puller,
    ) -> cluster::Result<()> {
        let (mut works, mut along) = (Vec::new(), VecDeque::new());
        for notice in wanted.values_mut() {
            match notice.body.take() {
                Some(body) => along.push_back(chunk(notice, body)),
                None => works.push(reference(notice)),
            }
        }
        let (mut storing, mut assembly, mut failure) =
            (FuturesUnordered::new(), Assembly::default(), None);
        let mut arrived: Vec<(Notice, Held)> = Vec::new();
        // What came along does not wait for the hub to answer: with the first word about the others, or with none.
        let mut opening = (!works.is_empty())
            .then(|| Box::pin(tokio::time::timeout(PULL_TIMEOUT, puller.pull(works))));
        let mut chunks: Option<Streaming<PullChunk>> = None;
        loop {
            let receiving = chunks.is_some() || !along.is_empty();
            let next = async {
                if let Some(chunk) = along.pop_front() {
                    return Some(Ok(Some(chunk)));
                }
                match &mut chunks {
                    Some(stream) => tokio::time::timeout(PULL_TIMEOUT, stream.message())
                        .await
                        .ok(),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // What is at hand is taken before anything is stored.
                biased;
                Some((notices, result)) = storing.next(), if !storing.is_empty() => {
                    if let Some(error) = self.dealt(session, notices, result) {
                        failure = Some(error);
                    }
                }
                chunk = next, if receiving && storing.len() < STORING && arrived.len() < TOGETHER => match chunk {
                    Some(Ok(Some(chunk))) => match assembly.add(chunk) {
                        Ok(Some(pulled)) => {
                            self.parts.metrics.pulled_bytes.inc_by(pulled.body.len() as u64);
                            let notice = wanted
                                .remove(&pulled.name)
                                .filter(|n| n.digest == pulled.digest && n.uid == pulled.uid);
                            match notice.map(|notice| received(notice, pulled)) {
                                Some(Ok((notice, held))) => {
                                    let new = self.is_new(&held);
                                    if new {
                                        self.announce(&held);
                                    }
                                    if new && Store::fits(&held) {
                                        arrived.push((notice, held));
                                    } else {
                                        storing.push(self.take_in(vec![(notice, held)]));
                                    }
                                }
                                Some(Err(failed)) => {
                                    let (notice, error) = *failed;
                                    self.parts.inbox.put_back(session, notice);
                                    failure = Some(error);
                                }
                                None => {}
                            }
                        }
                        Ok(None) => {}
                        // One bad body; those that follow are as good as ever.
                        Err(Error::Digest(name) | Error::TooLarge(name)) => {
                            warn!(work = %name, "the hub sent a body that is not what it announced");
                            if let Some(notice) = wanted.remove(&name) {
                                self.parts.inbox.refuse(session, notice);
                            }
                        }
                        Err(error @ Error::Mixed) => {
                            failure = Some(cluster::Error::Unreachable(error.to_string()));
                            chunks = None;
                        }
                    },
                    // The end. Works that are still wanted are gone on the hub; newer notices follow.
                    Some(Ok(None)) => {
                        for notice in std::mem::take(wanted).into_values().filter(|n| n.tombstone) {
                            let held = self.without_body(&notice);
                            storing.push(self.take_in(vec![(notice, held)]));
                        }
                        chunks = None;
                    }
                    Some(Err(status)) => {
                        failure = Some(refused(&status));
                        chunks = None;
                    }
                    None => {
                        failure = Some(cluster::Error::Timeout);
                        chunks = None;
                    }
                },
                opened = answered(&mut opening), if opening.is_some() => {
                    opening = None;
                    match opened {
                        Ok(Ok(stream)) => chunks = Some(stream),
                        Ok(Err(status)) => {
                            debug!(code = ?status.code(), "a pull was refused");
                            failure = Some(refused(&status));
                        }
                        Err(_) => failure = Some(cluster::Error::Timeout),
                    }
                }
                () = std::future::ready(()), if !arrived.is_empty() => {
                    storing.push(self.take_in(std::mem::take(&mut arrived)));
                }
                else => break,
            }
        }
        drop(storing);
        for notice in std::mem::take(wanted).into_values() {
            self.parts.inbox.put_back(session, notice);
        }
        failure.map_or(Ok(()), Err)
    }

    /// A work that is deleted, and gone on the hub, with what is here.
    fn without_body(&self, notice: &Notice) -> Held {
        let held = self.parts.holding.get(&notice.name);
        let (labels, body) = held
            .filter(|held| held.uid == notice.uid)
            .map(|held| (held.labels.clone(), held.body.clone()))
            .unwrap_or_default();
        work(notice, labels, body, Origin::Member)
    }
}

/// Waits for what may have been begun.
async fn answered<F: Future + Unpin>(begun: &mut Option<F>) -> F::Output {
    match begun {
        Some(begun) => begun.await,
        None => std::future::pending().await,
    }
}

/// A body that came along, as a pull would have brought it: it is checked alike.
fn chunk(notice: &Notice, body: WorkBody) -> PullChunk {
    PullChunk {
        name: notice.name.clone(),
        uid: notice.uid.clone(),
        digest: notice.digest.clone().into(),
        labels: body.labels,
        data: body.data,
        last: true,
        ..PullChunk::default()
    }
}

fn reference(notice: &Notice) -> WorkRef {
    WorkRef {
        name: notice.name.clone(),
        uid: notice.uid.clone(),
        digest: notice.digest.clone().into(),
    }
}

/// Makes a work of what was pulled.
fn received(
    notice: Notice,
    pulled: Pulled,
) -> Result<(Notice, Held), Box<(Notice, cluster::Error)>> {
    match compress(&pulled.body) {
        Ok(body) => {
            let held = work(&notice, pulled.labels, body, Origin::Hub);
            Ok((notice, held))
        }
        Err(error) => {
            let error = cluster::Error::Unreachable(error.to_string());
            Err(Box::new((notice, error)))
        }
    }
}

fn refused(status: &tonic::Status) -> cluster::Error {
    cluster::Error::Unreachable(format!("pull: {}", status.message()))
}
