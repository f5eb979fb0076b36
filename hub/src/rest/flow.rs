//! How much is done at once, and for whom.
//!
//! ```text
//!   request ─► lane (read, change, watch) ─► a free place? ─► go
//!                                            no ─► the user's own queue ─► places go round the users
//!                                                  full, or too long ─► 429, Retry-After
//! ```
//!
//! One user's storm fills that user's queue and nobody else's: whoever comes next waits for one place, not for the
//! storm. Who is one user is [`Tenant`]'s to say; `system:masters` is exempt. A place is for work, not for waiting for a client:
//! a request's body has been read before it gets one. Agents do not come through here: they have a port of their own.

mod fair;

use std::{sync::Arc, time::Duration};

use koinon_machinery::ApiError;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use self::fair::{Arrival, Fair};
use super::{reviews, tenant::Tenant};
use crate::authz::Attributes;

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Explanations under way: each looks at a whole fleet, and at a past one through the change log.
const EXPLANATIONS: usize = 2;
/// Of one user's explanations, how many wait for their turn.
const EXPLANATIONS_WAITING: usize = 8;
/// When the client may try again.
const RETRY_SECONDS: u32 = 1;

/// Most requests under way, of each sort.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Reads, as kube-apiserver's `--max-requests-inflight`.
    pub reads: usize,
    /// Changes, as `--max-mutating-requests-inflight`.
    pub changes: usize,
    /// Watches.
    pub watches: usize,
    /// Watches of one user.
    pub watches_per_user: usize,
    /// Requests of one user that wait for their turn, for each of the first two.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            reads: 400,
            changes: 200,
            watches: 16_384,
            watches_per_user: 2_048,
            queue: 128,
        }
    }
}

/// The lanes. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    reads: Lane,
    changes: Lane,
    watches: Lane,
    explanations: Lane,
}

#[derive(Clone, Debug)]
struct Lane(Arc<Mutex<Fair<oneshot::Sender<Place>>>>);

/// A place in a lane; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// `None` for who is exempt, and once it was handed on.
    lane: Option<(Lane, Arc<str>)>,
}

impl Flow {
    pub(super) fn new(limits: Limits) -> Self {
        let lane = |places, queue, per_user| {
            Lane(Arc::new(Mutex::new(Fair::new(places, queue, per_user))))
        };
        Self {
            reads: lane(limits.reads, limits.queue, half(limits.reads)),
            changes: lane(limits.changes, limits.queue, half(limits.changes)),
            watches: lane(limits.watches, 0, limits.watches_per_user),
            explanations: lane(EXPLANATIONS, EXPLANATIONS_WAITING, half(EXPLANATIONS)),
        }
    }

    /// Waits for a turn to explain a placement, beside the place that the request has: nobody is exempt from it.
    ///
    /// # Errors
    ///
    /// As [`Self::enter`].
    pub(super) async fn explain(&self, tenant: &Tenant) -> Result<Place, ApiError> {
        self.explanations.enter(&tenant.key).await
    }

    /// Waits for a place.
    ///
    /// # Errors
    ///
    /// 429 when too many of the tenant's requests wait already, or this one did for too long.
    pub(super) async fn enter(
        &self,
        tenant: &Tenant,
        asked: &Attributes,
    ) -> Result<Place, ApiError> {
        if tenant.exempt {
            return Ok(Place::exempt());
        }
        let lane = match asked.verb.as_str() {
            "watch" => &self.watches,
            "get" | "list" | "head" | "options" => &self.reads,
            // A question is a create that changes nothing.
            _ if reviews::is_one(asked) => &self.reads,
            _ => &self.changes,
        };
        lane.enter(&tenant.key).await
    }
}

impl Place {
    /// What takes none.
    pub(super) fn exempt() -> Self {
        Self { lane: None }
    }
}

impl Lane {
    async fn enter(&self, name: &Arc<str>) -> Result<Place, ApiError> {
        let turn = {
            let (sender, turn) = oneshot::channel();
            let waits = |waiting: &oneshot::Sender<Place>| !waiting.is_closed();
            match self.0.lock().arrive(name, sender, waits) {
                Arrival::Go => {
                    return Ok(Place {
                        lane: Some((self.clone(), Arc::clone(name))),
                    });
                }
                Arrival::Refused => return Err(too_many()),
                Arrival::Waits => turn,
            }
        };
        match tokio::time::timeout(PATIENCE, turn).await {
            Ok(Ok(place)) => Ok(place),
            // The sender of one who gave up is skipped when its turn comes.
            _ => Err(too_many()),
        }
    }
}

/// One tenant never has more than this: the next who comes finds a place without waiting for anything to end.
fn half(places: usize) -> usize {
    places.div_ceil(2)
}

