//! Shelves: Secrets with the heads of several works.
//!
//! Entries are changed and taken off one by one, by merge patches, so that works on one shelf do not wait for each other.

use std::collections::btree_map::Entry;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    Exists, HEAD, Places, SHELF, Store,
    head::{Head, PIECE, head_name, layout},
};
use crate::{
    cluster::{Error, Result, known},
    desired::Held,
    position::Memory,
};

/// Works on one shelf, and what of a body may lie on it: with their heads this stays below the 1 MiB of a Secret.
const MOST: usize = 64;
const ROOM: usize = 8 * 1024;

/// Bytes of labels and directives with which a head may lie on a shelf.
const LABELS: usize = 4 * 1024;

impl Store {
    /// Whether a new work may be stored together with others.
    #[must_use]
    pub fn fits(held: &Held) -> bool {
        let labels = held.labels.iter().chain(&held.directives);
        held.body.len() <= ROOM && labels.map(|(k, v)| k.len() + v.len()).sum::<usize>() <= LABELS
    }

    /// Stores works that were not stored before, in as few writes as possible.
    ///
    /// # Errors
    /// Fails when the member refuses one of them; the others may have been stored.
    pub async fn save_new(&self, works: &[&Held], memory: &Memory) -> Result<()> {
        let (small, single): (Vec<&Held>, Vec<&Held>) = {
            let places = self.places.lock();
            let free = |work| !places.of.contains_key(work) && !places.alone.contains(work);
            works
                .iter()
                .copied()
                .partition(|held| Self::fits(held) && free(&held.name))
        };
        for held in single {
            self.save(held, None, memory).await?;
        }
        for group in small.chunks(MOST) {
            match group {
                [] => {}
                [one] => self.save(one, None, memory).await?,
                several => self.shelve(several, memory).await?,
            }
        }
        Ok(())
    }

    async fn shelve(&self, works: &[&Held], memory: &Memory) -> Result<()> {
        self.tidy().await?;
        let name = format!("works-{:016x}", rand::random::<u64>());
        let mut data = Map::new();
        for held in works {
            let (first, _) = layout(&held.body, ROOM);
            put(&mut data, held, &Head::of(held, memory, 0), first);
        }
        let object = self.object(&known::SECRETS, &name, Value::Object(data), Some(SHELF));
        let made = self
            .cluster
            .create(&known::SECRETS, &self.namespace, &object)
            .await;
        let mut places = self.places.lock();
        match made {
            Ok(_) => {
                for held in works {
                    places.of.insert(held.name.clone(), name.clone());
                }
                places.shelves.insert(name, works.len());
                Ok(())
            }
            Err(error) => {
                if !matches!(error, Error::Refused { .. }) {
                    places.doubtful.insert(name);
                }
                Err(error)
            }
        }
    }

    /// Changes a work where it lies.
    pub(super) async fn save_on(
        &self,
        shelf: &str,
        held: &Held,
        before: Option<&Held>,
        memory: &Memory,
    ) -> Result<()> {
        let (first, rest) = layout(&held.body, ROOM);
        let same_body =
            before.is_some_and(|b| b.digest == held.digest && b.body.len() == held.body.len());
        if !same_body {
            self.put_rest(held, &rest).await?;
        }
        let head = Head::of(held, memory, rest.len());
        let mut data = Map::new();
        put(&mut data, held, &head, first);
        match self.patch(shelf, data).await {
            Ok(()) => {}
            // Somebody deleted the shelf, or it cannot take this head: the work moves to a Secret of its own. From then on that
            // one counts, here and when all is loaded.
            Err(error) if error.is_not_found() || error.is_too_large() => {
                let (first, rest) = layout(&held.body, PIECE);
                self.put_rest(held, &rest).await?;
                let data = Head::of(held, memory, rest.len()).data(first);
                self.put(&head_name(&held.name), HEAD, data, Exists::Perhaps)
                    .await?;
                self.places.lock().leave(shelf, &held.name);
                return self.tidy().await;
            }
            Err(error) => return Err(error),
        }
        if let Some(before) = before.filter(|_| !same_body) {
            self.delete_rest(before, ROOM).await;
        }
        Ok(())
    }

    /// Forgets a work where it lies.
    pub(super) async fn take_off(&self, shelf: &str, held: &Held) -> Result<()> {
        self.places.lock().leave(shelf, &held.name);
        self.tidy().await?;
        self.delete_rest(held, ROOM).await;
        Ok(())
    }

    /// Takes off what must not be found again. Nothing is stored or forgotten before that is done.
    pub(super) async fn tidy(&self) -> Result<()> {
        loop {
            let Some(doubtful) = self.places.lock().doubtful.first().cloned() else {
                break;
            };
            self.delete(&doubtful).await?;
            self.places.lock().doubtful.remove(&doubtful);
        }
        loop {
            let (shelf, stale, empty) = {
                let places = self.places.lock();
                let Some((shelf, _)) = places.stale.first().cloned() else {
                    return Ok(());
                };
                let stale: Vec<_> = places
                    .stale
                    .iter()
                    .filter(|(on, _)| *on == shelf)
                    .cloned()
                    .collect();
                let empty = places.shelves.get(&shelf).is_none_or(|works| *works == 0);
                (shelf, stale, empty)
            };
            if empty {
                self.delete(&shelf).await?;
            } else {
                let mut data = Map::new();
                for (_, work) in &stale {
                    let key = head_name(work);
                    data.insert(format!("{key}.json"), Value::Null);
                    data.insert(format!("{key}.gz"), Value::Null);
                }
                match self.patch(&shelf, data).await {
                    Err(error) if error.is_not_found() => {}
                    other => other?,
                }
            }
            let mut places = self.places.lock();
            for entry in &stale {
                places.stale.remove(entry);
            }
        }
    }

    async fn patch(&self, shelf: &str, data: Map<String, Value>) -> Result<()> {
        let patch = json!({ "data": data });
        self.cluster
            .merge(&known::SECRETS, &self.namespace, shelf, None, &patch)
            .await
            .map(drop)
    }
}

impl Places {
    /// A work is not on its shelf any more, or should not be.
    fn leave(&mut self, shelf: &str, work: &str) {
        if self.of.remove(work).is_some()
            && let Entry::Occupied(mut works) = self.shelves.entry(shelf.to_owned())
        {
            *works.get_mut() -= 1;
            if *works.get() == 0 {
                works.remove();
            }
        }
        self.stale.insert((shelf.to_owned(), work.to_owned()));
    }
}

fn put(data: &mut Map<String, Value>, held: &Held, head: &Head, first: &[u8]) {
    let key = head_name(&held.name);
    data.insert(format!("{key}.json"), head.text().into());
    data.insert(format!("{key}.gz"), STANDARD.encode(first).into());
}
