//! Takes away what a work no longer wants, so that nothing goes with it that is to stay.
//!
//! First all that stays is let go of. Then what goes is deleted, in the reverse of the order in which it was applied. A
//! Namespace or a definition is last: only when nothing of the work is left in it, and nothing else is either, or somebody
//! said that it may go.

mod linger;
mod sift;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use koinon_api::{
    applied::AppliedManifestResourceMeta as Applied, labels::annotation, work::ManifestWorkSpec,
};
use serde_json::Value;
use tokio::time::Instant;

use self::{
    linger::{Going, Lingering},
    sift::{Doomed, sort_out},
};
use super::{
    claims::{Claimed, Claims, Others},
    content::{self, Container, Eyes},
    guard::{DeletionGuard, Permit},
    order,
    plan::resource_of,
    planned::{Planned, place},
    remove::{self, Outcome},
    status::Delayed,
    unmade::Unmade,
    update::Owner,
};
use crate::{
    backoff::Backoff,
    cluster::{Cluster, Error, Result, Served},
    policy::Judge,
};

/// Objects that are read at the same time.
const TOGETHER: usize = 8;

/// How long a container that has things of others in it is not looked into again, at first and at most. An approval needs no
/// look.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// What a work says of the objects that it no longer wants.
#[derive(Debug)]
pub(super) struct Leaving<'a> {
    /// The agent's own.
    pub(super) cluster: &'a Cluster,
    /// In whose name is deleted, or why in nobody's.
    pub(super) deleter: std::result::Result<Cluster, String>,
    pub(super) owner: &'a Owner,
    /// What the work's record names.
    pub(super) planned: &'a Planned,
    /// As it is now: what it orphans, or only reads, stays.
    pub(super) spec: &'a ManifestWorkSpec,
    pub(super) directives: &'a BTreeMap<String, String>,
    pub(super) policies: &'a Judge,
    /// What was planned and is certainly not there.
    pub(super) unmade: &'a Unmade,
    /// What the work still wants.
    pub(super) keep: &'a [Applied],
    pub(super) quota: Quota<'a>,
    /// What other works are about to want.
    pub(super) claims: &'a Claims,
}

/// How much may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota<'a> {
    pub(super) guard: &'a DeletionGuard,
    pub(super) work: &'a str,
    /// Revision at which the deletion was told.
    pub(super) told: i64,
    /// How many objects the work keeps.
    pub(super) kept: usize,
}

impl Quota<'_> {
    /// Asks whether so many further objects may go.
    fn ask(&self, objects: usize) -> Permit {
        self.guard.applied(self.work, self.kept + objects);
        if objects == 0 {
            self.guard.content(self.work);
            return Permit::Granted;
        }
        let now = Instant::now();
        self.guard.ask(self.work, objects, self.told, now)
    }
}

/// What came of a step.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Not gone yet.
    pub(super) pending: Vec<Applied>,
    /// Gone, or not the work's any more.
    pub(super) gone: Vec<Applied>,
    /// Why something waits that does not go by itself.
    pub(super) delayed: Option<Delayed>,
    /// Something waits because too much would go.
    mass: Option<Delayed>,
    /// What the API server said about something that could not be done.
    pub(super) trouble: Option<Error>,
    /// Pending and on its way out.
    going: Vec<Going>,
    /// What of that has been kept by others for long.
    lingers: Option<String>,
}

impl Progress {
    fn fail(&mut self, object: Applied, error: Error) {
        self.pending.push(object);
        self.trouble.get_or_insert(error);
    }

    /// Why something does not go, if that is so.
    pub(super) fn why(&self) -> Option<Delayed> {
        let trouble = self.trouble.as_ref();
        // An approval may be what a person is asked for, whatever else waits.
        let delayed = self.delayed.clone().map(|delayed| match &self.mass {
            Some(mass) if !delayed.is_mass() => delayed.and(mass),
            _ => delayed,
        });
        delayed
            .or_else(|| trouble.map(|error| Delayed::failed(error.to_string())))
            .or_else(|| self.lingers.clone().map(Delayed::lingers))
    }

