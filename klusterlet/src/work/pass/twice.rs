//! Two manifests of one work that are about one object.

use std::collections::{BTreeMap, HashMap};

use super::{Located, Slot, Stake};
use crate::cluster::{ObjectKey, refused};

/// The first manifest of the work that has the object of each of `located`: two manifests may name one object by two versions of its
/// kind, or with a namespace that the kind has no use for, and would undo each other's work for ever. `slots` are those of the
/// same generation.
pub(in super::super) fn firsts(
    located: &[Located<'_>],
    slots: Option<&BTreeMap<usize, Box<Slot>>>,
) -> Vec<usize> {
    let mut firsts = HashMap::with_capacity(located.len());
    for one in located {
        let first = firsts.entry(one.key.place()).or_insert(one.ordinal);
        *first = one.ordinal.min(*first);
    }
    for (ordinal, slot) in slots.into_iter().flatten() {
        if let Some(key) = slot.key()
            && let Some(first) = firsts.get_mut(&key.place())
        {
            *first = (*ordinal).min(*first);
        }
    }
    let firsts = located.iter().map(|one| firsts[&one.key.place()]);
    firsts.collect()
}

impl Located<'_> {
    /// A slot for a manifest whose object an earlier one of the work has.
    pub(in super::super) fn declared_before(self, first: usize) -> Slot {
        let ObjectKey {
            resource,
            namespace,
            name,
        } = &self.key;
        // The words of OCM's webhook, which sees only those of the same version and namespace.
        let message = format!(
            "duplicate manifest for resource {namespace}/{name} with resource type {}.{}: manifest {first} of the work is about the same object",
            resource.api_version(),
            resource.kind,
        );
        let slot = self.refused(&refused(400, "BadRequest", message));
        Slot {
            // The other one has it.
            stake: Stake::Look,
            ..slot
        }
    }
}
