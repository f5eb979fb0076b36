//! Which manifests of a work are complete for good. Pure.
//!
//! A manifest whose condition `Complete` is true is not applied any more, and a work all of whose manifests with such a
//! rule are complete is left as it is, whatever becomes of its spec (OCM). It is written into the record: a Job that was
//! cleaned up after it ran must not run again because the agent was restarted.

use std::collections::BTreeSet;

use koinon_api::labels::condition;
use koinon_api::meta::Truth;
use serde::{Deserialize, Serialize};

use super::pass::Slot;
use crate::cluster::ObjectKey;

/// What is complete.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Completed {
    /// Uid of the work; another work of its name has completed nothing.
    #[serde(default)]
    work: String,
    /// Short digests of the objects.
    #[serde(default)]
    manifests: BTreeSet<String>,
    /// Generation of the work at which all of it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    all: Option<i64>,
}

impl Completed {
    /// Reads the annotation of a record; what cannot be read counts as nothing.
    pub(super) fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub(super) fn render(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The generation at which the whole work was complete, if it is.
    pub(super) const fn all(&self) -> Option<i64> {
        self.all
    }

    /// What counts for the work with this uid.
    pub(super) fn of(self, work: &str) -> Self {
        if self.work == work {
            return self;
        }
        Self {
            work: work.to_owned(),
            ..Self::default()
        }
    }

    /// Nothing is complete.
    pub(super) fn is_empty(&self) -> bool {
        self.manifests.is_empty() && self.all.is_none()
    }

    /// The object is complete itself.
    pub(super) fn has(&self, key: &ObjectKey) -> bool {
        self.manifests.contains(&short(key))
    }

    /// The object is not to be touched any more.
    pub(super) fn freezes(&self, key: &ObjectKey) -> bool {
        self.all.is_some() || self.has(key)
    }

    /// What is complete after a pass that found `slots`.
    pub(super) fn after<'a>(&self, slots: impl Iterator<Item = &'a Slot>, generation: i64) -> Self {
        if self.all.is_some() {
            return self.clone();
        }
        let mut next = Self {
            work: self.work.clone(),
            ..Self::default()
        };
        let mut open = false;
        for slot in slots {
            let Some(key) = slot.key() else {
                // What it is is not known, so neither whether it has a rule.
                open = true;
                continue;
            };
            let complete = slot
                .outcome
                .derived
                .iter()
                .find(|d| d.kind == condition::COMPLETE)
                .map(|d| d.truth);
            match complete {
                // What is there may be an earlier one, which the server did not let us change.
                Some(Truth::True) if slot.outcome.applied.is_ok() => {
                    next.manifests.insert(short(key));
                }
                _ if self.freezes(key) => _ = next.manifests.insert(short(key)),
                Some(_) => open = true,
                // It has a rule, and is not there to be asked; or it was not applied yet, and would not be any more.
                None if slot.completes || slot.outcome.applied.is_err() => open = true,
                None => {}
            }
        }
        if !open && !next.manifests.is_empty() {
            next.all = Some(generation);
        }
        next
    }
}

fn short(key: &ObjectKey) -> String {
    let text = format!(
        "{}/{}/{}/{}",
        key.resource.group, key.resource.plural, key.namespace, key.name
    );
    super::diff::digest(&text.into())[..12].to_owned()
}

#[cfg(test)]
mod tests;
