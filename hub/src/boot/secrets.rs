//! The keys that seal what is secret in the registry.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use koinon_store::{FileKeys, Sealer};
use zeroize::Zeroizing;

use crate::config::SecretsKey;

/// Reads the keys; makes the hub's own if there are none yet.
pub(super) fn sealer(key: &SecretsKey) -> Result<Sealer> {
    let path = match key {
        SecretsKey::Clear => {
            tracing::warn!("secrets are stored in the clear: --secrets-key-file=none");
            return Ok(Sealer::default());
        }
        SecretsKey::Missing => {
            tracing::warn!(
                "this hub takes no Secrets and keeps its CA's key in the clear, for it has no key to seal them with; give it one with \
                 --secrets-key-file"
            );
            return Ok(Sealer::default());
        }
        SecretsKey::File(path) => path,
        SecretsKey::Own(path) => {
            if !path.exists() {
                make(path).with_context(|| format!("cannot make {}", path.display()))?;
            }
            path
        }
    };
    let text = fs::read_to_string(path)
        .map(Zeroizing::new)
        .with_context(|| format!("cannot read the keys of secrets in {}", path.display()))?;
    let keys = FileKeys::parse(&text)
        .map_err(|why| anyhow::anyhow!("{} is no key file: {why}", path.display()))?;
    Ok(Sealer::new(Arc::new(keys)))
}

/// Written whole or not at all, durably, and never over another: a lost key is lost secrets.
fn make(path: &Path) -> Result<()> {
    let folder = path.parent().context("a key file is in a folder")?;
    fs::create_dir_all(folder)?;
    let draft = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(Zeroizing::new(FileKeys::generate()?).as_bytes())?;
    file.sync_all()?;
    fs::hard_link(&draft, path)?;
    fs::remove_file(&draft)?;
    fs::File::open(folder)?.sync_all()?;
    tracing::info!(path = %path.display(), "keys for secrets were made; keep them apart from backups of the database");
    Ok(())
}