fn too_many() -> ApiError {
    ApiError::too_many_requests("too many requests, please try again later", RETRY_SECONDS)
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((lane, user)) = self.lane.take() else {
            return;
        };
        // Whoever gave up does not take the place; then it is the next one's.
        let mut leaving = user;
        loop {
            let next = lane.0.lock().leave(&leaving);
            let Some((next, sender)) = next else { return };
            let place = Place {
                lane: Some((lane.clone(), Arc::clone(&next))),
            };
            match sender.send(place) {
                Ok(()) => return,
                Err(mut refused) => {
                    refused.lane = None;
                    leaving = next;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{MASTERS, User};

    fn flow() -> Flow {
        Flow::new(Limits {
            reads: 2,
            changes: 1,
            watches: 3,
            watches_per_user: 2,
            queue: 2,
        })
    }

    fn user(name: &str) -> Tenant {
        Tenant::of(&User {
            name: name.to_owned(),
            ..User::default()
        })
    }

    fn asked(verb: &str) -> Attributes {
        Attributes::of(verb, "", "configmaps")
    }

    #[tokio::test]
    async fn a_storm_waits_in_its_own_queue_and_is_told_to_come_back() {
        let flow = flow();
        let first = flow.enter(&user("storm"), &asked("create")).await.unwrap();
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let flow = flow.clone();
                tokio::spawn(async move { flow.enter(&user("storm"), &asked("create")).await })
            })
            .collect();
        while flow.changes.0.lock().waiting("storm") < 2 {
            tokio::task::yield_now().await;
        }
        let refused = flow
            .enter(&user("storm"), &asked("create"))
            .await
            .unwrap_err();
        assert_eq!(refused.code, 429);
        assert_eq!(refused.details.unwrap().retry_after_seconds, Some(1));
        // Another user still gets in line, and before the storm's second one in it.
        let other = {
            let flow = flow.clone();
            tokio::spawn(async move { flow.enter(&user("quiet"), &asked("create")).await })
        };
        while flow.changes.0.lock().waiting("quiet") < 1 {
            tokio::task::yield_now().await;
        }
        // Reads are a lane of their own.
        flow.enter(&user("storm"), &asked("get")).await.unwrap();
        drop(first);
        let mut waiting = waiting.into_iter();
        let place = waiting.next().unwrap().await.unwrap().unwrap();
        drop(place);
        let place = other.await.unwrap().unwrap();
        drop(place);
        waiting.next().unwrap().await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn one_tenant_has_half_of_the_places_and_questions_are_reads() {
        let flow = Flow::new(Limits {
            changes: 4,
            queue: 0,
            ..Limits::default()
        });
        let enter = |name: &str| {
            let (flow, user) = (flow.clone(), user(name));
            async move { flow.enter(&user, &asked("create")).await }
        };
        let _held = (enter("a").await.unwrap(), enter("a").await.unwrap());
        assert_eq!(enter("a").await.unwrap_err().code, 429);
        enter("b").await.unwrap();
        let question = Attributes::of("create", "authorization.k8s.io", "selfsubjectaccessreviews");
        flow.enter(&user("a"), &question).await.unwrap();
    }

    #[tokio::test]
    async fn who_gave_up_does_not_keep_a_place() {
        let flow = flow();
        let first = flow.enter(&user("a"), &asked("create")).await.unwrap();
        let gone = {
            let flow = flow.clone();
            tokio::spawn(async move { flow.enter(&user("b"), &asked("create")).await })
        };
        while flow.changes.0.lock().waiting("b") < 1 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.is_err());
        drop(first);
        flow.enter(&user("c"), &asked("create")).await.unwrap();
    }

    #[tokio::test]
    async fn watches_are_counted_for_each_user_and_masters_are_not() {
        let flow = flow();
        let one = flow.enter(&user("a"), &asked("watch")).await.unwrap();
        let _two = flow.enter(&user("a"), &asked("watch")).await.unwrap();
        assert_eq!(
            flow.enter(&user("a"), &asked("watch"))
                .await
                .unwrap_err()
                .code,
            429
        );
        let _three = flow.enter(&user("b"), &asked("watch")).await.unwrap();
        assert_eq!(
            flow.enter(&user("c"), &asked("watch"))
                .await
                .unwrap_err()
                .code,
            429
        );
        let master = Tenant::of(&User {
            name: "root".to_owned(),
            groups: vec![MASTERS.to_owned()],
            ..User::default()
        });
        flow.enter(&master, &asked("watch")).await.unwrap();
        drop(one);
        flow.enter(&user("c"), &asked("watch")).await.unwrap();
    }
}
