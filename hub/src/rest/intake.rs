//! Bodies of requests, read before the request takes a place.
//!
//! ```text
//!   declared size ─► the tenant's share ─► bytes as they come ─► whole ─► a place in a lane
//!                    (waits, 429)          everybody's room
//!                                          too slow ─► 408
//! ```
//!
//! So a client that sends its body slowly, or never, holds up nobody, and all bodies together take a bounded amount of memory,
//! from the first byte until the request is answered.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use koinon_machinery::{ApiError, Reason, Result};
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{timeout, timeout_at},
};

use super::{pace::Pace, tenant::Tenant};

/// Room for all bodies, in KiB; `system:masters` have as much of their own. Parsed, a body takes several times its size.
const ROOM: usize = 64 << 10;
/// Of it for one tenant. No body may be larger.
const SHARE: usize = ROOM / 4;
/// What a body counts at least, in KiB: a request that waits for its body costs more than the body.
const LEAST: usize = 16;
/// How long one waits for room.
const PATIENCE: Duration = Duration::from_secs(10);
const RETRY_SECONDS: u32 = 1;
/// Tenants remembered before those who have nothing here are forgotten.
const REMEMBERED: usize = 1024;

/// Reads bodies. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Intake(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    room: Arc<Semaphore>,
    reserved: Arc<Semaphore>,
    shares: Mutex<HashMap<Arc<str>, Weak<Semaphore>>>,
}

/// The room that a body takes; kept until the request is answered.
#[derive(Debug)]
pub(super) struct Charge {
    _share: OwnedSemaphorePermit,
    _room: OwnedSemaphorePermit,
}

impl Default for Intake {
    fn default() -> Self {
        Self(Arc::new(Inner {
            room: Arc::new(Semaphore::new(ROOM)),
            reserved: Arc::new(Semaphore::new(ROOM)),
            shares: Mutex::default(),
        }))
    }
}

impl Intake {
    /// Reads a whole body of up to `limit` bytes.
    ///
    /// # Errors
    ///
    /// 413 when it is larger, 429 when there is no room for it, 408 when it comes too slowly, 400 when it breaks off.
    pub(super) async fn read(
        &self,
        tenant: &Tenant,
        body: Body,
        limit: usize,
    ) -> Result<(Bytes, Charge)> {
        let too_large = || ApiError::request_entity_too_large(limit);
        let declared = body.size_hint();
        if declared.lower() > limit as u64 {
            return Err(too_large());
        }
        // Who does not say how much is coming may send all that is allowed.
        let most = declared.upper().map_or(limit, |upper| {
            usize::try_from(upper).unwrap_or(limit).min(limit)
        });
        let (share, room) = self.pools(tenant);
        let share = take(share, kib(most).min(SHARE)).await?;
        let mut taken = take(Arc::clone(&room), LEAST).await?;
        let (mut body, mut bytes) = (body, BytesMut::new());
        let mut pace = Pace::begin();
        loop {
            let frame = timeout_at(pace.due(), body.frame()).await;
            let Some(frame) = frame.map_err(|_| too_slow())? else {
                break;
            };
            let frame = frame.map_err(|_| ApiError::bad_request("the request body ended early"))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if bytes.len() + data.len() > limit {
                return Err(too_large());
            }
            let wanted = kib(bytes.len() + data.len());
            if wanted > taken.num_permits() {
                let more = wanted - taken.num_permits();
                taken.merge(take(Arc::clone(&room), more).await?);
            }
            pace.passed(data.len());
            bytes.extend_from_slice(&data);
        }
        let charge = Charge {
            _share: share,
            _room: taken,
        };
        Ok((bytes.freeze(), charge))
    }

    /// The tenant's share, and the room that it is a share of.
    fn pools(&self, tenant: &Tenant) -> (Arc<Semaphore>, Arc<Semaphore>) {
        let Inner {
            room,
            reserved,
            shares,
        } = &*self.0;
        if tenant.exempt {
            return (Arc::new(Semaphore::new(SHARE)), Arc::clone(reserved));
        }
        let mut shares = shares.lock();
        if let Some(share) = shares.get(&tenant.key).and_then(Weak::upgrade) {
            return (share, Arc::clone(room));
        }
        if shares.len() >= REMEMBERED {
            shares.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Semaphore::new(SHARE));
        shares.insert(Arc::clone(&tenant.key), Arc::downgrade(&share));
        (share, Arc::clone(room))
    }
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024).max(LEAST)
}

async fn take(pool: Arc<Semaphore>, kib: usize) -> Result<OwnedSemaphorePermit> {
    let full = || {
        let message = "too many request bodies are being read, please try again later";
        ApiError::too_many_requests(message, RETRY_SECONDS)
    };
    let kib = u32::try_from(kib).map_err(|_| full())?;
    let permit = timeout(PATIENCE, pool.acquire_many_owned(kib)).await;
    // The semaphores are never closed.
    permit.map_err(|_| full())?.map_err(|_| full())
}

/// 408: Kubernetes has no reason of its own for it, and its clients try again by the header.
fn too_slow() -> ApiError {
    let mut error = ApiError::new(
        Reason::Timeout,
        "the request body did not arrive in time, please try again",
    );
    error.code = 408;
    error.retry_after(RETRY_SECONDS)
}

#[cfg(test)]
mod tests;
