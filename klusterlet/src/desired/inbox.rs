use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::hub::Puller;

/// News about one work.
#[derive(Debug, Clone, PartialEq, Eq)]
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
}

#[derive(Debug, Default)]
struct Pending {
    /// Counts sessions, so that what an earlier one left behind is recognised.
    session: u64,
    /// Latest notice of each work: bounded by the number of works.
    notices: BTreeMap<String, Notice>,
    puller: Option<Puller>,
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
    /// Starts a session: drops what is left of the one before.
    pub fn open(&self, puller: Puller) {
        let mut pending = self.pending.lock();
        pending.session += 1;
        pending.notices.clear();
        pending.puller = Some(puller);
        drop(pending);
        // The keeper stores what the welcome changed, also if no notice follows.
        self.notify.notify_one();
    }

    /// Ends a session.
    pub fn close(&self) {
        let mut pending = self.pending.lock();
        pending.session += 1;
        pending.notices.clear();
        pending.puller = None;
    }

    /// Adds notices; a later one replaces an earlier one of the same work.
    pub fn add(&self, notices: impl IntoIterator<Item = Notice>) {
        self.pending
            .lock()
            .notices
            .extend(notices.into_iter().map(|n| (n.name.clone(), n)));
        self.notify.notify_one();
    }

    pub(super) async fn notified(&self) {
        self.notify.notified().await;
    }

    /// Takes up to `most` notices.
    pub(super) fn take(&self, most: usize) -> Option<Batch> {
        let mut pending = self.pending.lock();
        let mut notices = Vec::new();
        while notices.len() < most
            && let Some((_, notice)) = pending.notices.pop_first()
        {
            notices.push(notice);
        }
        (!notices.is_empty()).then(|| Batch {
            session: pending.session,
            notices,
            puller: pending.puller.clone(),
        })
    }

    /// Returns a notice that could not be dealt with, unless there is newer news.
    pub(super) fn put_back(&self, session: u64, notice: Notice) {
        let mut pending = self.pending.lock();
        if pending.session == session {
            pending.notices.entry(notice.name.clone()).or_insert(notice);
        }
        drop(pending);
        self.notify.notify_one();
    }

    /// Says whether this session is still the current one.
    pub(super) fn is_current(&self, session: u64) -> bool {
        self.pending.lock().session == session
    }
}
