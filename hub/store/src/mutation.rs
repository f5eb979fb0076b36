//! What can be asked of the writer lane, and what it answers.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::{
    key::{Epoch, Key, Revision},
    stored::{Draft, Stored},
};

/// One change to one object.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Puts an object where there is none.
    Create(Draft),
    /// Replaces the whole object if its revision is still `expected`.
    Replace { draft: Draft, expected: Revision },
    /// Replaces the status alone: if the revision is still `expected`, or, for a status that has one writer, whatever it is.
    /// Writes nothing when the status is the same already.
    Status {
        key: Key,
        uid: Uuid,
        status: Bytes,
        expected: Option<Revision>,
    },
    /// Removes the object, if it still is the one described.
    Delete {
        key: Key,
        uid: Option<Uuid>,
        expected: Option<Revision>,
    },
}

impl Change {
    /// The object that is changed.
    pub fn key(&self) -> &Key {
        match self {
            Self::Create(draft) | Self::Replace { draft, .. } => &draft.key,
            Self::Status { key, .. } | Self::Delete { key, .. } => key,
        }
    }
}

/// A change, the leadership term in which it was decided, and out of whose share it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Mutation {
    pub change: Change,
    /// Checked in the same transaction: a deposed leader cannot write (P5).
    pub epoch: Option<Epoch>,
    pub share: Share,
}

/// Whose writes wait together. Each has a part of the queue and of each batch that the others cannot take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// Requests.
    #[default]
    Users,
    /// The controllers.
    Hub,
    /// What agents report, and what is recorded of them.
    Agents,
}

impl Share {
    pub(crate) const ALL: [Self; 3] = [Self::Users, Self::Hub, Self::Agents];
}

impl From<Change> for Mutation {
    fn from(change: Change) -> Self {
        Self {
            change,
            epoch: None,
            share: Share::default(),
        }
    }
}

/// A durable, acknowledged write.
#[derive(Clone, Debug)]
pub struct Written {
    /// Revision of the change; the object's own, unchanged one when there was nothing to write.
    pub revision: Revision,
    /// The state after the change; for a deletion the last state.
    pub stored: Arc<Stored>,
}

/// Why a mutation was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    #[error("the object exists already")]
    Exists,
    #[error("the object does not exist")]
    NotFound,
    #[error("the object has changed")]
    Conflict,
    #[error("leadership was lost")]
    Deposed,
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The database refuses the data of this mutation; a repetition will fail as well.
    #[error("the registry cannot store the object: {0}")]
    Rejected(String),
}

/// The registry gave no answer in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the registry is unavailable: {reason}")]
pub struct Unavailable {
    pub reason: String,
    /// Whether a write may have happened all the same. After [`Applied::Maybe`] read before writing again.
    pub applied: Applied,
}

impl Unavailable {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            applied: Applied::No,
        }
    }

    pub(crate) fn ambiguous(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            applied: Applied::Maybe,
        }
    }
}

/// What is known of a write that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It certainly did not happen.
    No,
    /// The connection broke while the answer was due.
    Maybe,
}
