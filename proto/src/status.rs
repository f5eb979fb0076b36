use sha2::{Digest as _, Sha256};

/// Digest of one status.
pub type StatusDigest = [u8; 16];

/// Digests a status, as JSON with sorted keys and no spaces, without the times since when its conditions have been as they are:
/// the hub keeps those times, and an agent that was started anew does not know them.
#[must_use]
pub fn status_digest(json: &[u8]) -> StatusDigest {
    // Within a string its quotes would be escaped, so this is always the field.
    const TIME: &[u8] = b"\"lastTransitionTime\":\"";
    let mut hash = Sha256::new();
    let mut rest = json;
    while let Some(at) = memchr::memmem::find(rest, TIME) {
        let (before, after) = rest.split_at(at + TIME.len());
        hash.update(before);
        let end = after.iter().position(|byte| *byte == b'"');
        rest = &after[end.unwrap_or(after.len())..];
    }
    hash.update(rest);
    let whole: [u8; 32] = hash.finalize().into();
    let mut digest = StatusDigest::default();
    digest.copy_from_slice(&whole[..16]);
    digest
}

/// Digests a set of statuses by name and uid of their works, so that hub and agent can tell by 32 bytes that both have the same.
/// The order does not matter.
#[must_use]
pub fn statuses_digest<'a>(
    statuses: impl IntoIterator<Item = (&'a str, &'a str, StatusDigest)>,
) -> [u8; 32] {
    let mut statuses: Vec<_> = statuses.into_iter().collect();
    statuses.sort_unstable();
    let mut hash = Sha256::new();
    for (name, uid, digest) in statuses {
        for text in [name, uid] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.update(digest);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(message: &str, time: &str) -> Vec<u8> {
        format!(r#"{{"conditions":[{{"lastTransitionTime":"{time}","message":"{message}"}}]}}"#)
            .into_bytes()
    }

    #[test]
    fn times_do_not_count_and_everything_else_does() {
        let base = status_digest(&status("a", "2026-01-01T00:00:00Z"));
        assert_eq!(base, status_digest(&status("a", "2027-01-01T00:00:00Z")));
        assert_ne!(base, status_digest(&status("b", "2026-01-01T00:00:00Z")));
        // A text that looks like the field is a text.
        let looks = |time: &str| status(&format!(r#"\"lastTransitionTime\":\"{time}\""#), "t");
        assert_ne!(status_digest(&looks("1")), status_digest(&looks("2")));
        for broken in [&b""[..], b"\"lastTransitionTime\":\"", b"{"] {
            let _ = status_digest(broken);
        }
    }

    #[test]
    fn sets_are_equal_whatever_their_order() {
        let (a, b) = (("a", "u", [1; 16]), ("b", "u", [2; 16]));
        assert_eq!(statuses_digest([a, b]), statuses_digest([b, a]));
        assert_ne!(statuses_digest([a]), statuses_digest([a, b]));
        assert_ne!(statuses_digest([("a", "v", [1; 16])]), statuses_digest([a]));
    }
}
