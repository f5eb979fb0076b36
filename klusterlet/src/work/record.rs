//! The `AppliedManifestWork`: the member's own record of what a work owns.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use koinon_api::{
    applied::{AppliedManifestResourceMeta, AppliedManifestWorkStatus},
    labels::finalizer,
};
use serde_json::{Value, json};

use super::{
    complete::Completed,
    planned::{Place, Planned, place},
    update::Owner,
};
use crate::cluster::{Cluster, Result, known::APPLIED_WORKS, refused};

/// A record as it is in the cluster.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) owner: Owner,
    /// The version that was read or written last.
    pub(super) version: String,
    /// Objects that the work owns, with their uids; not all, if they are very many.
    pub(super) applied: Vec<AppliedManifestResourceMeta>,
    /// Objects that the work may own: what is not among `applied` is known by its owner reference.
    pub(super) planned: Planned,
    /// The process that planned.
    pub(super) planner: Option<String>,
    /// What of the work is complete for good.
    pub(super) completed: Completed,
    /// It was deleted and waits for its objects to go.
    pub(super) deleting: bool,
    /// Since when its work was unknown to the hub, if somebody wrote that down: OCM's agent does, too.
    pub(super) evicting: Option<Time>,
    /// It did not exist until now, so probably none of its objects does.
    pub(super) created: bool,
}

/// Annotation of a record: what of its work is complete for good.
const COMPLETED: &str = "koinon.dev/completed";

/// Annotation of a record: what its work is about to apply, or has applied.
const PLANNED: &str = "koinon.dev/planned";

/// Annotation of a record: the process that wrote the plan.
const PLANNER: &str = "koinon.dev/planned-by";

/// Bytes of the list of applied objects: the record must fit into the 1.5 MiB of an etcd.
const MOST_APPLIED: usize = 900 * 1024;

impl Record {
    /// All that the work may own.
    pub(super) fn owned(&self) -> Vec<AppliedManifestResourceMeta> {
        self.owned_with(&[])
    }

    /// All that the work may own, with what was learned since it was recorded. What is only planned comes last, and nothing of it that
    /// is known better.
    pub(super) fn owned_with(
        &self,
        learned: &[AppliedManifestResourceMeta],
    ) -> Vec<AppliedManifestResourceMeta> {
        let mut all = self.applied.clone();
        let recorded: BTreeSet<_> = self.applied.iter().collect();
        all.extend(learned.iter().filter(|o| !recorded.contains(o)).cloned());
        let known: BTreeSet<Place> = all.iter().map(place).collect();
        let planned = self.planned.iter().filter(|o| !known.contains(&place(o)));
        all.extend(planned);
        all
    }
}

/// How records are named: by the hub and the work.
///
/// OCM takes the hash of the hub's URL. A hub may move and its registry may be restored; its CA stays, so the fingerprint
/// of the CA that enrolled this agent names the hub here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Naming {
    pub(super) hub_hash: String,
    pub(super) agent_id: String,
    /// Tells this process from every other one, also of the same agent.
    pub(super) process: String,
}

impl Naming {
    pub(super) fn of(&self, work: &str) -> String {
        format!("{}-{work}", self.hub_hash)
    }

    fn spec(&self, work: &str) -> Value {
        json!({"hubHash": self.hub_hash, "agentID": self.agent_id, "manifestWorkName": work})
    }
}

/// Whether the record probably exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    Existing,
    Nothing,
}

/// Reads the record.
pub(super) async fn get(cluster: &Cluster, naming: &Naming, work: &str) -> Result<Option<Record>> {
    Ok(cluster
        .get(&APPLIED_WORKS, "", &naming.of(work))
        .await?
        .as_ref()
        .map(|value| read(value, false)))
}

