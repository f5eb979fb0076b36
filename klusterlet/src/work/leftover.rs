//! Records of works that this agent applied and that are not held any more: of an earlier hub, or of a desired state that
//! somebody deleted.
//!
//! OCM's agent deletes them, with their objects, after an hour. Here they are counted and told to the hub, and wait for an order:
//! that nobody speaks of them is no reason to delete (P3). Meanwhile an object that a held work has too is let go of, so that this
//! work alone decides about it; a record that owns nothing any more is removed; one that somebody deletes in the cluster lets go
//! of its objects, as all records do. Records of other agents are left alone.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use koinon_api::{applied::AppliedManifestResourceMeta as Applied, work::ManifestWorkSpec};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    Engine, executor,
    planned::place,
    record::{self, Naming, Record},
    removal::{self, Leaving, Quota, Removal},
    remove,
    unmade::Unmade,
    update::references,
};
use crate::{
    backoff::{Backoff, spread},
    clock,
    cluster::{Cluster, Error, Result, known::APPLIED_WORKS},
    desired::Holding,
    telemetry::Chain,
    unmanaged::{Disposal, Doomed, Unknown},
};

/// Objects that are looked at at the same time.
const TOGETHER: usize = 8;

/// How often it is seen whether something's grace is over.
const TICK: Duration = Duration::from_secs(30);

/// Lets go of what a record owns, whose work nobody knows.
async fn let_go(cluster: &Cluster, owned: &[Applied], record: &Record) -> Result<()> {
    let none = BTreeMap::new();
    removal::let_go(cluster, owned, &record.owner, &record.planned, &none).await
}

/// What a record is to this agent. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Of a work that is held.
    Managed,
    /// Of another agent.
    Foreign,
    /// Nobody's, and it was this agent's.
    Left,
}

fn standing(value: &Value, naming: &Naming, is_held: impl Fn(&str) -> bool) -> Standing {
    let text = |pointer: &str| {
        let text = value.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_default()
    };
    let work = text("/spec/manifestWorkName");
    if text("/spec/agentID") != naming.agent_id || naming.agent_id.is_empty() {
        Standing::Foreign
    } else if text("/metadata/name") == naming.of(work) && is_held(work) {
        Standing::Managed
    } else {
        Standing::Left
    }
}

/// Looks after leftovers.
#[derive(Debug)]
pub struct Leftovers {
    engine: Engine,
    holding: Holding,
    grace: Option<Duration>,
    /// What is remembered of those that are being disposed of.
    removals: BTreeMap<String, Removal>,
}

impl Leftovers {
    pub(super) fn new(engine: Engine, holding: Holding, grace: Option<Duration>) -> Self {
        Self {
            engine,
            holding,
            grace,
            removals: BTreeMap::new(),
        }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let shared = self.engine.shared.clone();
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let (mut look_at, mut step_at) = (Instant::now(), Instant::now());
        loop {
            let next = look_at.min(step_at);
            let woken = tokio::select! {
                () = stop.cancelled() => return,
                () = shared.unmanaged.records_wanted() => true,
                () = sleep_until(next) => false,
            };
            if let Some(grace) = self.grace {
                shared.unmanaged.evict(grace, clock::unix());
            }
            let mut going = false;
            if let Some(outcome) = stop.run_until_cancelled(self.dispose()).await {
                going = outcome;
            }
            let now = Instant::now();
            if woken || going || now >= look_at {
                look_at = now + spread(shared.resync);
                match stop.run_until_cancelled(self.look()).await {
                    None => return,
                    Some(Ok(found)) => {
                        shared.unmanaged.set_records(found);
                        if !going {
                            backoff.reset();
                        }
                    }
                    Some(Err(error)) => {
                        warn!(error = %Chain(&error), "records of former works could not be looked for");
                        look_at = now + backoff.next_delay();
                    }
                }
            }
            let tick = if self.grace.is_some() {
                TICK
            } else {
                spread(shared.resync)
            };
            let going = !shared.unmanaged.doomed_records().is_empty();
            step_at = Instant::now() + if going { backoff.next_delay() } else { tick };
        }
    }

    fn is_held(&self, work: &str) -> bool {
        self.holding.get(work).is_some() || self.engine.is_at_work(work)
    }

