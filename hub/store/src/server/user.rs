//! As whom Postgres runs: it refuses to run as root.

use std::{
    io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
};

use tokio::process::Command;

use super::ServerError;

/// A user and how to become it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RunAs {
    /// We are not root: as ourselves.
    Ourselves,
    /// We are root: as this user and group.
    Other { uid: u32, gid: u32 },
    /// We are root and the folder is in a place that only root may enter (`/root`): in a user namespace where root has
    /// another number. It is root for the file system and somebody else for Postgres.
    Mapped { uid: u32, gid: u32 },
}

impl RunAs {
    /// Chooses how to run a server in `dir`.
    pub(super) fn choose(dir: &Path) -> Result<Self, ServerError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (uid, gid) = ["postgres", "nobody"]
            .iter()
            .find_map(|name| ids(&passwd, name))
            .unwrap_or((65534, 65534));
        let entered = |folder: &Path| {
            std::fs::metadata(folder)
                .is_ok_and(|at| at.permissions().mode() & 0o001 != 0 || at.uid() == uid)
        };
        if dir.ancestors().skip(1).all(entered) {
            return Ok(Self::Other { uid, gid });
        }
        let mapped = Self::Mapped { uid, gid };
        let works = mapped
            .std_command(Path::new("/bin/true"), dir)
            .status()
            .is_ok_and(|status| status.success());
        if works {
            Ok(mapped)
        } else {
            Err(ServerError::Unreachable(dir.to_owned()))
        }
    }

    /// Makes `dir` a private folder of the user.
    pub(super) fn own(self, dir: &Path) -> io::Result<()> {
        match self {
            Self::Ourselves => {}
            Self::Other { uid, gid } => chown_tree(dir, uid, gid)?,
            // Outside of the namespace the user is root.
            Self::Mapped { .. } => chown_tree(dir, 0, 0)?,
        }
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))
    }

    /// A command that runs as the user.
    pub(super) fn command(self, program: &Path, dir: &Path) -> Command {
        self.std_command(program, dir).into()
    }

    fn std_command(self, program: &Path, dir: &Path) -> std::process::Command {
        use std::os::unix::process::CommandExt;
        let mut command = match self {
            Self::Ourselves | Self::Other { .. } => std::process::Command::new(program),
            Self::Mapped { uid, gid } => {
                let mut command = std::process::Command::new("unshare");
                command
                    .arg("--user")
                    .arg(format!("--map-user={uid}"))
                    .arg(format!("--map-group={gid}"))
                    .arg(program);
                command
            }
        };
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command.current_dir(dir).env("LC_ALL", "C");
        command
    }
}

/// User and group number of a user in the text of `/etc/passwd`.
fn ids(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd
        .lines()
        .find(|line| line.split(':').next() == Some(name))?;
    let mut numbers = line.split(':').skip(2);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Gives a folder and all in it to a user, if it is not theirs yet. Symbolic links are not followed.
fn chown_tree(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let at = std::fs::symlink_metadata(path)?;
    if at.uid() == uid {
        return Ok(());
    }
    if at.is_dir() {
        for entry in std::fs::read_dir(path)? {
            chown_tree(&entry?.path(), uid, gid)?;
        }
    }
    match at.is_symlink() {
        true => std::os::unix::fs::lchown(path, Some(uid), Some(gid)),
        false => chown(path, Some(uid), Some(gid)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgresql:x:7:8::/:/bin/sh\npostgres:x:101:104::/:/bin/sh\n";
        assert_eq!(ids(passwd, "postgres"), Some((101, 104)));
        assert_eq!(ids(passwd, "nobody"), None);
    }
}
