//! The table of works: what runs where.

use jiff::Timestamp;
use koinon_api::{
    ManifestWork,
    labels::{condition, label},
    meta,
    work::ManifestWorkStatus,
};
use kube::ResourceExt as _;

use super::status;
use crate::{age, output::Table};

/// Longest message shown; the rest is in the work itself.
const MESSAGE: usize = 60;

pub(super) fn table(works: &[ManifestWork], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "CLUSTER",
        "WORK",
        "REPLICA SET",
        "APPLIED",
        "AVAILABLE",
        "OBJECTS",
        "AGE",
        "MESSAGE",
    ]);
    for work in works {
        let observed = work.status.clone().unwrap_or_default();
        table.row([
            work.namespace().unwrap_or_default(),
            work.name_any(),
            work.labels()
                .get(label::REPLICA_SET)
                .map(|name| name.replacen('.', "/", 1))
                .unwrap_or_default(),
            status(&observed.conditions, condition::APPLIED),
            status(&observed.conditions, condition::AVAILABLE),
            work.spec.workload.manifests.len().to_string(),
            age::since(work.metadata.creation_timestamp.as_ref(), now),
            message(work, &observed),
        ]);
    }
    table
}

/// What is worth knowing: that the work is going, or the first thing that went wrong in it.
fn message(work: &ManifestWork, observed: &ManifestWorkStatus) -> String {
    if work.metadata.deletion_timestamp.is_some() {
        return "being deleted".to_owned();
    }
    let failed = observed
        .resource_status
        .manifests
        .iter()
        .find_map(|manifest| {
            let applied = meta::condition(&manifest.conditions, condition::APPLIED)
                .filter(|c| c.status == "False")?;
            let meta = &manifest.resource_meta;
            // Of a kind that the cluster does not know there is no resource.
            let kind = match meta.resource.as_str() {
                "" => &meta.kind,
                resource => resource,
            };
            Some(format!("{kind}/{}: {}", meta.name, applied.message))
        });
    let text = failed.unwrap_or_default();
    match text.char_indices().nth(MESSAGE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_work_shows_where_it_is_and_what_went_wrong() {
        let time = "2026-01-02T03:00:00Z";
        let condition = |kind: &str, status: &str, message: &str| json!({ "type": kind, "status": status, "reason": "R", "message": message, "lastTransitionTime": time });
        let work = |name: &str, deleting: bool, manifests: serde_json::Value| -> ManifestWork {
            let mut work: ManifestWork = serde_json::from_value(json!({
                "metadata": { "name": name, "namespace": "east", "creationTimestamp": time, "labels": { "work.open-cluster-management.io/manifestworkreplicaset": "apps.web" } },
                "spec": { "workload": { "manifests": [{}, {}] } },
                "status": { "conditions": [condition("Applied", "False", "")], "resourceStatus": { "manifests": manifests } },
            }))
            .unwrap();
            if deleting {
                work.metadata.deletion_timestamp = work.metadata.creation_timestamp.clone();
            }
            work
        };
        let long = format!("refused {}", "x".repeat(100));
        let failing = json!([{ "resourceMeta": { "ordinal": 0, "resource": "widgets", "name": "a" }, "conditions": [condition("Applied", "False", &long)] }]);
        let text = table(
            &[work("web1", false, failing), work("web2", true, json!([]))],
            "2026-01-02T03:00:30Z".parse().unwrap(),
        )
        .render();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("east      web1   apps/web      False     -           2         30s   widgets/a: refused xxx"), "{text}");
        assert!(
            lines[1].ends_with('…') && lines[2].ends_with("being deleted"),
            "{text}"
        );
    }
}
