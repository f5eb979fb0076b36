use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use koinon_proto::v1::WorkBody;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{backoff::Backoff, hub::Puller};

/// News about one work.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its generation.
    pub generation: i64,
    /// SHA-256 of its body.
    pub digest: Vec<u8>,
    /// It is being deleted.
    pub tombstone: bool,
    /// Annotations that tell the agent what to do.
    pub directives: BTreeMap<String, String>,
    /// Revision of the registry at which this was so.
    pub revision: i64,
    /// The body, if it came along.
    pub body: Option<WorkBody>,
}

/// Bytes of bodies that may wait; the others are pulled when their turn comes.
const BODIES: usize = 1024 * 1024;

/// How many of the hub's works were told with the last message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// Some; perhaps more follow.
    Some,
    /// All that the hub has for this cluster.
    All,
}

#[derive(Debug, Default)]
struct Pending {
    /// Counts sessions, so that what an earlier one left behind is recognised.
    session: u64,
    /// Latest notice of each work: bounded by the number of works.
    notices: BTreeMap<String, Notice>,
    /// Bytes of the bodies that came along with them.
    bodies: usize,
    /// Works that could not be stored, and when each is tried again: one that is refused must not delay the others.
    refused: BTreeMap<String, Refused>,
    puller: Option<Puller>,
    /// Names that were told since the session began with a resync, until that ends. A later resync of the same session only
    /// repeats.
    told: Option<BTreeSet<String>>,
    /// All works of the hub, when a resync has just ended.
    complete: Option<BTreeSet<String>>,
}

#[derive(Debug)]
struct Refused {
    until: Instant,
    backoff: Backoff,
}

impl Pending {
    /// Adds a notice in the place of an earlier one of its work.
    fn put(&mut self, mut notice: Notice) {
        self.take(&notice.name);
        if self.bodies + size(&notice) > BODIES {
            notice.body = None;
        }
        self.bodies += size(&notice);
        self.notices.insert(notice.name.clone(), notice);
    }

    fn take(&mut self, name: &str) -> Option<Notice> {
        let notice = self.notices.remove(name)?;
        self.bodies -= size(&notice);
        Some(notice)
    }

    /// Returns a notice unless there is newer news; its body is pulled the next time.
    fn put_back(&mut self, notice: Notice) {
        let again = Notice {
            body: None,
            ..notice
        };
        self.notices.entry(again.name.clone()).or_insert(again);
    }

    fn clear(&mut self) {
        self.notices.clear();
        self.refused.clear();
        self.bodies = 0;
    }

    /// The notices that are due, by name.
    fn is_due(&self, name: &str, now: Instant) -> bool {
        self.refused.get(name).is_none_or(|r| r.until <= now)
    }
}

/// Notices on their way from the session to the keeper.
///
/// A new session empties it: its welcome decides what is still news. So a notice of a hub that has since been rolled back,
/// or held off, is never acted on.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    pending: Arc<Mutex<Pending>>,
    notify: Arc<Notify>,
}

/// What the keeper works on at a time.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) session: u64,
    pub(super) notices: Vec<Notice>,
    pub(super) puller: Option<Puller>,
}

impl Inbox {
    /// Starts a session: drops what is left of the one before. Unless all was told before, a resync follows.
    pub fn open(&self, puller: Puller, told: Told) {
        let mut pending = self.pending.lock();
        pending.session += 1;
        pending.clear();
        pending.told = (told == Told::Some).then(BTreeSet::new);
        pending.complete = None;
        pending.puller = Some(puller);
        drop(pending);
        // The keeper stores what the welcome changed, also if no notice follows.
        self.notify.notify_one();
    }

    /// Ends a session.
    pub fn close(&self) {
        let mut pending = self.pending.lock();
        pending.session += 1;
        pending.clear();
        pending.told = None;
        pending.complete = None;
        pending.puller = None;
    }

    /// Adds notices; a later one replaces an earlier one of the same work.
    pub fn add(&self, notices: impl IntoIterator<Item = Notice>, told: Told) {
        let mut pending = self.pending.lock();
        for notice in notices {
            let pending = &mut *pending;
            for names in [&mut pending.told, &mut pending.complete]
                .into_iter()
                .flatten()
            {
                names.insert(notice.name.clone());
            }
            pending.put(notice);
        }
        if told == Told::All
            && let Some(all) = pending.told.take()
        {
            pending.complete = Some(all);
        }
        drop(pending);
        self.notify.notify_one();
    }

    /// Takes the names of all works that the hub has, once after each resync, with the session that told them. Everything that
    /// was told until now is among them.
    pub(super) fn complete(&self) -> Option<(u64, BTreeSet<String>)> {
        let mut pending = self.pending.lock();
        Some((pending.session, pending.complete.take()?))
    }

    pub(super) async fn notified(&self) {
        self.notify.notified().await;
    }

    /// Takes up to `most` notices that are due.
    pub(super) fn take(&self, most: usize) -> Option<Batch> {
        let mut pending = self.pending.lock();
        let now = Instant::now();
        let due = pending.notices.keys();
        let due = due.filter(|name| pending.is_due(name, now)).take(most);
        let due: Vec<String> = due.cloned().collect();
        let notices: Vec<Notice> = due.iter().filter_map(|name| pending.take(name)).collect();
        (!notices.is_empty()).then(|| Batch {
            session: pending.session,
            notices,
            puller: pending.puller.clone(),
        })
    }

