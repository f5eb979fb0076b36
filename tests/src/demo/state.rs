//! The state folder of the demo.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;

use crate::tools::repository;

/// Where the demo keeps its files: `KOINON_STATE`, else `.state/demo` in the
/// repository.
///
/// As root the hub's Postgres runs as another user, who must be able to walk to
/// the folder. Below a closed home it does so in a user namespace; where those
/// are forbidden, as in many containers, the folder is `/var/tmp/koinon-demo`.
pub(super) fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("KOINON_STATE") {
        return folder.into();
    }
    let root = std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    if root && !open_to_all(repository()) && !user_namespaces() {
        return "/var/tmp/koinon-demo".into();
    }
    repository().join(".state/demo")
}

fn open_to_all(folder: &Path) -> bool {
    folder
        .ancestors()
        .all(|part| std::fs::metadata(part).is_ok_and(|part| part.mode() & 0o001 != 0))
}

fn user_namespaces() -> bool {
    let tried = Command::new("unshare")
        .args(["--user", "--map-root-user", "true"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// An empty state folder. What an earlier demo left is removed.
pub(super) fn fresh() -> anyhow::Result<PathBuf> {
    let folder = folder();
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}
