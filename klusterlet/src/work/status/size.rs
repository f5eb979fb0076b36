//! Keeps a status within what hub, database and clients can carry.

use std::sync::Arc;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use koinon_api::{
    labels::condition as kind,
    meta::{self, Truth, new_condition, set_condition},
    work::{ManifestCondition, ManifestWorkStatus},
};

/// Bytes of a status as JSON. Well below the 4 MiB of a message, and what an etcd would still store.
pub(in crate::work) const MOST: usize = 1024 * 1024;

/// Bytes of a message that are shown where there is no room for more, and what follows them.
const LONG: usize = 1024;
pub(super) const CUT: &str = " …";

/// What is said here, and the braces around all.
const SPARE: usize = 2 * 1024;

/// Returns what of a status is reported: all of it, or the manifests that need attention first and a condition that
/// counts what is left out. The conditions of the work are always of all its manifests; their messages are shortened if they
/// are too long together, for a rule may say anything. As JSON the result is not longer than `most`.
pub(in crate::work) fn fit(
    status: &Arc<ManifestWorkStatus>,
    most: usize,
) -> Arc<ManifestWorkStatus> {
    // A quarter is for the conditions of the work itself.
    let (room, own) = (most - most / 4, (most / 4).saturating_sub(SPARE));
    let conditions = status.conditions.iter().map(condition_texts).sum::<usize>();
    let manifests = status.resource_status.manifests.iter().map(texts);
    // Most statuses are small: no need to write them out. A character takes six bytes at most.
    if conditions <= own / 6 && manifests.sum::<usize>() <= room / 6 {
        return status.clone();
    }
    let mut status = status.clone();
    if let Some(shortened) = shorten(&status.conditions, own) {
        Arc::make_mut(&mut status).conditions = shortened;
    }
    let sizes: Vec<usize> = status.resource_status.manifests.iter().map(size).collect();
    if sizes.iter().sum::<usize>() > room {
        leave_out(Arc::make_mut(&mut status), &sizes, room);
    }
    status
}

/// The conditions with shorter messages, all of them bounded alike, if they take more than `room`.
fn shorten(conditions: &[Condition], room: usize) -> Option<Vec<Condition>> {
    let fits = |conditions: &[Condition]| {
        serde_json::to_vec(conditions).is_ok_and(|bytes| bytes.len() <= room)
    };
    if fits(conditions) {
        return None;
    }
    let mut shortened = conditions.to_vec();
    let mut limit = LONG;
    loop {
        for condition in &mut shortened {
            if condition.message.len() > limit {
                let end = condition.message.floor_char_boundary(limit);
                condition.message.truncate(end);
                condition.message.push_str(CUT);
            }
        }
        if limit == 0 || fits(&shortened) {
            return Some(shortened);
        }
        limit /= 2;
    }
}

/// Leaves manifests out until the rest takes no more than `room`; `sizes` are those of all.
fn leave_out(status: &mut ManifestWorkStatus, sizes: &[usize], room: usize) {
    let total = sizes.len();
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
}

/// Length of the texts of a condition, and of what stands between them.
fn condition_texts(condition: &Condition) -> usize {
    150 + condition.type_.len() + condition.reason.len() + condition.message.len()
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
        + conditions.map(condition_texts).sum::<usize>()
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
