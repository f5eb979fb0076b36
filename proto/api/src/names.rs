//! Names as types: parsed once at the edge, valid ever after.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not the name that it was to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{what} must not be empty")]
    Empty { what: &'static str },
    #[error("{what} must be no more than {limit} characters")]
    TooLong { what: &'static str, limit: usize },
    #[error(
        "{what} {text:?} must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character"
    )]
    NotALabel { what: &'static str, text: String },
    #[error(
        "{what} {text:?} must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"
    )]
    NotASubdomain { what: &'static str, text: String },
}

/// Says whether the text is a DNS label (RFC 1123): at most 63 of `a-z`, `0-9` and inner `-`.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_label_text(text)
}

/// Says whether the text is a DNS subdomain (RFC 1123): labels joined by dots, at most 253 characters.
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label_text)
}

fn is_label_text(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    match (bytes.first(), bytes.last()) {
        (Some(&first), Some(&last)) => {
            alphanumeric(first)
                && alphanumeric(last)
                && bytes.iter().all(|&b| alphanumeric(b) || b == b'-')
        }
        _ => false,
    }
}

fn label(what: &'static str, text: &str) -> Result<(), Error> {
    match text {
        "" => Err(Error::Empty { what }),
        _ if text.len() > 63 => Err(Error::TooLong { what, limit: 63 }),
        _ if !is_dns_label(text) => Err(Error::NotALabel {
            what,
            text: text.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn subdomain(what: &'static str, text: &str) -> Result<(), Error> {
    match text {
        "" => Err(Error::Empty { what }),
        _ if text.len() > 253 => Err(Error::TooLong { what, limit: 253 }),
        _ if !is_dns_subdomain(text) => Err(Error::NotASubdomain {
            what,
            text: text.to_owned(),
        }),
        _ => Ok(()),
    }
}

macro_rules! name {
    ($(#[$attr:meta])* $name:ident, $what:literal, $check:ident) => {
        $(#[$attr])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the name.
            ///
            /// # Errors
            ///
            /// Says what is wrong with the text, in Kubernetes' words.
            pub fn parse(text: impl Into<String>) -> Result<Self, Error> {
                let text = text.into();
                $check($what, &text)?;
                Ok(Self(text))
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self, Error> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

name!(
    /// Name of a member cluster. It is a namespace's name too, so it is a DNS label.
    ClusterName, "cluster name", label
);
name!(
    /// Name of one agent of a cluster.
    AgentId, "agent id", label
);
name!(
    /// Name of a namespace.
    NamespaceName, "namespace", label
);
name!(
    /// Name of a `ManifestWork`.
    WorkName, "work name", subdomain
);
name!(
    /// Name of a `ManagedClusterSet`.
    ClusterSetName, "cluster set name", subdomain
);
name!(
    /// Name of a `JoinToken`. It is a part of the token's text, whose parts are separated by dots: a DNS label.
    TokenName, "token name", label
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_names_are_dns_labels() {
        for good in ["a", "east", "eu-west-1", "0", &"a".repeat(63)] {
            assert!(ClusterName::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "a-",
            "A",
            "a.b",
            "a_b",
            "ä",
            "a b",
            &"a".repeat(64),
        ] {
            assert!(ClusterName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn work_names_are_dns_subdomains() {
        for good in ["a", "a.b", "web-1.example", &"a".repeat(253)] {
            assert!(WorkName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "a.", "a..b", "a/b", "A", &"a".repeat(254)] {
            assert!(WorkName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_bad_name_is_refused_when_read_from_json() {
        assert!(serde_json::from_str::<ClusterName>("\"east\"").is_ok());
        let error = serde_json::from_str::<ClusterName>("\"East\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("lower case alphanumeric"), "{error}");
    }
}