    fn hold(&mut self, object: Applied, why: Delayed) {
        self.pending.push(object);
        if why.is_mass() {
            self.mass.get_or_insert_with(|| why.clone());
        }
        self.delayed.get_or_insert(why);
    }
}

/// What is remembered of the objects that are to go.
#[derive(Debug, Default)]
pub(super) struct Removal {
    /// Uids of objects that may go as far as their number is concerned: each is counted once.
    granted: BTreeSet<String>,
    /// Containers in which things of others were found.
    looks: BTreeMap<(&'static str, String), Look>,
    lingering: Lingering,
}

#[derive(Debug)]
struct Look {
    again: Instant,
    backoff: Backoff,
    why: Delayed,
}

impl Removal {
    /// Says whether any deletion was let pass.
    pub(super) fn has_begun(&self) -> bool {
        !self.granted.is_empty()
    }

    /// How long to wait at most for what is on its way out.
    pub(super) fn pause(&self) -> Duration {
        let all = u32::try_from(self.lingering.len()).unwrap_or(u32::MAX);
        (Duration::from_millis(10) * all.min(10_000)).max(Duration::from_secs(5))
    }

    /// What is wanted changed: what was found before is looked for again at once.
    pub(super) fn look_again(&mut self) {
        self.looks.clear();
    }

    /// Takes one step towards the end of `objects`.
    pub(super) async fn step(&mut self, objects: Vec<Applied>, leaving: &Leaving<'_>) -> Progress {
        let mut progress = Progress::default();
        let (mut stays, mut doomed) = sort_out(objects, leaving, &mut progress).await;
        let going = std::mem::take(&mut progress.going);
        progress.lingers = self.lingering.see(going, Instant::now());
        doomed.retain_mut(|one| match kept_elsewhere(one, leaving.keep) {
            Elsewhere::No => true,
            Elsewhere::Surely => {
                progress.gone.push(std::mem::take(&mut one.recorded));
                false
            }
            Elsewhere::Perhaps => {
                progress.pending.push(std::mem::take(&mut one.recorded));
                false
            }
        });
        leaving.claims.read(leaving.quota.work).await;
        let others = leaving.claims.of_others(leaving.quota.work);
        let mut free = Vec::with_capacity(doomed.len());
        for one in doomed {
            match wanted(&one, &others, leaving.cluster).await {
                Ok(None) => free.push(one),
                Ok(Some(Claimed::Unowned)) => stays.push(one.recorded),
                Ok(Some(Claimed::Soon)) => progress.pending.push(one.recorded),
                Ok(Some(Claimed::Missed(by))) => {
                    let why = Delayed::wanted(&one.recorded, &by);
                    progress.hold(one.recorded, why);
                }
                Err(error) => progress.fail(one.recorded, error),
            }
        }
        let mut doomed = free;
        let fresh = self.fresh(&doomed, &progress.pending);
        let answer = leaving.quota.ask(fresh);
        if answer == Permit::Granted {
            if fresh > 0 {
                leaving.quota.guard.is_stored().await;
            }
            self.granted
                .extend(doomed.iter().map(|one| one.uid.clone()));
            for recorded in stays {
                let by = leaving.planned.served(&place(&recorded));
                match remove::let_go(leaving.cluster, &recorded, leaving.owner, by).await {
                    Ok(()) => progress.gone.push(recorded),
                    Err(error) => progress.fail(recorded, error),
                }
            }
        } else {
            progress.pending.extend(stays);
        }
        doomed.sort_by_key(|one| std::cmp::Reverse(rank(one)));
        for one in doomed {
            match &answer {
                Permit::Held(why) if !self.granted.contains(&one.uid) => {
                    progress.hold(one.recorded, Delayed::mass(why.clone()));
                }
                Permit::Later if !self.granted.contains(&one.uid) => {
                    progress.pending.push(one.recorded);
                }
                _ => self.end(one, leaving, &mut progress).await,
            }
        }
        progress
    }

