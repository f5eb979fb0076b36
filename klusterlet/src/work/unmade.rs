//! What a work planned and certainly has not made. Pure.
//!
//! A record names objects before they are made, so a name in it does not tell whether there is an object. Usually a look tells. Where the
//! agent may not look (any more), only this process can know: that it planned the object itself, and that nothing it asked for since was
//! done. What an earlier process planned may be there, and names the record as its owner: without the record Kubernetes' garbage collector
//! would take it, whatever the hub said of it.

use std::collections::BTreeSet;

use super::planned::Place;

/// Places at which a work has made nothing, of those that its present record names. Places that are missing here may or may not have an
/// object.
#[derive(Debug, Default)]
pub(super) struct Unmade(BTreeSet<Place>);

impl Unmade {
    /// The record names these from now on; it did not before.
    pub(super) fn planned(&mut self, places: impl IntoIterator<Item = Place>) {
        self.0.extend(places);
    }

    /// An object may have been made, or be the work's own.
    pub(super) fn perhaps_made(&mut self, place: &Place) {
        self.0.remove(place);
        if self.0.is_empty() {
            // An agent has thousands of works, and nearly all of them have made everything: not even an empty tree is kept.
            self.0 = BTreeSet::new();
        }
    }

    pub(super) fn has(&self, place: &Place) -> bool {
        self.0.contains(place)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_planned_here_and_never_tried_with_success_is_unmade() {
        let place = |name: &str| -> Place {
            let [group, resource, namespace] = ["", "configmaps", "n"].map(str::to_owned);
            (group, resource, namespace, name.to_owned())
        };
        let mut unmade = Unmade::default();
        assert!(!unmade.has(&place("a")));
        unmade.planned([place("a"), place("b")]);
        assert!(unmade.has(&place("a")) && unmade.has(&place("b")) && !unmade.has(&place("c")));
        unmade.perhaps_made(&place("a"));
        unmade.perhaps_made(&place("c"));
        assert!(!unmade.has(&place("a")) && unmade.has(&place("b")));
        unmade.perhaps_made(&place("b"));
        assert!(unmade.is_empty());
    }
}
