//! What the claims of a token come to. Pure; the rules are those of kube-apiserver's OIDC authenticator.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

/// How much the issuer's clock may be ahead of ours, in seconds; for `nbf` alone, as go-oidc has it.
const SKEW: i64 = 300;

/// Whose tokens are taken, and what their claims mean: `--oidc-*`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer's URL, `https://…`, exactly as it stands in `iss`.
    pub issuer: String,
    /// The audience that tokens must have.
    pub client_id: String,
    /// The claim that is the user name.
    pub username_claim: String,
    /// Before every user name; `None` is `<issuer>#`, unless the claim is `email`.
    pub username_prefix: Option<String>,
    /// The claim that lists the groups.
    pub groups_claim: Option<String>,
    /// Before every group.
    pub groups_prefix: String,
    /// Claims that must have these values.
    pub required_claims: BTreeMap<String, String>,
    /// Signature algorithms that are taken.
    pub algorithms: Vec<Algorithm>,
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no token.
    #[error("oidc: malformed token")]
    Malformed,
    /// Signed in a way that is not taken; `none` is never.
    #[error("oidc: the signing algorithm is not allowed")]
    Algorithm,
    /// The issuer has no such key, or cannot be asked.
    #[error("oidc: the signing key is not known")]
    UnknownKey,
    /// The signature is wrong.
    #[error("oidc: failed to verify signature")]
    Signature,
    /// Another's.
    #[error("oidc: the token is of another issuer")]
    Issuer,
    /// For somebody else.
    #[error("oidc: the token is for another audience")]
    Audience,
    /// Its time is over, or it has no end.
    #[error("oidc: token is expired")]
    Expired,
    /// Its time has not come.
    #[error("oidc: token is not valid yet")]
    NotYet,
    /// A claim that is needed is missing or of the wrong type.
    #[error("oidc: the claim {0:?} is missing or of the wrong type")]
    Claim(String),
    /// A required claim has another value.
    #[error("oidc: required claim {0} value does not match")]
    Required(String),
    /// The e-mail address is the name, and nobody has verified it.
    #[error("oidc: email not verified")]
    EmailNotVerified,
    /// The name or a group would be one that only the hub gives.
    #[error("oidc: the name {0:?} is reserved")]
    Reserved(String),
}

/// Who a token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user name, with its prefix.
    pub name: String,
    /// The groups, with theirs.
    pub groups: Vec<String>,
    /// When the token ends, in seconds since the epoch.
    pub ends: i64,
}

impl Settings {
    /// Judges the claims of a token whose signature is right.
    ///
    /// # Errors
    ///
    /// Why it is refused.
    pub fn judge(&self, claims: &Map<String, Value>, now: Timestamp) -> Result<Identity, Refusal> {
        let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
        if text("iss") != Some(self.issuer.as_str()) {
            return Err(Refusal::Issuer);
        }
        if !audiences(claims).contains(&self.client_id.as_str()) {
            return Err(Refusal::Audience);
        }
        let now = now.as_second();
        let ends = seconds(claims, "exp")?
            .filter(|end| now < *end)
            .ok_or(Refusal::Expired)?;
        if seconds(claims, "nbf")?.is_some_and(|begin| begin > now.saturating_add(SKEW)) {
            return Err(Refusal::NotYet);
        }
        for (claim, value) in &self.required_claims {
            if text(claim) != Some(value.as_str()) {
                return Err(Refusal::Required(claim.clone()));
            }
        }
        let name = text(&self.username_claim)
            .filter(|name| !name.is_empty())
            .ok_or_else(|| Refusal::Claim(self.username_claim.clone()))?;
        if self.username_claim == "email"
            && claims
                .get("email_verified")
                .is_some_and(|verified| verified != true)
        {
            return Err(Refusal::EmailNotVerified);
        }
        let name = format!("{}{name}", self.name_prefix());
        let groups = self.groups(claims)?;
        // Without a prefix an issuer could name our admins and service accounts.
        let reserved = |name: &&String| name.starts_with("system:");
        if let Some(name) = std::iter::once(&name).chain(&groups).find(reserved) {
            return Err(Refusal::Reserved(name.clone()));
        }
        Ok(Identity { name, groups, ends })
    }

    fn name_prefix(&self) -> String {
        match &self.username_prefix {
            Some(prefix) if prefix == "-" => String::new(),
            Some(prefix) => prefix.clone(),
            None if self.username_claim == "email" => String::new(),
            None => format!("{}#", self.issuer),
        }
    }

    fn groups(&self, claims: &Map<String, Value>) -> Result<Vec<String>, Refusal> {
        let Some(claim) = &self.groups_claim else {
            return Ok(Vec::new());
        };
        let wrong = || Refusal::Claim(claim.clone());
        let listed: Vec<&str> = match claims.get(claim) {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(list)) => list
                .iter()
                .map(|group| group.as_str().ok_or_else(wrong))
                .collect::<Result<_, _>>()?,
            Some(_) => return Err(wrong()),
        };
        Ok(listed
            .into_iter()
            .map(|group| format!("{}{group}", self.groups_prefix))
            .collect())
    }
}

/// The audiences of a token; one may stand without a list.
pub(super) fn audiences(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A time; JSON numbers with a fraction are allowed by RFC 7519.
fn seconds(claims: &Map<String, Value>, claim: &str) -> Result<Option<i64>, Refusal> {
    let Some(value) = claims.get(claim) else {
        return Ok(None);
    };
    let whole = value.as_i64().or_else(|| {
        let float = value.as_f64().filter(|float| float.abs() < 1e15)?;
        Some(float as i64)
    });
    whole
        .map(Some)
        .ok_or_else(|| Refusal::Claim(claim.to_owned()))
}

#[cfg(test)]
mod tests;
