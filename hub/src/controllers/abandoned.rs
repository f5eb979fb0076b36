//! Names of clusters that went without taking leave.
//!
//! Registration frees a name before it lets the cluster's object go. Who takes the finalizers off by hand gets there first, and nobody
//! else could have the name then. An enrolment makes the object before it binds the name, so a name that is bound while there
//! is no object is nobody's, not somebody's who is about to come.

use std::sync::Arc;

use futures::future::BoxFuture;
use jiff::Timestamp;
use koinon_machinery::ApiError;
use koinon_store::{Event, Identities, Release, Unavailable};

use super::{
    Context,
    keyed::{Again, Keyed},
    queue::Queue,
    resource,
};
use crate::registry::unavailable;

#[derive(Debug)]
pub(super) struct Abandoned;

/// Where such a name may be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Look {
    /// A cluster of this name has just gone.
    At(String),
    /// Clusters may have gone while nobody led.
    Everywhere,
}

impl Keyed for Abandoned {
    type Key = Look;
    type Plan = Look;

    fn resources(&self) -> Vec<Arc<str>> {
        vec![resource::CLUSTERS.into()]
    }

    fn reset(&mut self) {}

    fn observe(&mut self, event: &Event, queue: &mut Queue<Look>) {
        if event.after.is_none() {
            queue.add(Look::At(event.latest().key.name.to_string()));
        }
    }

    fn mark_all(&self, queue: &mut Queue<Look>) {
        queue.add(Look::Everywhere);
    }

    fn decide(&mut self, look: &Look, _: Timestamp) -> Option<Look> {
        Some(look.clone())
    }

    fn carry_out<'a>(look: Look, context: &'a Context) -> BoxFuture<'a, Result<Again, ApiError>> {
        Box::pin(async move {
            let client = &context.client;
            let identities = client.store().identities();
            let names = candidates(look, &identities).await;
            for name in names.map_err(|error| unavailable(&error))? {
                // Who made a cluster of that name in the meantime keeps it: that is looked up together with the release.
                let released =
                    identities.release(resource::CLUSTERS, &name, None, client.writer().epoch);
                if released.await.map_err(|error| unavailable(&error))? == Release::Freed {
                    tracing::info!(cluster = name, "the name of a cluster that is gone is free");
                }
            }
            Ok(Again::OnChange)
        })
    }
}

/// Names to try. As a rule there are none, and the writer lock is left alone.
async fn candidates(look: Look, identities: &Identities) -> Result<Vec<String>, Unavailable> {
    match look {
        Look::At(name) => {
            let bound = identities.get(&name).await?;
            Ok(bound.map(|bound| bound.cluster).into_iter().collect())
        }
        Look::Everywhere => identities.abandoned(resource::CLUSTERS).await,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::time::Instant;

    use super::{
        super::fixtures::{gone, put, stored},
        *,
    };

    #[test]
    fn a_look_follows_a_cluster_that_went_and_the_beginning_of_a_term() {
        let (mut abandoned, mut queue) = (Abandoned, Queue::default());
        let cluster = |name| {
            stored(
                resource::CLUSTERS,
                "",
                name,
                json!({}),
                json!({}),
                Value::Null,
            )
        };
        abandoned.observe(&put(cluster("east")), &mut queue);
        abandoned.observe(&gone(cluster("west")), &mut queue);
        assert_eq!(queue.take(Instant::now()), [Look::At("west".to_owned())]);
        abandoned.reset();
        abandoned.mark_all(&mut queue);
        assert_eq!(queue.take(Instant::now()), [Look::Everywhere]);
    }
}
