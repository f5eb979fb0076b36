//! What `deploy/` ships is well-formed and fits the programs: each manifest parses, each flag exists, each name that a
//! manifest refers to is defined in the same folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, ensure};
use koinon_tests::tools::{binary, repository};
use serde_json::Value;

fn deploy() -> PathBuf {
    repository().join("deploy")
}

/// The files below a folder that end in `suffix`, in order.
fn files(folder: &Path, suffix: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path, suffix)?);
        } else if path.to_string_lossy().ends_with(suffix) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn objects(file: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::fs::read_to_string(file)?;
    serde_saphyr::from_multiple(&text).with_context(|| file.display().to_string())
}

/// The long flags that a program of ours knows, from its own help.
fn flags(program: &str) -> anyhow::Result<BTreeSet<String>> {
    let output = Command::new(binary(program)?).arg("--help").output()?;
    ensure!(output.status.success(), "{program} --help failed");
    let help = String::from_utf8(output.stdout)?;
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    Ok(words
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .map(str::to_owned)
        .collect())
}

fn check_flags<'a>(
    what: &str,
    program: &str,
    args: impl IntoIterator<Item = &'a str>,
) -> anyhow::Result<()> {
    let known = flags(program)?;
    for arg in args {
        let flag = arg.split('=').next().unwrap_or(arg);
        ensure!(
            flag.starts_with("--"),
            "{what}: {arg} is no flag; write --flag=value"
        );
        ensure!(known.contains(flag), "{what}: {program} has no {flag}");
    }
    Ok(())
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// The image `koinon-hub:0.1.0` runs the program `koinon-hub`.
fn program(container: &Value) -> &str {
    container["image"]
        .as_str()
        .unwrap_or_default()
        .split(':')
        .next()
        .unwrap_or_default()
}

#[test]
fn every_manifest_is_a_kubernetes_object_with_a_name() -> anyhow::Result<()> {
    let mut count = 0;
    for file in files(&deploy(), ".yaml")? {
        for object in objects(&file)? {
            for field in ["/apiVersion", "/kind", "/metadata/name"] {
                ensure!(
                    object.pointer(field).is_some_and(Value::is_string),
                    "{}: no {field}",
                    file.display()
                );
            }
            count += 1;
        }
    }
    ensure!(count > 10, "only {count} objects found");
    Ok(())
}

#[test]
fn every_flag_in_a_manifest_exists_and_every_image_is_of_this_version() -> anyhow::Result<()> {
    let mut containers = 0;
    for file in files(&deploy(), ".yaml")? {
        for object in objects(&file)? {
            for container in object
                .pointer("/spec/template/spec/containers")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
            {
                let what = file.display().to_string();
                check_flags(&what, program(container), strings(&container["args"]))?;
                let version = format!(":{}", env!("CARGO_PKG_VERSION"));
                ensure!(
                    container["image"]
                        .as_str()
                        .is_some_and(|image| image.ends_with(&version)),
                    "{what}: the image is not {version}"
                );
                containers += 1;
            }
        }
    }
    ensure!(containers == 3, "{containers} containers");
    Ok(())
}

#[test]
fn every_flag_in_a_unit_and_in_an_image_exists() -> anyhow::Result<()> {
    for file in files(&deploy().join("systemd"), ".service")? {
        let text = std::fs::read_to_string(&file)?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="))
            .context("no ExecStart")?;
        let mut words = line.split_whitespace();
        let program = words
            .next()
            .and_then(|path| path.rsplit('/').next())
            .context("empty ExecStart")?;
        check_flags(&file.display().to_string(), program, words)?;
    }
    for file in files(&deploy().join("container"), ".Containerfile")? {
        let text = std::fs::read_to_string(&file)?;
        let list = |key: &str| -> anyhow::Result<Vec<String>> {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.map_or(Ok(Vec::new()), |line| {
                serde_json::from_str(line).map_err(Into::into)
            })
        };
        let entry = list("ENTRYPOINT ")?;
        let program = entry
            .first()
            .and_then(|path| path.rsplit('/').next())
            .context("no ENTRYPOINT")?;
        check_flags(
            &file.display().to_string(),
            program,
            list("CMD ")?.iter().map(String::as_str),
        )?;
    }
    Ok(())
}

/// Secrets, service accounts, roles, ports and namespaces that a folder refers to, it defines.
#[test]
fn what_manifests_refer_to_is_there() -> anyhow::Result<()> {
    for folder in ["hub", "klusterlet", "hosted"] {
        let mut all = Vec::new();
        for file in files(&deploy().join(folder), ".yaml")? {
            all.extend(objects(&file)?);
        }
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for object in &all {
            let kind = object["kind"].as_str().unwrap_or_default();
            names
                .entry(kind)
                .or_default()
                .insert(object["metadata"]["name"].as_str().unwrap_or_default());
        }
        let has = |kind: &str, name: &Value| {
            name.as_str()
                .is_some_and(|name| names.get(kind).is_some_and(|set| set.contains(name)))
        };
        for object in &all {
            let what = format!(
                "{folder}: {} {}",
                object["kind"], object["metadata"]["name"]
            );
            if !object["metadata"]["namespace"].is_null() {
                ensure!(
                    has("Namespace", &object["metadata"]["namespace"]),
                    "{what}: its namespace"
                );
            }
            if !object["roleRef"].is_null() && object["roleRef"]["name"] != "cluster-admin" {
                ensure!(
                    has(
                        object["roleRef"]["kind"].as_str().unwrap_or_default(),
                        &object["roleRef"]["name"]
                    ),
                    "{what}: its role"
                );
            }
            for subject in object["subjects"].as_array().into_iter().flatten() {
                ensure!(
                    has("ServiceAccount", &subject["name"]),
                    "{what}: its subject"
                );
            }
            let pod = &object["spec"]["template"]["spec"];
            if !pod["serviceAccountName"].is_null() {
                ensure!(
                    has("ServiceAccount", &pod["serviceAccountName"]),
                    "{what}: its service account"
                );
            }
            for volume in pod["volumes"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|volume| !volume["secret"].is_null())
            {
                ensure!(
                    has("Secret", &volume["secret"]["secretName"]),
                    "{what}: the Secret of its volume"
                );
            }
            for container in pod["containers"].as_array().into_iter().flatten() {
                for variable in container["env"].as_array().into_iter().flatten() {
                    let reference = &variable["valueFrom"]["secretKeyRef"];
                    ensure!(
                        reference.is_null() || has("Secret", &reference["name"]),
                        "{what}: the Secret of {}",
                        variable["name"]
                    );
                    ensure!(
                        reference.is_null()
                            || all.iter().any(|o| o["kind"] == "Secret"
                                && !o["stringData"][reference["key"].as_str().unwrap_or_default()]
                                    .is_null()),
                        "{what}: key {} of its Secret",
                        reference["key"]
                    );
                }
            }
            if object["kind"] == "Service" {
                let ports: Vec<&Value> = object["spec"]["ports"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|port| &port["targetPort"])
                    .collect();
                let served = all.iter().flat_map(|o| {
                    o.pointer("/spec/template/spec/containers/0/ports")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                });
                let served: Vec<&Value> = served.map(|port| &port["name"]).collect();
                ensure!(
                    ports.iter().all(|port| served.contains(port)),
                    "{what}: a port that no container has"
                );
            }
        }
    }
    Ok(())
}