    /// When the next notice that waits is due.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let pending = self.pending.lock();
        let waiting = pending.notices.keys();
        waiting
            .filter_map(|name| Some(pending.refused.get(name)?.until))
            .min()
    }

    /// The work was refused: its notice waits, longer each time, and no other one does.
    pub(super) fn refuse(&self, session: u64, notice: Notice) {
        let mut pending = self.pending.lock();
        if pending.session != session {
            return;
        }
        let refused = pending
            .refused
            .entry(notice.name.clone())
            .or_insert_with(|| Refused {
                until: Instant::now(),
                backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(60)),
            });
        refused.until = Instant::now() + refused.backoff.next_delay();
        pending.put_back(notice);
    }

    /// The work was dealt with.
    pub(super) fn settled(&self, name: &str) {
        self.pending.lock().refused.remove(name);
    }

    /// Returns a notice that could not be dealt with, unless there is newer news.
    pub(super) fn put_back(&self, session: u64, notice: Notice) {
        let mut pending = self.pending.lock();
        if pending.session == session {
            pending.put_back(notice);
        }
        drop(pending);
        self.notify.notify_one();
    }

    /// Says whether this session is still the current one.
    pub(super) fn is_current(&self, session: u64) -> bool {
        self.pending.lock().session == session
    }
}

/// Bytes of the body that came along.
fn size(notice: &Notice) -> usize {
    notice.body.as_ref().map_or(0, |body| body.data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_wait_are_bounded() {
        let with = |name: &str, bytes: usize| Notice {
            body: Some(WorkBody {
                data: vec![0; bytes].into(),
                ..WorkBody::default()
            }),
            ..notice(name)
        };
        let inbox = Inbox::default();
        let half = BODIES / 2;
        // The later one of a work takes the place of the earlier one.
        let all = ["a", "a", "b", "c"].map(|name| with(name, half));
        inbox.add(all, Told::Some);
        let taken = inbox.take(9).unwrap();
        let has: Vec<bool> = taken.notices.iter().map(|n| n.body.is_some()).collect();
        assert_eq!(has, [true, true, false]);
        assert_eq!(inbox.pending.lock().bodies, 0);
        // What was tried in vain is pulled the next time.
        for notice in taken.notices {
            inbox.put_back(taken.session, notice);
        }
        let again = inbox.take(9).unwrap().notices;
        assert!(again.len() == 3 && again.iter().all(|n| n.body.is_none()));
        inbox.add([with("d", half)], Told::Some);
        inbox.close();
        assert_eq!(inbox.pending.lock().bodies, 0);
    }

    fn notice(name: &str) -> Notice {
        Notice {
            name: name.to_owned(),
            uid: "u".to_owned(),
            generation: 1,
            digest: Vec::new(),
            tombstone: false,
            directives: BTreeMap::new(),
            revision: 1,
            body: None,
        }
    }

    fn taken(inbox: &Inbox) -> Vec<String> {
        let batch = inbox.take(9).into_iter().flat_map(|b| b.notices);
        batch.map(|n| n.name).collect()
    }

    #[test]
    fn a_work_that_is_refused_waits_alone() {
        let inbox = Inbox::default();
        inbox.add([notice("a"), notice("b")], Told::Some);
        let session = inbox.take(1).unwrap().session;
        inbox.refuse(session, notice("a"));
        assert!(inbox.due_at().is_some());
        assert_eq!(taken(&inbox), ["b"]);
        // Newer news of it does not make it due; other news does not wait for it.
        inbox.add([notice("a"), notice("c")], Told::Some);
        assert_eq!(taken(&inbox), ["c"]);
        inbox.settled("a");
        assert_eq!(taken(&inbox), ["a"]);
        assert_eq!(inbox.due_at(), None);
        // Of another session.
        inbox.refuse(session + 1, notice("a"));
        assert_eq!(taken(&inbox), Vec::<String>::new());
    }

    #[test]
    fn all_works_are_known_only_at_the_end_of_a_resync() {
        let inbox = Inbox::default();
        let begin = |inbox: &Inbox| inbox.pending.lock().told = Some(BTreeSet::new());
        begin(&inbox);
        inbox.add([notice("a")], Told::Some);
        assert_eq!(inbox.complete(), None);
        inbox.add([notice("b")], Told::All);
        // What is told later is not unknown either.
        inbox.add([notice("c")], Told::Some);
        let all = BTreeSet::from(["a", "b", "c"].map(str::to_owned));
        assert_eq!(inbox.complete(), Some((0, all)));
        assert_eq!(inbox.complete(), None);
        // A session that breaks off says nothing about what it did not tell, nor does the end of a resync whose beginning nobody saw.
        begin(&inbox);
        inbox.add([notice("a")], Told::Some);
        inbox.close();
        inbox.add([notice("c")], Told::All);
        assert_eq!(inbox.complete(), None);
    }
}