    /// Counts what was not asked for before. What is still there, even if it cannot be deleted just now, stays granted.
    fn fresh(&mut self, doomed: &[Doomed], pending: &[Applied]) -> usize {
        let wanted: BTreeSet<&str> = doomed.iter().map(|one| one.uid.as_str()).collect();
        let waiting: BTreeSet<&str> = pending.iter().map(|one| one.uid.as_str()).collect();
        self.granted
            .retain(|uid| wanted.contains(uid.as_str()) || waiting.contains(uid.as_str()));
        wanted
            .iter()
            .filter(|uid| !self.granted.contains(**uid))
            .count()
    }

    /// Deletes an object, unless it contains what is not to go.
    async fn end(&mut self, one: Doomed, leaving: &Leaving<'_>, progress: &mut Progress) {
        if let Some(container) = one.container {
            let name = one.recorded.name.as_str();
            if progress.pending.iter().any(|p| container.holds(name, p)) {
                // What is in it is dealt with by itself, and says so.
                progress.pending.push(one.recorded);
                return;
            }
            match self.look(container, &one, leaving).await {
                Ok(None) => {}
                Ok(Some(why)) => return progress.hold(one.recorded, why),
                Err(error) => return progress.fail(one.recorded, error),
            }
        }
        let deleter = match &leaving.deleter {
            Ok(deleter) => deleter,
            Err(why) => return progress.hold(one.recorded, Delayed::failed(why.clone())),
        };
        let clients = (leaving.cluster, deleter);
        let deleted = remove::delete(clients, &one.resource, &one.live, leaving.owner);
        match deleted.await {
            Ok(Outcome::Gone) => progress.gone.push(one.recorded),
            Ok(Outcome::Going | Outcome::Changed) => progress.pending.push(one.recorded),
            Err(error) => progress.fail(one.recorded, error),
        }
    }

    /// Says why a container may not go, if it may not.
    async fn look(
        &mut self,
        container: Container,
        one: &Doomed,
        leaving: &Leaving<'_>,
    ) -> Result<Option<Delayed>> {
        let name = one.recorded.name.as_str();
        let place = format!("{}/{name}", one.recorded.resource);
        if is_approved(leaving.directives, &place) {
            return Ok(None);
        }
        let held = |what: String| {
            Delayed::content(format!(
                "deleting {place} would delete {what}; to approve it, annotate the work with {}={place}",
                annotation::APPROVE_DELETION
            ))
        };
        if let Some(kept) = leaving.keep.iter().find(|k| container.holds(name, k)) {
            return Ok(Some(held(format!(
                "{} {:?} too, which the work still has",
                kept.resource, kept.name
            ))));
        }
        let key = (container_name(container), name.to_owned());
        let now = Instant::now();
        if let Some(look) = self.looks.get(&key)
            && now < look.again
        {
            return Ok(Some(look.why.clone()));
        }
        let eyes = Eyes {
            owner: leaving.owner,
            spec: leaving.spec,
        };
        let found = content::of_others(leaving.cluster, container, &one.live, eyes).await?;
        let Some(found) = found else {
            self.looks.remove(&key);
            return Ok(None);
        };
        let why = held(format!(
            "{found} too, which is not of this work or is to stay"
        ));
        let look = self.looks.entry(key).or_insert_with(|| Look {
            again: now,
            backoff: Backoff::new(LOOK.0, LOOK.1),
            why: why.clone(),
        });
        look.again = now + look.backoff.next_delay();
        look.why = why.clone();
        Ok(Some(why))
    }
}

/// Whether the work wants the very object that is to go, in another group.
#[derive(Debug, PartialEq, Eq)]
enum Elsewhere {
    No,
    Perhaps,
    Surely,
}

/// A kind may be served in two groups, as `ingresses` were in `extensions` and are in `networking.k8s.io`: a manifest that moves from one
/// to the other is about the same object. As long as its uid in the other group is not known, nobody can tell.
fn kept_elsewhere(one: &Doomed, keep: &[Applied]) -> Elsewhere {
    let recorded = &one.recorded;
    let at = |o: &Applied| (o.resource.clone(), o.namespace.clone(), o.name.clone());
    if keep
        .iter()
        .any(|kept| !kept.uid.is_empty() && kept.uid == one.uid)
    {
        Elsewhere::Surely
    } else if keep
        .iter()
        .any(|kept| kept.uid.is_empty() && at(kept) == at(recorded))
    {
        Elsewhere::Perhaps
    } else {
        Elsewhere::No
    }
}

/// Says whether another work wants the very object that is to go, perhaps in another group of its kind: then its name there is the same,
/// and its uid.
async fn wanted(one: &Doomed, others: &Others, cluster: &Cluster) -> Result<Option<Claimed>> {
    let name = one.name();
    let claimed = others.want(&name);
    if claimed.is_some() {
        return Ok(claimed);
    }
    let mut same = Vec::new();
    for (group, claimed) in others.want_elsewhere(&name) {
        let there = Applied {
            group,
            uid: String::new(),
            ..one.recorded.clone()
        };
        match remove::read(cluster, &there, Served::Otherwise).await {
            Ok(Some((_, live))) if sift::uid(&live) == one.uid => same.push(claimed),
            Ok(_) => {}
            // Nobody serves it there just now, so nobody can tell.
            Err(error) if error.is_not_found() => same.push(claimed),
            Err(error) => return Err(error),
        }
    }
    Ok(Claimed::strongest(same.into_iter()))
}

const fn container_name(container: Container) -> &'static str {
    match container {
        Container::Namespace => "namespace",
        Container::Definition => "definition",
    }
}

