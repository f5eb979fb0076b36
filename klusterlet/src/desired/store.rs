//! Desired state and position as objects of the member.
//!
//! A work has a head and, if its body is large, further pieces. The pieces are Secrets of their own with the digest in their
//! name, written first; writing the head is the one atomic step, so a crash leaves either the old work or the new one.
//!
//! A head is in a Secret of its own, or on a *shelf*: a Secret with the heads of works that came together, so that a burst does
//! not cost the member a write for each. A work stays where it was put until it is forgotten.

mod head;
mod load;
mod shelf;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tracing::debug;

use self::head::{Head, PIECE, head_name, layout, rest_name};
pub use self::load::Loaded;
use super::Held;
use crate::{
    cluster::{Cluster, Resource, Result, known},
    position::Memory,
};

/// Label of the Secrets that hold a work, of those that hold several, and of those that hold the rest of one.
const LABEL: &str = "koinon.dev/held-work";
const HEAD: &str = "head";
const SHELF: &str = "shelf";
const REST: &str = "rest";

/// ConfigMap with the position.
const POSITION: &str = "hub-position";

/// ConfigMap with the deletions that were let pass lately.
const DELETIONS: &str = "deletions";

/// The position as it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StoredPosition {
    #[serde(flatten)]
    memory: Memory,
}

/// Keeps the desired state in one namespace of the member. Clones share what they know.
#[derive(Debug, Clone)]
pub struct Store {
    cluster: Cluster,
    namespace: String,
    places: Arc<Mutex<Places>>,
}

/// Where heads are that are not in a Secret of their own.
#[derive(Debug, Default)]
struct Places {
    /// The shelf of each work that is on one.
    of: BTreeMap<String, String>,
    /// Works on each shelf.
    shelves: BTreeMap<String, usize>,
    /// Shelves of which it is not known whether they were made. They must be gone before anything else is stored, or a work
    /// could be found on one after it was forgotten.
    doubtful: BTreeSet<String>,
    /// Works that may have a Secret of their own although they are not known to: they are stored nowhere else.
    alone: BTreeSet<String>,
    /// Heads that were left behind on a shelf: shelf and work.
    stale: BTreeSet<(String, String)>,
}

impl Store {
    /// Creates a store; nothing is read yet.
    #[must_use]
    pub fn new(cluster: Cluster, namespace: String) -> Self {
        Self {
            cluster,
            namespace,
            places: Arc::default(),
        }
    }

    /// Stores a work, together with the position at which it was learned.
    ///
    /// # Errors
    /// Fails when the member refuses it; then the state before is still there.
    pub async fn save(&self, held: &Held, before: Option<&Held>, memory: &Memory) -> Result<()> {
        self.tidy().await?;
        if let Some(shelf) = self.shelf_of(&held.name) {
            return self.save_on(&shelf, held, before, memory).await;
        }
        let (first, rest) = layout(&held.body, PIECE);
        let head = Head::of(held, memory, rest.len());
        let same_body =
            before.is_some_and(|b| b.digest == held.digest && b.body.len() == held.body.len());
        if !same_body {
            self.put_rest(held, &rest).await?;
        }
        let exists = if before.is_some() {
            Exists::Surely
        } else {
            Exists::Perhaps
        };
        let put = self
            .put(&head_name(&held.name), HEAD, head.data(first), exists)
            .await;
        if let Err(error) = put {
            self.places.lock().alone.insert(held.name.clone());
            return Err(error);
        }
        if let Some(before) = before.filter(|_| !same_body) {
            self.delete_rest(before, PIECE).await;
        }
        Ok(())
    }

    /// Forgets a work.
    ///
    /// # Errors
    /// Fails when the member refuses it.
    pub async fn remove(&self, held: &Held) -> Result<()> {
        self.tidy().await?;
        if let Some(shelf) = self.shelf_of(&held.name) {
            return self.take_off(&shelf, held).await;
        }
        self.delete(&head_name(&held.name)).await?;
        self.places.lock().alone.remove(&held.name);
        self.delete_rest(held, PIECE).await;
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

    /// Stores which deletions were let pass lately.
    ///
    /// # Errors
    /// Fails when the member refuses it.
    pub async fn save_deletions(&self, passed: &[(i64, usize)]) -> Result<()> {
        let text = serde_json::to_string(passed).unwrap_or_default();
        let object = self.object(
            &known::CONFIG_MAPS,
            DELETIONS,
            json!({"passed": text}),
            None,
        );
        self.upsert(&known::CONFIG_MAPS, DELETIONS, &object, Exists::Surely)
            .await
    }

    /// Reads what [`Store::save_deletions`] stored; what makes no sense is nothing.
    ///
    /// # Errors
    /// Fails when the member cannot be read.
    pub async fn deletions(&self) -> Result<Vec<(i64, usize)>> {
        let stored = self
            .cluster
            .get(&known::CONFIG_MAPS, &self.namespace, DELETIONS)
            .await?;
        let text = stored.as_ref().and_then(|map| map.pointer("/data/passed"));
        let text = text.and_then(Value::as_str).unwrap_or_default();
        Ok(serde_json::from_str(text).unwrap_or_default())
    }

    fn shelf_of(&self, work: &str) -> Option<String> {
        self.places.lock().of.get(work).cloned()
    }

    async fn put_rest(&self, held: &Held, rest: &[&[u8]]) -> Result<()> {
        for (n, piece) in rest.iter().enumerate() {
            let name = rest_name(&held.name, &held.digest, n + 1);
            self.put(&name, REST, head::piece(piece), Exists::Perhaps)
                .await?;
        }
        Ok(())
    }

    /// Deletes the further pieces of a body that nothing refers to any more; what is missed is found at the next load.
    async fn delete_rest(&self, held: &Held, room: usize) {
        let (_, rest) = layout(&held.body, room);
        for n in 0..rest.len() {
            let piece = rest_name(&held.name, &held.digest, n + 1);
            if let Err(error) = self.delete(&piece).await {
                debug!(name = %piece, %error, "a leftover piece of a body was not deleted");
            }
        }
    }

    async fn delete(&self, secret: &str) -> Result<()> {
        self.cluster
            .delete(&known::SECRETS, &self.namespace, secret, None)
            .await
            .map(drop)
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
