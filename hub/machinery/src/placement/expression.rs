//! CEL in predicates: OCM's environment, and bounds on what expressions may cost.
//!
//! The variable `managedCluster` is the cluster's JSON. Its method `scores(name)` gives the scores of the
//! `AddOnPlacementScore` of that name in the cluster's namespace, as a list of `{name, value}`; `<string>.parseJSON()`
//! gives what a string holds, for claims that carry documents.

use std::sync::{Arc, LazyLock};

use super::{Misconfigured, Predicate};
use crate::cel::{
    Bindings, COST_LIMIT, CompileError, Environment, EvaluationError, Host, Meter, Program, Value,
    value,
};

/// OCM's bound on all expressions of one predicate evaluation on one cluster.
const CLUSTER_BUDGET: u64 = 10 * COST_LIMIT;
/// Bound on all expressions of one placement on all clusters: some seconds. OCM has none; an expression that is dear
/// everywhere would keep every other placement waiting.
const PLACEMENT_BUDGET: u64 = 100 * COST_LIMIT;

static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| {
    Environment::new()
        .variable("managedCluster")
        .method("scores", 1)
        .method("parseJSON", 0)
});

/// Compiles an expression of a predicate.
///
/// # Errors
/// With the position of the mistake.
pub fn compile(source: &str) -> Result<Program, CompileError> {
    ENVIRONMENT.compile(source)
}

/// What became of an expression on a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it holds; an error means that it does not.
    pub result: Result<bool, EvaluationError>,
    pub cost: u64,
}

impl Default for Outcome {
    /// It does not hold, and nobody looked.
    fn default() -> Self {
        Self {
            result: Ok(false),
            cost: 0,
        }
    }
}

/// What one placement's expressions may still cost.
#[derive(Debug)]
pub(super) struct Budget {
    placement: u64,
    /// An expression was not looked at because nothing was left.
    exhausted: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            placement: PLACEMENT_BUDGET,
            exhausted: false,
        }
    }
}

impl Budget {
    /// The mistake of a placement whose expressions cost more than it may spend: who is admitted would depend on how far
    /// the budget reaches, and a fleet that grows would push clusters out.
    pub(super) fn overrun(&self) -> Option<Misconfigured> {
        let message = format!(
            "the expressions cost more than {PLACEMENT_BUDGET} units on all clusters together"
        );
        self.exhausted
            .then(|| Misconfigured::new("Predicate", message))
    }

    /// Whether a cluster matches one of the predicates, or if there are none; else the first reason for which an
    /// expression had no value, if that was it. `selects` says whether labels and claims match the predicate at a place.
    pub(super) fn admits(
        &mut self,
        predicates: &[Predicate],
        selects: impl Fn(usize, &Predicate) -> bool,
        condition: impl Fn(&Program) -> Outcome,
    ) -> Result<(), Option<EvaluationError>> {
        if predicates.is_empty() {
            return Ok(());
        }
        let mut error = None;
        let mut left = CLUSTER_BUDGET;
        for (place, predicate) in predicates.iter().enumerate() {
            if !selects(place, predicate) {
                continue;
            }
            match self.hold(&predicate.expressions, &condition, &mut left) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(why) => error = error.or(Some(why)),
            }
        }
        Err(error)
    }

    /// Whether all expressions hold, one after the other until one does not.
    fn hold(
        &mut self,
        expressions: &[Program],
        condition: impl Fn(&Program) -> Outcome,
        left: &mut u64,
    ) -> Result<bool, EvaluationError> {
        for expression in expressions {
            self.exhausted |= self.placement == 0;
            if self.placement == 0 || *left == 0 {
                return Err(EvaluationError::CostLimit);
            }
            let outcome = condition(expression);
            self.placement = self.placement.saturating_sub(outcome.cost);
            *left = left.saturating_sub(outcome.cost);
            if !outcome.result? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The object of a cluster as expressions see it: fields that Go always writes are there.
#[must_use]
pub fn subject(mut cluster: serde_json::Value) -> Value {
    if let Some(metadata) = cluster
        .get_mut("metadata")
        .and_then(|one| one.as_object_mut())
    {
        metadata.remove("managedFields");
    }
    let mut ensure = |part: &str, field: &str, default: serde_json::Value| {
        if let Some(object) = cluster.as_object_mut() {
            let part = object
                .entry(part)
                .or_insert_with(|| serde_json::Value::Object(serde_json::Map::default()));
            if let Some(part) = part.as_object_mut() {
                part.entry(field).or_insert(default);
            }
        }
    };
    ensure("spec", "hubAcceptsClient", false.into());
    ensure("status", "conditions", serde_json::Value::Null);
    value(&cluster)
}

/// Looks up the scores of an `AddOnPlacementScore` of the cluster by its name.
pub type ScoreLookup<'a> = &'a dyn Fn(&str) -> Option<Vec<(String, i64)>>;

/// Evaluates an expression on a cluster.
#[must_use]
pub fn test(program: &Program, subject: &Value, scores: ScoreLookup<'_>) -> Outcome {
    let mut meter = Meter::new(COST_LIMIT);
    let variables = std::slice::from_ref(subject);
    let bindings = Bindings {
        variables,
        host: Some(&Functions { scores }),
    };
    let result = program.holds(bindings, &mut meter);
    Outcome {
        result,
        cost: meter.spent(),
    }
}

struct Functions<'a> {
    scores: ScoreLookup<'a>,
}

impl Host for Functions<'_> {
    fn call(
        &self,
        method: &str,
        arguments: &[Value],
        meter: &mut Meter,
    ) -> Result<Value, EvaluationError> {
        match (method, arguments) {
            ("scores", [Value::Map(_), Value::String(name)]) => {
                let scores = (self.scores)(name).ok_or_else(|| {
                    EvaluationError::Failed(format!("there is no AddOnPlacementScore {name}"))
                })?;
                // OCM: a list, and a map for each element.
                meter.charge(10 + 31 * scores.len() as u64)?;
                let each = |(name, value): (String, i64)| serde_json::json!({ "name": name, "value": value });
                let list: Vec<serde_json::Value> = scores.into_iter().map(each).collect();
                Ok(value(&list.into()))
            }
            ("parseJSON", [Value::String(text)]) => parse(text, meter),
            _ => Err(EvaluationError::Failed("no such overload".to_owned())),
        }
    }
}

fn parse(text: &Arc<String>, meter: &mut Meter) -> Result<Value, EvaluationError> {
    // Twice: a tenth per character to read, and for what is built no more than one value for two characters.
    meter.traverse(6 * text.len() as u64)?;
    serde_json::from_str::<serde_json::Value>(text)
        .map(|json| value(&json))
        .map_err(|error| EvaluationError::Failed(format!("not JSON: {error}")))
}
