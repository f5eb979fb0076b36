//! The issuer's keys: fetched, cached, fetched again.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use serde::Deserialize;
use tokio::{
    sync::{Mutex, Semaphore},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::Refusal;

/// How often the keys are fetched without a reason.
const PERIOD: Duration = Duration::from_secs(3600);
/// After a failure.
const RETRY: Duration = Duration::from_secs(15);
/// Tokens with unknown keys can be made up by anybody: the issuer is not asked more often than this because of them.
pub const LEAST_PAUSE: Duration = Duration::from_secs(10);
/// Tokens that may wait for an unknown key.
const MOST_WAITING: usize = 128;
/// Most keys that are kept.
const MOST_KEYS: usize = 256;

/// Why the issuer's documents could not be had.
pub type FetchError = Box<dyn std::error::Error + Send + Sync>;

/// Gets documents from the issuer.
pub trait Fetcher: fmt::Debug + Send + Sync + 'static {
    /// The body of a successful GET, of bounded size, within bounded time.
    fn get<'a>(&'a self, url: &'a str) -> BoxFuture<'a, Result<Vec<u8>, FetchError>>;
}

/// The keys of one issuer.
#[derive(Debug)]
pub struct KeySet {
    issuer: String,
    fetcher: Arc<dyn Fetcher>,
    keys: ArcSwap<Vec<Jwk>>,
    /// When the issuer was asked last; held while it is asked, so that it is asked once.
    asked: Mutex<Option<Instant>>,
    waiting: Semaphore,
    least_pause: Duration,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl KeySet {
    pub(super) fn new(issuer: &str, fetcher: Arc<dyn Fetcher>, least_pause: Duration) -> Self {
        Self {
            issuer: issuer.to_owned(),
            fetcher,
            keys: ArcSwap::default(),
            asked: Mutex::default(),
            waiting: Semaphore::new(MOST_WAITING),
            least_pause,
        }
    }

    /// The key that signed a token.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, Refusal> {
        if let Some(key) = self.known(id, algorithm) {
            return Ok(key);
        }
        {
            // Made-up keys must not pile up requests behind an issuer that is slow.
            let Ok(_waiting) = self.waiting.try_acquire() else {
                return Err(Refusal::UnknownKey);
            };
            let mut asked = self.asked.lock().await;
            // Whoever waited for the lock may find what the other fetched.
            if let Some(key) = self.known(id, algorithm) {
                return Ok(key);
            }
            if asked.is_some_and(|asked| asked.elapsed() < self.least_pause) {
                return Err(Refusal::UnknownKey);
            }
            self.ask(&mut asked).await;
        }
        self.known(id, algorithm).ok_or(Refusal::UnknownKey)
    }

    /// Keeps the keys up until stopped.
    pub(super) async fn run(&self, stop: CancellationToken) {
        loop {
            let fetched = {
                let mut asked = self.asked.lock().await;
                self.ask(&mut asked).await
            };
            let pause = if fetched { PERIOD } else { RETRY };
            if stop
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let keys = self.keys.load();
        let fits = |key: &&Jwk| match id {
            Some(id) => key.common.key_id.as_deref() == Some(id),
            // RFC 7517 lets a set of one key go without ids.
            None => keys.len() == 1,
        };
        let key = keys.iter().find(fits)?;
        let signs = key
            .common
            .public_key_use
            .as_ref()
            .is_none_or(|of| *of == PublicKeyUse::Signature);
        let key = signs.then(|| DecodingKey::from_jwk(key).ok()).flatten()?;
        // A public RSA key must never be taken as the secret of an HMAC.
        (key.family() == algorithm.family()).then_some(key)
    }

    /// Fetches the keys, and takes note of when: at the end, for those who waited must not each ask a slow issuer anew; and
    /// before, for whoever began may hang up half-way.
    async fn ask(&self, asked: &mut Option<Instant>) -> bool {
        *asked = Some(Instant::now());
        let fetched = self.refresh().await;
        *asked = Some(Instant::now());
        fetched
    }

    /// Fetches the keys; those that are known stay when that fails.
    async fn refresh(&self) -> bool {
        match self.fetch().await {
            Ok(keys) => {
                self.keys.store(Arc::new(keys));
                true
            }
            Err(error) => {
                tracing::warn!(issuer = self.issuer, %error, "cannot fetch the keys of the OIDC issuer");
                false
            }
        }
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, FetchError> {
        let base = self.issuer.trim_end_matches('/');
        let url = format!("{base}/.well-known/openid-configuration");
        let discovery: Discovery = serde_json::from_slice(&self.fetcher.get(&url).await?)?;
        if discovery.issuer != self.issuer {
            return Err(format!("it calls itself {:?}", discovery.issuer).into());
        }
        let set: serde_json::Value =
            serde_json::from_slice(&self.fetcher.get(&discovery.jwks_uri).await?)?;
        let keys = set.get("keys").cloned().unwrap_or_default();
        // One key of a kind that we do not know must not cost the others.
        let keys: Vec<Jwk> = serde_json::from_value::<Vec<serde_json::Value>>(keys)?
            .into_iter()
            .filter_map(|key| serde_json::from_value(key).ok())
            .take(MOST_KEYS)
            .collect();
        let set = JwkSet { keys };
        if set.keys.is_empty() {
            return Err("it has no usable keys".into());
        }
        Ok(set.keys)
    }
}
