use std::collections::BTreeMap;

use futures::{Stream, StreamExt as _};
use koinon_api::labels::{label, well_known};
use koinon_proto::v1::{ClaimsLeftOut, ClusterClaim};
use kube::{
    core::DynamicObject,
    runtime::watcher::{self, Event},
};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::look::Look;

/// Names that are always told.
const RESERVED: [&str; 4] = [
    well_known::CLAIM_ID,
    well_known::CLAIM_KUBE_VERSION,
    well_known::CLAIM_PLATFORM,
    well_known::CLAIM_PRODUCT,
];
/// Most claims that are reserved by their suffix: OCM has no bound, a report has one.
const MOST_RESERVED: usize = 50;
/// Characters of the longest value that a `ManagedCluster` holds; a `ClusterProperty` may have more.
const MOST_VALUE: usize = 1024;
/// Names told of claims that do not fit.
const MOST_UNFIT: usize = 5;

/// Which claims are told to the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claiming {
    /// Most claims with names of the cluster's own choosing; OCM's default is 20.
    pub most_custom: u8,
    /// Names that end so count as reserved.
    pub reserved_suffixes: Vec<String>,
}

impl Default for Claiming {
    fn default() -> Self {
        Self {
            most_custom: 20,
            reserved_suffixes: Vec::new(),
        }
    }
}

/// Values by name; `None` where the value does not fit into a `ManagedCluster`, so that it need not be kept.
pub(super) type Claims = BTreeMap<String, Option<String>>;

/// Publishes the objects of one kind of claim, `ClusterClaim` or `ClusterProperty`.
pub(super) async fn observe(
    kind: &'static str,
    events: impl Stream<Item = watcher::Result<Event<DynamicObject>>>,
    sender: watch::Sender<Look<Claims>>,
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
                if sender.send_if_modified(|look| look.fail(&error))
                    && *sender.borrow() == Look::Forbidden
                {
                    warn!(kind, "this agent may not read the cluster's claims");
                }
                debug!(kind, %error, "the watch on claims was interrupted");
                continue;
            }
        }
        sender.send_if_modified(|current| {
            let changed = current.known() != Some(&claims);
            if changed {
                *current = Look::Known(claims.clone());
            }
            changed
        });
    }
}

fn put(claims: &mut Claims, object: DynamicObject) {
    let name = object.metadata.name.unwrap_or_default();
    let private = object
        .metadata
        .labels
        .is_some_and(|labels| labels.contains_key(label::SPOKE_ONLY));
    match object.data.pointer("/spec/value").and_then(Value::as_str) {
        Some(value) if !private => {
            let fits = !value.is_empty() && value.chars().count() <= MOST_VALUE;
            claims.insert(name, fits.then(|| value.to_owned()));
        }
        _ => _ = claims.remove(&name),
    }
}

/// What of the cluster's claims is told.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    pub(super) claims: Vec<ClusterClaim>,
    pub(super) left_out: Option<ClaimsLeftOut>,
}