    /// Looks for leftovers, and tidies up those that need no order.
    async fn look(&self) -> Result<BTreeMap<String, Unknown>> {
        let shared = &self.engine.shared;
        let (cluster, naming) = (&shared.cluster, &shared.naming);
        let prefix = naming.of("");
        let names = Mutex::new(Vec::new());
        let candidate = |object: &Value| {
            let name = object.pointer("/metadata/name").and_then(Value::as_str);
            let name = name.unwrap_or_default();
            if !name
                .strip_prefix(&prefix)
                .is_some_and(|work| self.is_held(work))
            {
                names.lock().push(name.to_owned());
            }
            false
        };
        cluster.find_metadata(&APPLIED_WORKS, "", candidate).await?;
        let mut found = BTreeMap::new();
        for name in names.into_inner() {
            let Some(value) = cluster.get(&APPLIED_WORKS, "", &name).await? else {
                continue;
            };
            if standing(&value, naming, |work| self.is_held(work)) == Standing::Left
                && let Some(unknown) = self.tidy(record::read(&value, false)).await?
            {
                found.insert(name, unknown);
            }
        }
        debug!(found = found.len(), "looked for records of former works");
        Ok(found)
    }

    /// Lets go of what others have, and of a record with nothing; returns what waits for an order.
    async fn tidy(&self, mut record: Record) -> Result<Option<Unknown>> {
        let cluster = &self.engine.shared.cluster;
        let name = record.owner.name.clone();
        if record.deleting {
            warn!(record = %name, "the record of a former work was deleted; its objects stay");
            let owned = record.owned();
            let_go(cluster, &owned, &record).await?;
            record::release(cluster, &record).await?;
            return Ok(None);
        }
        let owned = record.owned();
        let (mut waiting, mut looks, mut objects) = (owned.iter(), FuturesUnordered::new(), 0);
        loop {
            while looks.len() < TOGETHER
                && let Some(object) = waiting.next()
            {
                looks.push(self.owns_alone(object, &record));
            }
            let Some(look) = looks.next().await else {
                break;
            };
            objects += usize::from(look?);
        }
        drop(looks);
        // What was complete must not run again if the hub asks for it once more.
        if objects == 0 && record.completed.is_empty() {
            info!(record = %name, "nothing is left of a former work; its record goes");
            record::delete(cluster, &record).await?;
            record::release(cluster, &record).await?;
            return Ok(None);
        }
        let since = match record.evicting.clone() {
            Some(since) => since,
            None => {
                let now: Time = clock::now();
                record::set_evicting(cluster, &mut record, Some(now.clone())).await?;
                now
            }
        };
        let own = self.engine.shared.naming.of("");
        Ok(Some(Unknown {
            uid: record.owner.uid,
            since: since.0.as_second(),
            objects,
            evictable: !name.starts_with(&own),
        }))
    }

    /// Says whether a leftover still owns an object; an object that a held work owns too is let go of.
    async fn owns_alone(&self, object: &Applied, record: &Record) -> Result<bool> {
        let cluster = &self.engine.shared.cluster;
        let by = record.planned.served(&place(object));
        let live = match remove::read(cluster, object, by).await {
            Ok(live) => live,
            // Nobody serves its kind just now: it may well be there.
            Err(error) if error.is_not_found() => return Ok(true),
            // Nor may the agent look: the other leftovers need not wait for that.
            Err(Error::Refused { code: 403, .. }) => return Ok(true),
            Err(error) => return Err(error),
        };
        let Some((_, live)) = live.filter(|(_, live)| record.owner.owns(live)) else {
            return Ok(false);
        };
        let prefix = self.engine.shared.naming.of("");
        let held = references(&live).iter().any(|owner| {
            let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or_default();
            let work = text("name").strip_prefix(&prefix);
            text("kind") == APPLIED_WORKS.kind
                && text("uid") != record.owner.uid
                && work.is_some_and(|work| self.is_held(work))
        });
        if held {
            remove::let_go(cluster, object, &record.owner, by).await?;
        }
        Ok(!held)
    }

