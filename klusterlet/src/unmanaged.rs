//! What this cluster keeps although its hub does not know of it.
//!
//! That is two things. A *stray* work is held and kept applied, but the hub does not have it: after an accepted rollback, or
//! because the cluster came from another hub. A *leftover* is a record of a work that is not even held: of an earlier hub, or of a
//! desired state that somebody deleted.
//!
//! Neither is a reason to delete anything (P3). They are told to the hub, and an admin may order to dispose of exactly the set
//! that was told, by its token; what is found later is another set with another token. The cluster's own people may let the
//! agent do as OCM does, and evict what was unknown for a while.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use koinon_proto::v1;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use tokio::sync::Notify;

/// Names that are told, and bytes of them.
const MOST_NAMES: usize = 10;
const MOST_HELD: usize = 512;

/// What becomes of the objects of something that is disposed of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposal {
    /// They are deleted, as far as nothing holds that up.
    Delete,
    /// They stay, and are nobody's.
    Orphan,
}

/// Something that the hub does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Uid of the work, or of the record.
    pub uid: String,
    /// Since when that is known, Unix time.
    pub since: i64,
    /// Objects that it owns; not counted for works.
    pub objects: usize,
    /// It may be evicted: the hub certainly does not know it. It may just be about to tell what is behind a record of its own.
    pub evictable: bool,
}

/// Something that is to be disposed of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doomed {
    /// Uid of the work, or of the record.
    pub uid: String,
    /// What becomes of the objects.
    pub disposal: Disposal,
    /// Revision of the hub's registry at which it was ordered.
    pub told: i64,
}

#[derive(Debug, Default)]
struct State {
    works: BTreeMap<String, Unknown>,
    records: BTreeMap<String, Unknown>,
    /// Records were looked for since the agent started.
    looked: bool,
    /// The followed hub has said in this session that it does not know exactly these works.
    sure: bool,
    /// Mode and token of the order that is in force.
    order: Option<(Disposal, String)>,
    /// Where the hub stands.
    revision: i64,
    doomed_works: BTreeMap<String, Doomed>,
    doomed_records: BTreeMap<String, Doomed>,
    /// Works that are on their way out.
    leaving: usize,
    /// Why something that is disposed of waits, by name.
    held: BTreeMap<String, String>,
}

/// Shared by the keeper, which knows works, whoever looks for records, and the session. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Unmanaged(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    /// Wakes the keeper.
    works: Notify,
    /// Wakes who deals with records.
    records: Notify,
    /// Wakes the session.
    session: Notify,
}

impl Unmanaged {
    /// Replaces the stray works, and the number of those that are on their way out.
    pub fn set_works(&self, works: BTreeMap<String, Unknown>, leaving: usize) {
        self.change(|state| {
            (state.works, state.leaving) = (works, leaving);
        });
    }

    /// Replaces the leftovers: they were looked for.
    pub fn set_records(&self, records: BTreeMap<String, Unknown>) {
        self.change(|state| {
            state
                .doomed_records
                .retain(|name, _| records.contains_key(name));
            (state.records, state.looked) = (records, true);
        });
    }

    /// The followed hub does, or does not any more, say that it knows no work but those that are not stray.
    pub fn set_sure(&self, sure: bool) {
        self.change(|state| state.sure = sure);
    }

    /// Takes an order of the hub, which stands at `revision`: `delete:` or `orphan:` and a token. Anything else is none.
    pub fn order(&self, text: &str, revision: i64) {
        self.change(|state| {
            state.revision = revision;
            state.order = text.split_once(':').and_then(|(mode, token)| {
                let disposal = match mode {
                    "delete" => Disposal::Delete,
                    "orphan" => Disposal::Orphan,
                    _ => return None,
                };
                Some((disposal, token.to_owned()))
            });
        });
    }

    /// Dooms what has been unknown for `grace`, at the Unix time `now`, as OCM does; only while the hub says that it does not know it.
    pub fn evict(&self, grace: Duration, now: i64) {
        let grace = i64::try_from(grace.as_secs()).unwrap_or(i64::MAX);
        self.change(|state| {
            if !state.sure || !state.looked {
                return;
            }
            let due =
                |unknown: &Unknown| unknown.evictable && now.saturating_sub(unknown.since) >= grace;
            doom(state, Disposal::Delete, due);
        });
    }