/// Chooses the claims to tell: the reserved ones, then the first of the others.
///
/// Of a name that both kinds have the property counts, as in OCM; id and Kubernetes version are known to the agent, and
/// an object of that name wins over what it knows.
pub(super) fn select(
    claiming: &Claiming,
    cluster_uid: &str,
    version: &str,
    claims: Option<&Claims>,
    properties: Option<&Claims>,
) -> Told {
    let mut all = Claims::from([
        (
            well_known::CLAIM_ID.to_owned(),
            Some(cluster_uid.to_owned()),
        ),
        (
            well_known::CLAIM_KUBE_VERSION.to_owned(),
            Some(version.to_owned()),
        ),
    ]);
    for source in [claims, properties].into_iter().flatten() {
        all.extend(source.clone());
    }
    let (mut reserved, mut custom, mut unfit) = (Vec::new(), Vec::new(), Vec::new());
    for (name, value) in all {
        let Some(value) = value else {
            unfit.push(name);
            continue;
        };
        let suffixes = &claiming.reserved_suffixes;
        let is_reserved = RESERVED.contains(&name.as_str())
            || suffixes.iter().any(|suffix| name.ends_with(suffix));
        let list = if is_reserved {
            &mut reserved
        } else {
            &mut custom
        };
        list.push(ClusterClaim { name, value });
    }
    // The well-known ones must not fall victim to those that a suffix reserves.
    reserved.sort_by_key(|claim| !RESERVED.contains(&claim.name.as_str()));
    let over = reserved.split_off(reserved.len().min(MOST_RESERVED));
    unfit.extend(over.into_iter().map(|claim| claim.name));
    reserved.sort_by(|a, b| a.name.cmp(&b.name));
    let (found, limit) = (custom.len(), usize::from(claiming.most_custom));
    custom.truncate(limit);
    let left_out = (found > limit || !unfit.is_empty()).then(|| ClaimsLeftOut {
        custom: u32::try_from(found).unwrap_or(u32::MAX),
        limit: claiming.most_custom.into(),
        unfit: unfit.into_iter().take(MOST_UNFIT).collect(),
    });
    reserved.append(&mut custom);
    Told {
        claims: reserved,
        left_out,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Claims {
        let own = |(name, value): (&str, &str)| (name.to_owned(), Some(value.to_owned()));
        pairs.into_iter().map(own).collect()
    }

    fn names(told: &Told) -> Vec<&str> {
        told.claims.iter().map(|one| one.name.as_str()).collect()
    }

    #[test]
    fn reserved_claims_come_first_and_the_others_are_cut_and_that_is_said() {
        let mut many: Claims = (0..30)
            .map(|n| (format!("a{n:02}"), Some("v".to_owned())))
            .collect();
        many.extend(claims([(well_known::CLAIM_PLATFORM, "bare")]));
        let told = select(&Claiming::default(), "uid", "v1", Some(&many), None);
        let names = names(&told);
        assert_eq!(
            names[..3],
            [
                well_known::CLAIM_ID,
                well_known::CLAIM_KUBE_VERSION,
                well_known::CLAIM_PLATFORM
            ]
        );
        assert_eq!((names.len(), *names.last().unwrap()), (23, "a19"));
        let left_out = told.left_out.unwrap();
        assert_eq!((left_out.custom, left_out.limit), (30, 20));
    }

    #[test]
    fn limits_and_reserved_suffixes_are_settings() {
        let claiming = Claiming {
            most_custom: 1,
            reserved_suffixes: vec![".corp.io".to_owned()],
        };
        let all = claims([("a", "1"), ("b", "1"), ("z.corp.io", "1"), ("corp.io", "1")]);
        let told = select(&claiming, "uid", "v1", Some(&all), None);
        assert_eq!(names(&told)[2..], ["z.corp.io", "a"]);
        let exact = select(&claiming, "uid", "v1", Some(&claims([("a", "1")])), None);
        assert_eq!(exact.left_out, None);
        let none = Claiming {
            most_custom: 0,
            ..claiming
        };
        assert_eq!(
            names(&select(&none, "uid", "v1", Some(&all), None)).len(),
            3
        );
    }

    #[test]
    fn a_suffix_that_reserves_everything_does_not_make_reports_endless() {
        let claiming = Claiming {
            reserved_suffixes: vec!["e".to_owned()],
            ..Claiming::default()
        };
        let many: Claims = (0..500)
            .map(|n| (format!("a{n:03}.e"), Some("v".to_owned())))
            .collect();
        let told = select(&claiming, "uid", "v1", Some(&many), None);
        assert_eq!(told.claims.len(), MOST_RESERVED);
        assert!(names(&told).contains(&well_known::CLAIM_ID));
        assert_eq!(told.left_out.unwrap().unfit.len(), MOST_UNFIT);
    }

    #[test]
    fn a_property_wins_over_a_claim_and_both_over_what_the_agent_knows() {
        let of_claims = claims([("region", "old"), ("zone", "a"), ("id.k8s.io", "mine")]);
        let properties = claims([("region", "new")]);
        let told = select(
            &Claiming::default(),
            "uid",
            "v1",
            Some(&of_claims),
            Some(&properties),
        );
        let value = |name: &str| {
            let found = told.claims.iter().find(|one| one.name == name);
            found.unwrap().value.clone()
        };
        assert_eq!(
            (value("region"), value("zone"), value("id.k8s.io")),
            ("new".into(), "a".into(), "mine".into())
        );
    }

    #[test]
    fn private_claims_stay_private_and_values_that_do_not_fit_are_named_not_kept() {
        let object = |name: &str, value: &str| -> DynamicObject {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": name}, "spec": {"value": value},
            }))
            .unwrap()
        };
        let mut known = BTreeMap::new();
        let mut secret = object("a", "v");
        put(&mut known, secret.clone());
        assert_eq!(known.len(), 1);
        secret.metadata.labels = Some(BTreeMap::from([(
            label::SPOKE_ONLY.to_owned(),
            String::new(),
        )]));
        put(&mut known, secret);
        assert!(known.is_empty());

        put(&mut known, object("long", &"ü".repeat(MOST_VALUE + 1)));
        put(&mut known, object("just", &"ü".repeat(MOST_VALUE)));
        put(&mut known, object("empty", ""));
        let told = select(&Claiming::default(), "uid", "v1", Some(&known), None);
        assert_eq!(names(&told)[2..], ["just"]);
        assert_eq!(told.left_out.unwrap().unfit, ["empty", "long"]);
    }
}