    /// Takes a step with each leftover that is to be disposed of; says whether there was one.
    async fn dispose(&mut self) -> bool {
        let doomed = self.engine.shared.unmanaged.doomed_records();
        self.removals.retain(|name, _| doomed.contains_key(name));
        for (name, one) in &doomed {
            let why = match self.end(name, one).await {
                Ok(why) => why,
                Err(error) => {
                    warn!(record = %name, error = %Chain(&error), "a former work could not be disposed of");
                    Some(error.to_string())
                }
            };
            self.engine.shared.unmanaged.hold(name, why);
        }
        !doomed.is_empty()
    }

    /// Takes a step towards the end of a leftover; says why it waits, if it does.
    async fn end(&mut self, name: &str, doomed: &Doomed) -> Result<Option<String>> {
        let shared = self.engine.shared.clone();
        let value = shared.cluster.get(&APPLIED_WORKS, "", name).await?;
        let Some(value) = value.filter(|value| {
            standing(value, &shared.naming, |work| self.is_held(work)) == Standing::Left
        }) else {
            return Ok(None);
        };
        let record = record::read(&value, false);
        if record.owner.uid != doomed.uid || record.deleting {
            return Ok(None);
        }
        let mut why = None;
        match doomed.disposal {
            Disposal::Orphan => {
                let owned = record.owned();
                let_go(&shared.cluster, &owned, &record).await?;
            }
            Disposal::Delete => {
                let judge = shared.policies.known().await;
                // Nobody knows the spec any more; what it orphaned has no owner reference, so it is left alone.
                let (spec, directives) = (ManifestWorkSpec::default(), BTreeMap::new());
                let unmade = Unmade::default();
                let leaving = Leaving {
                    cluster: &shared.cluster,
                    deleter: executor::deleter(&shared.cluster, shared.executing, None),
                    owner: &record.owner,
                    planned: &record.planned,
                    spec: &spec,
                    directives: &directives,
                    policies: &judge,
                    unmade: &unmade,
                    keep: &[],
                    claims: &shared.claims,
                    quota: Quota {
                        guard: &shared.guard,
                        work: name,
                        told: doomed.told,
                        kept: 0,
                    },
                };
                let removal = self.removals.entry(name.to_owned()).or_default();
                let progress = Box::pin(removal.step(record.owned(), &leaving)).await;
                why = progress.why().map(|delayed| delayed.message());
                if let Some(error) = progress.trouble {
                    return Err(error);
                }
                if !progress.pending.is_empty() {
                    return Ok(why);
                }
            }
        }
        record::delete(&shared.cluster, &record).await?;
        record::release(&shared.cluster, &record).await?;
        shared.guard.content(name);
        shared.guard.applied(name, 0);
        info!(record = %name, disposal = ?doomed.disposal, "disposed of a former work");
        Ok(why)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_records_of_this_very_agent_without_a_held_work_are_leftovers() {
        let naming = Naming {
            hub_hash: "now".into(),
            agent_id: "here/agent".into(),
            process: "p".into(),
        };
        let record = |name: &str, hub: &str, agent: &str, work: &str| json!({"metadata": {"name": name}, "spec": {"hubHash": hub, "agentID": agent, "manifestWorkName": work}});
        for (value, expected) in [
            (
                record("now-held", "now", "here/agent", "held"),
                Standing::Managed,
            ),
            (
                record("now-gone", "now", "here/agent", "gone"),
                Standing::Left,
            ),
            // Of an earlier hub, also if a work of that name is held.
            (
                record("old-held", "old", "here/agent", "held"),
                Standing::Left,
            ),
            (
                record("old-gone", "old", "here/agent", "gone"),
                Standing::Left,
            ),
            // OCM's own, another installation, and something that says nothing.
            (
                record("old-gone", "old", "0b9d-uid", "gone"),
                Standing::Foreign,
            ),
            (
                record("old-gone", "old", "there/agent", "gone"),
                Standing::Foreign,
            ),
            (json!({"metadata": {"name": "now-gone"}}), Standing::Foreign),
            // A name that pretends.
            (record("old-x", "now", "here/agent", "held"), Standing::Left),
        ] {
            assert_eq!(
                standing(&value, &naming, |work| work == "held"),
                expected,
                "{value}"
            );
        }
    }
}
