//! Service tokens: what programs show instead of a certificate.
//!
//! ```text
//!   TokenRequest ─► claims ─► signed by the keyring ─► JWT
//!   JWT ─► signature (keyring) ─► claims (pure) ─► does the account still exist? (watch cache) ─► User
//! ```
//!
//! As Kubernetes' bound service account tokens: a token names its account with its uid, so that deleting the account, or
//! the Secret that the token is bound to, ends it; it expires; its audience is checked. Nothing of a token is stored.

mod claims;
mod keyring;
mod recent;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use koinon_store::{Key, Store, Unavailable};

use self::recent::Recent;
pub use self::{
    claims::{Bound, Claims, Refusal},
    keyring::{Keyring, Lifetimes},
};
use super::{AUTHENTICATED, RestsOn, User, service_account};
use crate::clock;

/// What a token is issued for, when the request does not say how long.
pub const DEFAULT_LIFE: Duration = Duration::from_secs(3600);
/// The shortest life that may be asked for, as in Kubernetes.
pub const LEAST_LIFE: Duration = Duration::from_secs(600);
/// The longest life given; who asks for more gets this. Keys stay known that long after they have last signed.
pub const MOST_LIFE: Duration = Duration::from_secs(90 * 86_400);

/// Longest token that is looked at.
const MOST_BYTES: usize = 16 << 10;

/// Whose token is asked for.
#[derive(Clone, Debug)]
pub struct Account<'a> {
    /// The account's namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its uid.
    pub uid: &'a str,
}

/// A token and its end.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token; whoever has it is the account.
    pub token: String,
    /// When it expires.
    pub expires: Timestamp,
}

/// Issues and verifies service tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tokens {
    store: Store,
    keys: Keyring,
    recent: Arc<Recent>,
    issuer: Arc<str>,
}

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not one of ours, or not good any more.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The registry does not say.
    #[error("the registry does not answer")]
    Unavailable(#[from] Unavailable),
}

impl Tokens {
    /// Tokens of the hub whose CA has this fingerprint: all replicas of a hub name the same issuer.
    pub fn new(store: Store, ca_fingerprint: &str) -> Self {
        Self {
            keys: Keyring::new(store.token_keys()),
            recent: Arc::default(),
            issuer: format!("https://koinon.dev/hub/{ca_fingerprint}").into(),
            store,
        }
    }

    /// Who signs, and the audience that a token has unless another is asked for.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The keys, to be loaded at start and kept up.
    pub fn keys(&self) -> &Keyring {
        &self.keys
    }

    /// Issues a token.
    ///
    /// # Errors
    ///
    /// When there is no key to sign with: the registry was away since the start.
    pub fn issue(
        &self,
        account: &Account<'_>,
        audiences: &[String],
        life: Duration,
        bound: Option<Bound>,
    ) -> Result<Issued, keyring::Error> {
        let audiences = if audiences.is_empty() {
            vec![self.issuer.to_string()]
        } else {
            audiences.to_vec()
        };
        let now = clock::now();
        let claims = Claims::new(
            &self.issuer,
            account,
            audiences,
            now,
            life.min(MOST_LIFE),
            bound,
        );
        let expires = Timestamp::from_second(claims.exp).unwrap_or(now);
        let token = self.keys.sign(&claims)?;
        Ok(Issued { token, expires })
    }

    /// Whether a text claims to be a token of this hub; says nothing of its truth.
    pub fn claims_to_be_ours(&self, token: &str) -> bool {
        token.len() <= MOST_BYTES
            && claims::issuer_of(token).is_some_and(|issuer| *issuer == *self.issuer)
    }

    /// Whose token it is, and for which of `audiences` (empty: this hub's own) it is good.
    ///
    /// # Errors
    ///
    /// When it is not good.
    pub async fn verify(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(User, Vec<String>), Error> {
        if token.len() > MOST_BYTES {
            return Err(Refusal::Malformed.into());
        }
        let claims = self.open(token).await?;
        let own = [self.issuer.to_string()];
        let wanted = if audiences.is_empty() {
            &own[..]
        } else {
            audiences
        };
        let audiences = claims.check(&self.issuer, wanted, clock::now())?;
        let subject = claims.subject();
        let kind = match &subject.bound {
            Some(bound) if bound.is_secret() => Some((&*bound.name, &*bound.uid, "secrets")),
            _ => None,
        };
        let account = (subject.name, subject.uid, "serviceaccounts");
        for (name, uid, resource) in std::iter::once(account).chain(kind) {
            self.exists(resource, subject.namespace, name, uid).await?;
        }
        let mut groups = service_account::groups(subject.namespace).to_vec();
        groups.push(AUTHENTICATED.to_owned());
        let id = format!("JTI={}", claims.jti);
        let user = User {
            name: service_account::user_name(subject.namespace, subject.name),
            uid: subject.uid.to_owned(),
            groups,
            extra: [(
                "authentication.kubernetes.io/credential-id".to_owned(),
                vec![id],
            )]
            .into(),
            cluster: None,
            rests_on: RestsOn {
                ends: Some(claims.exp),
                secret: kind.map(|(name, uid, _)| (name.to_owned(), uid.to_owned())),
            },
        };
        Ok((user, audiences))
    }

    /// What a token with a good signature says. A program shows the same one with each request, and a signature costs more than
    /// all else that is looked at.
    async fn open(&self, token: &str) -> Result<Arc<Claims>, Error> {
        let id = recent::id(token);
        if let Some(claims) = self.recent.get(&id) {
            return Ok(claims);
        }
        let claims = match self.keys.open(token) {
            Err(Refusal::UnknownKey) => {
                // Another replica may have made the key a moment ago.
                self.keys.refresh_now_and_then().await?;
                self.keys.open(token)?
            }
            opened => opened?,
        };
        let claims = Arc::new(claims);
        self.recent.put(id, Arc::clone(&claims));
        Ok(claims)
    }

    /// Whether the account of a user who came with a token is still there, and what the token is bound to, as far as this replica
    /// knows. Of all others it is.
    pub fn is_alive(&self, user: &User) -> bool {
        let Some((namespace, name)) =
            service_account::split(&user.name).filter(|_| !user.uid.is_empty())
        else {
            return true;
        };
        let account = ("serviceaccounts", name, user.uid.as_str());
        let secret = user.rests_on.secret.as_ref();
        let secret = secret.map(|(name, uid)| ("secrets", name.as_str(), uid.as_str()));
        std::iter::once(account)
            .chain(secret)
            .all(|(resource, name, uid)| {
                let stored = self.store.get(&Key::new(resource, namespace, name));
                stored.is_some_and(|stored| stored.uid.to_string() == uid && !stored.is_deleting())
            })
    }

    /// Refuses when an object is not there, or is another of its name, or is on its way out.
    async fn exists(
        &self,
        resource: &str,
        namespace: &str,
        name: &str,
        uid: &str,
    ) -> Result<(), Error> {
        let key = Key::new(resource, namespace, name);
        let mut stored = self.store.get(&key);
        if stored.is_none() {
            // It may be younger than this replica's cache.
            self.store.fresh().await?;
            stored = self.store.get(&key);
        }
        match stored {
            Some(stored) if stored.uid.to_string() == uid && !stored.is_deleting() => Ok(()),
            _ => Err(Refusal::Gone.into()),
        }
    }
}
