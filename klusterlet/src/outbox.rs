//! What waits to be told to the hub: the latest status of each work and the latest acknowledgement.
//!
//! Both are maps by work, so what waits is bounded by the number of works however long the hub is away. A status that was
//! sent stays "unconfirmed" until the hub granted a lease for a heartbeat that was sent after it: the hub reads a stream in
//! order, so that grant means the status arrived. What is unconfirmed when a stream breaks is sent again on the next one.
//!
//! That says nothing of a hub that was restored, or killed with the status in its hands, and an agent that was started anew does not
//! know what was sent before. So each session begins with a comparison of digests, and what the hub does not have is sent: no more,
//! no less. Confirmations are for hubs that cannot compare.

mod kept;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use koinon_proto::{MAX_BATCH, MAX_MESSAGE, StatusDigest, statuses_digest, v1};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::error;

pub use self::kept::Kept;

/// Status of one work. Its actor has the same one.
#[derive(Debug, Clone, PartialEq)]
struct Report {
    uid: String,
    status: Arc<Kept>,
}

/// Bytes of a status that fit into a message.
const MOST: usize = MAX_MESSAGE - 64 * 1024;

#[derive(Debug, Default)]
struct Waiting {
    /// Latest status of each work, sent or not.
    reports: BTreeMap<String, Report>,
    /// Works whose status is to be sent.
    unsent: BTreeSet<String>,
    /// Works whose status changed since the hub was asked what it has.
    since: BTreeSet<String>,
    /// What the hub has of works of which there is no status here yet: uid and digest.
    known: BTreeMap<String, (String, StatusDigest)>,
    /// The hub is about to say what it has; nothing is sent before.
    comparing: bool,
    /// Works whose status was sent, by the heartbeat that follows it.
    unconfirmed: BTreeMap<String, u64>,
    acks: BTreeMap<(String, String), v1::Ack>,
    /// Works that the hub does not have: nothing is said of them.
    aside: BTreeSet<String>,
}

/// Shared by the actors, which fill it, and the session, which empties it.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    waiting: Arc<Mutex<Waiting>>,
    notify: Arc<Notify>,
}

impl Outbox {
    /// Replaces the status of a work. Equal to the last one, it is not sent again.
    pub fn report(&self, name: &str, uid: &str, status: Arc<Kept>) {
        let report = Report {
            uid: uid.to_owned(),
            status,
        };
        let mut waiting = self.waiting.lock();
        if waiting.reports.get(name) == Some(&report) {
            return;
        }
        let known = if waiting.comparing {
            None
        } else {
            waiting.known.remove(name)
        };
        if known.is_some_and(|known| known == (report.uid.clone(), report.status.digest())) {
            waiting.reports.insert(name.to_owned(), report);
            return;
        }
        waiting.reports.insert(name.to_owned(), report);
        waiting.unsent.insert(name.to_owned());
        waiting.since.insert(name.to_owned());
        drop(waiting);
        self.notify.notify_one();
    }

    /// Forgets the status of a work that is gone.
    pub fn forget(&self, name: &str) {
        let mut waiting = self.waiting.lock();
        waiting.reports.remove(name);
        waiting.unsent.remove(name);
        waiting.unconfirmed.remove(name);
        waiting.since.remove(name);
        waiting.known.remove(name);
        waiting.aside.remove(name);
    }

    /// The hub does not have this work: its status is kept, and not sent.
    pub fn set_aside(&self, name: &str) {
        self.waiting.lock().aside.insert(name.to_owned());
    }

    /// The hub has this work after all.
    pub fn take_back(&self, name: &str) {
        let mut waiting = self.waiting.lock();
        if waiting.aside.remove(name) && waiting.reports.contains_key(name) {
            waiting.unsent.insert(name.to_owned());
            waiting.since.insert(name.to_owned());
            drop(waiting);
            self.notify.notify_one();
        }
    }

    /// Acknowledges a work.
    pub fn ack(&self, name: &str, uid: &str, generation: i64, outcome: v1::AckOutcome) {
        let ack = v1::Ack {
            name: name.to_owned(),
            uid: uid.to_owned(),
            generation,
            outcome: outcome.into(),
        };
        self.waiting
            .lock()
            .acks
            .insert((name.to_owned(), uid.to_owned()), ack);
        self.notify.notify_one();
    }

    /// Waits until something is added.
    pub async fn notified(&self) {
        self.notify.notified().await;
    }

