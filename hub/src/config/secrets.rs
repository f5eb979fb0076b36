//! Where the keys are that seal what is secret in the registry.

use std::path::{Path, PathBuf};

/// The word for no key.
const NONE: &str = "none";

/// Where the keys are, and what becomes of Secrets without any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretsKey {
    /// In a file that is there.
    File(PathBuf),
    /// In a file that is made if it is not there: the registry is this hub's own.
    Own(PathBuf),
    /// Nowhere, and so no Secrets are taken: a database of somebody's and its backups must not have them in the clear by mistake.
    Missing,
    /// Nowhere, and it was said that Secrets are stored in the clear.
    Clear,
}

impl SecretsKey {
    /// What follows from `--secrets-key-file` and whether there is a `--database-url`.
    pub(super) fn new(file: Option<PathBuf>, has_database_url: bool, data_dir: &Path) -> Self {
        match file {
            Some(path) if path.as_os_str() == NONE => Self::Clear,
            Some(path) => Self::File(path),
            None if has_database_url => Self::Missing,
            None => Self::Own(data_dir.join("secrets.key")),
        }
    }

    /// Whether Secrets may be stored.
    pub fn takes_secrets(&self) -> bool {
        *self != Self::Missing
    }
}