    /// Takes the stray works that are to be disposed of.
    #[must_use]
    pub fn take_works(&self) -> BTreeMap<String, Doomed> {
        std::mem::take(&mut self.0.state.lock().doomed_works)
    }

    /// Gives back what was taken and could not be disposed of yet.
    pub fn put_back(&self, doomed: impl IntoIterator<Item = (String, Doomed)>) {
        self.0.state.lock().doomed_works.extend(doomed);
    }

    /// Returns the leftovers that are to be disposed of, until they are not found any more.
    #[must_use]
    pub fn doomed_records(&self) -> BTreeMap<String, Doomed> {
        self.0.state.lock().doomed_records.clone()
    }

    /// Says why something that is disposed of waits, or that it does not.
    pub fn hold(&self, name: &str, why: Option<String>) {
        self.change(|state| match why {
            Some(why) => {
                let why = why.chars().take(MOST_HELD).collect();
                state.held.insert(name.to_owned(), why);
            }
            None => {
                state.held.remove(name);
            }
        });
    }

    /// Returns what is told to the hub, if there is anything, and whether that is not known yet.
    #[must_use]
    pub fn report(&self) -> (Option<v1::Unmanaged>, bool) {
        let state = self.0.state.lock();
        (summary(&state), !state.looked)
    }

    /// Waits until a stray work is to be disposed of.
    pub async fn works_doomed(&self) {
        self.0.works.notified().await;
    }

    /// Waits until leftovers may have to be looked for, or be disposed of.
    pub async fn records_wanted(&self) {
        self.0.records.notified().await;
    }

    /// Waits until there is something new to tell.
    pub async fn changed(&self) {
        self.0.session.notified().await;
    }

    /// Asks for a look for leftovers.
    pub fn look_again(&self) {
        self.0.records.notify_one();
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock();
        let before = (summary(&state), state.looked);
        let doomed = |state: &State| (state.doomed_works.len(), state.doomed_records.len());
        let (works, records) = doomed(&state);
        change(&mut state);
        if state.looked
            && let Some((disposal, wanted)) = state.order.clone()
            && token(&state).is_some_and(|token| token == wanted)
        {
            // Once: whatever is unknown later is another matter.
            state.order = None;
            doom(&mut state, disposal, |_| true);
        }
        // Whoever deals with what is doomed changes this, too: only more of it is a reason to wake him.
        let now = doomed(&state);
        let (works, records) = (now.0 > works, now.1 > records);
        let news = before != (summary(&state), state.looked);
        drop(state);
        for (due, who) in [
            (works, &self.0.works),
            (records, &self.0.records),
            (news, &self.0.session),
        ] {
            if due {
                who.notify_one();
            }
        }
    }
}

fn doom(state: &mut State, disposal: Disposal, due: impl Fn(&Unknown) -> bool) {
    let told = state.revision;
    let doomed = |unknown: &Unknown| Doomed {
        uid: unknown.uid.clone(),
        disposal,
        told,
    };
    for (name, unknown) in state.works.iter().filter(|(_, unknown)| due(unknown)) {
        state.doomed_works.insert(name.clone(), doomed(unknown));
    }
    for (name, unknown) in state.records.iter().filter(|(_, unknown)| due(unknown)) {
        let before = state.doomed_records.entry(name.clone());
        before.or_insert_with(|| doomed(unknown));
    }
}