    /// Takes the next batch of statuses; `heartbeat` is the sequence of the next heartbeat.
    #[must_use]
    pub fn take_reports(&self, heartbeat: u64) -> Vec<v1::WorkStatus> {
        let mut waiting = self.waiting.lock();
        let mut batch = Vec::new();
        let mut size = 0;
        if waiting.comparing {
            return batch;
        }
        while batch.len() < MAX_BATCH {
            let Some(name) = waiting.unsent.first().cloned() else {
                break;
            };
            let report = waiting.reports.get(&name);
            let Some(report) = report.filter(|_| !waiting.aside.contains(&name)).cloned() else {
                waiting.unsent.remove(&name);
                continue;
            };
            let json = report.status.json();
            if json.len() > MOST {
                // Statuses are made to fit; one that does not would break the stream, and the next one too.
                error!(
                    work = name,
                    bytes = json.len(),
                    "a status is too long to be told"
                );
                waiting.unsent.remove(&name);
                continue;
            }
            size += json.len() + 1024;
            if !batch.is_empty() && size > MAX_MESSAGE / 2 {
                break;
            }
            waiting.unsent.remove(&name);
            waiting.unconfirmed.insert(name.clone(), heartbeat);
            batch.push(v1::WorkStatus {
                name,
                uid: report.uid,
                status_json: json.into(),
            });
        }
        batch
    }

    /// Takes the next batch of acknowledgements.
    #[must_use]
    pub fn take_acks(&self) -> Vec<v1::Ack> {
        let mut waiting = self.waiting.lock();
        let mut batch = Vec::new();
        while batch.len() < MAX_BATCH
            && let Some((_, ack)) = waiting.acks.pop_first()
        {
            batch.push(ack);
        }
        batch
    }

    /// Notes that the hub granted a lease for this heartbeat.
    pub fn confirm(&self, heartbeat: u64) {
        self.waiting
            .lock()
            .unconfirmed
            .retain(|_, follows| *follows > heartbeat);
    }

    /// Prepares for a new stream: what may not have arrived is sent again, or everything if the hub may lack more.
    pub fn renew(&self, all: Resend) {
        let mut waiting = self.waiting.lock();
        let again: Vec<_> = match all {
            Resend::All => waiting.reports.keys().cloned().collect(),
            Resend::Unconfirmed => waiting.unconfirmed.keys().cloned().collect(),
        };
        waiting.unsent.extend(again);
        waiting.unconfirmed.clear();
        waiting.known.clear();
        waiting.comparing = false;
        drop(waiting);
        self.notify.notify_one();
    }

    /// Digest of all statuses as they are now, for the beginning of a session.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut waiting = self.waiting.lock();
        waiting.since.clear();
        let all = waiting.reports.iter();
        let all = all.filter(|(name, _)| !waiting.aside.contains(*name));
        statuses_digest(all.map(|(name, r)| (name.as_str(), r.uid.as_str(), r.status.digest())))
    }

    /// The hub has all statuses of the last [`Outbox::digest`].
    pub fn all_known(&self) {
        let mut waiting = self.waiting.lock();
        waiting.unsent = waiting.since.clone();
        waiting.unconfirmed.clear();
        waiting.known.clear();
        waiting.comparing = false;
        drop(waiting);
        self.notify.notify_one();
    }

    /// The hub is about to say which statuses it has.
    pub fn await_digests(&self) {
        let mut waiting = self.waiting.lock();
        waiting.known.clear();
        waiting.comparing = true;
    }

    /// Takes in which statuses the hub has; after the last message what it does not have is to be sent.
    pub fn compare(&self, said: v1::StatusDigests) {
        let mut waiting = self.waiting.lock();
        let waiting = &mut *waiting;
        if !waiting.comparing {
            return;
        }
        for one in said.digests {
            if let Ok(digest) = StatusDigest::try_from(&*one.digest) {
                waiting.known.insert(one.name, (one.uid, digest));
            }
        }
        if !said.last {
            return;
        }
        waiting.comparing = false;
        waiting.unconfirmed.clear();
        waiting.unsent.clear();
        for (name, report) in &waiting.reports {
            let known = waiting.known.remove(name);
            if known.is_none_or(|known| known != (report.uid.clone(), report.status.digest())) {
                waiting.unsent.insert(name.clone());
            }
        }
        self.notify.notify_one();
    }
}

/// What a new stream repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resend {
    /// Hub and agent hold the same works.
    Unconfirmed,
    /// They do not.
    All,
}

#[cfg(test)]
mod tests {
    use koinon_api::work::ManifestWorkStatus;

    use super::*;

    fn names(batch: &[v1::WorkStatus]) -> Vec<&str> {
        batch.iter().map(|s| s.name.as_str()).collect()
    }

    fn status(text: &str) -> Arc<Kept> {
        let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
        let mut said =
            koinon_api::meta::new_condition("Said", koinon_api::meta::Truth::True, "Said", "", now);
        // Longer than a condition may be.
        text.clone_into(&mut said.message);
        Arc::new(Kept::of(&Arc::new(ManifestWorkStatus {
            conditions: vec![said],
            ..Default::default()
        })))
    }

