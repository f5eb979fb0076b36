//! Whether a watch that was allowed still is.

use std::{sync::Arc, time::Duration};

use koinon_machinery::Result;
use tokio::time::Instant;

use super::super::{
    Api,
    basis::{Basis, demand},
    call::Call,
};
use crate::{auth::User, authz::Attributes};

/// How often is asked when no role and no binding has changed: a cluster may have moved to another set, or was denied.
const AGAIN: Duration = Duration::from_secs(1);

/// What a watch was allowed by.
pub(super) struct Rights {
    api: Api,
    basis: Arc<Basis>,
    user: User,
    asked: Attributes,
    /// The state of roles and bindings that was asked last.
    changes: u64,
    ask_at: Instant,
}

impl Rights {
    /// Of a call that was let in a moment ago.
    pub(super) fn of(call: &Call) -> Self {
        Self {
            api: call.api.clone(),
            basis: Arc::clone(&call.basis),
            user: call.user.clone(),
            asked: call.asked.clone(),
            // Something may have changed since it was let in.
            changes: 0,
            ask_at: Instant::now(),
        }
    }

    /// Asks again, in memory, if the answer may be another one by now.
    ///
    /// # Errors
    ///
    /// The refusal that the same request would get.
    pub(super) fn again(&mut self) -> Result<()> {
        let authorizer = self.api.registry().authorizer();
        let (changes, now) = (authorizer.changes(), Instant::now());
        if changes == self.changes && now < self.ask_at {
            return Ok(());
        }
        (self.changes, self.ask_at) = (changes, now + AGAIN);
        self.basis.again(&self.api)?;
        demand(&self.api, &self.user, &self.asked)
    }
}
