//! Lists in pages: the snapshots that later pages are cut from.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use axum::response::Response;
use http::StatusCode;
use koinon_machinery::{ApiError, continue_token::ContinueToken};
use koinon_store::{Revision, Snapshot};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::respond;
use crate::shares::Shares;

/// How many lists may be in the middle of being read.
const KEPT: usize = 64;
/// Of them, one tenant's.
const KEPT_PER_TENANT: usize = 16;
/// How long a list may take to be read.
const LIFETIME: Duration = Duration::from_secs(300);

/// Snapshots that lists are being read from, each for who reads it. A snapshot shares what has not changed since.
#[derive(Debug, Default)]
pub(super) struct Pages(Arc<Mutex<Kept<Snapshot>>>);

#[derive(Debug)]
struct Kept<S> {
    pages: Shares<Arc<str>, Page<S>>,
    /// Whether somebody looks after those whose time is over.
    swept: bool,
}

#[derive(Debug)]
struct Page<S> {
    tenant: Arc<str>,
    resource: String,
    snapshot: S,
    revision: Revision,
    kept_at: Instant,
}

impl Pages {
    /// Keeps a snapshot for the pages to come.
    ///
    /// Who reads too many lists at once loses the oldest of his own, not others theirs.
    pub(super) fn keep(&self, tenant: &Arc<str>, resource: &str, snapshot: Snapshot) {
        let revision = snapshot.revision();
        let mut kept = self.0.lock();
        kept.add(tenant, resource, revision, snapshot);
        if !std::mem::replace(&mut kept.swept, true) {
            // A hub that nobody lists anything of would else keep the last ones for ever.
            tokio::spawn(sweep(Arc::downgrade(&self.0)));
        }
    }

    /// The snapshot at `revision`, if it is still there.
    pub(super) fn find(&self, resource: &str, revision: Revision) -> Option<Snapshot> {
        self.0.lock().find(resource, revision).cloned()
    }
}

/// Forgets pages whose time is over, for as long as there are any.
async fn sweep<S>(kept: Weak<Mutex<Kept<S>>>) {
    loop {
        tokio::time::sleep(LIFETIME).await;
        let Some(kept) = kept.upgrade() else { return };
        let mut kept = kept.lock();
        kept.forget_old();
        if kept.pages.is_empty() {
            kept.swept = false;
            return;
        }
    }
}

impl<S> Default for Kept<S> {
    fn default() -> Self {
        Self {
            pages: Shares::new(KEPT, KEPT_PER_TENANT),
            swept: false,
        }
    }
}

impl<S> Kept<S> {
    fn add(&mut self, tenant: &Arc<str>, resource: &str, revision: Revision, snapshot: S) {
        self.forget_old();
        self.forget(|page| {
            page.tenant == *tenant && page.resource == resource && page.revision == revision
        });
        let page = Page {
            tenant: Arc::clone(tenant),
            resource: resource.to_owned(),
            snapshot,
            revision,
            kept_at: Instant::now(),
        };
        self.pages.add(Arc::clone(tenant), page);
    }

    fn find(&self, resource: &str, revision: Revision) -> Option<&S> {
        let now = Instant::now();
        let mut pages = self.pages.iter();
        let found = pages.find(|(_, page)| {
            page.resource == resource && page.revision == revision && !page.is_old(now)
        });
        found.map(|(_, page)| &page.snapshot)
    }

    fn forget_old(&mut self) {
        let now = Instant::now();
        self.forget(|page| page.is_old(now));
    }

    fn forget(&mut self, which: impl Fn(&Page<S>) -> bool) {
        let gone = self.pages.iter().filter(|(_, page)| which(page));
        let gone: Vec<_> = gone.map(|(id, _)| id).collect();
        for id in gone {
            self.pages.remove(id);
        }
    }
}

impl<S> Page<S> {
    fn is_old(&self, now: Instant) -> bool {
        now >= self.kept_at + LIFETIME
    }
}

/// 410 for a page of a list that is no longer known, with a token that goes on regardless.
///
/// The other replicas do not have this one's snapshots either, so a client behind a balancer meets this too; kubectl
/// and client-go go on with the token or list anew.
pub(super) fn expired(token: &ContinueToken) -> Response {
    let error = ApiError::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without \
         the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
         Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
         deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let mut status = error.to_status();
    status["metadata"] =
        serde_json::json!({ "continue": ContinueToken { revision: -1, ..token.clone() }.encode() });
    respond::json(StatusCode::GONE, &status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_list_that_nobody_goes_on_with_is_forgotten() {
        let kept = Arc::new(Mutex::new(Kept::default()));
        let tenant: Arc<str> = "ann".into();
        kept.lock().add(&tenant, "works", Revision(1), ());
        tokio::spawn(sweep(Arc::downgrade(&kept)));
        tokio::time::sleep(LIFETIME / 2).await;
        kept.lock().add(&tenant, "works", Revision(2), ());
        assert!(kept.lock().find("works", Revision(1)).is_some());
        tokio::time::sleep(LIFETIME / 2).await;
        let found = |revision| kept.lock().find("works", Revision(revision)).is_some();
        assert!(!found(1) && found(2));
        tokio::time::sleep(2 * LIFETIME).await;
        assert!(kept.lock().pages.is_empty());
    }
}
