//! Names of a replica set's works.

use koinon_store::Digest;

/// The characters of Kubernetes' random suffixes.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX: usize = 5;
/// A generated name is a DNS label.
const MAX_NAME: usize = 63;

/// The name of the work of `set` (its uid) in `cluster`; `attempt` counts up where the name is somebody else's.
///
/// It looks like OCM's `generateName` but is a function of its arguments: a controller that died between a write
/// and its answer finds the work that it made, instead of making another.
pub(super) fn work_name(
    set: &str,
    uid: &str,
    placement: &str,
    cluster: &str,
    attempt: u32,
) -> String {
    let digest = Digest::of(format!("{uid}/{placement}/{cluster}/{attempt}").as_bytes());
    let mut base = set;
    while base.len() > MAX_NAME - SUFFIX {
        base = &base[..base.char_indices().next_back().map_or(0, |(at, _)| at)];
    }
    let suffix = digest
        .0
        .iter()
        .take(SUFFIX)
        .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]));
    base.chars().chain(suffix).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stable_short_and_different_per_cluster() {
        let name = work_name("web", "uid", "prod", "east", 0);
        assert_eq!(name, work_name("web", "uid", "prod", "east", 0));
        assert!(name.starts_with("web") && name.len() == 8, "{name}");
        for other in [
            work_name("web", "uid", "prod", "west", 0),
            work_name("web", "uid", "test", "east", 0),
            work_name("web", "uid", "prod", "east", 1),
            work_name("web", "other", "prod", "east", 0),
        ] {
            assert_ne!(name, other);
        }
        assert_eq!(
            work_name(&"a".repeat(100), "uid", "p", "c", 0).len(),
            MAX_NAME
        );
    }
}
