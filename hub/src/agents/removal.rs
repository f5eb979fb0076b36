//! A work that the agent has removed: its finalizer goes, and so the object.

use koinon_api::{ManifestWork, labels::finalizer};
use koinon_machinery::{ApiError, Reason};
use koinon_proto::v1::Ack;

use crate::registry::Client;

/// What became of an acknowledged removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// The hub has forgotten the work, now or before.
    Done,
    /// The acknowledgement names a work that is not being deleted, or another one.
    Unfounded,
}

/// Takes the agent's finalizer off a work of `cluster` that is being deleted.
///
/// # Errors
///
/// If the registry refuses or is away; the removal has to be tried again.
pub(super) async fn forget(client: &Client, cluster: &str, ack: &Ack) -> Result<Removal, ApiError> {
    let mut founded = true;
    let change = |work: &mut ManifestWork| {
        founded = is_founded(work, ack);
        founded && take_off(work)
    };
    match client
        .modify::<ManifestWork>(cluster, &ack.name, change)
        .await
    {
        Ok(_) if founded => Ok(Removal::Done),
        Ok(_) => Ok(Removal::Unfounded),
        Err(error) if error.reason == Reason::NotFound => Ok(Removal::Done),
        Err(error) => Err(error),
    }
}

fn is_founded(work: &ManifestWork, ack: &Ack) -> bool {
    work.metadata.deletion_timestamp.is_some() && work.metadata.uid.as_deref() == Some(&ack.uid)
}

fn take_off(work: &mut ManifestWork) -> bool {
    let Some(finalizers) = &mut work.metadata.finalizers else {
        return false;
    };
    let before = finalizers.len();
    finalizers.retain(|name| name != finalizer::MANIFEST_WORK);
    finalizers.len() != before
}
