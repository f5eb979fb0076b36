//! From the index to what is to be written for one replica set.

use std::collections::{BTreeMap, BTreeSet};

use koinon_api::{
    labels::label,
    names::is_dns_subdomain,
    workset::{CascadeDeletionPolicy, RolloutType},
};

use super::{
    index::{Index, Name, Set},
    name::work_name,
    summary::{PlacementFacts, Summary, Verified},
};

/// What is to be done for one replica set, stage by stage: a work that replaces another comes before the removal.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) add_finalizer: bool,
    pub(super) apply: Vec<Apply>,
    pub(super) remove: Vec<Remove>,
    pub(super) summary: Option<Summary>,
    pub(super) remove_finalizer: bool,
}

/// A work to be created, or to be brought to the template.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Apply {
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) placement: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) availability: Option<String>,
    pub(super) exists: bool,
}

/// A work to be deleted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Remove {
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) uid: String,
}

impl Index {
    /// Decides one replica set; `None` when it does not exist.
    pub(super) fn decide(&mut self, name: &Name) -> Option<Plan> {
        let set = self.sets.get(name)?.clone();
        if set.deleting {
            return Some(self.tear_down(name, &set));
        }
        let mut plan = Plan {
            add_finalizer: !set.held,
            ..Plan::default()
        };
        let owner = format!("{}.{}", name.0, name.1);
        if !is_label_value(&owner) {
            plan.summary = Some(Summary::unnameable(&owner));
            return Some(plan);
        }
        let referred: BTreeSet<&str> = set
            .refs
            .iter()
            .map(|(placement, _)| placement.as_str())
            .collect();
        let strays = self.works_of(name).filter(|(_, work)| {
            !work.deleting
                && work
                    .placement
                    .as_deref()
                    .is_none_or(|placement| !referred.contains(placement))
        });
        plan.remove = strays.map(|(at, work)| remove(at, work)).collect();

        let mut summary = Summary::default();
        let mut placed = BTreeSet::new();
        for (placement, strategy) in &set.refs {
            if !placed.insert(placement) {
                continue;
            }
            if *strategy != RolloutType::All {
                summary.unsupported_strategy = Some(*strategy);
            }
            if self.placement(&name.0, placement).is_none() {
                // As in OCM, the placements that follow wait for this one.
                summary.verified = Verified::NotFound;
                break;
            }
            let facts = self.place(name, &set, placement, &owner, &mut plan);
            summary.placements.push(facts);
        }
        plan.summary = Some(summary);
        Some(plan)
    }

    /// Plans the works of one placement.
    fn place(
        &mut self,
        name: &Name,
        set: &Set,
        placement: &str,
        owner: &str,
        plan: &mut Plan,
    ) -> PlacementFacts {
        let mut facts = PlacementFacts::new(placement);
        let Some(chosen) = self.placement(&name.0, placement) else {
            return facts;
        };
        facts.groups = chosen.groups();
        facts.selected = chosen.selected;
        // Without any decision the placement has not spoken yet: that takes nothing away.
        let decided = chosen.clusters().map(|all| {
            all.into_iter()
                .map(str::to_owned)
                .collect::<BTreeSet<String>>()
        });
        let (is_partial, is_going) = (chosen.is_partial(), chosen.is_going);
        let labels = labels(set, owner, placement);

        let mut served: BTreeSet<String> = BTreeSet::new();
        let works: Vec<(Name, super::index::Work)> = self
            .works_of(name)
            .filter(|(_, work)| work.placement.as_deref() == Some(placement))
            .map(|(at, work)| (at.clone(), work.clone()))
            .collect();
        for (at, work) in works {
            let wanted = is_partial
                || decided
                    .as_ref()
                    .is_none_or(|decided| decided.contains(&at.0));
            if work.deleting {
                // Its successor has the same name and waits until it is gone.
                served.insert(at.0);
                continue;
            }
            if !wanted || served.contains(&at.0) {
                plan.remove.push(remove(&at, &work));
                continue;
            }
            facts.total += 1;
            if self.is_current(name, &set.template, &work.stored) {
                facts.count(work.report);
                // A set that says nothing leaves what was said of a work by hand.
                let means = set.availability.is_none() || work.availability == set.availability;
                if *work.stored.labels != labels || !means {
                    plan.apply.push(apply(&at, placement, &labels, set));
                }
            } else {
                plan.apply.push(apply(&at, placement, &labels, set));
            }
            served.insert(at.0);
        }
        for cluster in decided
            .into_iter()
            .flatten()
            .filter(|cluster| !served.contains(cluster))
        {
            if is_going || self.is_leaving(&cluster) {
                continue;
            }
            facts.total += 1;
            let work = self.free_name(name, set, placement, &cluster);
            plan.apply.push(Apply {
                exists: false,
                ..apply(&(cluster, work), placement, &labels, set)
            });
        }
        facts
    }

    fn free_name(&self, name: &Name, set: &Set, placement: &str, cluster: &str) -> String {
        let mut attempt = 0;
        loop {
            let work = work_name(&name.1, &set.uid, placement, cluster, attempt);
            if !self.works.contains_key(&(cluster.to_owned(), work.clone())) {
                return work;
            }
            attempt += 1;
        }
    }

    fn tear_down(&self, name: &Name, set: &Set) -> Plan {
        let left = self.works_of(name).count();
        let live = self.works_of(name).filter(|(_, work)| !work.deleting);
        let done = set.cascade == CascadeDeletionPolicy::Background || left == 0;
        Plan {
            remove: live.map(|(at, work)| remove(at, work)).collect(),
            remove_finalizer: set.held && done,
            ..Plan::default()
        }
    }
}

fn labels(set: &Set, owner: &str, placement: &str) -> BTreeMap<String, String> {
    let mut labels = set.labels.clone();
    labels.insert(label::REPLICA_SET.to_owned(), owner.to_owned());
    labels.insert(
        label::REPLICA_SET_PLACEMENT.to_owned(),
        placement.to_owned(),
    );
    labels
}

fn apply(at: &Name, placement: &str, labels: &BTreeMap<String, String>, set: &Set) -> Apply {
    Apply {
        cluster: at.0.clone(),
        name: at.1.clone(),
        placement: placement.to_owned(),
        labels: labels.clone(),
        availability: set.availability.clone(),
        exists: true,
    }
}

fn remove(at: &Name, work: &super::index::Work) -> Remove {
    Remove {
        cluster: at.0.clone(),
        name: at.1.clone(),
        uid: work.stored.uid.to_string(),
    }
}

/// The parts are valid object names already: what is left to check is the length.
fn is_label_value(owner: &str) -> bool {
    owner.len() <= 63 && is_dns_subdomain(owner)
}
