//! The keys behind service tokens: made by the hub, kept in the registry, rotated.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
};
use koinon_store::{TokenKey, TokenKeys, Unavailable};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    MOST_LIFE,
    claims::{Claims, Refusal},
};

/// How often the keys are looked at.
const PERIOD: Duration = Duration::from_secs(60);
/// A token with an unknown key makes the hub look sooner, but not sooner than this after the last look.
const LEAST_PAUSE: Duration = Duration::from_secs(2);

/// How long keys are for.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// A new key does not sign until every replica has it for sure.
    pub settle: Duration,
    /// A key signs for this long.
    pub signs: Duration,
    /// And is known for this long, so that what it signed stays good to its end.
    pub known: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        let signs = Duration::from_secs(30 * 86_400);
        let settle = 5 * PERIOD;
        Self {
            settle,
            signs,
            known: signs + settle + MOST_LIFE,
        }
    }
}

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No key was loaded yet.
    #[error("there is no key to sign tokens with yet")]
    NoKey,
    /// The key does not sign.
    #[error("cannot sign a token")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

struct Key {
    id: String,
    age: Duration,
    signs: EncodingKey,
    verifies: DecodingKey,
}

/// All keys, the newest first. Cheap to clone.
#[derive(Clone)]
pub struct Keyring(Arc<Inner>);

struct Inner {
    store: TokenKeys,
    keys: ArcSwap<Vec<Key>>,
    looked: Mutex<Option<Instant>>,
    lifetimes: Lifetimes,
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").finish_non_exhaustive()
    }
}

impl Keyring {
    pub(super) fn new(store: TokenKeys) -> Self {
        Self(Arc::new(Inner {
            store,
            keys: ArcSwap::default(),
            looked: Mutex::default(),
            lifetimes: Lifetimes::default(),
        }))
    }

    /// Loads the keys; makes one when the newest has signed long enough, drops those that are over.
    ///
    /// # Errors
    ///
    /// When the registry does not answer; the keys stay as they were.
    pub async fn refresh(&self) -> Result<(), Unavailable> {
        let Inner {
            store, lifetimes, ..
        } = &*self.0;
        let mut listed = store.list().await?;
        if is_due(&ages(&listed), lifetimes)
            && let Some(key) = generate()
        {
            store.add(&key, lifetimes.signs).await?;
            listed = store.list().await?;
        }
        let over: Vec<String> = listed
            .iter()
            .filter(|key| key.age > lifetimes.known)
            .map(|key| key.id.clone())
            .collect();
        if !over.is_empty() {
            store.remove(&over).await?;
            listed.retain(|key| !over.contains(&key.id));
        }
        let keys = listed.iter().filter_map(load).collect();
        self.0.keys.store(Arc::new(keys));
        *self.0.looked.lock() = Some(Instant::now());
        Ok(())
    }

    /// Keeps the keys up until stopped.
    pub async fn run(self, stop: CancellationToken) {
        while stop
            .run_until_cancelled(tokio::time::sleep(PERIOD))
            .await
            .is_some()
        {
            if let Err(error) = self.refresh().await {
                tracing::warn!(%error, "cannot look at the keys of service tokens");
            }
        }
    }

    /// Looks at the registry, unless somebody did a moment ago: unknown keys can be made up by anybody.
    pub(super) async fn refresh_now_and_then(&self) -> Result<(), Unavailable> {
        {
            let mut looked = self.0.looked.lock();
            if looked.is_some_and(|looked| looked.elapsed() < LEAST_PAUSE) {
                return Ok(());
            }
            *looked = Some(Instant::now());
        }
        self.refresh().await
    }

    pub(super) fn sign(&self, claims: &Claims) -> Result<String, Error> {
        let keys = self.0.keys.load();
        let ages: Vec<Duration> = keys.iter().map(|key| key.age).collect();
        let key = signer(&ages, &self.0.lifetimes).and_then(|at| keys.get(at));
        let key = key.ok_or(Error::NoKey)?;
        let header = Header {
            kid: Some(key.id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        encode(&header, claims, &key.signs).map_err(Error::Sign)
    }

    /// Verifies the signature and nothing else.
    pub(super) fn open(&self, token: &str) -> Result<Claims, Refusal> {
        let header = decode_header(token).map_err(|_| Refusal::Malformed)?;
        if header.alg != Algorithm::ES256 {
            return Err(Refusal::Signature);
        }
        let id = header.kid.ok_or(Refusal::UnknownKey)?;
        let keys = self.0.keys.load();
        let key = keys.iter().find(|key| key.id == id);
        let key = key.ok_or(Refusal::UnknownKey)?;
        // Times and audience are judged in `Claims::check`, by the hub's clock.
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        decode::<Claims>(token, &key.verifies, &validation)
            .map(|data| data.claims)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => Refusal::Signature,
                _ => Refusal::Malformed,
            })
    }
}

fn ages(keys: &[TokenKey]) -> Vec<Duration> {
    keys.iter().map(|key| key.age).collect()
}

/// Whether a new key is to be made; `ages` are the newest first.
fn is_due(ages: &[Duration], lifetimes: &Lifetimes) -> bool {
    ages.first().is_none_or(|age| *age >= lifetimes.signs)
}

/// Which key signs: the newest that every replica has; at the very start there is but one.
fn signer(ages: &[Duration], lifetimes: &Lifetimes) -> Option<usize> {
    let settled = ages.iter().position(|age| *age >= lifetimes.settle);
    settled.or_else(|| ages.len().checked_sub(1))
}

fn generate() -> Option<TokenKey> {
    use sha2::Digest as _;
    let made = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok()?;
    let document = made.to_pkcs8v1().ok()?;
    let digest = sha2::Sha256::digest(made.public_key().as_ref());
    Some(TokenKey {
        id: digest[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
        private_key_pkcs8: document.as_ref().to_vec(),
        age: Duration::ZERO,
    })
}

/// A stored key, ready for use. One that does not load is as good as unknown.
fn load(key: &TokenKey) -> Option<Key> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.private_key_pkcs8)
        .inspect_err(|_| tracing::error!(key = key.id, "a key of service tokens is damaged"))
        .ok()?;
    Some(Key {
        id: key.id.clone(),
        age: key.age,
        signs: EncodingKey::from_ec_der(&key.private_key_pkcs8),
        verifies: DecodingKey::from_ec_der(pair.public_key().as_ref()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_once_everybody_has_it_and_until_the_next_has_settled() {
        let lifetimes = Lifetimes::default();
        let (day, minute) = (Duration::from_secs(86_400), Duration::from_secs(60));
        assert!(is_due(&[], &lifetimes) && is_due(&[30 * day], &lifetimes));
        assert!(!is_due(&[minute, 30 * day], &lifetimes));
        assert_eq!(signer(&[], &lifetimes), None);
        assert_eq!(signer(&[Duration::ZERO], &lifetimes), Some(0));
        assert_eq!(signer(&[minute, 30 * day], &lifetimes), Some(1));
        assert_eq!(signer(&[10 * minute, 30 * day], &lifetimes), Some(0));
        // What the last moment of a key signed for the longest life is known to its end.
        assert!(lifetimes.known >= lifetimes.signs + MOST_LIFE);
    }

    #[test]
    fn a_made_key_loads() {
        let key = generate().unwrap();
        assert_eq!(key.id.len(), 32);
        assert!(load(&key).is_some());
        let damaged = TokenKey {
            private_key_pkcs8: vec![1, 2, 3],
            ..key
        };
        assert!(load(&damaged).is_none());
    }
}
