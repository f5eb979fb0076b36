//! What a request was let in by, for one that goes on for long: whoever authenticated, and by which rights he acts as another.

use koinon_machinery::{ApiError, Result};

use super::{Api, error};
use crate::{
    auth::User,
    authz::{Attributes, Decision},
};

/// Who authenticated, and the rights to act as somebody else that this takes.
#[derive(Clone, Debug)]
pub(super) struct Basis {
    pub(super) user: User,
    pub(super) impersonates: Vec<Attributes>,
}

impl Basis {
    /// Asks in memory whether the credential is still one, and whether its user may still act as he does.
    ///
    /// # Errors
    ///
    /// The refusal that the same request would get.
    pub(super) fn again(&self, api: &Api) -> Result<()> {
        let tokens = api.authenticator().tokens();
        if self.user.is_over() || tokens.is_some_and(|tokens| !tokens.is_alive(&self.user)) {
            return Err(ApiError::unauthorized());
        }
        for right in &self.impersonates {
            demand(api, &self.user, right)?;
        }
        Ok(())
    }
}

/// Asks for one right.
///
/// # Errors
///
/// 403.
pub(super) fn demand(api: &Api, user: &User, asked: &Attributes) -> Result<()> {
    match api.registry().authorizer().authorize(user, asked) {
        Decision::Allowed(_) => Ok(()),
        Decision::Denied(reason) => Err(error::denied(user, asked, &reason)),
    }
}
