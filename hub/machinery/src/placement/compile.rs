//! From a `PlacementSpec` and a `ManagedCluster` to what the engine evaluates.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::{
    api::resource::Quantity,
    apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
    util::intstr::IntOrString,
};
use koinon_api::{
    ManagedCluster, Placement,
    cluster::{Taint as ApiTaint, TaintEffect},
    labels::annotation,
    placement::{
        ClusterPredicate, DecisionGroup, PlacementSpec, PrioritizerConfig, PrioritizerPolicy,
        ScoreCoordinateType, SortBy, SpreadConstraint, Toleration as ApiToleration,
        TopologyKeyType, UnsatisfiableAction,
    },
};

use super::{
    Amount, Cluster, Effect, GroupPolicy, GroupSize, Invalid, Misconfigured, Operator, Order,
    Packing, Policy, Predicate, Prioritizer, Requirement, Resource, Selector, Spread, Strategy,
    Taint, Toleration, Topology, Unsatisfiable, Weighted, bounds, expression,
    policy::SCORE_RATE_LIMIT,
};
use crate::quantity;

/// A quantity like `250m` or `16Gi`.
fn quantity(text: &str) -> Option<quantity::Quantity> {
    text.trim().parse().ok()
}

/// OCM's names of the parts that can refuse a spec.
mod plugin {
    pub(super) const PREDICATE: &str = "Predicate";
    pub(super) const TAINT_TOLERATION: &str = "TaintToleration";
    /// The prioritizer policy and the group strategy are refused in nobody's name.
    pub(super) const NONE: &str = "";
    /// Ours.
    pub(super) const PACKING: &str = "Packing";
}

impl Policy {
    /// Compiles and checks a spec, in the order in which OCM's scheduler would come across its mistakes.
    ///
    /// # Errors
    /// The first mistake, with OCM's message.
    pub fn compile(spec: &PlacementSpec) -> Result<Self, Misconfigured> {
        bounds::check(spec)?;
        Ok(Self {
            predicates: spec
                .predicates
                .iter()
                .map(predicate)
                .collect::<Result<_, _>>()?,
            tolerations: tolerations(&spec.tolerations)?,
            clusters: spec.number_of_clusters.map(wanted).transpose()?,
            prioritizers: prioritizers(&spec.prioritizer_policy)?,
            groups: GroupPolicy {
                size: group_size(
                    spec.decision_strategy
                        .group_strategy
                        .clusters_per_decision_group
                        .as_ref(),
                )?,
                named: groups(&spec.decision_strategy.group_strategy.decision_groups)?,
            },
            spread: spec
                .spread_policy
                .spread_constraints
                .iter()
                .map(spread)
                .collect(),
            packing: None,
            order: match spec.sort_by {
                Some(SortBy::Score) => Order::Score,
                Some(SortBy::ClusterName) | None => Order::Name,
            },
            score_rate_limit: rate_limit(spec.score_rate_limit.as_deref())?,
        })
    }

    /// Compiles a placement: its spec, and the annotation `koinon.dev/packing`.
    ///
    /// # Errors
    /// The first mistake.
    pub fn of(placement: &Placement) -> Result<Self, Misconfigured> {
        let mut policy = Self::compile(&placement.spec)?;
        let annotation = placement
            .metadata
            .annotations
            .as_ref()
            .and_then(|all| all.get(annotation::PACKING));
        if let Some(text) = annotation {
            let (packing, weight) =
                packing(text).map_err(|message| Misconfigured::new(plugin::PACKING, message))?;
            if packing.strategy != Strategy::Fit && weight != 0 {
                let prioritizer = Prioritizer::Packing;
                policy.prioritizers.push(Weighted {
                    prioritizer,
                    weight,
                });
                policy
                    .prioritizers
                    .sort_by_cached_key(|weighted| weighted.prioritizer.name());
            }
            policy.packing = Some(packing);
        }
        Ok(policy)
    }
}

