//! Bounds on a spec. Each of its terms is asked of each of thousands of clusters, and placements are decided one after the
//! other: one that goes on for megabytes would hold up all others. OCM bounds nothing but the object.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use koinon_api::placement::PlacementSpec;

use super::Misconfigured;

const MOST_PREDICATES: usize = 1_000;
const MOST_TOLERATIONS: usize = 1_000;
const MOST_GROUPS: usize = 1_000;
const MOST_PRIORITIZERS: usize = 100;
/// Requirements, their values and expressions, of all selectors together.
const MOST_TERMS: usize = 10_000;
/// Resources that the annotation for packing requests.
const MOST_REQUESTS: usize = 100;

/// Refuses a spec that asks for more than can be looked at in a reasonable time.
///
/// # Errors
/// Which part is too long.
pub(super) fn check(spec: &PlacementSpec) -> Result<(), Misconfigured> {
    let (predicates, groups) = (
        &spec.predicates,
        &spec.decision_strategy.group_strategy.decision_groups,
    );
    let of_predicates = predicates.iter().map(|one| {
        let selector = &one.required_cluster_selector;
        labels(&selector.label_selector)
            + requirements(&selector.claim_selector.match_expressions)
            + selector.cel_selector.cel_expressions.len()
    });
    let of_groups = groups.iter().map(|one| {
        let selector = &one.group_cluster_selector;
        labels(&selector.label_selector) + requirements(&selector.claim_selector.match_expressions)
    });
    let terms = of_predicates.chain(of_groups).sum();
    let prioritizers = &spec.prioritizer_policy.configurations;
    for (what, count, most) in [
        ("predicates", predicates.len(), MOST_PREDICATES),
        ("tolerations", spec.tolerations.len(), MOST_TOLERATIONS),
        ("decision groups", groups.len(), MOST_GROUPS),
        ("prioritizers", prioritizers.len(), MOST_PRIORITIZERS),
        ("terms in all selectors", terms, MOST_TERMS),
    ] {
        at_most(what, count, most).map_err(|message| Misconfigured::new("", message))?;
    }
    Ok(())
}

/// The same for the resources that a packing placement requests.
///
/// # Errors
/// They are too many.
pub(super) fn check_requests(count: usize) -> Result<(), String> {
    at_most("requested resources", count, MOST_REQUESTS)
}

fn at_most(what: &str, count: usize, most: usize) -> Result<(), String> {
    if count <= most {
        return Ok(());
    }
    Err(format!("too many {what}: {count}, at most {most}"))
}

fn labels(selector: &LabelSelector) -> usize {
    selector.match_labels.as_ref().map_or(0, |all| all.len())
        + requirements(selector.match_expressions.as_deref().unwrap_or_default())
}

fn requirements(all: &[LabelSelectorRequirement]) -> usize {
    let each = all
        .iter()
        .map(|one| 1 + one.values.as_ref().map_or(0, Vec::len));
    each.sum()
}
