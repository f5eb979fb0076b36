//! Decisions as somebody who watches them sees them.

use std::collections::HashMap;

use anyhow::{Context, bail};
use hyper::Method;
use serde::Deserialize;
use serde_json::Value;

use super::super::https::{Lines, Target};

/// The clusters of each decision object, by its name.
pub(super) struct Seen {
    target: Target,
    path: &'static str,
    lines: Lines,
    /// Where the watch goes on if the server ends it.
    revision: String,
    clusters: HashMap<String, Vec<String>>,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    #[serde(default)]
    resource_version: String,
}

#[derive(Default, Deserialize)]
struct Status {
    #[serde(default)]
    decisions: Vec<Decision>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Decision {
    cluster_name: String,
}

impl Seen {
    /// Watches a collection that is empty yet.
    pub(super) async fn open(target: &Target, path: &'static str) -> anyhow::Result<Self> {
        let list = format!("{path}?limit=1");
        let list = target
            .connect()
            .await?
            .json(Method::GET, &list, &Value::Null)
            .await?;
        let revision = list["metadata"]["resourceVersion"].as_str();
        let revision = revision.context("a list without a revision")?.to_owned();
        Ok(Self {
            lines: watch(target, path, &revision).await?,
            target: target.clone(),
            path,
            revision,
            clusters: HashMap::new(),
        })
    }

    /// Reads until so many objects are sound, and no other is there.
    pub(super) async fn until(
        &mut self,
        objects: usize,
        sound: impl Fn(&[String]) -> bool,
    ) -> anyhow::Result<()> {
        let mut unsound = self.clusters.values().filter(|one| !sound(one)).count();
        while self.clusters.len() != objects || unsound > 0 {
            let Some(line) = self.lines.next().await? else {
                self.lines = watch(&self.target, self.path, &self.revision).await?;
                continue;
            };
            let Event { kind, object } = serde_json::from_slice(&line)?;
            let Metadata {
                name,
                resource_version,
            } = object.metadata;
            let names = object.status.decisions.into_iter();
            let clusters: Vec<String> = names.map(|one| one.cluster_name).collect();
            let (is_unsound, before) = match kind.as_str() {
                "ADDED" | "MODIFIED" => (!sound(&clusters), self.clusters.insert(name, clusters)),
                "DELETED" => (false, self.clusters.remove(&name)),
                "BOOKMARK" => (false, None),
                _ => bail!("the watch ended: {}", String::from_utf8_lossy(&line)),
            };
            self.revision = resource_version;
            let was_unsound = before.is_some_and(|before| !sound(&before));
            unsound = unsound + usize::from(is_unsound) - usize::from(was_unsound);
        }
        Ok(())
    }
}

async fn watch(target: &Target, path: &str, revision: &str) -> anyhow::Result<Lines> {
    let path = format!("{path}?watch=1&resourceVersion={revision}");
    target.connect().await?.lines(&path).await
}
