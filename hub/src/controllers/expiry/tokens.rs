//! `JoinToken`s go 30 days after they have expired, as Kubernetes' token cleaner removes bootstrap tokens.
//!
//! Not at once: a cluster that spent a use in time may wait for an admin, or enrol again with the same key, and the token knows that
//! it did. After that it takes a new token.

use std::time::Duration;

use jiff::Timestamp;
use koinon_api::JoinToken;
use koinon_store::Stored;

use super::{
    super::{decode, resource},
    Ends,
};

const KEPT: Duration = Duration::from_secs(30 * 86_400);

/// [`Ends`] of join tokens.
#[derive(Debug)]
pub(in super::super) struct Tokens;

impl Ends for Tokens {
    type Object = JoinToken;
    const RESOURCE: &'static str = resource::TOKENS;

    fn at(stored: &Stored) -> Option<Timestamp> {
        let token = decode::typed::<JoinToken>(stored)?;
        if token.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let expires = token.spec.expires_at.0;
        Some(expires.saturating_add(KEPT).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{
        super::{
            super::fixtures::{put, stored},
            Expiry, Keyed as _, Queue,
        },
        *,
    };

    #[test]
    fn a_token_goes_thirty_days_after_it_expired_and_not_if_it_was_prolonged() {
        let (mut expiry, mut queue) = (Expiry::<Tokens>::default(), Queue::default());
        let key = (String::new(), "t".to_owned());
        let goes = |expiry: &mut Expiry<Tokens>, at: i64| {
            let at = Timestamp::from_second(at).unwrap();
            expiry.decide(&key, at).is_some()
        };
        let mut say = |expiry: &mut Expiry<Tokens>, metadata: Value, expires: &str| {
            let body = json!({ "spec": { "expiresAt": expires, "uses": 3 } });
            let token = stored(resource::TOKENS, "", "t", metadata, body, json!({}));
            expiry.observe(&put(token), &mut queue);
        };
        const MONTH: i64 = 30 * 86_400;
        say(&mut expiry, json!({}), "1970-01-01T00:10:00Z");
        assert!(!goes(&mut expiry, 600) && !goes(&mut expiry, MONTH + 599));
        assert!(goes(&mut expiry, MONTH + 600));
        say(&mut expiry, json!({}), "1970-02-01T00:00:00Z");
        assert!(!goes(&mut expiry, MONTH + 600));
        let leaving = json!({ "deletionTimestamp": "1970-01-01T00:00:01Z", "finalizers": ["x"] });
        say(&mut expiry, leaving, "1970-01-01T00:10:00Z");
        assert!(!goes(&mut expiry, 10 * MONTH));
    }
}
