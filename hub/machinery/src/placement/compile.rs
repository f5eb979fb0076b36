//! From a `PlacementSpec` and a `ManagedCluster` to what the engine evaluates.

use k8s_openapi::apimachinery::pkg::{
    api::resource::Quantity,
    apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
    util::intstr::IntOrString,
};
use koinon_api::{
    ManagedCluster,
    cluster::{Taint as ApiTaint, TaintEffect},
    placement::{
        ClusterPredicate, DecisionGroup, PlacementSpec, PrioritizerConfig, PrioritizerPolicy,
        ScoreCoordinateType, Toleration as ApiToleration,
    },
};

use super::{
    Cluster, Effect, GroupPolicy, GroupSize, Invalid, Misconfigured, Operator, Policy, Predicate,
    Prioritizer, Requirement, Resource, Selector, Taint, Toleration, Weighted, amount::approximate,
};

/// OCM's names of the parts that can refuse a spec.
mod plugin {
    pub(super) const PREDICATE: &str = "Predicate";
    pub(super) const TAINT_TOLERATION: &str = "TaintToleration";
    /// The prioritizer policy and the group strategy are refused in nobody's name.
    pub(super) const NONE: &str = "";
}

impl Policy {
    /// Compiles and checks a spec, in the order in which OCM's scheduler would come across its mistakes.
    ///
    /// # Errors
    /// The first mistake, with OCM's message.
    pub fn compile(spec: &PlacementSpec) -> Result<Self, Misconfigured> {
        Ok(Self {
            predicates: spec
                .predicates
                .iter()
                .map(predicate)
                .collect::<Result<_, _>>()?,
            tolerations: tolerations(&spec.tolerations)?,
            clusters: spec
                .number_of_clusters
                .map(|clusters| usize::try_from(clusters).unwrap_or(0)),
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
        })
    }
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
        Ok(Self::new(
            labels.chain(expressions).collect::<Result<_, _>>()?,
        ))
    }
}

impl Cluster {
    /// Prepares a cluster for evaluation.
    #[must_use]
    pub fn prepare(cluster: &ManagedCluster) -> Self {
        let status = cluster.status.clone().unwrap_or_default();
        let amount = |name: &str| {
            status.capacity.get(name)?;
            let Quantity(text) = status.allocatable.get(name)?;
            approximate(text)
        };
        Self {
            name: cluster.metadata.name.clone().unwrap_or_default(),
            labels: cluster.metadata.labels.clone().unwrap_or_default(),
            cpu: amount("cpu"),
            memory: amount("memory"),
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
    let claims = claims.iter().map(requirement).collect::<Result<_, _>>()?;
    Ok(Predicate {
        labels: Selector::compile(labels)?,
        claims: Selector::new(claims),
    })
}

fn predicate(predicate: &ClusterPredicate) -> Result<Predicate, Misconfigured> {
    let selector = &predicate.required_cluster_selector;
    if !selector.cel_selector.cel_expressions.is_empty() {
        return Err(Misconfigured::new(
            plugin::PREDICATE,
            "celSelector is not supported yet",
        ));
    }
    selectors(
        &selector.label_selector,
        &selector.claim_selector.match_expressions,
    )
    .map_err(|invalid| Misconfigured::new(plugin::PREDICATE, invalid.to_string()))
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