impl Packing {
    /// What a placement reserves on the clusters that it holds: also when the rest of its spec is wrong.
    #[must_use]
    pub fn of(placement: &Placement) -> Option<Self> {
        let annotations = placement.metadata.annotations.as_ref()?;
        let (packing, _) = packing(annotations.get(annotation::PACKING)?).ok()?;
        Some(packing)
    }
}

/// The annotation: `{"requests": {"cpu": "4"}, "strategy": "Pack", "weight": 2}`.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct PackingAnnotation {
    requests: BTreeMap<String, String>,
    strategy: Option<String>,
    weight: Option<i64>,
}

fn packing(text: &str) -> Result<(Packing, i64), String> {
    let name = annotation::PACKING;
    let read: PackingAnnotation = serde_json::from_str(text)
        .map_err(|error| format!("annotation {name} cannot be read: {error}"))?;
    if read.requests.is_empty() {
        return Err(format!("annotation {name} requests nothing"));
    }
    bounds::check_requests(read.requests.len())
        .map_err(|why| format!("annotation {name}: {why}"))?;
    let mut requests = BTreeMap::new();
    for (resource, text) in read.requests {
        match quantity(&text) {
            Some(amount) if !amount.is_negative() => {
                requests.insert(resource, Amount::requested(&amount))
            }
            _ => {
                return Err(format!(
                    "annotation {name}: {text:?} is no amount of {resource}"
                ));
            }
        };
    }
    let strategy = match read.strategy.as_deref() {
        None | Some("Fit") => Strategy::Fit,
        Some("Pack") => Strategy::Pack,
        Some("Spread") => Strategy::Spread,
        Some(other) => return Err(format!("annotation {name}: unknown strategy {other:?}")),
    };
    let weight = read.weight.unwrap_or(1);
    if !(-10..=10).contains(&weight) {
        return Err(format!(
            "annotation {name}: weight {weight} is not in -10..10"
        ));
    }
    Ok((Packing { requests, strategy }, weight))
}

/// OCM takes a negative number, and its scheduler ends on it.
fn wanted(clusters: i32) -> Result<usize, Misconfigured> {
    usize::try_from(clusters).map_err(|_| {
        let message = format!("numberOfClusters must not be negative: {clusters}");
        Misconfigured::new(plugin::NONE, message)
    })
}

fn spread(constraint: &SpreadConstraint) -> Spread {
    let key = constraint.topology_key.clone();
    Spread {
        topology: match constraint.topology_key_type {
            TopologyKeyType::Label => Topology::Label(key),
            TopologyKeyType::Claim => Topology::Claim(key),
        },
        max_skew: usize::try_from(constraint.max_skew.max(1)).unwrap_or(1),
        unsatisfiable: match constraint.when_unsatisfiable {
            UnsatisfiableAction::DoNotSchedule => Unsatisfiable::DoNotSchedule,
            UnsatisfiableAction::ScheduleAnyway => Unsatisfiable::ScheduleAnyway,
        },
    }
}

/// `90s`, `1m` or `2h`.
fn rate_limit(text: Option<&str>) -> Result<SignedDuration, Misconfigured> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(SCORE_RATE_LIMIT);
    };
    let unit = match text.as_bytes().last() {
        Some(b's') => 1,
        Some(b'm') => 60,
        Some(b'h') => 3600,
        _ => 0,
    };
    let number = text
        .get(..text.len() - 1)
        .and_then(|number| number.parse::<i64>().ok());
    let seconds = number
        .filter(|_| unit > 0)
        .and_then(|number| number.checked_mul(unit));
    seconds.map(SignedDuration::from_secs).ok_or_else(|| {
        Misconfigured::new(plugin::NONE, format!("incorrect scoreRateLimit: {text}"))
    })
}

impl Selector {
    /// Compiles a label selector; the empty one matches everything.
    ///
    /// # Errors
    /// An operator that does not exist, or values that do not fit it.
    pub fn compile(selector: &LabelSelector) -> Result<Self, Invalid> {
        let labels = selector.match_labels.iter().flatten().map(|(key, value)| {
            Ok(Requirement {
                key: key.clone(),
                operator: Operator::In,
                values: vec![value.clone()],
            })
        });
        let expressions = selector.match_expressions.iter().flatten().map(requirement);
        let all = labels
            .chain(expressions)
            .map(|one| one.and_then(Requirement::of_labels));
        Ok(Self::new(all.collect::<Result<_, _>>()?))
    }
}

