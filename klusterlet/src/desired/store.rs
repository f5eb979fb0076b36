//! Desired state and position as objects of the member.
//!
//! One Secret per work, and further ones for what does not fit into it. The further ones carry the digest in their name and
//! are written first; replacing the head is the one atomic step, so a crash leaves either the old work or the new one.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tracing::{debug, warn};

use super::{Held, Origin, decompress};
use crate::{
    cluster::{Cluster, Resource, Result, known},
    position::{Memory, Position},
};

/// Compressed bytes per Secret; base64 makes a third more of it, and etcd takes 1.5 MiB.
const PIECE: usize = 700 * 1024;

/// Label of the Secrets that hold a work, and of those that hold the rest of one.
const LABEL: &str = "koinon.dev/held-work";
const HEAD: &str = "head";
const REST: &str = "rest";

/// ConfigMap with the position.
const POSITION: &str = "hub-position";

/// What the head Secret says about its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    name: String,
    uid: String,
    generation: i64,
    digest: String,
    #[serde(default)]
    tombstone: bool,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    directives: BTreeMap<String, String>,
    /// Revision at which this was told.
    #[serde(default)]
    revision: i64,
    /// Where the registry stood when this was learned.
    position: Option<Position>,
    /// How many rollbacks had been accepted by then; earlier positions do not count any more.
    #[serde(default)]
    rollbacks: u64,
    /// Number of Secrets that hold the body, this one included.
    pieces: usize,
}

/// The position as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StoredPosition {
    #[serde(flatten)]
    memory: Memory,
}

/// Keeps the desired state in one namespace of the member.
#[derive(Debug, Clone)]
pub struct Store {
    cluster: Cluster,
    namespace: String,
}

impl Store {
    /// Creates a store; nothing is read yet.
    #[must_use]
    pub fn new(cluster: Cluster, namespace: String) -> Self {
        Self { cluster, namespace }
    }

