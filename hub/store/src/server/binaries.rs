//! Where Postgres is installed.

use std::path::{Path, PathBuf};

use super::ServerError;

/// The folder of Postgres' programs.
#[derive(Clone, Debug)]
pub struct Binaries(PathBuf);

impl Binaries {
    /// Looks in `PG_BIN`, then in Debian's folders (the newest version), then in `PATH`.
    ///
    /// # Errors
    /// When there is no Postgres.
    pub fn find() -> Result<Self, ServerError> {
        if let Some(folder) = std::env::var_os("PG_BIN") {
            return Ok(Self(folder.into()));
        }
        let debian = newest(Path::new("/usr/lib/postgresql"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = debian
            .into_iter()
            .chain(std::env::split_paths(&path))
            .find(|folder| folder.join("initdb").exists());
        found.map(Self).ok_or(ServerError::NotInstalled)
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// `bin` of the highest version under `root`.
fn newest(root: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(root).ok()?.flatten();
    let version = |entry: &std::fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    let (_, newest) = versions
        .filter_map(|entry| Some((version(&entry)?, entry.path())))
        .max_by_key(|(v, _)| *v)?;
    Some(newest.join("bin"))
}
