//! What may be done for a new work before it is stored: its record is made, naming what it will own.
//!
//! Storing and recording take one round trip to the member each. Neither needs the other, and objects need both.

use tracing::debug;

use super::{
    super::{
        plan,
        planned::Planned,
        record::{self, Expect},
    },
    Actor,
};
use crate::desired::Held;

/// Bodies larger than this are read once only, when they are applied.
const MOST: usize = 64 * 1024;

impl Actor {
    /// Makes the record of a work that is being stored. Whatever goes wrong is found out when the work is applied.
    pub(super) async fn prepare(&mut self, held: &Held) {
        let shared = self.shared.clone();
        let _permit = shared.permits.acquire().await;
        if held.body.len() <= MOST && self.record.is_none() {
            // Boxed now, not before: of a burst nearly all wait for a permit.
            Box::pin(self.record(held)).await;
        }
    }

    async fn record(&mut self, held: &Held) {
        let shared = self.shared.clone();
        let Ok(spec) = held.spec() else {
            return;
        };
        let mut planned = Planned::default();
        for manifest in plan::manifests(&spec) {
            let Ok(object) = &manifest.object else {
                continue;
            };
            // What is brought by a definition in this work is planned when its turn comes.
            if let Ok(resource) = shared
                .mapper
                .resolve(&object.api_version, &object.kind)
                .await
            {
                let served = shared.mapper.served(&resource);
                planned.insert(&plan::recorded(object, &resource), served);
            }
        }
        let made = record::ensure(
            &shared.cluster,
            &shared.naming,
            &self.name,
            &held.labels,
            Expect::Nothing,
            &planned,
        );
        match made.await {
            Ok(record) if record.created => self.adopt(record),
            Ok(_) => {}
            Err(error) => debug!(work = %self.name, %error, "a record was not made in advance"),
        }
    }

    /// The record was just made for this work.
    pub(super) fn is_prepared(&self) -> bool {
        self.current.is_none() && self.record.as_ref().is_some_and(|record| record.created)
    }
}
