//! Keeps a status within what hub, database and clients can carry.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use koinon_api::{
    labels::condition as kind,
    meta::{self, Truth, new_condition, set_condition},
    work::{ManifestCondition, ManifestWorkStatus},
};

/// Bytes of a status as JSON. Well below the 4 MiB of a message, and what an etcd would still store.
pub(in crate::work) const MOST: usize = 1024 * 1024;

/// Returns what of a status is reported: all of it, or the manifests that need attention first and a condition that
/// counts what is left out. The conditions of the work are always of all its manifests.
pub(in crate::work) fn fit(
    status: &Arc<ManifestWorkStatus>,
    most: usize,
) -> Arc<ManifestWorkStatus> {
    // A quarter is for the conditions of the work itself.
    let room = most - most / 4;
    let manifests = &status.resource_status.manifests;
    // Most statuses are small: no need to write them out. A character takes six bytes at most.
    if manifests.iter().map(texts).sum::<usize>() <= room / 6 {
        return status.clone();
    }
    let sizes: Vec<usize> = manifests.iter().map(size).collect();
    let total = manifests.len();
    if sizes.iter().sum::<usize>() <= room {
        return status.clone();
    }
    let mut status = ManifestWorkStatus::clone(status);
    let manifests = &status.resource_status.manifests;
    let mut order: Vec<usize> = (0..total).collect();
    order.sort_by_key(|at| (is_well(&manifests[*at]), *at));
    let (mut shown, mut used) = (Vec::new(), 0);
    for at in order {
        // One that is too large by itself does not hide the others.
        if used + sizes[at] > room {
            continue;
        }
        used += sizes[at];
        shown.push(at);
    }
    shown.sort_unstable();
    let message = format!(
        "{} of {total} manifests are shown, those that are not well first; the rest would make the status too large",
        shown.len()
    );
    let mut manifests: Vec<Option<ManifestCondition>> =
        std::mem::take(&mut status.resource_status.manifests)
            .into_iter()
            .map(Some)
            .collect();
    status.resource_status.manifests = shown
        .into_iter()
        .filter_map(|at| manifests[at].take())
        .collect();
    // As old as what was applied: the same status has the same bytes whenever it is made.
    let since = meta::condition(&status.conditions, kind::APPLIED)
        .map_or(Timestamp::UNIX_EPOCH, |applied| {
            applied.last_transition_time.0
        });
    set_condition(
        &mut status.conditions,
        new_condition(
            kind::STATUS_TRUNCATED,
            Truth::True,
            "TooManyManifests",
            message,
            since,
        ),
    );
    Arc::new(status)
}

/// Length of all texts of an entry, and of what stands between them.
fn texts(manifest: &ManifestCondition) -> usize {
    let meta = &manifest.resource_meta;
    let names = [
        &meta.group,
        &meta.version,
        &meta.kind,
        &meta.resource,
        &meta.name,
        &meta.namespace,
    ];
    let conditions = manifest.conditions.iter();
    let values = manifest.status_feedback.values.iter();
    200 + names.iter().map(|name| name.len()).sum::<usize>()
        + conditions
            .map(|c| 150 + c.type_.len() + c.reason.len() + c.message.len())
            .sum::<usize>()
        + values
            .map(|v| {
                let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
                150 + v.name.len() + text(&v.field_value.string) + text(&v.field_value.json_raw)
            })
            .sum::<usize>()
}

fn size(manifest: &ManifestCondition) -> usize {
    serde_json::to_vec(manifest).map_or(0, |bytes| bytes.len() + 1)
}

fn is_well(manifest: &ManifestCondition) -> bool {
    manifest.conditions.iter().all(|c| {
        let bad_when = if matches!(c.type_.as_str(), kind::PROGRESSING | kind::DEGRADED) {
            Truth::True
        } else {
            Truth::False
        };
        c.status != bad_when.as_str() && c.status != Truth::Unknown.as_str()
    })
}
