use std::collections::BTreeMap;

use futures::{Stream, StreamExt as _};
use koinon_machinery::quantity::Quantity;
use kube::{
    core::DynamicObject,
    runtime::watcher::{self, Event},
};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::look::Look;

/// Sums over nodes, Kubernetes quantities by resource name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Resources {
    /// Of all nodes.
    pub(super) capacity: BTreeMap<String, String>,
    /// Of schedulable nodes.
    pub(super) allocatable: BTreeMap<String, String>,
}

/// What counts of a node; node objects are large and are not kept.
#[derive(Debug, Clone, PartialEq)]
struct Node {
    capacity: BTreeMap<String, Quantity>,
    allocatable: BTreeMap<String, Quantity>,
    schedulable: bool,
}

/// Publishes the sums over the cluster's nodes.
pub(super) async fn observe(
    events: impl Stream<Item = watcher::Result<Event<DynamicObject>>>,
    sender: watch::Sender<Look<Resources>>,
    stop: CancellationToken,
) {
    let mut events = std::pin::pin!(events);
    let (mut nodes, mut listing) = (BTreeMap::new(), BTreeMap::new());
    while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
        match event {
            Ok(Event::Init) => {
                listing = BTreeMap::new();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listing.insert(name(&object), node(&object.data));
                continue;
            }
            Ok(Event::InitDone) => nodes = std::mem::take(&mut listing),
            Ok(Event::Apply(object)) => _ = nodes.insert(name(&object), node(&object.data)),
            Ok(Event::Delete(object)) => _ = nodes.remove(&name(&object)),
            Err(error) => {
                if sender.send_if_modified(|look| look.fail(&error)) {
                    warn!(%error, "the nodes cannot be read; resources are not reported");
                }
                debug!(%error, "the watch on nodes was interrupted");
                continue;
            }
        }
        let sums = sum(nodes.values());
        sender.send_if_modified(|current| {
            let changed = current.known() != Some(&sums);
            if changed {
                *current = Look::Known(sums);
            }
            changed
        });
    }
}

fn name(object: &DynamicObject) -> String {
    object.metadata.name.clone().unwrap_or_default()
}

fn node(data: &Value) -> Node {
    let quantities = |pointer: &str| {
        let map = data
            .pointer(pointer)
            .and_then(Value::as_object)
            .into_iter()
            .flatten();
        // A quantity that cannot be read is not counted rather than making all of them disappear.
        map.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.parse().ok()?)))
            .collect()
    };
    Node {
        capacity: quantities("/status/capacity"),
        allocatable: quantities("/status/allocatable"),
        schedulable: data.pointer("/spec/unschedulable").and_then(Value::as_bool) != Some(true),
    }
}

fn sum<'a>(nodes: impl Iterator<Item = &'a Node> + Clone) -> Resources {
    let add = |mut sums: BTreeMap<String, Quantity>, (name, amount): (&String, &Quantity)| {
        let sum = sums.get(name).map_or(*amount, |sum| *sum + *amount);
        sums.insert(name.clone(), sum);
        sums
    };
    let shown = |sums: BTreeMap<String, Quantity>| {
        sums.into_iter()
            .map(|(name, amount)| (name, amount.to_string()))
            .collect()
    };
    Resources {
        capacity: shown(
            nodes
                .clone()
                .flat_map(|n| &n.capacity)
                .fold(BTreeMap::new(), add),
        ),
        allocatable: shown(
            nodes
                .filter(|n| n.schedulable)
                .flat_map(|n| &n.allocatable)
                .fold(BTreeMap::new(), add),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn capacity_counts_all_nodes_and_allocatable_only_schedulable_ones() {
        let make = |cpu: &str, unschedulable: bool| {
            node(&json!({
                "spec": {"unschedulable": unschedulable},
                "status": {"capacity": {"cpu": cpu, "memory": "1Gi"}, "allocatable": {"cpu": cpu, "bad": "many"}},
            }))
        };
        let nodes = [make("1500m", false), make("2", true)];
        let sums = sum(nodes.iter());
        assert_eq!(
            sums.capacity,
            BTreeMap::from([
                ("cpu".into(), "3500m".into()),
                ("memory".into(), "2Gi".into())
            ])
        );
        assert_eq!(
            sums.allocatable,
            BTreeMap::from([("cpu".into(), "1500m".into())])
        );
    }
}
