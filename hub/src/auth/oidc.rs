//! Tokens of an OpenID Connect issuer: people who are known elsewhere.
//!
//! ```text
//!   JWT ─► key by its id ◄── key set, cached ◄── issuer (discovery, then keys; TLS)
//!       ─► signature ─► claims (pure) ─► user name and groups
//! ```
//!
//! The claims mean what kube-apiserver's `--oidc-*` flags say. The key set is fetched at start, every hour, and when a
//! token names a key that is not in it; an issuer that does not answer costs nothing as long as the keys are known.

mod claims;
mod fetch;
mod keys;

use std::{sync::Arc, time::Duration};

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

pub use self::{
    claims::{Refusal, Settings},
    keys::{FetchError, Fetcher, KeySet, LEAST_PAUSE},
};
use super::{AUTHENTICATED, RestsOn, User};
use crate::clock;

/// Longest token that is looked at.
const MOST_BYTES: usize = 64 << 10;

/// Verifies the tokens of one issuer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Oidc(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Settings,
    keys: KeySet,
}

impl Oidc {
    /// Verifies by `settings`, with keys that `fetcher` gets; not more often than every `least_pause` because of tokens
    /// with unknown keys.
    pub fn new(settings: Settings, fetcher: Arc<dyn Fetcher>, least_pause: Duration) -> Self {
        let keys = KeySet::new(&settings.issuer, fetcher, least_pause);
        Self(Arc::new(Inner { settings, keys }))
    }

    /// Keeps the keys up until stopped.
    pub async fn run(self, stop: CancellationToken) {
        self.0.keys.run(stop).await;
    }

    /// Who a token names, and for which of `audiences` it is good: those of the issuer's client if none are given.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub async fn verify(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(User, Vec<String>), Refusal> {
        let Inner { settings, keys } = &*self.0;
        if token.len() > MOST_BYTES {
            return Err(Refusal::Malformed);
        }
        let header = decode_header(token).map_err(|_| Refusal::Malformed)?;
        if !settings.algorithms.contains(&header.alg) {
            return Err(Refusal::Algorithm);
        }
        let key = keys.find(header.kid.as_deref(), header.alg).await?;
        let claims: Map<String, Value> = decode(token, &key, &signature_only(header.alg))
            .map_err(|_| Refusal::Signature)?
            .claims;
        let identity = settings.judge(&claims, clock::now())?;
        let own = [settings.client_id.clone()];
        let wanted = if audiences.is_empty() {
            &own[..]
        } else {
            audiences
        };
        let good: Vec<String> = wanted
            .iter()
            .filter(|audience| claims::audiences(&claims).contains(&audience.as_str()))
            .cloned()
            .collect();
        if good.is_empty() {
            return Err(Refusal::Audience);
        }
        let mut groups = identity.groups;
        groups.push(AUTHENTICATED.to_owned());
        let user = User {
            name: identity.name,
            groups,
            rests_on: RestsOn {
                ends: Some(identity.ends),
                secret: None,
            },
            ..User::default()
        };
        Ok((user, good))
    }
}

/// Checks the signature and nothing else: claims are judged by [`Settings::judge`], with our own clock.
fn signature_only(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
}
