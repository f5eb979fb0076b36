//! One task that watches what agents care for, and marks the sessions it concerns.

use std::{sync::Arc, time::Duration};

use koinon_store::{Event, Snapshot, Store};

use super::{Agents, pull, resource, work::Work};

/// Pause before a watch is opened again after it fell behind.
const REOPEN: Duration = Duration::from_millis(100);

/// Routes until dropped.
pub(super) async fn run(agents: &Agents) {
    let store = agents.store();
    let shared = &agents.0;
    let works = follow(
        store,
        resource::WORKS,
        |_| shared.roster.all(|session| session.resync()),
        |event| {
            if is_same(event) {
                return;
            }
            let key = &event.latest().key;
            let (before, after) = (
                event.before.as_deref().map(Work::of),
                event.after.as_deref().map(Work::of),
            );
            if before != after {
                shared.roster.of(&key.namespace, |session| {
                    session.work_changed(
                        &key.name,
                        event.revision.0,
                        before.as_ref(),
                        after.as_ref(),
                    );
                });
            } else if fits_now(event) {
                shared
                    .roster
                    .of(&key.namespace, |session| session.work_again(&key.name));
            }
        },
    );
    let decisions = follow(
        store,
        resource::DECISIONS,
        |snapshot| {
            shared.placements.load(snapshot);
            shared.roster.all(|session| session.decisions_changed());
        },
        |event| {
            for cluster in shared.placements.changed(event) {
                shared
                    .roster
                    .of(&cluster, |session| session.decisions_changed());
            }
        },
    );
    let clusters = follow(
        store,
        resource::CLUSTERS,
        |_| {
            shared.bound.write().clear();
            shared.roster.all(|session| session.cluster_changed());
        },
        |event| {
            let name = &event.latest().key.name;
            if event.after.is_none() {
                shared.bound.write().remove(name);
            }
            shared.roster.of(name, |session| session.cluster_changed());
        },
    );
    tokio::join!(works, decisions, clusters);
}

/// Whether nothing changed that agents are told of, as far as can be seen without reading anything: most changes of works
/// are statuses that the agents themselves report.
fn is_same(event: &Event) -> bool {
    match (&event.before, &event.after) {
        (Some(before), Some(after)) => {
            before.uid == after.uid
                && before.generation == after.generation
                && before.digest == after.digest
                && before.metadata == after.metadata
        }
        _ => false,
    }
}

/// Whether a work could not be sent before, for its labels, and can be now: agents are not told of labels otherwise.
fn fits_now(event: &Event) -> bool {
    match (&event.before, &event.after) {
        (Some(before), Some(after)) => !pull::is_sendable(before) && pull::is_sendable(after),
        _ => false,
    }
}

/// Follows a resource for ever: from a snapshot on, and from a new snapshot after having fallen behind.
async fn follow(
    store: &Store,
    resource: &str,
    mut load: impl FnMut(&Snapshot),
    mut on: impl FnMut(&Arc<Event>),
) {
    loop {
        let snapshot = store.snapshot(resource);
        load(&snapshot);
        if let Ok(mut watch) = store.watch(resource, snapshot.revision()) {
            drop(snapshot);
            while let Ok(batch) = watch.next().await {
                batch.events.iter().for_each(&mut on);
                // A long batch must not hold a worker that sessions wait for.
                tokio::task::yield_now().await;
            }
        }
        tracing::warn!(
            resource,
            "fell behind the registry; telling all agents anew"
        );
        tokio::time::sleep(REOPEN).await;
    }
}
