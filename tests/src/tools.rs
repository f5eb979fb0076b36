//! Where the programs are that the harness starts.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use anyhow::{Context, bail};

/// The path of a tool that `deploy/setup.sh` found: `ETCD`, `KUBECTL`,
/// `KUBE_APISERVER`, `KUBE_CONTROLLER_MANAGER` or `PG_BIN`.
///
/// # Errors
/// When it is neither in the environment nor in the file that set-up writes.
pub fn tool(name: &str) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(name) {
        return Ok(path.into());
    }
    let file = cache_dir()?.join("env");
    let found = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}; run `make setup` first", file.display()))?;
    found
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .map(PathBuf::from)
        .with_context(|| format!("{name} is not in {}; run `make setup`", file.display()))
}

fn cache_dir() -> anyhow::Result<PathBuf> {
    if let Some(dir) = std::env::var_os("KOINON_CACHE") {
        return Ok(dir.into());
    }
    let base = match std::env::var_os("XDG_CACHE_HOME") {
        Some(dir) => PathBuf::from(dir),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(base.join("koinon"))
}

/// The path of one of our own binaries, beside the running one.
///
/// # Errors
/// When it was not built: a test run builds only what its package needs.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let running = std::env::current_exe()?;
    for dir in running.ancestors().skip(1).take(2) {
        let path = dir.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("{name} was not built; run `cargo build --workspace --all-targets` (or `make test`)")
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the crate is in a folder of the repository")
}

/// The minor version of Kubernetes that the members run, from the binary itself.
///
/// # Errors
/// When the binary does not run or says something else.
pub fn kubernetes_minor() -> anyhow::Result<u32> {
    static MINOR: OnceLock<u32> = OnceLock::new();
    if let Some(minor) = MINOR.get() {
        return Ok(*minor);
    }
    let said = Command::new(tool("KUBE_APISERVER")?)
        .arg("--version")
        .output()?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let minor = said
        .split('.')
        .nth(1)
        .and_then(|part| part.parse().ok())
        .with_context(|| format!("unexpected version: {said}"))?;
    Ok(*MINOR.get_or_init(|| minor))
}
