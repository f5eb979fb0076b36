use std::collections::BTreeMap;

use futures::{Stream, StreamExt as _};
use koinon_api::labels::{label, well_known};
use kube::{
    core::DynamicObject,
    runtime::watcher::{self, Event},
};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// Most claims with names of the cluster's own choosing; OCM's default.
const MOST_CUSTOM: usize = 20;

/// Names that are always told.
const RESERVED: [&str; 4] = [
    well_known::CLAIM_ID,
    well_known::CLAIM_KUBE_VERSION,
    well_known::CLAIM_PLATFORM,
    well_known::CLAIM_PRODUCT,
];

/// Publishes the cluster's claims.
pub(super) async fn observe(
    events: impl Stream<Item = watcher::Result<Event<DynamicObject>>>,
    sender: watch::Sender<Option<BTreeMap<String, String>>>,
    stop: CancellationToken,
) {
    let mut events = std::pin::pin!(events);
    let (mut claims, mut listing) = (BTreeMap::new(), BTreeMap::new());
    while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
        match event {
            Ok(Event::Init) => {
                listing = BTreeMap::new();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                put(&mut listing, object);
                continue;
            }
            Ok(Event::InitDone) => claims = std::mem::take(&mut listing),
            Ok(Event::Apply(object)) => put(&mut claims, object),
            Ok(Event::Delete(object)) => {
                _ = claims.remove(&object.metadata.name.unwrap_or_default())
            }
            Err(error) => {
                debug!(%error, "the watch on claims was interrupted");
                continue;
            }
        }
        sender.send_if_modified(|current| {
            let changed = current.as_ref() != Some(&claims);
            if changed {
                *current = Some(claims.clone());
            }
            changed
        });
    }
}

fn put(claims: &mut BTreeMap<String, String>, object: DynamicObject) {
    let name = object.metadata.name.unwrap_or_default();
    let private = object
        .metadata
        .labels
        .is_some_and(|labels| labels.contains_key(label::SPOKE_ONLY));
    match object.data.pointer("/spec/value").and_then(Value::as_str) {
        Some(value) if !private => _ = claims.insert(name, value.to_owned()),
        _ => _ = claims.remove(&name),
    }
}

/// Returns the claims to tell: the reserved ones, then the first of the others.
///
/// Id and Kubernetes version are known to the agent; a ClusterClaim of that name wins over what it knows.
pub(super) fn select(
    cluster_uid: &str,
    version: &str,
    claims: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let known = BTreeMap::from([
        (well_known::CLAIM_ID.to_owned(), cluster_uid.to_owned()),
        (
            well_known::CLAIM_KUBE_VERSION.to_owned(),
            version.to_owned(),
        ),
    ]);
    let mut reserved = known;
    reserved.extend(
        claims
            .iter()
            .filter(|(name, _)| RESERVED.contains(&name.as_str()))
            .map(|(n, v)| (n.clone(), v.clone())),
    );
    let custom = claims
        .iter()
        .filter(|(name, _)| !RESERVED.contains(&name.as_str()))
        .take(MOST_CUSTOM)
        .map(|(n, v)| (n.clone(), v.clone()));
    reserved.into_iter().chain(custom).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_claims_come_first_and_the_others_are_cut() {
        let mut claims: BTreeMap<String, String> = (0..30)
            .map(|n| (format!("a{n:02}"), "v".to_owned()))
            .collect();
        claims.insert(well_known::CLAIM_PLATFORM.into(), "bare".into());
        let names: Vec<_> = select("uid", "v1", &claims)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(
            names[..3],
            [
                well_known::CLAIM_ID,
                well_known::CLAIM_KUBE_VERSION,
                well_known::CLAIM_PLATFORM
            ]
        );
        assert_eq!((names.len(), names.last().unwrap().as_str()), (23, "a19"));
    }

    #[test]
    fn private_claims_stay_private() {
        let mut object: DynamicObject = serde_json::from_value(
            serde_json::json!({"metadata": {"name": "a"}, "spec": {"value": "v"}}),
        )
        .unwrap();
        let mut claims = BTreeMap::new();
        put(&mut claims, object.clone());
        assert_eq!(claims.len(), 1);
        object.metadata.labels = Some(BTreeMap::from([(
            label::SPOKE_ONLY.to_owned(),
            String::new(),
        )]));
        put(&mut claims, object);
        assert!(claims.is_empty());
    }
}
