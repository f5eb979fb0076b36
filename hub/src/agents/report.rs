//! What an agent reports of its cluster, as the status of the `ManagedCluster`.
//!
//! OCM's agent writes these conditions itself (`registration/spoke/managedcluster`); ours reports facts, and this
//! is where they become conditions, in OCM's order: nothing before acceptance, no facts while the API server fails.

mod unmanaged;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use koinon_api::{
    ManagedCluster,
    cluster::{ManagedClusterClaim, ManagedClusterStatus},
    labels::{annotation, condition, reason},
    meta::{Truth, is_true, new_condition, remove_condition, set_condition},
};
use koinon_machinery::{quantity::Quantity as Amount, validation};
use koinon_proto::v1::{ApiHealth, ClaimsLeftOut, ClusterClaim, ClusterReport, Position};

use super::enrol::is_taken_in;

pub(super) use self::unmanaged::disposal;

/// Condition: the agent holds off a hub that is behind what it knows (P4).
pub(super) const ROLLBACK_HOLD: &str = "RollbackHold";
const HELD: &str = "HubIsBehind";
/// Most claims taken from one cluster; OCM's agent sends 20 of its own choice beside the reserved ones.
const MOST_CLAIMS: usize = 256;
/// Most resources taken from one cluster; nodes have about ten.
const MOST_RESOURCES: usize = 64;
/// Longest name of a resource: a DNS name, a slash, and 63 characters.
const MOST_NAME: usize = 253 + 1 + 63;
/// Longest quantity.
const MOST_QUANTITY: usize = 64;
/// Longest incarnation; ours are UUIDs.
const MOST_INCARNATION: usize = 64;
/// Longest text taken from an agent's message.
const MOST_TEXT: usize = 1024;

/// The health part of a report, kept by the session to restore `Available` after a lost lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Health {
    ok: bool,
    message: String,
}

impl Health {
    pub(super) fn of(report: &ClusterReport) -> Option<Self> {
        let ok = match report.api_health() {
            ApiHealth::Ok => true,
            ApiHealth::Failing => false,
            ApiHealth::Unspecified => return None,
        };
        Some(Self {
            ok,
            message: cut(&report.api_message),
        })
    }

    /// Sets `Available`; says whether that changed anything.
    pub(super) fn apply(&self, status: &mut ManagedClusterStatus, now: Timestamp) -> bool {
        let (truth, reason, message) = if self.ok {
            (
                Truth::True,
                reason::cluster_available::AVAILABLE,
                "Managed cluster is available".to_owned(),
            )
        } else {
            let detail = if self.message.is_empty() {
                "no detail"
            } else {
                &self.message
            };
            (
                Truth::False,
                reason::cluster_available::API_SERVER_UNAVAILABLE,
                format!("The kube-apiserver is not ok, {detail}"),
            )
        };
        set_condition(
            &mut status.conditions,
            new_condition(condition::CLUSTER_AVAILABLE, truth, reason, message, now),
        )
    }
}

/// Carries a report into a status; says whether that changed anything.
pub(super) fn apply(
    report: &ClusterReport,
    status: &mut ManagedClusterStatus,
    now: Timestamp,
) -> bool {
    if !is_taken_in(&status.conditions) {
        return false;
    }
    let mut changed = false;
    if !is_true(&status.conditions, condition::JOINED) {
        let joined = new_condition(
            condition::JOINED,
            Truth::True,
            reason::joined::JOINED,
            "Managed cluster joined",
            now,
        );
        changed |= set_condition(&mut status.conditions, joined);
    }
    changed |= apply_hold(report, status, now);
    changed |= apply_deletion_hold(report, status, now);
    changed |= unmanaged::apply(report, status, now);
    let health = Health::of(report);
    if let Some(health) = &health {
        changed |= health.apply(status, now);
    }
    if health.is_none_or(|health| health.ok) {
        changed |= apply_facts(report, status);
        changed |= apply_left_out(report, status, now);
        changed |= apply_namespaces(report, status, now);
    }
    changed
}

/// The namespaces that cluster sets want in a cluster, each once; none in one that is being deleted.
pub(super) fn wanted_namespaces(cluster: &ManagedCluster) -> Vec<String> {
    if cluster.metadata.deletion_timestamp.is_some() {
        return Vec::new();
    }
    let wanted = cluster
        .status
        .iter()
        .flat_map(|status| &status.managed_namespaces);
    let names: BTreeSet<&String> = wanted.map(|one| &one.name).collect();
    names.into_iter().cloned().collect()
}

