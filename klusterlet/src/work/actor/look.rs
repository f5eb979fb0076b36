//! One look of an actor at its work.

use std::{collections::BTreeSet, sync::Arc};

use futures::{
    StreamExt as _,
    stream::{FuturesOrdered, FuturesUnordered},
};
use koinon_api::{labels::condition, meta};
use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    super::{
        claims::Wants,
        complete::Completed,
        fight::{self, Repair},
        pass::{self, Availability, DEFINITION_PATIENCE, Located, Pass, Slot, Stake},
        plan::{self, Manifest},
        planned::{Place, place},
        record::{self, Record},
        status::{self, End},
    },
    Actor, Failed, Scope, Trouble,
    settle::Settle,
};
use crate::{
    clock,
    cluster::{Error, ObjectKey, Served},
    desired::Held,
};

/// Manifests of one work that are applied at the same time.
const TOGETHER: usize = 8;

impl Actor {
    /// Looks at what is in scope: applies it, reports, records. False if something is left to do, other than to try again what the
    /// API server refused.
    pub(super) async fn pass(&mut self, held: &Held, scope: Scope) -> Result<bool, Trouble> {
        let shared = self.shared.clone();
        let another = |(uid, _): &(String, i64)| *uid != held.uid;
        let mut before = self.status.open();
        let deleting = meta::condition(&before.conditions, condition::DELETING).is_some();
        if self.current.as_ref().is_some_and(another) || (deleting && !held.tombstone) {
            // What was said was said of another work, or of the end of this one.
            self.status = Arc::default();
            before = self.status.open();
        }
        let newer = self
            .current
            .as_ref()
            .is_none_or(|(uid, generation)| (uid, *generation) != (&held.uid, held.generation));
        let scope = if newer || self.record.is_none() {
            Scope::Everything
        } else {
            scope
        };
        // What the work claims is told by all of its manifests.
        let whole = scope == Scope::Everything || shared.claims.is_open(held);
        let spec = held.spec_with(|ordinal| whole || self.is_due(&scope, ordinal));
        let spec = spec.map_err(|e| Trouble::Body(e.to_string()))?;
        if scope == Scope::Everything
            && !self.is_prepared()
            && !self.ensure_record(held, newer).await?
        {
            return Ok(false);
        }
        let Some(mut record) = self.record.clone() else {
            return Ok(false);
        };
        if self.overtaken.is_some() {
            shared.claims.tried(held);
            self.report(held, status::left(&before, &clock::now()));
            return Ok(true);
        }
        if newer {
            // What is asked for now may be what the others want as well.
            self.agenda.resting.clear();
            self.agenda.failing.clear();
            self.forbears = Some(Instant::now() + shared.forbearance);
            self.fights.clear();
        }
        if scope == Scope::Books {
            return self.settle(held, &spec, record, Settle::Now).await;
        }
        record.completed = record.completed.of(&held.uid);
        let manifests = plan::manifests(&spec);

        // First for the policies to be known at all: that is no change of them.
        shared.policies.known().await;
        self.policies.mark_unchanged();
        self.rbac.mark_unchanged();
        self.has_executor = spec.executor.is_some();
        let judge = shared.policies.known().await;
        let (name, wake, memory) = (self.name.clone(), self.wake.clone(), self.memory.clone());
        let (owner, completed) = (record.owner.clone(), record.completed.clone());
        let recorded = record.owned().iter().map(place).collect();
        let pass = Pass {
            judge: &judge,
            shared: &shared,
            work: &name,
            wake: &wake,
            spec: &spec,
            manifests: &manifests,
            owner: &owner,
            fresh: record.created && newer,
            completed: &completed,
            recorded: &recorded,
            memory: &memory,
            undefined: Mutex::default(),
            stalled: Mutex::default(),
            patience: Instant::now() + DEFINITION_PATIENCE,
            availability: Availability::of(&held.directives),
            glances: matches!(scope, Scope::Glance(_)),
        };
        for rank in manifests.chunk_by(|a, b| a.rank == b.rank) {
            let due = rank.iter().filter(|m| self.is_due(&scope, m.ordinal));
            let due: Vec<&Manifest> = due.collect();
            self.apply(&pass, due, &mut record, newer).await;
        }
        drop(pass);
        self.slots.retain(|ordinal, _| *ordinal < manifests.len());
        self.current = Some((held.uid.clone(), held.generation));
        if whole && !held.tombstone {
            let wants = self.wants(&manifests, &record.completed);
            shared.claims.looked(held, wants);
        }
        let frozen = record.completed.all();
        let slots = self.slots.values().map(Box::as_ref);
        let completed = record.completed.after(slots, held.generation);
        if completed != record.completed && !(completed.is_empty() && record.completed.is_empty()) {
            // Before anybody hears of it: what was said to be complete must not be applied again.
            record::set_completed(&shared.cluster, &mut record, completed).await?;
        }
        let generation = frozen.unwrap_or(held.generation);
        let outcomes = self.slots.values().map(|slot| &slot.outcome);
        let end = match record.completed.all() {
            Some(_) => End::Complete,
            None => End::Open,
        };
        let status = status::status(&before, generation, outcomes, end, &clock::now());
        self.report(held, status);
        // What is asked for after the work was complete is not done. Of a work that is deleted, and kept until somebody agrees, nothing
        // more goes than that.
        let is_over = frozen.is_some_and(|generation| generation != held.generation);
        if is_over && !held.tombstone {
            // What was applied stays known by its plan; what is not asked for any more stays.
            (self.agenda.books, self.books_since, self.agenda.drops) = (None, None, None);
            shared.guard.content(&self.name);
            self.postpone(held, None);
        }
        let settled = if is_over || held.tombstone {
            self.record = Some(record);
            Ok(true)
        } else {
            self.settle(held, &spec, record, Settle::Soon).await
        };
        self.track();
        let failed = self.slots.values().filter(|s| s.outcome.applied.is_err());
        let failed = failed.count();
        if newer {
            info!(work = %self.name, generation = held.generation, manifests = self.slots.len(), failed, "applied");
        }
        if failed > 0 && settled.is_ok() {
            shared.metrics.failed_passes.inc();
        }
        settled
    }