/// Containers are last; everything else goes before what it was applied after.
fn rank(one: &Doomed) -> (bool, u16) {
    let kind = one.live.get("kind").and_then(Value::as_str);
    (
        one.container.is_none(),
        order::rank(kind.unwrap_or_default()),
    )
}

/// Says whether nobody can tell if an object was ever made: it was planned, and the agent may not look.
const fn is_unseen(object: &Applied, error: &Error) -> bool {
    object.uid.is_empty() && matches!(error, Error::Refused { code: 403, .. })
}

/// Says whether a work's annotation approves the deletion of this Namespace or definition with all that is in it, or that the objects
/// of this kind are taken for gone.
fn is_approved(directives: &BTreeMap<String, String>, place: &str) -> bool {
    directives
        .get(annotation::APPROVE_DELETION)
        .is_some_and(|approved| approved.split(',').any(|one| one.trim() == place))
}

/// Lets go of everything that a work owns; nothing is deleted. What is of a kind that nobody serves is taken for gone if a directive says so.
///
/// # Errors
/// With the first failure; everything else was let go of.
pub(super) async fn let_go(
    cluster: &Cluster,
    objects: &[Applied],
    owner: &Owner,
    planned: &Planned,
    directives: &BTreeMap<String, String>,
) -> Result<()> {
    let mut objects = objects.iter();
    let (mut steps, mut first) = (FuturesUnordered::new(), Ok(()));
    loop {
        while steps.len() < TOGETHER
            && let Some(object) = objects.next()
        {
            let by = planned.served(&place(object));
            steps.push(async move {
                let kind = resource_of(object).definition();
                match remove::let_go(cluster, object, owner, by).await {
                    Err(error)
                        if (error.is_not_found() || is_unseen(object, &error))
                            && is_approved(directives, &kind) =>
                    {
                        Ok(())
                    }
                    other => other,
                }
            });
        }
        let Some(result) = steps.next().await else {
            return first;
        };
        if first.is_ok() {
            first = result;
        }
    }
}

#[cfg(test)]
mod tests;