/// Says of the namespaces that are wanted how they fared.
fn apply_namespaces(
    report: &ClusterReport,
    status: &mut ManagedClusterStatus,
    now: Timestamp,
) -> bool {
    let mut changed = false;
    for wanted in &mut status.managed_namespaces {
        let Some(state) = report
            .namespaces
            .iter()
            .find(|state| state.name == wanted.name)
        else {
            continue;
        };
        let (truth, why, message) = if state.failure.is_empty() {
            let message = "Namespace successfully applied and managed".to_owned();
            (Truth::True, reason::namespace::APPLIED, message)
        } else {
            (Truth::False, reason::namespace::FAILED, cut(&state.failure))
        };
        let shown = new_condition(condition::NAMESPACE_AVAILABLE, truth, why, message, now);
        changed |= set_condition(&mut wanted.conditions, shown);
    }
    changed
}

/// Says which claims the cluster has and the hub does not.
fn apply_left_out(
    report: &ClusterReport,
    status: &mut ManagedClusterStatus,
    now: Timestamp,
) -> bool {
    if report.claims_unknown {
        return false;
    }
    let refused = report.claims.iter().filter(|claim| !fits(claim)).count()
        + report.claims.len().saturating_sub(MOST_CLAIMS);
    let (why, message) = match &report.claims_left_out {
        // OCM's words, of its event.
        Some(ClaimsLeftOut { custom, limit, .. }) if custom > limit => (
            reason::claims_truncated::TOO_MANY,
            format!(
                "{custom} cluster claims are found. It exceeds the max number of custom cluster claims ({limit}). \
                 {} custom cluster claims are truncated.",
                custom - limit
            ),
        ),
        Some(ClaimsLeftOut { unfit, .. }) => (
            reason::claims_truncated::UNFIT,
            format!(
                "claims without a value, or with one of more than 1024 characters, are left out: {}",
                cut(&unfit.join(", "))
            ),
        ),
        None if refused > 0 => (
            reason::claims_truncated::UNFIT,
            format!(
                "{refused} claims are left out: names and values have bounds, and a cluster has at most {MOST_CLAIMS}"
            ),
        ),
        None => return remove_condition(&mut status.conditions, condition::CLAIMS_TRUNCATED),
    };
    let truncated = new_condition(condition::CLAIMS_TRUNCATED, Truth::True, why, message, now);
    set_condition(&mut status.conditions, truncated)
}

fn fits(claim: &ClusterClaim) -> bool {
    (1..=253).contains(&claim.name.len()) && (1..=1024).contains(&claim.value.chars().count())
}

fn apply_hold(report: &ClusterReport, status: &mut ManagedClusterStatus, now: Timestamp) -> bool {
    let Some(hold) = &report.rollback_hold else {
        return remove_condition(&mut status.conditions, ROLLBACK_HOLD);
    };
    let text = |position: &Option<Position>| {
        position
            .as_ref()
            .map_or_else(|| "nothing".to_owned(), position_text)
    };
    let message = format!(
        "The agent has seen {}, the hub offers {}; set the annotation {} to the latter to accept it",
        text(&hold.seen),
        text(&hold.offered),
        annotation::ACCEPT_ROLLBACK,
    );
    set_condition(
        &mut status.conditions,
        new_condition(ROLLBACK_HOLD, Truth::True, HELD, message, now),
    )
}

/// Condition: a mass deletion in the cluster waits until an admin approves it.
const DELETION_HOLD: &str = "DeletionHold";

fn apply_deletion_hold(
    report: &ClusterReport,
    status: &mut ManagedClusterStatus,
    now: Timestamp,
) -> bool {
    let Some(hold) = &report.deletion_hold else {
        return remove_condition(&mut status.conditions, DELETION_HOLD);
    };
    let message = format!(
        "{} objects of {} works wait to be deleted, of {} that are applied; to let them go: koinon cluster approve-deletion CLUSTER",
        hold.objects, hold.works, hold.applied
    );
    set_condition(
        &mut status.conditions,
        new_condition(
            DELETION_HOLD,
            Truth::True,
            reason::deletion_held::MASS,
            message,
            now,
        ),
    )
}

fn apply_facts(report: &ClusterReport, status: &mut ManagedClusterStatus) -> bool {
    let before = (
        status.version.clone(),
        status.capacity.clone(),
        status.allocatable.clone(),
        status.cluster_claims.clone(),
    );
    if !report.kubernetes_version.is_empty() {
        status.version.kubernetes = cut(&report.kubernetes_version);
    }
    // What the agent has not looked at yet stays (P3).
    if !report.resources_unknown {
        apply_resources(report, status);
    }
    if !report.claims_unknown || status.cluster_claims.is_empty() {
        status.cluster_claims = report
            .claims
            .iter()
            .filter(|claim| fits(claim))
            .take(MOST_CLAIMS)
            .map(|claim| ManagedClusterClaim {
                name: claim.name.clone(),
                value: claim.value.clone(),
            })
            .collect();
    }
    before
        != (
            status.version.clone(),
            status.capacity.clone(),
            status.allocatable.clone(),
            status.cluster_claims.clone(),
        )
}

