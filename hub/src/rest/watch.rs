//! Watch: what happens to the selected objects, as it happens.
//!
//! Rights are asked for again while it goes on ([`Rights`]): a watch ends when what allowed it is gone.
//!
//! A watcher is a cursor into the store's ring of events, so a slow client costs nothing but its own connection; when
//! the ring has moved on past it, it is told so (410) and lists anew.

use std::{collections::VecDeque, convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::stream;
use http::StatusCode;
use koinon_machinery::{ApiError, Result, Verb};
use koinon_store::{Event, Key, Revision, Snapshot, Stored, Watch};
use rand::RngExt;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;

mod reading;
mod rights;

use self::{reading::Reading, rights::Rights};
use super::{
    call::Call,
    options::{At, ListOptions},
    present,
    respond::{self, Form},
    selection::Selection,
};
use crate::registry::Kind;

/// A watch without a timeout of its own ends after this and up to twice this, as with kube-apiserver's
/// `--min-request-timeout`: at different times for clients that came together.
const SHORTEST: Duration = Duration::from_secs(1800);
/// No watch is longer: a credential may have ended, which shows when it is shown again.
const LONGEST: Duration = Duration::from_secs(3600);
/// A quiet watch is told how far it has come this often.
const BOOKMARK: Duration = Duration::from_secs(60);
/// A quiet watch looks this often whether it is still allowed, and whether a bookmark is due.
const GLANCE: Duration = Duration::from_secs(5);
/// Events leave in pieces of about this size: however large the objects are, a watcher holds no more than one of them and
/// this.
const PIECE: usize = 128 << 10;
/// Objects of the first state that are looked up at once.
const AT_ONCE: usize = 64;

/// Answers with a stream of events.
pub(super) async fn watch(call: &Call) -> Result<Response> {
    call.demand(Verb::Watch)?;
    let form = call.form()?;
    let options = ListOptions::watch(&call.query)?;
    let selection = Selection::new(&call.kind, call.namespace(), &options)?;
    let warning = call.settle(options.at).await?;
    let registry = call.api.registry().clone();
    let snapshot = call.snapshot();
    // With a revision the client has the state at that revision; without one it is sent first.
    let (from, initial) = match options.at {
        At::NotOlderThan(revision) | At::Exactly(revision)
            if options.initial_events != Some(true) =>
        {
            (revision, None)
        }
        // From now on, said in so many words.
        _ if options.initial_events == Some(false) => (snapshot.revision(), None),
        _ => {
            let (from, shown) = (snapshot.revision(), call.view().await?);
            let first = First {
                snapshot,
                shown,
                after: None,
            };
            (from, Some(first))
        }
    };
    let timeout = options
        .timeout
        .map(|timeout| timeout.min(LONGEST))
        .unwrap_or_else(|| SHORTEST.mul_f64(1.0 + rand::rng().random::<f64>()));
    let now = Instant::now();
    let (watch, failed) = match registry.store().watch(&call.kind.key, from) {
        Ok(watch) => {
            let watch = watch.telling_every(GLANCE);
            let watch = match call.namespace() {
                "" => watch,
                namespace => watch.within(namespace),
            };
            (Some(watch), None)
        }
        Err(_) => (None, Some(too_old(from))),
    };
    let ends = now + timeout;
    let reading = Reading::begin(ends, call.hangup.clone());
    if initial.is_none() {
        reading.is_through();
    }
    let feed = Feed {
        kind: Arc::clone(&call.kind),
        reading,
        rights: Rights::of(call),
        selection,
        form,
        watch,
        failed,
        initial,
        pending: VecDeque::new(),
        mark_initial: options.initial_events == Some(true),
        bookmarks: options.bookmarks,
        reached: from,
        upto: from,
        bookmark_at: now + BOOKMARK,
        ends: Box::pin(sleep_until(ends)),
        stopped: Box::pin(call.api.stop().clone().cancelled_owned()),
        columns_sent: false,
    };
    let pieces = stream::unfold(feed, |mut feed| async move {
        let piece = feed.next().await?;
        Some((Ok::<_, Infallible>(piece), feed))
    });
    let mut response = respond::streamed(StatusCode::OK, Body::from_stream(pieces));
    respond::warn(&mut response, &warning.into_iter().collect::<Vec<_>>());
    Ok(response)
}

/// One watcher.
struct Feed {
    kind: Arc<Kind>,
    rights: Rights,
    selection: Selection,
    form: Form,
    /// `None` once the stream has ended.
    watch: Option<Watch>,
    /// Sent as the last event.
    failed: Option<ApiError>,
    /// What is left of the state that it begins with.
    initial: Option<First>,
    reading: Reading,
    /// Events that are read and not sent, and the revision that is reached with the last of them.
    pending: VecDeque<Arc<Event>>,
    mark_initial: bool,
    bookmarks: bool,
    /// Everything up to here was sent.
    reached: Revision,
    /// Everything up to here is sent once nothing is pending.
    upto: Revision,
    bookmark_at: Instant,
    /// Kept over many events, for making and dropping them at each costs more than an event.
    ends: Pin<Box<Sleep>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
    columns_sent: bool,
}

impl Feed {
    /// The next piece of the body, one or more whole events; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        if let Some(error) = self.failed.take() {
            self.watch = None;
            return Some(failure(&error));
        }
        self.send_first(&mut out);
        if self.initial.is_none() && std::mem::take(&mut self.mark_initial) {
            self.bookmark(&mut out, true);
        }
        if !self.pending.is_empty() {
            // A slow client may have been away for long since they were read.
            if let Err(refused) = self.rights.again() {
                self.watch = None;
                self.pending.clear();
                return Some(failure(&refused));
            }
            self.send_pending(&mut out);
        }
        while out.is_empty() {
            let watch = self.watch.as_mut()?;
            let batch = tokio::select! {
                // Ending comes first: a busy watch would never notice otherwise.
                biased;
                () = self.stopped.as_mut() => None,
                () = self.ends.as_mut() => None,
                batch = watch.next() => Some(batch),
            };
            match batch {
                None => {
                    // Where the client can resume without missing or repeating anything.
                    if self.bookmarks {
                        self.bookmark(&mut out, false);
                    }
                    self.watch = None;
                    if out.is_empty() {
                        return None;
                    }
                }
                Some(Err(_)) => {
                    self.watch = None;
                    return Some(failure(&too_old(self.reached)));
                }
                Some(Ok(batch)) => {
                    // Before anything of it is shown.
                    if let Err(refused) = self.rights.again() {
                        self.watch = None;
                        return Some(failure(&refused));
                    }
                    self.pending = batch.events.into();
                    self.upto = batch.revision;
                    self.send_pending(&mut out);
                    if self.bookmarks && out.is_empty() && Instant::now() >= self.bookmark_at {
                        self.bookmark(&mut out, false);
                    }
                }
            }
        }
        Some(Bytes::from(out))
    }

    /// Appends what the watch begins with until the piece is full.
    fn send_first(&mut self, out: &mut Vec<u8>) {
        while out.len() < PIECE
            && let Some(first) = &self.initial
        {
            let next = first.next(&self.selection);
            if next.is_empty() {
                self.initial = None;
                self.reading.is_through();
            }
            for stored in next {
                if out.len() >= PIECE {
                    break;
                }
                self.event(out, "ADDED", &stored, stored.revision);
                if let Some(first) = &mut self.initial {
                    first.after = Some(stored.key.clone());
                }
            }
        }
        self.reading.passed(out.len());
    }

    /// Appends pending events until the piece is full.
    fn send_pending(&mut self, out: &mut Vec<u8>) {
        if self.initial.is_some() {
            return;
        }
        while out.len() < PIECE {
            let Some(event) = self.pending.pop_front() else {
                self.reached = self.upto;
                return;
            };
            self.change(out, &event);
            self.reached = event.revision;
        }
    }

    /// Appends what an event means to this watcher: an object that leaves the selection is deleted for it.
    fn change(&mut self, out: &mut Vec<u8>, event: &Event) {
        let selection = &self.selection;
        let selected = |stored: &'_ Option<Arc<Stored>>| {
            stored
                .as_ref()
                .is_some_and(|stored| selection.selects(stored))
        };
        let (kind, stored) = match (selected(&event.before), selected(&event.after)) {
            (false, false) => return,
            (false, true) => ("ADDED", &event.after),
            (true, true) => ("MODIFIED", &event.after),
            (true, false) => ("DELETED", &event.before),
        };
        if let Some(stored) = stored {
            self.event(out, kind, stored, event.revision);
        }
    }

    fn event(&mut self, out: &mut Vec<u8>, kind: &str, stored: &Arc<Stored>, revision: Revision) {
        out.extend_from_slice(br#"{"type":""#);
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(br#"","object":"#);
        match self.form {
            Form::Table(include) => {
                let columns = !std::mem::replace(&mut self.columns_sent, true);
                present::row(out, &self.kind, include, stored, revision, columns);
            }
            form => present::render(out, &self.kind, form, stored, revision),
        }
        out.extend_from_slice(b"}\n");
    }

    fn bookmark(&mut self, out: &mut Vec<u8>, initial_events_end: bool) {
        self.bookmark_at = Instant::now() + BOOKMARK;
        out.extend_from_slice(br#"{"type":"BOOKMARK","object":"#);
        present::bookmark(out, &self.kind, self.form, self.reached, initial_events_end);
        out.extend_from_slice(b"}\n");
    }
}

/// The state that a watch begins with, as far as it was not sent: a place in a snapshot, and no list of what is in it.
struct First {
    snapshot: Snapshot,
    /// What is shown beside it. It has no changes that a watch could tell.
    shown: Vec<Arc<Stored>>,
    after: Option<Key>,
}

impl First {
    /// The objects that come next; none at the end.
    fn next(&self, selection: &Selection) -> Vec<Arc<Stored>> {
        let after = self.after.as_ref();
        let after = after.map(|key| (&*key.namespace, &*key.name));
        let objects = selection.objects(&self.snapshot, &self.shown, after);
        objects.take(AT_ONCE).cloned().collect()
    }
}

fn too_old(from: Revision) -> ApiError {
    ApiError::expired(format!("too old resource version: {from}"))
}

fn failure(error: &ApiError) -> Bytes {
    let event = serde_json::json!({ "type": "ERROR", "object": error.to_status() });
    let mut line = event.to_string();
    line.push('\n');
    Bytes::from(line)
}
