//! What works are about to want, and what they have without owning it.
//!
//! An object may move from one work to another in one go. The one that gives it up must not delete what the other one has not
//! taken over yet: it waits. And it lets go of what the other one has without owning it, which nobody else would know.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

use super::plan::{self, Object};
use crate::{cluster::ObjectKey, desired::Held};

/// Names an object by what a manifest says: group, kind, namespace and name. A manifest of a cluster-scoped object may have a
/// namespace that its kind has no use for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Name {
    pub(super) group: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// A name without its group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct At {
    kind: String,
    namespace: String,
    name: String,
}

/// Names, with their groups by what else they say: an object of a kind that is served in two groups has two names.
#[derive(Debug, Default)]
struct Names(HashMap<At, BTreeSet<String>>);

impl Names {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, at: &At, group: &str) -> bool {
        let groups = self.0.get(at);
        groups.is_some_and(|groups| groups.contains(group))
    }

    /// The other groups in which this name is among these.
    fn elsewhere(&self, at: &At, group: &str) -> impl Iterator<Item = &str> {
        let groups = self.0.get(at).into_iter().flatten();
        groups
            .map(String::as_str)
            .filter(move |other| *other != group)
    }
}

impl Extend<Name> for Names {
    fn extend<I: IntoIterator<Item = Name>>(&mut self, names: I) {
        for name in names {
            self.0.entry(name.at()).or_default().insert(name.group);
        }
    }
}

impl Name {
    fn at(&self) -> At {
        At {
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    fn of(object: &Object, namespace: &str) -> Self {
        let group = object.api_version.rsplit_once('/');
        Self {
            group: group.map_or("", |(group, _)| group).to_owned(),
            kind: object.kind.clone(),
            namespace: namespace.to_owned(),
            name: object.name.clone(),
        }
    }

    /// All places where the object may be.
    fn all(object: &Object, key: Option<&ObjectKey>) -> impl Iterator<Item = Self> {
        let namespaces = match key {
            Some(key) => [Some(key.namespace.as_str()), None],
            None => [Some(""), Some(object.namespace.as_str())],
        };
        let names = namespaces.map(|namespace| Some(Self::of(object, namespace?)));
        names.into_iter().flatten()
    }
}

/// What a work wanted when it was looked at.
#[derive(Debug, Default)]
pub(super) struct Wants {
    /// It is to own them, and does not yet.
    missing: Names,
    /// It has them and does not own them.
    unowned: Names,
}

impl Wants {
    /// The work could not get hold of an object.
    pub(super) fn misses(&mut self, object: &Object, key: Option<&ObjectKey>) {
        self.missing.extend(Name::all(object, key));
    }

    /// The work has an object without owning it.
    pub(super) fn has(&mut self, object: &Object, key: Option<&ObjectKey>) {
        self.unowned.extend(Name::all(object, key));
    }
}

/// That another work wants an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claimed {
    /// It is about to take it over.
    Soon,
    /// This one could not take it over.
    Missed(String),
    /// It has it, and does not own it.
    Unowned,
}

/// A state of a work that was not brought about yet.
#[derive(Debug)]
struct Told {
    held: Arc<Held>,
    /// Read when somebody asks, once.
    names: OnceLock<Names>,
}

#[derive(Debug, Clone)]
enum Claim {
    /// It was told this, and has not looked yet; perhaps it could not.
    Told(Arc<Told>, bool),
    Looked(Arc<Wants>),
}

/// The claims of all works, by name.
#[derive(Debug, Default)]
pub(super) struct Claims(Mutex<HashMap<String, Claim>>);

impl Claims {
    /// A work is told what to want.
    pub(super) fn begin(&self, held: &Arc<Held>) {
        let mut claims = self.0.lock();
        if held.tombstone {
            claims.remove(&held.name);
            return;
        }
        let told = Told {
            held: held.clone(),
            names: OnceLock::new(),
        };
        claims.insert(held.name.clone(), Claim::Told(Arc::new(told), false));
    }

    /// A work could not look at what it was told.
    pub(super) fn tried(&self, held: &Held) {
        if let Some(Claim::Told(told, tried)) = self.0.lock().get_mut(&held.name) {
            *tried |= is_same(&told.held, held);
        }
    }