/// As in OCM what only the hub knows of stays in capacity, and allocatable is replaced. What the cluster had and does not have any
/// more goes, and whatever it reports, an object never grows beyond its bounds.
fn apply_resources(report: &ClusterReport, status: &mut ManagedClusterStatus) {
    let quantity = |(name, value): (&String, &String)| (name.clone(), Quantity(value.clone()));
    let capacity: BTreeMap<_, _> = bounded(&report.capacity).map(quantity).collect();
    let had = &status.allocatable;
    status
        .capacity
        .retain(|name, _| capacity.contains_key(name) || !had.contains_key(name));
    let reported: BTreeSet<String> = capacity.keys().cloned().collect();
    status.capacity.extend(capacity);
    let spare = status.capacity.len().saturating_sub(2 * MOST_RESOURCES);
    let strange: Vec<String> = status
        .capacity
        .keys()
        .filter(|name| !reported.contains(*name))
        .take(spare)
        .cloned()
        .collect();
    for name in strange {
        status.capacity.remove(&name);
    }
    status.allocatable = bounded(&report.allocatable).map(quantity).collect();
}

/// The resources of a report that are taken: names as Kubernetes has them, numbers, not too many of them.
fn bounded(resources: &BTreeMap<String, String>) -> impl Iterator<Item = (&String, &String)> {
    resources
        .iter()
        .filter(|(name, value)| {
            // Before anything looks at every byte of what may be a very long text.
            name.len() <= MOST_NAME
                && value.len() <= MOST_QUANTITY
                && validation::qualified_name(name).is_empty()
                && value.parse::<Amount>().is_ok()
        })
        .take(MOST_RESOURCES)
}

/// Carries the holds of a report into annotations; says whether that changed anything.
pub(super) fn annotate(report: &ClusterReport, cluster: &mut ManagedCluster) -> bool {
    let offered = report
        .rollback_hold
        .as_ref()
        .map(|hold| hold.offered.as_ref().map(position_text).unwrap_or_default());
    let deletions = report
        .deletion_hold
        .as_ref()
        .map(|hold| hold.revision.to_string());
    let annotations = cluster.metadata.annotations.get_or_insert_default();
    let unmanaged = if report.unmanaged_unknown {
        annotations.get(annotation::UNMANAGED).cloned()
    } else {
        unmanaged::token(report)
    };
    let mut changed = false;
    for (key, value) in [
        (annotation::ROLLBACK_HOLD, offered),
        (annotation::DELETION_HOLD, deletions),
        (annotation::UNMANAGED, unmanaged),
    ] {
        if annotations.get(key) == value.as_ref() {
            continue;
        }
        match value {
            Some(value) => annotations.insert(key.to_owned(), value),
            None => annotations.remove(key),
        };
        changed = true;
    }
    changed
}

/// Returns the revision up to which deletions in a cluster are approved: all, if the cluster itself is being deleted.
pub(super) fn approved_deletions(cluster: &ManagedCluster) -> i64 {
    if cluster.metadata.deletion_timestamp.is_some() {
        return i64::MAX;
    }
    cluster
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(annotation::APPROVE_DELETIONS))
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// Says whether [`annotate`] would change `cluster`.
pub(super) fn needs_annotation(report: &ClusterReport, cluster: &ManagedCluster) -> bool {
    annotate(report, &mut cluster.clone())
}

/// Writes a position as annotations hold it.
fn position_text(position: &Position) -> String {
    let incarnation: String = position
        .incarnation
        .chars()
        .take(MOST_INCARNATION)
        .collect();
    format!("{incarnation}:{}", position.revision)
}

/// Reads the rollback that an admin accepted for a cluster.
pub(super) fn accepted_rollback(cluster: &ManagedCluster) -> Option<Position> {
    let text = cluster
        .metadata
        .annotations
        .as_ref()?
        .get(annotation::ACCEPT_ROLLBACK)?;
    let (incarnation, revision) = text.rsplit_once(':')?;
    Some(Position {
        incarnation: incarnation.to_owned(),
        revision: revision.parse().ok()?,
        stamp: String::new(),
    })
}

fn cut(text: &str) -> String {
    text.chars().take(MOST_TEXT).collect()
}

#[cfg(test)]
mod tests;