    /// Loads everything. Works that are damaged are left out: the hub will be asked for them again.
    ///
    /// # Errors
    /// Fails when the member cannot be read; there is no partial load.
    pub async fn load(&self) -> Result<(Memory, Vec<Held>)> {
        let stored = self
            .cluster
            .get(&known::CONFIG_MAPS, &self.namespace, POSITION)
            .await?;
        let mut memory = stored
            .as_ref()
            .and_then(|map| map.pointer("/data/position").and_then(Value::as_str))
            .and_then(|text| serde_json::from_str::<StoredPosition>(text).ok())
            .unwrap_or_default()
            .memory;
        let secrets = self
            .cluster
            .list(&known::SECRETS, &self.namespace, LABEL)
            .await?;
        let label = |secret: &Value| {
            secret
                .pointer("/metadata/labels")
                .and_then(|l| l.get(LABEL))
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let name = |secret: &Value| {
            secret
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let rest: BTreeMap<String, &Value> = secrets
            .iter()
            .filter(|s| label(s) == REST)
            .map(|s| (name(s), s))
            .collect();
        let mut used = std::collections::BTreeSet::new();
        let mut works = Vec::new();
        for secret in secrets.iter().filter(|s| label(s) == HEAD) {
            let Some(head) = data(secret, "work.json")
                .and_then(|bytes| serde_json::from_slice::<Head>(&bytes).ok())
            else {
                warn!(name = %name(secret), "a stored work is unreadable");
                continue;
            };
            if let Some(position) = &head.position {
                memory.recall(position.clone(), head.rollbacks);
            }
            let pieces = (1..head.pieces)
                .map(|n| rest_name(&head, n))
                .collect::<Vec<_>>();
            used.extend(pieces.iter().cloned());
            let mut body = data(secret, "body.gz").unwrap_or_default();
            for piece in &pieces {
                body.extend(
                    rest.get(piece)
                        .and_then(|s| data(s, "body.gz"))
                        .unwrap_or_default(),
                );
            }
            let digest = unhex(&head.digest);
            let whole = body.is_empty() && head.tombstone
                || decompress(&body).is_ok_and(|plain| Sha256::digest(&plain).as_slice() == digest);
            if !whole && !head.tombstone {
                warn!(work = %head.name, "a stored work is damaged and will be asked for again");
                continue;
            }
            works.push(Held {
                name: head.name,
                uid: head.uid,
                generation: head.generation,
                digest,
                tombstone: head.tombstone,
                labels: head.labels,
                directives: head.directives,
                revision: head.revision,
                body: body.into(),
                origin: Origin::Member,
            });
        }
        for stray in rest.keys().filter(|name| !used.contains(*name)) {
            debug!(name = %stray, "deleting a leftover piece of a body");
            self.cluster
                .delete(&known::SECRETS, &self.namespace, stray, None)
                .await?;
        }
        Ok((memory, works))
    }

    /// Stores a work, together with the position at which it was learned.
    ///
    /// # Errors
    /// Fails when the member refuses it; then the state before is still there.
    pub async fn save(&self, held: &Held, before: Option<&Held>, memory: &Memory) -> Result<()> {
        let pieces: Vec<&[u8]> = if held.body.is_empty() {
            vec![&[]]
        } else {
            held.body.chunks(PIECE).collect()
        };
        let head = Head {
            name: held.name.clone(),
            uid: held.uid.clone(),
            generation: held.generation,
            digest: hex(&held.digest),
            tombstone: held.tombstone,
            labels: held.labels.clone(),
            directives: held.directives.clone(),
            revision: held.revision,
            position: memory.seen.clone(),
            rollbacks: memory.rollbacks,
            pieces: pieces.len(),
        };
        let same_body =
            before.is_some_and(|b| b.digest == held.digest && b.body.len() == held.body.len());
        if !same_body {
            for (n, piece) in pieces.iter().enumerate().skip(1) {
                self.put(
                    &rest_name(&head, n),
                    REST,
                    json!({"body.gz": STANDARD.encode(piece)}),
                    Exists::Perhaps,
                )
                .await?;
            }
        }
        let meta = serde_json::to_vec(&head).unwrap_or_default();
        let content =
            json!({"work.json": STANDARD.encode(meta), "body.gz": STANDARD.encode(pieces[0])});
        let exists = if before.is_some() {
            Exists::Surely
        } else {
            Exists::Perhaps
        };
        self.put(&head_name(&held.name), HEAD, content, exists)
            .await?;
        if let Some(before) = before.filter(|_| !same_body) {
            self.delete_rest(before).await;
        }
        Ok(())
    }

    /// Forgets a work.
    ///
    /// # Errors
    /// Fails when the member refuses it.
    pub async fn remove(&self, held: &Held) -> Result<()> {
        self.cluster
            .delete(
                &known::SECRETS,
                &self.namespace,
                &head_name(&held.name),
                None,
            )
            .await?;
        self.delete_rest(held).await;
        Ok(())
    }

    /// Stores the position.
    ///
    /// # Errors
    /// Fails when the member refuses it.
    pub async fn save_position(&self, memory: &Memory) -> Result<()> {
        let text = serde_json::to_string(&StoredPosition {
            memory: memory.clone(),
        })
        .unwrap_or_default();
        let object = self.object(
            &known::CONFIG_MAPS,
            POSITION,
            json!({"position": text}),
            None,
        );
        self.upsert(&known::CONFIG_MAPS, POSITION, &object, Exists::Surely)
            .await
    }

    /// Deletes the further pieces of a body that nothing refers to any more; what is missed is found at the next load.
    async fn delete_rest(&self, held: &Held) {
        let pieces = held.body.len().div_ceil(PIECE).max(1);
        let (name, digest) = (&held.name, hex(&held.digest));
        for n in 1..pieces {
            let piece = format!(
                "{}-{}-{n}",
                head_name(name),
                &digest[..digest.len().min(12)]
            );
            if let Err(error) = self
                .cluster
                .delete(&known::SECRETS, &self.namespace, &piece, None)
                .await
            {
                debug!(name = %piece, %error, "a leftover piece of a body was not deleted");
            }
        }
    }

    async fn put(&self, name: &str, kind: &str, content: Value, exists: Exists) -> Result<()> {
        let object = self.object(&known::SECRETS, name, content, Some(kind));
        self.upsert(&known::SECRETS, name, &object, exists).await
    }

    fn object(&self, resource: &Resource, name: &str, data: Value, label: Option<&str>) -> Value {
        let mut object = json!({
            "apiVersion": resource.api_version(),
            "kind": resource.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "data": data,
        });
        if let Some(label) = label {
            object["metadata"]["labels"] = json!({ LABEL: label });
        }
        object
    }

    /// Creates or replaces; only this agent writes these objects.
    async fn upsert(
        &self,
        resource: &Resource,
        name: &str,
        object: &Value,
        exists: Exists,
    ) -> Result<()> {
        if exists == Exists::Surely {
            match self
                .cluster
                .replace(resource, &self.namespace, name, object)
                .await
            {
                Err(error) if error.is_not_found() => {}
                other => return other.map(|_| ()),
            }
        }
        match self.cluster.create(resource, &self.namespace, object).await {
            Err(error) if error.is_already_exists() => self
                .cluster
                .replace(resource, &self.namespace, name, object)
                .await
                .map(|_| ()),
            other => other.map(|_| ()),
        }
    }
}

/// Which call is tried first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exists {
    Surely,
    Perhaps,
}

/// Name of the head Secret: a work's name may be longer than what a suffix leaves room for.
fn head_name(work: &str) -> String {
    format!("work-{}", &hex(&Sha256::digest(work.as_bytes()))[..32])
}

fn rest_name(head: &Head, n: usize) -> String {
    format!(
        "{}-{}-{n}",
        head_name(&head.name),
        &head.digest[..head.digest.len().min(12)]
    )
}

fn data(secret: &Value, key: &str) -> Option<Vec<u8>> {
    STANDARD
        .decode(secret.get("data")?.get(key)?.as_str()?)
        .ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .filter_map(|n| u8::from_str_radix(text.get(2 * n..2 * n + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_whatever_the_work_is_called() {
        let long = "w".repeat(253);
        assert!(head_name(&long).len() < 60);
        assert_ne!(head_name("a"), head_name("b"));
        assert_eq!(unhex(&hex(&[0, 171, 255])), [0, 171, 255]);
    }
}
