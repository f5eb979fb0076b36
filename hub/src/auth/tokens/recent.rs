//! Tokens whose signature was good a moment ago.
//!
//! Only the signature is taken as read. Whether a token has expired, whom it is for, and whether its account is still there
//! is asked each time, so a token ends when it would without this; a key that is taken away counts [`KEPT`] longer.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use super::Claims;

/// As kube-apiserver keeps the answers of its authenticators.
const KEPT: Duration = Duration::from_secs(10);
/// With more tokens than this at once each is looked at anew.
const MOST: usize = 4096;

/// The digest of a token.
pub(super) type Id = [u8; 32];

/// Names a token without keeping it.
pub(super) fn id(token: &str) -> Id {
    Sha256::digest(token).into()
}

/// What good tokens say, by their digest.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<HashMap<Id, Good>>);

#[derive(Debug)]
struct Good {
    since: Instant,
    claims: Arc<Claims>,
}

impl Good {
    fn counts(&self) -> bool {
        self.since.elapsed() < KEPT
    }
}

impl Recent {
    pub(super) fn get(&self, id: &Id) -> Option<Arc<Claims>> {
        let all = self.0.lock();
        let good = all.get(id).filter(|good| good.counts())?;
        Some(Arc::clone(&good.claims))
    }

    pub(super) fn put(&self, id: Id, claims: Arc<Claims>) {
        let mut all = self.0.lock();
        if all.len() >= MOST {
            all.retain(|_, good| good.counts());
        }
        if all.len() < MOST {
            let since = Instant::now();
            all.insert(id, Good { since, claims });
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Arc<Claims> {
        let account = super::super::Account {
            namespace: "a",
            name: "b",
            uid: "c",
        };
        let now = jiff::Timestamp::UNIX_EPOCH;
        Arc::new(Claims::new(
            "me",
            &account,
            vec!["me".to_owned()],
            now,
            KEPT,
            None,
        ))
    }

    #[tokio::test(start_paused = true)]
    async fn a_signature_is_good_for_a_while() {
        let recent = Recent::default();
        recent.put(id("one"), claims());
        assert!(recent.get(&id("one")).is_some() && recent.get(&id("two")).is_none());
        tokio::time::advance(KEPT).await;
        assert!(recent.get(&id("one")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn no_number_of_tokens_fills_the_memory() {
        let recent = Recent::default();
        for number in 0..2 * MOST {
            recent.put(id(&number.to_string()), claims());
        }
        assert_eq!(recent.len(), MOST);
        tokio::time::advance(KEPT).await;
        recent.put(id("next"), claims());
        assert_eq!(recent.len(), 1, "what is old makes room");
    }
}
