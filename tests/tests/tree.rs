//! The shape of the source tree: how long files are, who may depend on whom.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::ensure;
use koinon_tests::tools::repository;

/// A file longer than this, tests apart, holds more than one idea.
const MOST_LINES: usize = 500;

#[test]
fn no_source_file_is_longer_than_500_lines() -> anyhow::Result<()> {
    let mut too_long = Vec::new();
    for file in sources()? {
        let text = std::fs::read_to_string(&file)?;
        // Tests at the end of a file are about it, not more of it.
        let code = text
            .split("\n#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        let lines = code.lines().count();
        if lines > MOST_LINES {
            too_long.push(format!(
                "{} {lines}",
                file.strip_prefix(repository())?.display()
            ));
        }
    }
    ensure!(
        too_long.is_empty(),
        "longer than {MOST_LINES} lines:\n{}",
        too_long.join("\n")
    );
    Ok(())
}

/// Two TLS providers in one program make rustls panic, and OpenSSL would have to
/// be patched with the system. Object keys must stay sorted: digests are taken of
/// the serialised bytes.
#[test]
fn dependencies_have_one_tls_provider_and_sorted_json() -> anyhow::Result<()> {
    let graph = cargo(&[
        "tree",
        "--workspace",
        "--edges",
        "all",
        "--prefix",
        "none",
        "--format",
        "{p} features={f}",
    ])?;
    let names: BTreeSet<&str> = graph
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    for banned in [
        "ring",
        "openssl",
        "openssl-sys",
        "native-tls",
        "serde_yaml",
        "reqwest",
    ] {
        ensure!(
            !names.contains(banned),
            "{banned} is in the dependency graph; see `cargo tree -i {banned}`"
        );
    }
    let above_chrono = cargo(&[
        "tree",
        "--workspace",
        "--invert",
        "chrono",
        "--depth",
        "1",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ])?;
    for line in above_chrono.lines().skip(1) {
        ensure!(
            line.starts_with("cel "),
            "{line} uses chrono; ours is jiff, and only CEL's times are chrono's"
        );
    }
    for line in graph.lines().filter(|line| line.starts_with("serde_json ")) {
        ensure!(
            !line.contains("preserve_order") && !line.contains("arbitrary_precision"),
            "{line}"
        );
    }
    Ok(())
}

#[test]
fn the_hub_has_no_kubernetes_client_and_the_agent_no_database() -> anyhow::Result<()> {
    for (package, banned) in [
        ("koinon-hub", vec!["kube-client", "kube-runtime"]),
        (
            "koinon-klusterlet",
            vec!["sqlx", "axum", "koinon-store", "koinon-hub"],
        ),
        ("koinon-cli", vec!["sqlx", "koinon-store", "koinon-hub"]),
        (
            "koinon-machinery",
            vec!["tokio", "sqlx", "axum", "tonic", "kube-client"],
        ),
        ("koinon-store", vec!["axum", "tonic", "kube-client"]),
        (
            "koinon-api",
            vec!["tokio", "koinon-machinery", "koinon-proto"],
        ),
    ] {
        let graph = cargo(&[
            "tree",
            "--package",
            package,
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
        ])?;
        let names: BTreeSet<&str> = graph
            .lines()
            .filter_map(|line| line.split(' ').next())
            .collect();
        for name in banned {
            // axum comes with tonic's router; what matters is that nobody of ours asks for it.
            if name == "axum" && !direct(package)?.contains(name) {
                continue;
            }
            ensure!(!names.contains(name), "{package} depends on {name}");
        }
    }
    Ok(())
}

/// Which modules of the hub may not know which others.
#[test]
fn the_hubs_modules_point_one_way() -> anyhow::Result<()> {
    let rules: &[(&str, &[&str])] = &[
        ("rest", &["agents", "controllers", "pki", "boot"]),
        ("agents", &["rest", "controllers", "boot"]),
        ("controllers", &["rest", "agents", "boot"]),
        ("registry", &["rest", "agents", "controllers", "boot"]),
        ("resources", &["rest", "agents", "controllers", "boot"]),
        ("pki", &["rest", "agents", "controllers", "boot"]),
    ];
    let root = repository().join("hub/src");
    let mut broken = Vec::new();
    for file in sources()?
        .into_iter()
        .filter(|file| file.starts_with(&root))
    {
        let inside = file.strip_prefix(&root)?.with_extension("");
        let module = inside
            .iter()
            .next()
            .map(|part| part.to_string_lossy().into_owned())
            .unwrap_or_default();
        let Some((_, banned)) = rules.iter().find(|(name, _)| *name == module) else {
            continue;
        };
        let imports = imported(&std::fs::read_to_string(&file)?);
        for name in banned.iter().filter(|name| imports.contains(**name)) {
            broken.push(format!(
                "{} imports {name}",
                file.strip_prefix(repository())?.display()
            ));
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

/// The modules that a file names behind `crate::`, also in `use crate::{a, b::c}`.
fn imported(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (index, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                letter if start && !letter.is_whitespace() => {
                    found.insert(word(&group[index..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars()
        .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
        .collect()
}

/// The crates that a package itself asks for.
fn direct(package: &str) -> anyhow::Result<BTreeSet<String>> {
    let graph = cargo(&[
        "tree",
        "--package",
        package,
        "--edges",
        "normal",
        "--depth",
        "1",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ])?;
    Ok(graph
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.split(' ').next()?.to_owned()))
        .collect())
}

fn cargo(args: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("cargo")
        .args(args)
        .current_dir(repository())
        .output()?;
    ensure!(
        output.status.success(),
        "cargo {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

fn sources() -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for folder in ["hub", "klusterlet", "proto", "tests"] {
        walk(&repository().join(folder), &mut files)?;
    }
    ensure!(!files.is_empty(), "no source files found");
    Ok(files)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// A dependency is a decision: `docs/decisions/0001-dependencies.md` says why each is here.
#[test]
fn every_dependency_has_its_reason_written_down() -> anyhow::Result<()> {
    let manifest = std::fs::read_to_string(repository().join("Cargo.toml"))?;
    let page = std::fs::read_to_string(repository().join("docs/decisions/0001-dependencies.md"))?;
    let list = manifest
        .split("[workspace.dependencies]")
        .nth(1)
        .and_then(|rest| rest.split("\n[").next())
        .unwrap_or_default();
    let missing: Vec<&str> = list
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0.trim()))
        .filter(|name| !name.starts_with('#') && !name.starts_with("koinon-"))
        .filter(|name| !page.contains(&format!("`{name}`")))
        .collect();
    ensure!(missing.is_empty(), "without a reason: {missing:?}");
    Ok(())
}
