//! From what a request shows to who it is from.

use http::{HeaderMap, header};

use super::{Oidc, Tokens, User};
use crate::tls::Peer;

/// Tells who a request is from. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Authenticator {
    tokens: Option<Tokens>,
    oidc: Option<Oidc>,
}

/// What was shown is no credential of anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthenticated;

impl Authenticator {
    /// Takes certificates, and tokens of these kinds.
    pub fn new(tokens: Option<Tokens>, oidc: Option<Oidc>) -> Self {
        Self { tokens, oidc }
    }

    /// The service tokens, if the hub issues any.
    pub fn tokens(&self) -> Option<&Tokens> {
        self.tokens.as_ref()
    }

    /// Who makes a request. A certificate goes before a token, as in kube-apiserver; who shows nothing is anonymous, who
    /// shows something wrong is nobody.
    ///
    /// # Errors
    ///
    /// For a credential that names nobody.
    pub async fn request(
        &self,
        peer: Option<&Peer>,
        headers: &HeaderMap,
    ) -> Result<User, Unauthenticated> {
        if let Some(certificate) = peer.and_then(|peer| peer.certificate.as_ref()) {
            // It was good when the connection began, which may be long ago.
            let user = User::from_certificate(certificate).filter(|user| !user.is_over());
            return user.ok_or(Unauthenticated);
        }
        let Some(header) = headers.get(header::AUTHORIZATION) else {
            return Ok(User::anonymous());
        };
        let token = bearer(header.as_bytes()).ok_or(Unauthenticated)?;
        self.token(token, &[])
            .await
            .map(|(user, _)| user)
            .map_err(|why| {
                // Anybody can make any number of these.
                tracing::debug!(%why, "token refused");
                Unauthenticated
            })
    }

    /// Whose token it is, and for which of `audiences` (empty: the hub's own) it is good.
    ///
    /// # Errors
    ///
    /// Why it is not good; for the log and for who may ask, not for who shows it.
    pub async fn token(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<(User, Vec<String>), String> {
        // The issuer says who is to judge; a token is never tried with one after the other.
        if let Some(tokens) = self
            .tokens
            .as_ref()
            .filter(|ours| ours.claims_to_be_ours(token))
        {
            let verified = tokens.verify(token, audiences).await;
            return verified.map_err(|error| error.to_string());
        }
        match &self.oidc {
            Some(oidc) => oidc
                .verify(token, audiences)
                .await
                .map_err(|error| error.to_string()),
            None => Err("invalid bearer token".to_owned()),
        }
    }
}

fn bearer(header: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Certificate;

    #[tokio::test]
    async fn a_certificate_is_good_until_it_ends() {
        let now = crate::clock::now().as_second();
        for (not_after, good) in [(now + 3600, true), (now, false), (now - 3600, false)] {
            let certificate = Certificate {
                not_after,
                ..crate::auth::tests::certificate("ann", "staff", None)
            };
            let peer = Peer {
                address: ([127, 0, 0, 1], 1).into(),
                certificate: Some(certificate),
            };
            let found = Authenticator::default()
                .request(Some(&peer), &HeaderMap::new())
                .await;
            assert_eq!(found.is_ok(), good, "{not_after}");
        }
    }

    #[test]
    fn only_a_bearer_token_is_one() {
        assert_eq!(bearer(b"Bearer x"), Some("x"));
        assert_eq!(bearer(b"bearer  x "), Some("x"));
        for bad in [&b"Bearer "[..], b"Bearer", b"Basic x", b"", b"Bearer \xff"] {
            assert_eq!(bearer(bad), None, "{bad:?}");
        }
    }
}