impl Cluster {
    /// Prepares a cluster for evaluation.
    #[must_use]
    pub fn prepare(cluster: &ManagedCluster) -> Self {
        let status = cluster.status.clone().unwrap_or_default();
        let available = |text: &str| Some(Amount::available(&quantity(text)?));
        let amount = |name: &str| {
            status.capacity.get(name)?;
            let Quantity(text) = status.allocatable.get(name)?;
            available(text)
        };
        Self {
            name: cluster.metadata.name.clone().unwrap_or_default(),
            labels: cluster.metadata.labels.clone().unwrap_or_default(),
            cpu: amount("cpu"),
            memory: amount("memory"),
            allocatable: status
                .allocatable
                .iter()
                .filter_map(|(name, Quantity(text))| Some((name.clone(), available(text)?)))
                .collect(),
            claims: status
                .cluster_claims
                .into_iter()
                .map(|claim| (claim.name, claim.value))
                .collect(),
            taints: cluster.spec.taints.iter().map(taint).collect(),
        }
    }
}

fn taint(taint: &ApiTaint) -> Taint {
    Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
        effect: effect(taint.effect),
        added: taint.time_added.as_ref().map(|time| time.0),
    }
}

fn effect(effect: TaintEffect) -> Effect {
    match effect {
        TaintEffect::NoSelect => Effect::NoSelect,
        TaintEffect::PreferNoSelect => Effect::PreferNoSelect,
        TaintEffect::NoSelectIfNew => Effect::NoSelectIfNew,
    }
}

fn requirement(requirement: &LabelSelectorRequirement) -> Result<Requirement, Invalid> {
    Requirement::parse(
        &requirement.key,
        &requirement.operator,
        requirement.values.as_deref().unwrap_or_default(),
    )
}

fn selectors(
    labels: &LabelSelector,
    claims: &[LabelSelectorRequirement],
) -> Result<Predicate, Invalid> {
    let claims = claims
        .iter()
        .map(|one| requirement(one).and_then(Requirement::of_claims))
        .collect::<Result<_, _>>()?;
    Ok(Predicate {
        labels: Selector::compile(labels)?,
        claims: Selector::new(claims),
        expressions: Vec::new(),
    })
}

fn predicate(predicate: &ClusterPredicate) -> Result<Predicate, Misconfigured> {
    let selector = &predicate.required_cluster_selector;
    let mut compiled = selectors(
        &selector.label_selector,
        &selector.claim_selector.match_expressions,
    )
    .map_err(|invalid| Misconfigured::new(plugin::PREDICATE, invalid.to_string()))?;
    for source in &selector.cel_selector.cel_expressions {
        let program = expression::compile(source)
            .map_err(|error| Misconfigured::new(plugin::PREDICATE, error.to_string()))?;
        compiled.expressions.push(program);
    }
    Ok(compiled)
}

fn groups(groups: &[DecisionGroup]) -> Result<Vec<(String, Predicate)>, Misconfigured> {
    let compile = |group: &DecisionGroup| {
        let selector = &group.group_cluster_selector;
        let predicate = selectors(
            &selector.label_selector,
            &selector.claim_selector.match_expressions,
        )
        .map_err(|invalid| Misconfigured::new(plugin::NONE, invalid.to_string()))?;
        Ok((group.group_name.clone(), predicate))
    };
    groups.iter().map(compile).collect()
}

