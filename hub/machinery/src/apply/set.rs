//! Sets of fields, with the algebra of structured-merge-diff's `fieldpath.Set`.
//!
//! A path is a walk from the root of an object; each step is kept as FieldsV1 writes it (`f:name`, `k:{"type":"Ready"}`,
//! `v:"a"`, `i:0`), so that a set and its JSON are one shape and reading costs no translation.

use std::collections::{BTreeMap, btree_map};

/// Fields below one point of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    steps: BTreeMap<Box<str>, Entry>,
}

/// One step: whether the path that ends here belongs to the set, and what does below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) member: bool,
    pub(super) below: FieldSet,
}

impl Entry {
    pub(super) fn leaf() -> Self {
        Self {
            member: true,
            below: FieldSet::default(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl FieldSet {
    /// Whether no path belongs to it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        // Entries without a path are never kept.
        self.steps.is_empty()
    }

    /// The paths in both or either.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        if self.steps.is_empty() {
            return other;
        }
        for (step, theirs) in other.steps {
            self.put(step, theirs);
        }
        self
    }

    /// The paths in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let common = self.steps.iter().filter_map(|(step, ours)| {
            let theirs = other.steps.get(step)?;
            let entry = Entry {
                member: ours.member && theirs.member,
                below: ours.below.intersection(&theirs.below),
            };
            (!entry.is_empty()).then(|| (step.clone(), entry))
        });
        Self {
            steps: common.collect(),
        }
    }

    /// The paths that are not in `other`. A path in `other` takes nothing away that is below it.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let left = self.steps.iter().filter_map(|(step, ours)| {
            let entry = match other.steps.get(step) {
                None => ours.clone(),
                Some(theirs) => Entry {
                    member: ours.member && !theirs.member,
                    below: ours.below.difference(&theirs.below),
                },
            };
            (!entry.is_empty()).then(|| (step.clone(), entry))
        });
        Self {
            steps: left.collect(),
        }
    }

    /// Whether a path is in both.
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.steps.iter().any(|(step, ours)| {
            let theirs = other.steps.get(step);
            theirs.is_some_and(|theirs| {
                (ours.member && theirs.member) || ours.below.meets(&theirs.below)
            })
        })
    }

    /// Keeps what begins with one of some steps.
    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.steps.retain(|step, _| keep(step));
    }

    /// Adds a step; one that leads nowhere is not kept.
    pub(super) fn put(&mut self, step: impl Into<Box<str>>, entry: Entry) {
        if entry.is_empty() {
            return;
        }
        match self.steps.entry(step.into()) {
            btree_map::Entry::Vacant(vacant) => _ = vacant.insert(entry),
            btree_map::Entry::Occupied(mut occupied) => {
                let ours = occupied.get_mut();
                ours.member |= entry.member;
                ours.below = std::mem::take(&mut ours.below).union(entry.below);
            }
        }
    }

    pub(super) fn step(&self, step: &str) -> Option<&Entry> {
        self.steps.get(step)
    }

    pub(super) fn steps(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.steps.iter().map(|(step, entry)| (&**step, entry))
    }

    /// Calls `visit` with each path: what ends at a level comes before what goes on below it.
    pub(super) fn for_each<'a>(&'a self, visit: &mut impl FnMut(&[&'a str])) {
        fn walk<'a>(
            set: &'a FieldSet,
            path: &mut Vec<&'a str>,
            visit: &mut impl FnMut(&[&'a str]),
        ) {
            for (step, _) in set.steps().filter(|(_, entry)| entry.member) {
                path.push(step);
                visit(path);
                path.pop();
            }
            for (step, entry) in set.steps() {
                path.push(step);
                walk(&entry.below, path, visit);
                path.pop();
            }
        }
        walk(self, &mut Vec::new(), visit);
    }
}

impl FromIterator<(Box<str>, Entry)> for FieldSet {
    fn from_iter<I: IntoIterator<Item = (Box<str>, Entry)>>(steps: I) -> Self {
        Self {
            steps: steps
                .into_iter()
                .filter(|(_, entry)| !entry.is_empty())
                .collect(),
        }
    }
}
