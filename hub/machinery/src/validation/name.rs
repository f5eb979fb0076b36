//! What an object may be called.

use super::syntax;

/// The rule for the names of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NameRule {
    /// Most kinds.
    #[default]
    DnsSubdomain,
    /// Namespaces, and whatever becomes one.
    DnsLabel,
    /// Kinds whose names carry colons, as RBAC's do.
    PathSegment,
}

impl NameRule {
    /// What is wrong with a name.
    #[must_use]
    pub fn faults(self, name: &str) -> Vec<String> {
        match self {
            Self::DnsSubdomain => syntax::dns_subdomain(name),
            Self::DnsLabel => syntax::dns_label(name),
            Self::PathSegment => syntax::path_segment(name),
        }
    }

    /// What is wrong with a `generateName`, which may end where a name may not because a suffix follows.
    #[must_use]
    pub fn prefix_faults(self, prefix: &str) -> Vec<String> {
        match prefix.strip_suffix('-') {
            Some(head) if !head.is_empty() => self.faults(&format!("{head}a")),
            _ => self.faults(prefix),
        }
    }
}

/// The name for a `generateName`: the prefix, cut so that the suffix fits into a label, and five characters made from
/// `entropy`. The alphabet has no vowels, so that no words arise.
#[must_use]
pub fn generate_name(prefix: &str, entropy: u64) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    const SUFFIX: usize = 5;
    let mut end = prefix.len().min(63 - SUFFIX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix[..end].to_owned();
    let mut rest = entropy;
    for _ in 0..SUFFIX {
        let base = ALPHABET.len() as u64;
        let letter = usize::try_from(rest % base).map_or(b'b', |index| ALPHABET[index]);
        name.push(char::from(letter));
        rest /= base;
    }
    name
}