    /// What the work has not got hold of, and what it has without owning it.
    fn wants(&self, manifests: &[Manifest], completed: &Completed) -> Wants {
        let mut wants = Wants::default();
        let objects = manifests
            .iter()
            .filter_map(|m| Some((m.ordinal, m.object.as_ref().ok()?)));
        for (ordinal, object) in objects {
            let slot = self.slots.get(&ordinal);
            let key = slot.and_then(|slot| slot.key());
            if key.is_some_and(|key| completed.freezes(key)) {
                continue;
            }
            let stake = slot.map_or(Stake::Own, |slot| slot.stake);
            match (stake, slot.is_some_and(|slot| slot.outcome.applied.is_ok())) {
                (Stake::Look, _) | (Stake::Own, true) => {}
                (Stake::Keep, true) => wants.has(object, key),
                (Stake::Own | Stake::Keep, false) => wants.misses(object, key),
            }
        }
        wants
    }

    fn is_due(&self, scope: &Scope, ordinal: usize) -> bool {
        let Some(slot) = self.slots.get(&ordinal) else {
            return true;
        };
        let among = |keys: &BTreeSet<ObjectKey>| slot.key().is_some_and(|k| keys.contains(k));
        match scope {
            // What is left alone is left alone, until its rest is over.
            Scope::Everything => {
                let key = slot.key();
                !key.is_some_and(|key| self.agenda.resting.contains_key(key))
            }
            Scope::Touched(keys) | Scope::Glance(keys) => among(keys),
            Scope::Again(keys, failed) => {
                let again = match failed {
                    Failed::All => true,
                    Failed::These(ordinals) => ordinals.contains(&ordinal),
                };
                again && slot.outcome.applied.is_err() || among(keys)
            }
            Scope::Books => false,
        }
    }

    /// Applies manifests of one rank, several at a time, once the record names all of their objects.
    async fn apply(
        &mut self,
        pass: &Pass<'_>,
        due: Vec<&Manifest>,
        record: &mut Record,
        newer: bool,
    ) {
        let mut located = Vec::with_capacity(due.len());
        let (mut waiting, mut finding) = (due.into_iter(), FuturesOrdered::new());
        loop {
            while finding.len() < TOGETHER
                && let Some(manifest) = waiting.next()
            {
                finding.push_back(pass.locate(manifest));
            }
            match finding.next().await {
                Some((_, Ok(place))) => located.push(place),
                Some((ordinal, Err(slot))) => self.note(ordinal, *slot, newer),
                None => break,
            }
        }
        let firsts = pass::firsts(&located, (!newer).then_some(&self.slots));
        let (located, twice): (Vec<_>, Vec<_>) = located
            .into_iter()
            .zip(firsts)
            .partition(|(place, first)| place.ordinal == *first);
        for (place, first) in twice {
            let ordinal = place.ordinal;
            self.note(ordinal, place.declared_before(first), newer);
        }
        let located: Vec<_> = located.into_iter().map(|(place, _)| place).collect();
        match self.plan(&located, record).await {
            Ok(new) if new.is_empty() => {}
            Ok(new) => {
                // Also if this look does not come to its end: what the record names already is not new a second time.
                self.record = Some(record.clone());
                self.unmade.planned(new);
            }
            Err(error) => {
                for place in located {
                    let ordinal = place.ordinal;
                    self.note(ordinal, place.refused(&error), newer);
                }
                return;
            }
        }
        let (mut waiting, mut applying) = (located.into_iter(), FuturesUnordered::new());
        loop {
            while applying.len() < TOGETHER
                && let Some(place) = waiting.next()
            {
                applying.push(pass.apply(place));
            }
            let Some((ordinal, slot)) = applying.next().await else {
                return;
            };
            self.note(ordinal, slot, newer);
        }
    }