fn tolerations(tolerations: &[ApiToleration]) -> Result<Vec<Toleration>, Misconfigured> {
    let mut compiled = Vec::with_capacity(tolerations.len());
    for toleration in tolerations {
        let operator = toleration.operator.as_deref().unwrap_or_default();
        let refuse = |message: &str| Err(Misconfigured::new(plugin::TAINT_TOLERATION, message));
        if toleration.key.is_empty() && operator != "Exists" {
            return refuse("If the key is empty, operator must be Exists.");
        }
        if operator == "Exists" && !toleration.value.is_empty() {
            return refuse("If the operator is Exists, the value should be empty.");
        }
        let value = match operator {
            "" | "Equal" => Some(toleration.value.clone()),
            "Exists" => None,
            _ => continue,
        };
        compiled.push(Toleration {
            key: (!toleration.key.is_empty()).then(|| toleration.key.clone()),
            value,
            effect: toleration.effect.map(effect),
            seconds: toleration.toleration_seconds,
        });
    }
    Ok(compiled)
}

/// Weights by prioritizer: the defaults, overlaid by what the placement says; the later of two entries counts.
fn prioritizers(policy: &PrioritizerPolicy) -> Result<Vec<Weighted>, Misconfigured> {
    let mut weights = match policy.mode.as_deref().unwrap_or_default() {
        "" | "Additive" => vec![
            Weighted {
                prioritizer: Prioritizer::Balance,
                weight: 1,
            },
            Weighted {
                prioritizer: Prioritizer::Steady,
                weight: 1,
            },
        ],
        "Exact" => Vec::new(),
        other => {
            return Err(Misconfigured::new(
                plugin::NONE,
                format!("incorrect prioritizer policy mode: {other}"),
            ));
        }
    };
    for config in &policy.configurations {
        let Some(weighted) = weighted(config)? else {
            continue;
        };
        match weights
            .iter_mut()
            .find(|known| known.prioritizer == weighted.prioritizer)
        {
            Some(known) => known.weight = weighted.weight,
            None => weights.push(weighted),
        }
    }
    weights.retain(|weighted| weighted.weight != 0);
    weights.sort_by_cached_key(|weighted| weighted.prioritizer.name());
    Ok(weights)
}

/// One entry; an unknown prioritizer is no mistake as long as its weight is 0, as in OCM.
fn weighted(config: &PrioritizerConfig) -> Result<Option<Weighted>, Misconfigured> {
    let coordinate = &config.score_coordinate;
    let weight = i64::from(config.weight.unwrap_or(1));
    let prioritizer = match (
        coordinate.type_,
        coordinate.built_in.as_str(),
        &coordinate.add_on,
    ) {
        (ScoreCoordinateType::BuiltIn, "Balance", _) => Prioritizer::Balance,
        (ScoreCoordinateType::BuiltIn, "Steady", _) => Prioritizer::Steady,
        (ScoreCoordinateType::BuiltIn, "ResourceAllocatableCPU", _) => {
            Prioritizer::Allocatable(Resource::Cpu)
        }
        (ScoreCoordinateType::BuiltIn, "ResourceAllocatableMemory", _) => {
            Prioritizer::Allocatable(Resource::Memory)
        }
        (ScoreCoordinateType::AddOn, _, Some(add_on)) => Prioritizer::AddOn {
            resource: add_on.resource_name.clone(),
            score: add_on.score_name.clone(),
        },
        _ if weight == 0 => return Ok(None),
        (ScoreCoordinateType::BuiltIn, other, _) => {
            return Err(Misconfigured::new(
                plugin::NONE,
                format!("incorrect builtin prioritizer: {other}"),
            ));
        }
        (ScoreCoordinateType::AddOn, _, None) => {
            return Err(Misconfigured::new(
                plugin::NONE,
                "addOn should not be empty",
            ));
        }
    };
    Ok(Some(Weighted {
        prioritizer,
        weight,
    }))
}

fn group_size(size: Option<&IntOrString>) -> Result<GroupSize, Misconfigured> {
    match size {
        None => Ok(GroupSize::All),
        Some(IntOrString::Int(clusters)) => Ok(GroupSize::Clusters(i64::from(*clusters))),
        Some(IntOrString::String(text)) => {
            let percent = text
                .strip_suffix('%')
                .and_then(|number| number.parse().ok());
            percent.map(GroupSize::Percent).ok_or_else(|| {
                Misconfigured::new(
                    plugin::NONE,
                    format!("{text} invalid type: string is not a percentage"),
                )
            })
        }
    }
}
