//! What a service token says, and whether that is good now. Pure.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Account;
use crate::auth::service_account;

/// Clocks of replicas differ by less than this. It widens no life, only the start.
const SKEW: i64 = 10;

/// Why a token is refused. Never told to who shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no token.
    #[error("it is no signed token")]
    Malformed,
    /// It was signed by a key that the hub does not have, or has no more.
    #[error("it was signed by an unknown key")]
    UnknownKey,
    /// The signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// Another hub's.
    #[error("it is of another issuer")]
    Issuer,
    /// Meant for somebody else.
    #[error("it is for another audience")]
    Audience,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet")]
    NotYet,
    /// Subject and account do not agree.
    #[error("it contradicts itself")]
    Contradiction,
    /// The account, or what it is bound to, is gone.
    #[error("its account, or what it is bound to, is gone")]
    Gone,
}

/// The claims of a token, as Kubernetes' bound service account tokens have them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Audiences.
    pub aud: Vec<String>,
    /// End, seconds since the epoch.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// Issuer.
    pub iss: String,
    /// Its own id, for audit.
    pub jti: String,
    /// Begin.
    pub nbf: i64,
    /// The account's user name.
    pub sub: String,
    /// The account itself.
    #[serde(rename = "kubernetes.io")]
    private: Private,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Private {
    namespace: String,
    serviceaccount: Reference,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<Reference>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Reference {
    name: String,
    uid: String,
}

/// What a token ends with, beside its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The kind; only `Secret` is known.
    pub kind: String,
    /// The object's name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl Bound {
    pub(super) fn is_secret(&self) -> bool {
        self.kind == "Secret"
    }
}

/// Whose token it is.
#[derive(Debug)]
pub(super) struct Subject<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
    pub(super) bound: Option<Bound>,
}

impl Claims {
    pub(super) fn new(
        issuer: &str,
        account: &Account<'_>,
        audiences: Vec<String>,
        now: Timestamp,
        life: Duration,
        bound: Option<Bound>,
    ) -> Self {
        let now = now.as_second();
        let life = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        Self {
            aud: audiences,
            exp: now.saturating_add(life),
            iat: now,
            iss: issuer.to_owned(),
            jti: Uuid::new_v4().to_string(),
            nbf: now,
            sub: service_account::user_name(account.namespace, account.name),
            private: Private {
                namespace: account.namespace.to_owned(),
                serviceaccount: Reference {
                    name: account.name.to_owned(),
                    uid: account.uid.to_owned(),
                },
                secret: bound.filter(Bound::is_secret).map(|bound| Reference {
                    name: bound.name,
                    uid: bound.uid,
                }),
            },
        }
    }

    /// Which of `audiences` the token is good for now.
    ///
    /// # Errors
    ///
    /// When it is good for none, or not now, or not from `issuer`.
    pub fn check(
        &self,
        issuer: &str,
        audiences: &[String],
        now: Timestamp,
    ) -> Result<Vec<String>, Refusal> {
        if self.iss != issuer {
            return Err(Refusal::Issuer);
        }
        let now = now.as_second();
        if now >= self.exp {
            return Err(Refusal::Expired);
        }
        if now.saturating_add(SKEW) < self.nbf || now.saturating_add(SKEW) < self.iat {
            return Err(Refusal::NotYet);
        }
        let Private {
            namespace,
            serviceaccount,
            ..
        } = &self.private;
        if self.sub != service_account::user_name(namespace, &serviceaccount.name)
            || serviceaccount.uid.is_empty()
        {
            return Err(Refusal::Contradiction);
        }
        let common: Vec<String> = audiences
            .iter()
            .filter(|audience| self.aud.contains(audience))
            .cloned()
            .collect();
        if common.is_empty() {
            return Err(Refusal::Audience);
        }
        Ok(common)
    }

    pub(super) fn subject(&self) -> Subject<'_> {
        let Private {
            namespace,
            serviceaccount,
            secret,
        } = &self.private;
        Subject {
            namespace,
            name: &serviceaccount.name,
            uid: &serviceaccount.uid,
            bound: secret.as_ref().map(|secret| Bound {
                kind: "Secret".to_owned(),
                name: secret.name.clone(),
                uid: secret.uid.clone(),
            }),
        }
    }
}

/// The issuer that a token names, whoever signed it.
pub(in crate::auth) fn issuer_of(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        iss: String,
    }
    let mut parts = token.split('.');
    let (_, payload, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
        return None;
    };
    let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
    Some(serde_json::from_slice::<Named>(&payload).ok()?.iss)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each claim broken in turn: only the whole one passes.
    #[test]
    fn a_token_is_good_only_with_every_claim_right() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let account = Account {
            namespace: "ns",
            name: "robot",
            uid: "u1",
        };
        let life = Duration::from_secs(600);
        let good = Claims::new(
            "hub",
            &account,
            vec!["hub".to_owned(), "x".to_owned()],
            now,
            life,
            None,
        );
        let check = |claims: &Claims| claims.check("hub", &["hub".to_owned(), "y".to_owned()], now);
        assert_eq!(check(&good), Ok(vec!["hub".to_owned()]));
        type Break = (fn(&mut Claims), Refusal);
        let breaks: [Break; 9] = [
            (|claims| claims.iss = "other".into(), Refusal::Issuer),
            (|claims| claims.iss = String::new(), Refusal::Issuer),
            (|claims| claims.aud = vec!["x".into()], Refusal::Audience),
            (|claims| claims.aud.clear(), Refusal::Audience),
            (|claims| claims.exp = 1_000_000, Refusal::Expired),
            (|claims| claims.nbf = 1_000_000 + SKEW + 1, Refusal::NotYet),
            (|claims| claims.iat = 1_000_000 + SKEW + 1, Refusal::NotYet),
            (
                |claims| claims.sub = "system:serviceaccount:ns:admin".into(),
                Refusal::Contradiction,
            ),
            (
                |claims| claims.private.serviceaccount.uid.clear(),
                Refusal::Contradiction,
            ),
        ];
        for (at, (spoil, refusal)) in breaks.into_iter().enumerate() {
            let mut claims = good.clone();
            spoil(&mut claims);
            assert_eq!(check(&claims), Err(refusal), "{at}");
        }
    }
}
