//! Placements and what they hold, and the indexes that lead to them.

use std::sync::Arc;

use super::{Engine, Id, Mark, Placed, Slot, Spec};
use crate::placement::{Misconfigured, Name, Packing, Policy, Prioritizer, score::Span};

impl Engine {
    /// Puts a placement, which is marked if it is not the same as before. `packing` is what it reserves, also when its
    /// policy is a mistake; while nobody can tell, what it reserved before.
    pub fn put_placement(
        &mut self,
        name: &Name,
        cluster_sets: &[String],
        policy: &Arc<Result<Policy, Misconfigured>>,
        packing: Option<&Packing>,
    ) {
        let id = self.id(name);
        let place = self.placed[id as usize].as_ref();
        let before = place.and_then(|placed| placed.spec.clone());
        if let Some(before) = before {
            // Of a mistake, the packing may change although the mistake is the same.
            let reserves = place.and_then(|placed| placed.packing.as_ref());
            let same_packing = reserves == packing || policy.is_err() && packing.is_none();
            if before.cluster_sets == cluster_sets
                && (Arc::ptr_eq(&before.policy, policy) || before.policy == *policy)
                && same_packing
            {
                return;
            }
            self.drop_spec(id, &before);
        }
        self.inputs += 1;
        let mut mark = Mark::Full;
        if let Some(placed) = &mut self.placed[id as usize] {
            // It was decided before this engine saw it.
            if placed.spec.is_none() && !placed.held.is_empty() {
                mark = Mark::Check;
            }
        }
        if policy.is_ok() || packing.is_some() {
            self.set_packing(id, packing);
        }
        if self.requests(id) {
            self.packing.insert(name.clone(), id);
        } else {
            self.packing.remove(name);
        }
        let (mut columns, mut groups) = (Vec::new(), Vec::new());
        if let Ok(policy) = policy.as_ref() {
            for predicate in &policy.predicates {
                columns.push(self.columns.acquire(predicate, &self.fleet));
            }
            for (_, predicate) in &policy.groups.named {
                groups.push(self.columns.acquire(predicate, &self.fleet));
            }
            for weighted in &policy.prioritizers {
                if let Prioritizer::AddOn { resource, .. } = &weighted.prioritizer {
                    self.scored.entry(resource.clone()).or_default().insert(id);
                }
                self.keep_order(&weighted.prioritizer);
            }
            if policy.looks_at_objects() {
                self.looking.insert(id);
            }
            if policy.compares_candidates() {
                self.comparing.insert(id);
            }
        }
        if let Some(placed) = &mut self.placed[id as usize] {
            placed.spans = [Span::NOTHING; 2];
            placed.spec = Some(Arc::new(Spec {
                cluster_sets: cluster_sets.to_vec(),
                policy: Arc::clone(policy),
                columns,
                groups,
            }));
        }
        self.mark_id(id, mark);
    }

    pub fn remove_placement(&mut self, name: &Name) {
        let Some(&id) = self.by_name.get(name) else {
            return;
        };
        self.inputs += 1;
        let spec = self.placed[id as usize]
            .as_mut()
            .and_then(|placed| placed.spec.take());
        if let Some(spec) = spec {
            self.drop_spec(id, &spec);
        }
        self.packing.remove(name);
        if let Some(placed) = &mut self.placed[id as usize] {
            placed.mark = None;
        }
        self.set_packing(id, None);
        self.forget_placed(id);
    }

    /// A placement is not to be decided for the time being; what it holds, and reserves there, stays.
    pub fn suspend_placement(&mut self, name: &Name, packing: Option<&Packing>) {
        self.remove_placement(name);
        self.inputs += 1;
        if packing.is_some() {
            let id = self.id(name);
            self.set_packing(id, packing);
            self.packing.insert(name.clone(), id);
        }
    }

    /// Takes a spec out of the indexes.
    fn drop_spec(&mut self, id: Id, spec: &Spec) {
        for number in spec.columns.iter().chain(&spec.groups) {
            self.columns.release(*number);
        }
        let Ok(policy) = spec.policy.as_ref() else {
            return;
        };
        for weighted in &policy.prioritizers {
            self.leave_order(&weighted.prioritizer);
            if let Prioritizer::AddOn { resource, .. } = &weighted.prioritizer
                && let Some(scored) = self.scored.get_mut(resource)
            {
                scored.remove(&id);
                if scored.is_empty() {
                    self.scored.remove(resource);
                }
            }
        }
        self.looking.remove(&id);
        self.comparing.remove(&id);
    }

    /// Whether a placement reserves something.
    fn requests(&self, id: Id) -> bool {
        let placed = self.placed[id as usize].as_ref();
        placed.is_some_and(|placed| placed.packing.is_some())
    }

    /// There may be more room than before.
    pub(super) fn mark_packing(&mut self) {
        let packing: Vec<Id> = self.packing.values().copied().collect();
        for id in packing {
            self.mark_id(id, Mark::Full);
        }
    }

    /// Changes what the decisions of a placement hold; a cluster may be in two of them.
    pub fn hold<'a>(
        &mut self,
        name: &Name,
        more: impl IntoIterator<Item = &'a str>,
        fewer: impl IntoIterator<Item = &'a str>,
    ) {
        let id = self.id(name);
        let more: Vec<Slot> = more.into_iter().map(|name| self.fleet.slot(name)).collect();
        let fewer = fewer.into_iter().filter_map(|name| self.fleet.find(name));
        let fewer: Vec<Slot> = fewer.collect();
        let Some(placed) = &mut self.placed[id as usize] else {
            return;
        };
        let mut arrived = more.clone();
        arrived.retain(|slot| !placed.holds(*slot));
        arrived.sort_unstable();
        arrived.dedup();
        placed.held.extend(&more);
        placed.held.sort_unstable();
        let mut gone = Vec::new();
        for slot in fewer {
            if let Ok(at) = placed.held.binary_search(&slot) {
                placed.held.remove(at);
                gone.push(slot);
            }
        }
        placed.turns += 1;
        self.decisions += 1;
        self.counts.add(&more);
        self.counts.remove(&gone);
        let mut left = gone;
        left.retain(|slot| !placed.holds(*slot));
        left.sort_unstable();
        left.dedup();
        self.move_room(id, &arrived, &left);
        self.holders.extend(more.into_iter().map(|slot| (slot, id)));
        for slot in left {
            self.holders.remove(&(slot, id));
            if self.packing.contains_key(name) {
                self.room_was_made(slot);
            }
            self.forget(slot);
        }
        self.forget_placed(id);
    }

    fn id(&mut self, name: &Name) -> Id {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let placed = Some(Placed {
            name: name.clone(),
            spec: None,
            held: Vec::new(),
            mark: None,
            packing: None,
            spans: [Span::NOTHING; 2],
            recheck_at: None,
            overrun: false,
            turns: 0,
        });
        let id = match self.free.pop() {
            Some(id) => {
                self.placed[id as usize] = placed;
                id
            }
            None => {
                self.placed.push(placed);
                Id::try_from(self.placed.len() - 1).expect("fewer than 2³² placements")
            }
        };
        self.by_name.insert(name.clone(), id);
        id
    }

    /// Forgets a placement that neither exists nor holds anything.
    fn forget_placed(&mut self, id: Id) {
        let place = &mut self.placed[id as usize];
        if let Some(placed) = place
            && placed.spec.is_none()
            && placed.held.is_empty()
            && placed.packing.is_none()
        {
            self.by_name.remove(&placed.name);
            self.fresh.retain(|one| *one != id);
            *place = None;
            self.free.push(id);
        }
    }
}
