//! Whether a watch that was allowed still is.

use std::time::Duration;

use koinon_machinery::Result;
use tokio::time::Instant;

use super::super::{Api, call::Call, error};
use crate::{
    auth::User,
    authz::{Attributes, Decision},
};

/// How often is asked when no role and no binding has changed: a cluster may have moved to another set, or was denied.
const AGAIN: Duration = Duration::from_secs(1);

/// What a watch was allowed by.
pub(super) struct Rights {
    api: Api,
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
        let tokens = self.api.authenticator().tokens();
        if tokens.is_some_and(|tokens| !tokens.is_alive(&self.user)) {
            return Err(koinon_machinery::ApiError::unauthorized());
        }
        match authorizer.authorize(&self.user, &self.asked) {
            Decision::Allowed(_) => Ok(()),
            Decision::Denied(reason) => Err(error::denied(&self.user, &self.asked, &reason)),
        }
    }
}