/// Names exactly what is unknown and not being disposed of; `None` if nothing is.
fn token(state: &State) -> Option<String> {
    let mut hash = Sha256::new();
    let records = state.records.iter();
    let records = records.filter(|(name, _)| !state.doomed_records.contains_key(*name));
    let all = (state.works.iter().map(|one| ("w", one))).chain(records.map(|one| ("r", one)));
    let mut any = false;
    for (kind, (name, unknown)) in all {
        any = true;
        // Names have no line breaks.
        hash.update(format!("{kind} {name} {} {}\n", unknown.uid, unknown.since));
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    any.then(|| hex(&hash.finalize()[..16]))
}

fn summary(state: &State) -> Option<v1::Unmanaged> {
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let records: Vec<_> = state
        .records
        .iter()
        .filter(|(name, _)| !state.doomed_records.contains_key(*name))
        .collect();
    let leaving = state.leaving + state.doomed_records.len();
    if state.works.is_empty() && records.is_empty() && leaving == 0 {
        return None;
    }
    let names = state
        .works
        .keys()
        .chain(records.iter().map(|(name, _)| *name));
    Some(v1::Unmanaged {
        works: count(state.works.len()),
        leaving: count(leaving),
        records: count(records.len()),
        objects: count(records.iter().map(|(_, unknown)| unknown.objects).sum()),
        names: names.take(MOST_NAMES).cloned().collect(),
        token: token(state).unwrap_or_default(),
        held: state.held.values().next().cloned().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unknown(uid: &str, since: i64) -> Unknown {
        Unknown {
            uid: uid.to_owned(),
            since,
            objects: 2,
            evictable: true,
        }
    }

    fn set<const N: usize>(names: [(&str, i64); N]) -> BTreeMap<String, Unknown> {
        let one = |(name, since): (&str, i64)| (name.to_owned(), unknown(name, since));
        names.into_iter().map(one).collect()
    }

    fn told(unmanaged: &Unmanaged) -> String {
        unmanaged.report().0.map_or_else(String::new, |u| u.token)
    }

    #[test]
    fn exactly_what_was_told_is_disposed_of_and_once() {
        let unmanaged = Unmanaged::default();
        unmanaged.set_works(set([("a", 1), ("b", 1)]), 0);
        assert!(unmanaged.report().1, "nobody has looked for records yet");
        let early = told(&unmanaged);
        unmanaged.set_records(set([("r", 1)]));
        let token = told(&unmanaged);
        assert_ne!(early, token);
        for wrong in [
            "",
            "delete",
            "delete:",
            "purge:x",
            &format!("delete:{early}"),
        ] {
            unmanaged.order(wrong, 5);
            assert!(unmanaged.take_works().is_empty(), "{wrong}");
        }
        // What comes in between makes it another set.
        unmanaged.set_works(set([("a", 1), ("b", 1), ("c", 2)]), 0);
        unmanaged.order(&format!("delete:{token}"), 6);
        assert!(unmanaged.take_works().is_empty() && unmanaged.doomed_records().is_empty());
        unmanaged.set_works(set([("a", 1), ("b", 1)]), 0);
        let doomed = unmanaged.take_works();
        assert_eq!(doomed.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            (doomed["a"].disposal, doomed["a"].told),
            (Disposal::Delete, 6)
        );
        assert_eq!(unmanaged.doomed_records().len(), 1);
        // The same order is not followed again.
        unmanaged.set_works(BTreeMap::new(), 2);
        unmanaged.set_works(set([("a", 1), ("b", 1)]), 0);
        assert!(unmanaged.take_works().is_empty());
        // What is on its way out is told until it is gone, and cannot be ordered away anew.
        unmanaged.set_works(BTreeMap::new(), 1);
        unmanaged.hold("r", Some("because".to_owned()));
        let said = unmanaged.report().0.unwrap();
        assert_eq!((said.works, said.records, said.leaving), (0, 0, 2));
        assert_eq!((said.token.as_str(), said.held.as_str()), ("", "because"));
        unmanaged.set_records(BTreeMap::new());
        unmanaged.set_works(BTreeMap::new(), 0);
        assert_eq!(unmanaged.report(), (None, false));
    }

    #[test]
    fn grace_counts_only_while_the_hub_says_that_it_does_not_know() {
        let unmanaged = Unmanaged::default();
        let grace = Duration::from_secs(60);
        unmanaged.set_works(set([("old", 10), ("new", 90)]), 0);
        unmanaged.set_records(set([("r-old", 10), ("r-new", 90)]));
        unmanaged.evict(grace, 100);
        assert!(unmanaged.take_works().is_empty());
        unmanaged.set_sure(true);
        unmanaged.evict(grace, 100);
        assert_eq!(unmanaged.take_works().keys().collect::<Vec<_>>(), ["old"]);
        assert_eq!(
            unmanaged.doomed_records().keys().collect::<Vec<_>>(),
            ["r-old"]
        );
        // Nor what may be known after all.
        let mut own = set([("r-own", 10)]);
        own.values_mut()
            .for_each(|unknown| unknown.evictable = false);
        unmanaged.set_records(own);
        unmanaged.evict(grace, 100);
        assert!(unmanaged.doomed_records().is_empty());
        // It goes on being told until it is gone. A clock that was set back evicts nothing.
        assert_eq!(unmanaged.take_works().keys().collect::<Vec<_>>(), ["old"]);
        unmanaged.evict(grace, -100);
        assert!(unmanaged.take_works().is_empty());
    }
}