    /// Makes the record name all objects that are about to be applied; returns those that it did not name before.
    async fn plan(
        &self,
        located: &[Located<'_>],
        record: &mut Record,
    ) -> Result<Vec<Place>, Error> {
        if record.completed.all().is_some() {
            return Ok(Vec::new());
        }
        let shared = &self.shared;
        let known: BTreeSet<_> = record.applied.iter().map(place).collect();
        let missing = located.iter().filter_map(|located| {
            let (object, served) = (
                located.applied(),
                shared.mapper.served(&located.key.resource),
            );
            let place = place(&object);
            let is_noted = match served {
                Served::ByDefinition => record.planned.served(&place) == served,
                Served::Otherwise => known.contains(&place) || record.planned.covers(&place),
            };
            (!is_noted).then_some((object, served))
        });
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let mut planned = record.planned.clone();
        let mut new = Vec::new();
        for (object, served) in missing {
            let place = place(&object);
            if !known.contains(&place) && !planned.covers(&place) {
                new.push(place);
            }
            planned.insert(&object, served);
        }
        // Somebody may have taken the plan off the record, after it was followed.
        new.retain(|new| !self.unrecorded.iter().any(|made| place(made) == *new));
        record::plan(&shared.cluster, &shared.naming, record, planned).await?;
        Ok(new)
    }

    /// Takes in what came of one manifest.
    fn note(&mut self, ordinal: usize, mut slot: Slot, newer: bool) {
        self.shared
            .metrics
            .member_writes
            .inc_by(u64::from(slot.writes));
        if slot.perhaps_made
            && !self.unmade.is_empty()
            && let Some(object) = slot.applied()
        {
            self.unmade.perhaps_made(&place(&object));
        }
        let key = slot.key().cloned();
        if let Some(key) = &key
            && self.agenda.resting.contains_key(key)
            && let Some(before) = self.slots.get(&ordinal)
        {
            let fight = self.fights.get(key);
            if fight.is_some_and(|f| f.is_over(&slot.outcome.presence, slot.rival.as_ref())) {
                self.agenda.resting.insert(key.clone(), Instant::now());
            } else {
                // It still is, and still because of the same one.
                let contested = before.outcome.derived.iter();
                let contested = contested
                    .filter(|d| d.kind == condition::CONTESTED)
                    .cloned();
                slot.outcome.derived.extend(contested);
            }
        }
        if let Some(key) = &key
            && slot.writes > 0
            && !newer
        {
            self.shared.metrics.repairs.inc();
            let fight = self.fights.entry(key.clone()).or_default();
            let repair = match slot.created {
                true => Repair::Made,
                false => Repair::Changed,
            };
            if let Some(rest) = fight.repaired(repair, slot.rival.as_ref(), Instant::now()) {
                let rival = slot.rival.as_ref().map(ToString::to_string);
                let rival = rival.as_deref().unwrap_or("somebody");
                warn!(work = %self.name, resource = %key.resource.plural, namespace = %key.namespace, name = %key.name, rival, "an applied object is changed again and again; leaving it alone for a while");
                slot.outcome.derived.push(fight::contested(rival, rest));
                self.agenda
                    .resting
                    .insert(key.clone(), Instant::now() + rest);
            }
        }
        let now = Instant::now();
        let uid = self.slots.get(&ordinal).map(|before| &before.uid);
        if slot.writes > 0
            && slot.contains_others()
            && !slot.uid.is_empty()
            && uid != Some(&slot.uid)
        {
            // It was made, perhaps anew: what belongs in it need not wait any more, in whatever work it is.
            // Nobody may be listening.
            let _ = key.map(|key| self.shared.containers.send(Arc::new(key)));
        }
        match &slot.outcome.applied {
            Ok(()) => self.agenda.failing.succeeded(ordinal),
            Err(_) => self.agenda.failing.failed(ordinal, now),
        }
        self.slots.insert(ordinal, Box::new(slot));
    }
}