/// Reads the record, and makes or repairs it if necessary.
pub(super) async fn ensure(
    cluster: &Cluster,
    naming: &Naming,
    work: &str,
    labels: &BTreeMap<String, String>,
    expect: Expect,
    planned: &Planned,
) -> Result<Record> {
    let name = naming.of(work);
    let existing = match expect {
        Expect::Existing => cluster.get(&APPLIED_WORKS, "", &name).await?,
        Expect::Nothing => None,
    };
    let existing = match existing {
        Some(existing) => existing,
        None => {
            let mut object = json!({
                "apiVersion": APPLIED_WORKS.api_version(),
                "kind": APPLIED_WORKS.kind,
                "metadata": {"name": name, "finalizers": [finalizer::APPLIED_MANIFEST_WORK]},
                "spec": naming.spec(work),
            });
            if !labels.is_empty() {
                object["metadata"]["labels"] = json!(labels);
            }
            if let (false, Ok(planned)) = (planned.is_empty(), planned.render()) {
                object["metadata"]["annotations"] =
                    json!({PLANNED: planned, PLANNER: naming.process});
            }
            match cluster.create(&APPLIED_WORKS, "", &object).await {
                Ok(created) => return Ok(read(&created, true)),
                Err(error) if error.is_already_exists() => {
                    let existing = cluster.get(&APPLIED_WORKS, "", &name).await?;
                    existing.ok_or(error)?
                }
                Err(error) => return Err(error),
            }
        }
    };
    let mut record = read(&existing, false);
    if record.evicting.is_some() && !record.deleting {
        set_evicting(cluster, &mut record, None).await?;
    }
    let finalizers = finalizers(&existing);
    let guarded = finalizers
        .iter()
        .any(|f| f == finalizer::APPLIED_MANIFEST_WORK);
    if record.deleting || (guarded && existing.get("spec") == Some(&naming.spec(work))) {
        return Ok(record);
    }
    let mut patch = json!({"spec": naming.spec(work)});
    if !guarded {
        let mut finalizers = finalizers;
        finalizers.push(finalizer::APPLIED_MANIFEST_WORK.to_owned());
        patch["metadata"] = json!({"finalizers": finalizers, "resourceVersion": record.version});
    }
    Ok(read(
        &cluster
            .merge(&APPLIED_WORKS, "", &name, None, &patch)
            .await?,
        false,
    ))
}

/// Writes what the work is about to apply. Before that is done nothing of it may be applied.
pub(super) async fn plan(
    cluster: &Cluster,
    naming: &Naming,
    record: &mut Record,
    planned: Planned,
) -> Result<()> {
    let text = planned
        .render()
        .map_err(|error| refused(413, "RequestEntityTooLarge", error.to_string()))?;
    let patch = json!({"metadata": {"uid": record.owner.uid, "annotations": {PLANNED: text, PLANNER: naming.process}}});
    let written = cluster
        .merge(&APPLIED_WORKS, "", &record.owner.name, None, &patch)
        .await?;
    record.version = version(&written);
    record.planned = planned;
    record.planner = Some(naming.process.clone());
    Ok(())
}

/// Names a process that started then (Unix seconds): of two, one is the later one.
pub(super) fn process(started: i64) -> String {
    format!("{started:010x}-{:016x}", rand::random::<u64>())
}

/// Says whether a later process has gone on with a work: it wrote the plan since the record was `before`.
///
/// A plan of nobody, or of an earlier process, was not written by somebody who goes on: somebody took the annotation away, or
/// the record is that of a backup.
pub(super) fn is_overtaken(before: &Record, now: &Record, ours: &str) -> bool {
    fn age(process: &str) -> Option<(u64, &str)> {
        let (started, rest) = process.split_once('-')?;
        Some((u64::from_str_radix(started, 16).ok()?, rest))
    }
    let planner = now.planner.as_deref();
    before.planner != now.planner && planner.and_then(age).is_some_and(|p| Some(p) > age(ours))
}

/// What of a sorted list is recorded. The rest is known by the plan.
pub(super) fn fitting(
    mut applied: Vec<AppliedManifestResourceMeta>,
) -> Vec<AppliedManifestResourceMeta> {
    let mut size = 0;
    let fits = applied.iter().take_while(|object| {
        let names = [
            &object.group,
            &object.version,
            &object.resource,
            &object.namespace,
            &object.name,
            &object.uid,
        ];
        size += names.iter().map(|name| name.len()).sum::<usize>() + 80;
        size <= MOST_APPLIED
    });
    let count = fits.count();
    applied.truncate(count);
    applied
}

/// Writes what the work owns, unless it is recorded so already. The list is one that [`fitting`] returned.
pub(super) async fn set_applied(
    cluster: &Cluster,
    record: &mut Record,
    applied: Vec<AppliedManifestResourceMeta>,
) -> Result<()> {
    if record.applied == applied {
        return Ok(());
    }
    let patch =
        json!({"metadata": {"uid": record.owner.uid}, "status": {"appliedResources": applied}});
    let written = cluster
        .merge(
            &APPLIED_WORKS,
            "",
            &record.owner.name,
            Some("status"),
            &patch,
        )
        .await?;
    record.version = version(&written);
    record.applied = applied;
    Ok(())
}

/// Writes since when the work is unknown to the hub, or that it is known.
pub(super) async fn set_evicting(
    cluster: &Cluster,
    record: &mut Record,
    since: Option<Time>,
) -> Result<()> {
    let patch =
        json!({"metadata": {"uid": record.owner.uid}, "status": {"evictionStartTime": since}});
    let name = &record.owner.name;
    let written = cluster
        .merge(&APPLIED_WORKS, "", name, Some("status"), &patch)
        .await?;
    (record.version, record.evicting) = (version(&written), since);
    Ok(())
}

