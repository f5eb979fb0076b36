//! Lists in pages: the snapshots that later pages are cut from.

use std::{sync::Arc, time::Duration};

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
#[derive(Debug)]
pub(super) struct Pages(Mutex<Shares<Arc<str>, Page>>);

#[derive(Debug)]
struct Page {
    tenant: Arc<str>,
    resource: String,
    snapshot: Snapshot,
    kept_at: Instant,
}

impl Default for Pages {
    fn default() -> Self {
        Self(Mutex::new(Shares::new(KEPT, KEPT_PER_TENANT)))
    }
}

impl Pages {
    /// Keeps a snapshot for the pages to come.
    ///
    /// Who reads too many lists at once loses the oldest of his own, not others theirs.
    pub(super) fn keep(&self, tenant: &Arc<str>, resource: &str, snapshot: Snapshot) {
        let mut pages = self.0.lock();
        let now = Instant::now();
        let same = |page: &Page| {
            page.tenant == *tenant
                && page.resource == resource
                && page.snapshot.revision() == snapshot.revision()
        };
        let stale: Vec<_> = pages
            .iter()
            .filter(|(_, page)| now >= page.kept_at + LIFETIME || same(page))
            .map(|(id, _)| id)
            .collect();
        for id in stale {
            pages.remove(id);
        }
        let page = Page {
            tenant: Arc::clone(tenant),
            resource: resource.to_owned(),
            snapshot,
            kept_at: now,
        };
        pages.add(Arc::clone(tenant), page);
    }

    /// The snapshot at `revision`, if it is still there.
    pub(super) fn find(&self, resource: &str, revision: Revision) -> Option<Snapshot> {
        let pages = self.0.lock();
        let (_, page) = pages
            .iter()
            .find(|(_, page)| page.resource == resource && page.snapshot.revision() == revision)?;
        Some(page.snapshot.clone())
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