    /// A work has looked at what it was told. What it owns by now needs no claim.
    pub(super) fn looked(&self, held: &Held, wants: Wants) {
        let mut claims = self.0.lock();
        if let Some(Claim::Told(told, _)) = claims.get(&held.name)
            && !is_same(&told.held, held)
        {
            // It was told something else meanwhile.
            return;
        }
        if wants.missing.is_empty() && wants.unowned.is_empty() {
            claims.remove(&held.name);
        } else {
            claims.insert(held.name.clone(), Claim::Looked(Arc::new(wants)));
        }
    }

    /// Says whether there is something that a work was told and has not got hold of.
    pub(super) fn is_open(&self, held: &Held) -> bool {
        match self.0.lock().get(&held.name) {
            None => false,
            Some(Claim::Told(..)) => true,
            Some(Claim::Looked(wants)) => !wants.missing.is_empty(),
        }
    }

    /// There is no such work any more.
    pub(super) fn forget(&self, work: &str) {
        self.0.lock().remove(work);
    }

    /// Reads what the other works were told, one after the other: after a start that may be thousands.
    pub(super) async fn read(&self, work: &str) {
        for (_, claim) in self.of_others(work).0 {
            if let Claim::Told(told, _) = claim
                && told.names.get().is_none()
            {
                told.names.get_or_init(|| names(&told.held));
                tokio::task::yield_now().await;
            }
        }
    }

    /// What the other works want at this moment.
    pub(super) fn of_others(&self, work: &str) -> Others {
        let claims = self.0.lock();
        let others = claims.iter().filter(|(name, _)| *name != work);
        let others = others.map(|(name, claim)| (name.clone(), claim.clone()));
        Others(others.collect())
    }
}

/// The claims of all works but one.
#[derive(Debug)]
pub(super) struct Others(Vec<(String, Claim)>);

impl Others {
    /// Says whether one of them wants an object; `name` has a namespace if, and only if, its kind does.
    pub(super) fn want(&self, name: &Name) -> Option<Claimed> {
        let at = name.at();
        let wanted = self.all().filter(|(names, _)| names.has(&at, &name.group));
        Claimed::strongest(wanted.map(|(_, claimed)| claimed))
    }

    /// The other groups in which one of them wants an object of this name: it may be another object, or this very one.
    pub(super) fn want_elsewhere(&self, name: &Name) -> Vec<(String, Claimed)> {
        let at = name.at();
        let all = self.all().flat_map(|(names, claimed)| {
            let groups = names.elsewhere(&at, &name.group);
            groups.map(move |group| (group.to_owned(), claimed.clone()))
        });
        all.collect()
    }

    /// What they want, and how.
    fn all(&self) -> impl Iterator<Item = (&Names, Claimed)> {
        self.0
            .iter()
            .flat_map(|(other, claim)| {
                let missed = || Claimed::Missed(other.clone());
                match claim {
                    Claim::Told(told, tried) => {
                        let names = told.names.get_or_init(|| names(&told.held));
                        let claimed = if *tried { missed() } else { Claimed::Soon };
                        [Some((names, claimed)), None]
                    }
                    Claim::Looked(wants) => [
                        Some((&wants.missing, missed())),
                        Some((&wants.unowned, Claimed::Unowned)),
                    ],
                }
            })
            .flatten()
    }
}

impl Claimed {
    /// Who is to own an object comes before who has it without owning it.
    pub(super) fn strongest(claims: impl Iterator<Item = Self>) -> Option<Self> {
        let mut unowned = None;
        for claimed in claims {
            match claimed {
                Self::Unowned => unowned = Some(Self::Unowned),
                Self::Soon | Self::Missed(_) => return Some(claimed),
            }
        }
        unowned
    }
}

fn is_same(told: &Held, held: &Held) -> bool {
    (&told.uid, told.generation) == (&held.uid, held.generation)
}

/// What a work names; nothing if its body makes no sense.
fn names(held: &Held) -> Names {
    let mut names = Names::default();
    let Ok(spec) = held.spec() else {
        return names;
    };
    let manifests = plan::manifests(&spec).into_iter();
    let objects: Vec<_> = manifests
        .filter_map(|manifest| manifest.object.ok())
        .collect();
    names.extend(objects.iter().flat_map(|object| Name::all(object, None)));
    names
}

#[cfg(test)]
mod tests;
