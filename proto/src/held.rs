use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

/// One work as an agent holds it, or as the hub thinks it should be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held<'a> {
    pub name: &'a str,
    pub uid: &'a str,
    pub generation: i64,
    /// SHA-256 of the body.
    pub digest: &'a [u8],
    /// The work is being deleted.
    pub tombstone: bool,
    /// Annotations that agents follow.
    pub directives: &'a BTreeMap<String, String>,
}

/// Digests a set of works, so that hub and agent can tell by 32 bytes that nothing is to be sent.
///
/// The order of `works` does not matter. Fields are length-prefixed: no two different sets share an encoding.
#[must_use]
pub fn held_digest<'a>(works: impl IntoIterator<Item = Held<'a>>) -> [u8; 32] {
    let mut works: Vec<_> = works.into_iter().collect();
    works.sort_unstable();
    let mut hash = Sha256::new();
    for work in works {
        for field in [work.name.as_bytes(), work.uid.as_bytes(), work.digest] {
            hash.update((field.len() as u64).to_be_bytes());
            hash.update(field);
        }
        hash.update(work.generation.to_be_bytes());
        hash.update([u8::from(work.tombstone)]);
        hash.update((work.directives.len() as u64).to_be_bytes());
        for text in work.directives.iter().flat_map(|(key, value)| [key, value]) {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(name: &str, generation: i64, tombstone: bool) -> Held<'_> {
        Held {
            name,
            uid: "u",
            generation,
            digest: b"d",
            tombstone,
            directives: const { &BTreeMap::new() },
        }
    }

    #[test]
    fn order_does_not_matter_but_every_field_does() {
        let base = held_digest([held("a", 1, false), held("b", 2, false)]);
        assert_eq!(
            base,
            held_digest([held("b", 2, false), held("a", 1, false)])
        );
        for other in [
            vec![held("a", 1, false)],
            vec![held("a", 2, false), held("b", 2, false)],
            vec![held("a", 1, true), held("b", 2, false)],
            vec![held("ab", 1, false), held("b", 2, false)],
        ] {
            assert_ne!(base, held_digest(other));
        }
        let directives = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
        let directed = Held {
            directives: &directives,
            ..held("a", 1, false)
        };
        assert_ne!(base, held_digest([directed, held("b", 2, false)]));
    }
}