/// Writes what is complete for good.
pub(super) async fn set_completed(
    cluster: &Cluster,
    record: &mut Record,
    completed: Completed,
) -> Result<()> {
    let patch = json!({"metadata": {"uid": record.owner.uid, "annotations": {COMPLETED: completed.render()}}});
    let written = cluster
        .merge(&APPLIED_WORKS, "", &record.owner.name, None, &patch)
        .await?;
    record.version = version(&written);
    record.completed = completed;
    Ok(())
}

/// Asks for the record's end; the finalizer keeps it until its objects are gone.
pub(super) async fn delete(cluster: &Cluster, record: &Record) -> Result<()> {
    cluster
        .delete(
            &APPLIED_WORKS,
            "",
            &record.owner.name,
            Some(&record.owner.uid),
        )
        .await
        .map(|_| ())
}

/// Lets a deleted record go.
pub(super) async fn release(cluster: &Cluster, record: &Record) -> Result<()> {
    let Some(current) = cluster.get(&APPLIED_WORKS, "", &record.owner.name).await? else {
        return Ok(());
    };
    let rest: Vec<_> = finalizers(&current)
        .into_iter()
        .filter(|f| f != finalizer::APPLIED_MANIFEST_WORK)
        .collect();
    let patch = json!({"metadata": {"finalizers": rest, "resourceVersion": version(&current), "uid": record.owner.uid}});
    match cluster
        .merge(&APPLIED_WORKS, "", &record.owner.name, None, &patch)
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) fn read(value: &Value, created: bool) -> Record {
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let status: AppliedManifestWorkStatus = value
        .get("status")
        .and_then(|status| serde_json::from_value(status.clone()).ok())
        .unwrap_or_default();
    Record {
        owner: Owner {
            name: text("/metadata/name"),
            uid: text("/metadata/uid"),
        },
        version: text("/metadata/resourceVersion"),
        applied: status.applied_resources,
        planned: value
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(PLANNED))
            .and_then(Value::as_str)
            .map(Planned::parse)
            .unwrap_or_default(),
        planner: value
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(PLANNER))
            .and_then(Value::as_str)
            .map(str::to_owned),
        completed: value
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get(COMPLETED))
            .and_then(Value::as_str)
            .map(Completed::parse)
            .unwrap_or_default(),
        deleting: value.pointer("/metadata/deletionTimestamp").is_some(),
        evicting: status.eviction_start_time,
        created,
    }
}

fn version(value: &Value) -> String {
    value
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn finalizers(value: &Value) -> Vec<String> {
    let list = value
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_with_its_uid_is_not_named_without_it() {
        let object = |name: &str, uid: &str| AppliedManifestResourceMeta {
            version: "v1".into(),
            resource: "configmaps".into(),
            namespace: "n".into(),
            name: name.into(),
            uid: uid.into(),
            ..Default::default()
        };
        let mut record = read(&json!({}), false);
        record.applied = vec![object("a", "1"), object("b", "2")];
        for name in ["a", "c", "d"] {
            let served = crate::cluster::Served::Otherwise;
            record.planned.insert(&object(name, ""), served);
        }
        let all = |learned: &[_]| {
            let all = record.owned_with(learned).into_iter();
            all.map(|o| o.name + &o.uid).collect::<Vec<_>>()
        };
        assert_eq!(all(&[]), ["a1", "b2", "c", "d"]);
        // One that was made anew is known under both uids until the record says which one counts.
        let learned = [object("a", "1"), object("b", "9"), object("c", "3")];
        assert_eq!(all(&learned), ["a1", "b2", "b9", "c3", "d"]);
    }

    #[test]
    fn only_a_later_process_takes_a_work_over() {
        let ours = process(2_000);
        let (earlier, later) = (process(1_000), process(3_000));
        let by = |planner: Option<&str>| {
            let annotations = planner.map(|planner| json!({PLANNER: planner}));
            read(&json!({"metadata": {"annotations": annotations}}), false)
        };
        for (before, now, expected) in [
            (Some(&ours), Some(&later), true),
            (Some(&earlier), Some(&later), true),
            (None, Some(&later), true),
            (Some(&later), Some(&later), false),
            // A backup, and an annotation that was taken away or makes no sense.
            (Some(&ours), Some(&earlier), false),
            (Some(&ours), None, false),
            (Some(&ours), Some(&"f".repeat(16)), false),
            (Some(&earlier), Some(&ours), false),
        ] {
            let (before, now) = (before.map(String::as_str), now.map(String::as_str));
            assert_eq!(
                is_overtaken(&by(before), &by(now), &ours),
                expected,
                "{before:?} {now:?}"
            );
        }
    }
}
