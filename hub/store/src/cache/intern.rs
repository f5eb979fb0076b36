//! One copy of equal bodies: a template placed on a thousand clusters is in memory once.

use std::collections::{HashMap, hash_map::Entry};

use bytes::Bytes;

use crate::{key::Digest, stored::Stored};

/// Below this a body costs less than its entry in the table.
const WORTH_SHARING: usize = 256;
const FIRST_SWEEP: usize = 1024;

/// Bodies in use, by digest.
#[derive(Debug)]
pub(super) struct Bodies {
    by_digest: HashMap<Digest, Bytes>,
    sweep_at: usize,
}

impl Default for Bodies {
    fn default() -> Self {
        Self {
            by_digest: HashMap::new(),
            sweep_at: FIRST_SWEEP,
        }
    }
}

impl Bodies {
    /// Lets `stored` use the copy that is there already, or makes its body that copy.
    pub(super) fn share(&mut self, stored: &mut Stored) {
        if stored.body.len() < WORTH_SHARING {
            return;
        }
        match self.by_digest.entry(stored.digest) {
            Entry::Occupied(entry) => stored.body = entry.get().clone(),
            Entry::Vacant(entry) => {
                entry.insert(stored.body.clone());
            }
        }
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Bytes> {
        self.by_digest.get(digest).cloned()
    }

    /// Forgets bodies that nobody else holds. Costs a pass over the table, so it waits until the table has doubled.
    pub(super) fn sweep(&mut self) {
        if self.by_digest.len() < self.sweep_at {
            return;
        }
        self.by_digest.retain(|_, body| !body.is_unique());
        self.sweep_at = FIRST_SWEEP.max(self.by_digest.len() * 2);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_digest.len()
    }
}