    #[test]
    fn the_latest_status_wins_and_an_equal_one_is_not_repeated() {
        let outbox = Outbox::default();
        outbox.report("a", "u", status("one"));
        outbox.report("a", "u", status("two"));
        let batch = outbox.take_reports(1);
        assert_eq!(names(&batch), ["a"]);
        assert!(String::from_utf8_lossy(&batch[0].status_json).contains("two"));
        outbox.report("a", "u", status("two"));
        assert!(outbox.take_reports(1).is_empty());
    }

    #[test]
    fn what_was_not_confirmed_is_sent_again_on_the_next_stream() {
        let outbox = Outbox::default();
        outbox.report("a", "u", status("1"));
        assert_eq!(outbox.take_reports(5).len(), 1);
        outbox.report("b", "u", status("1"));
        assert_eq!(outbox.take_reports(6).len(), 1);
        outbox.confirm(5);
        outbox.renew(Resend::Unconfirmed);
        assert_eq!(names(&outbox.take_reports(1)), ["b"]);
        outbox.renew(Resend::All);
        assert_eq!(names(&outbox.take_reports(1)), ["a", "b"]);
    }

    fn said(outbox: &Outbox, names: &[&str]) -> v1::StatusDigests {
        let waiting = outbox.waiting.lock();
        let digests = names.iter().map(|name| v1::StatusDigest {
            name: (*name).to_owned(),
            uid: "u".to_owned(),
            digest: waiting.reports[*name].status.digest().to_vec().into(),
        });
        v1::StatusDigests {
            digests: digests.collect(),
            last: true,
        }
    }

    #[test]
    fn only_what_the_hub_does_not_have_is_sent() {
        let outbox = Outbox::default();
        for name in ["a", "b", "c"] {
            outbox.report(name, "u", status("1"));
        }
        let known = said(&outbox, &["a", "b"]);
        outbox.await_digests();
        assert!(outbox.take_reports(1).is_empty());
        outbox.compare(known);
        assert_eq!(names(&outbox.take_reports(1)), ["c"]);

        // The same digest: nothing, but what changed after the question.
        let asked = outbox.digest();
        outbox.report("b", "u", status("2"));
        assert_ne!(asked, outbox.digest());
        outbox.report("c", "u", status("2"));
        outbox.all_known();
        assert_eq!(names(&outbox.take_reports(1)), ["c"]);
    }

    #[test]
    fn an_agent_that_was_started_anew_sends_what_is_new_only() {
        let before = Outbox::default();
        for name in ["a", "b"] {
            before.report(name, "u", status("1"));
        }
        let known = said(&before, &["a", "b"]);
        let outbox = Outbox::default();
        outbox.await_digests();
        outbox.compare(known);
        outbox.report("a", "u", status("1"));
        outbox.report("b", "u", status("2"));
        outbox.report("c", "u", status("1"));
        assert_eq!(names(&outbox.take_reports(1)), ["b", "c"]);
        outbox.report("a", "u", status("2"));
        assert_eq!(names(&outbox.take_reports(1)), ["a"]);
    }

    #[test]
    fn batches_are_bounded() {
        let outbox = Outbox::default();
        for n in 0..MAX_BATCH + 1 {
            outbox.report(&format!("{n:04}"), "u", status("1"));
            outbox.ack(&format!("{n:04}"), "u", 1, v1::AckOutcome::Stored);
        }
        assert_eq!(
            (outbox.take_reports(1).len(), outbox.take_reports(1).len()),
            (MAX_BATCH, 1)
        );
        assert_eq!(
            (outbox.take_acks().len(), outbox.take_acks().len()),
            (MAX_BATCH, 1)
        );
        let big = " ".repeat(MAX_MESSAGE / 2);
        outbox.report("big1", "u", status(&big));
        outbox.report("big2", "u", status(&big));
        assert_eq!(outbox.take_reports(1).len(), 1);
        // What no message can carry is not sent at all, and hides nothing else.
        outbox.report("big0", "u", status(&" ".repeat(MAX_MESSAGE)));
        assert_eq!(names(&outbox.take_reports(1)), ["big2"]);
        assert!(outbox.take_reports(1).is_empty());
    }

    #[test]
    fn of_a_work_that_the_hub_does_not_have_nothing_is_said_until_it_has_it() {
        let outbox = Outbox::default();
        outbox.report("a", "u", status("1"));
        let without = outbox.digest();
        outbox.report("b", "u", status("1"));
        outbox.set_aside("b");
        assert_eq!(outbox.digest(), without);
        assert_eq!(names(&outbox.take_reports(1)), ["a"]);
        outbox.report("b", "u", status("2"));
        assert!(outbox.take_reports(1).is_empty());
        outbox.renew(Resend::All);
        assert_eq!(names(&outbox.take_reports(1)), ["a"]);
        outbox.take_back("b");
        assert_ne!(outbox.digest(), without);
        assert_eq!(names(&outbox.take_reports(1)), ["b"]);
    }
}
