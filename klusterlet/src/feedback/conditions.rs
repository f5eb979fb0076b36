//! Conditions that a work wants derived from its live objects (`conditionRules`). Pure.

use koinon_api::{
    labels::{condition, reason::rule as reason},
    meta::Truth,
    work::{ConditionRule, ConditionRuleType},
};
use koinon_machinery::cel;
use serde_json::Value;

/// A condition of one manifest that was derived from its live object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Derived {
    /// Type of the condition.
    pub kind: String,
    /// Its status.
    pub truth: Truth,
    /// Its reason.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

/// Cost that all rules of one manifest may have together, in CEL's units; OCM's.
const MOST_COST: u64 = 10_000_000;

/// Derives what `rules` ask for. A well-known rule for a kind that nothing is known about yields nothing, as in OCM.
#[must_use]
pub fn derive(rules: &[ConditionRule], object: &Value) -> Vec<Derived> {
    if rules.is_empty() {
        return Vec::new();
    }
    let mut evaluation = Evaluation {
        object,
        value: None,
        left: MOST_COST,
    };
    let mut derived: Vec<Derived> = Vec::new();
    for rule in followed(rules) {
        // The first rule of a type counts, as the first option for an object does.
        if !derived.iter().any(|found| found.kind == rule.condition) {
            derived.extend(evaluation.derive(rule));
        }
    }
    if let Some(rule) = rules.iter().find(|rule| is_own(rule)) {
        derived.push(Derived {
            kind: UNUSABLE.to_owned(),
            truth: Truth::True,
            reason: reason::INVALID,
            message: format!("the condition {:?} is the agent's own", rule.condition),
        });
    }
    derived
}

/// Says whether `rules` may yield a condition of a type for an object of this kind. It need not be there.
#[must_use]
pub fn may_derive(rules: &[ConditionRule], kind: &str, object: &Value) -> bool {
    let mut of_kind = followed(rules).filter(|rule| rule.condition == kind);
    of_kind.any(|rule| match rule.type_ {
        ConditionRuleType::WellKnownConditions => well_known(kind, object).is_some(),
        ConditionRuleType::Cel => true,
    })
}

fn followed(rules: &[ConditionRule]) -> impl Iterator<Item = &ConditionRule> {
    rules.iter().filter(|rule| !is_own(rule)).take(MOST_RULES)
}

fn is_own(rule: &ConditionRule) -> bool {
    OWN.contains(&rule.condition.as_str())
}

/// Conditions that no rule may set: the agent says something else by them.
const OWN: [&str; 8] = [
    condition::APPLIED,
    condition::STATUS_FEEDBACK_SYNCED,
    condition::DELETING,
    condition::DELETION_HELD,
    condition::CONTESTED,
    condition::OVERTAKEN,
    condition::STATUS_TRUNCATED,
    UNUSABLE,
];

/// Says that a rule is not followed.
const UNUSABLE: &str = "ConditionRulesUnusable";

/// Rules of one manifest that are followed; a status has bounds.
const MOST_RULES: usize = 32;

/// The evaluation of all rules of one manifest.
struct Evaluation<'a> {
    object: &'a Value,
    /// The object as CEL sees it; made when first needed.
    value: Option<cel::Value>,
    left: u64,
}

/// Answers `hasConditions(x)`: whether a map has a list `conditions` that is not empty.
struct HasConditions;

impl cel::Host for HasConditions {
    fn call(
        &self,
        _method: &str,
        arguments: &[cel::Value],
        _meter: &mut cel::Meter,
    ) -> Result<cel::Value, cel::EvaluationError> {
        let json = arguments.first().and_then(cel::json);
        let has = json
            .as_ref()
            .and_then(|value| value.get("conditions")?.as_array())
            .is_some_and(|conditions| !conditions.is_empty());
        Ok(cel::Value::Bool(has))
    }
}

impl Evaluation<'_> {
    fn derive(&mut self, rule: &ConditionRule) -> Option<Derived> {
        let result = match rule.type_ {
            ConditionRuleType::WellKnownConditions => {
                well_known(&rule.condition, self.object).map(Ok)?
            }
            ConditionRuleType::Cel if rule.cel_expressions.is_empty() => Err((
                Truth::Unknown,
                reason::INVALID,
                "the rule has no expressions".to_owned(),
            )),
            ConditionRuleType::Cel => match self.all(&rule.cel_expressions) {
                Ok(holds) => {
                    let not = if holds { "" } else { "not " };
                    Ok((holds, format!("Manifest is {not}{}", rule.condition)))
                }
                Err(error) => Err((Truth::False, reason::EXPRESSION_ERROR, error)),
            },
        };
        let (truth, reason, message) = match result {
            Ok((holds, usual)) => (
                holds.into(),
                reason::EVALUATED,
                self.message(rule, holds, usual),
            ),
            Err(failed) => failed,
        };
        Some(Derived {
            kind: rule.condition.clone(),
            truth,
            reason,
            message,
        })
    }

    /// All expressions hold; the first that does not ends it.
    fn all(&mut self, expressions: &[String]) -> Result<bool, String> {
        let environment = environment();
        for expression in expressions {
            let program = environment.compile(expression).map_err(|e| e.to_string())?;
            if !self.run(|bindings, meter| program.holds(bindings, meter), None)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn message(&mut self, rule: &ConditionRule, holds: bool, usual: String) -> String {
        if !rule.message_expression.is_empty() {
            let text = environment()
                .variable("result")
                .compile(&rule.message_expression)
                .map_err(|e| e.to_string())
                .and_then(|program| {
                    self.run(|bindings, meter| program.text(bindings, meter), Some(holds))
                });
            match text {
                Ok(text) if !text.is_empty() => return text.to_string(),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
        if rule.message.is_empty() {
            usual
        } else {
            rule.message.clone()
        }
    }

    fn run<T>(
        &mut self,
        evaluate: impl FnOnce(cel::Bindings<'_>, &mut cel::Meter) -> Result<T, cel::EvaluationError>,
        result: Option<bool>,
    ) -> Result<T, String> {
        let object = self
            .value
            .get_or_insert_with(|| cel::value(self.object))
            .clone();
        let variables: Vec<_> = [object]
            .into_iter()
            .chain(result.map(cel::Value::Bool))
            .collect();
        let mut meter = cel::Meter::new(self.left.min(cel::COST_LIMIT));
        let bindings = cel::Bindings {
            variables: &variables,
            host: Some(&HasConditions),
        };
        let outcome = evaluate(bindings, &mut meter);
        self.left = self.left.saturating_sub(meter.spent());
        outcome.map_err(|e| e.to_string())
    }
}

fn environment() -> cel::Environment {
    cel::Environment::new()
        .variable("object")
        .function("hasConditions", 1)
}

/// Whether the object is complete, and OCM's words for it; `None` where nothing is known.
fn well_known(kind: &str, object: &Value) -> Option<(bool, String)> {
    if kind != condition::COMPLETE {
        return None;
    }
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    match (text("/apiVersion")?, text("/kind")?) {
        ("batch/v1", "Job") => {
            let conditions = object
                .pointer("/status/conditions")
                .and_then(Value::as_array);
            let finished = conditions.into_iter().flatten().any(|c| {
                let is = |key: &str, value: &str| c.get(key).and_then(Value::as_str) == Some(value);
                (is("type", "Complete") || is("type", "Failed")) && is("status", "True")
            });
            let not = if finished { "" } else { "not " };
            Some((finished, format!("Job is {not}finished")))
        }
        ("v1", "Pod") => {
            let phase = text("/status/phase").unwrap_or_default();
            let ended = matches!(phase, "Succeeded" | "Failed");
            Some((ended, format!("Pod is in phase {phase}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complete(message: &str) -> ConditionRule {
        ConditionRule {
            condition: "Complete".into(),
            type_: ConditionRuleType::WellKnownConditions,
            cel_expressions: vec![],
            message: message.into(),
            message_expression: String::new(),
        }
    }

    #[test]
    fn jobs_and_pods_complete_when_they_end_however_they_end() {
        let job = |kind: &str, status: &str| json!({"apiVersion": "batch/v1", "kind": "Job", "status": {"conditions": [{"type": kind, "status": status}]}});
        let pod =
            |phase: &str| json!({"apiVersion": "v1", "kind": "Pod", "status": {"phase": phase}});
        for (object, truth, message) in [
            (job("Complete", "True"), Truth::True, "Job is finished"),
            (job("Failed", "True"), Truth::True, "Job is finished"),
            (
                job("Complete", "False"),
                Truth::False,
                "Job is not finished",
            ),
            (pod("Succeeded"), Truth::True, "Pod is in phase Succeeded"),
            (pod("Running"), Truth::False, "Pod is in phase Running"),
        ] {
            let derived = derive(&[complete("")], &object);
            assert_eq!(
                (derived[0].truth, derived[0].message.as_str()),
                (truth, message),
                "{object}"
            );
        }
        assert_eq!(
            derive(&[complete("done")], &pod("Failed"))[0].message,
            "done"
        );
    }

    #[test]
    fn what_is_not_well_known_is_left_out() {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        assert_eq!(derive(&[complete("")], &map), []);
        let other = ConditionRule {
            condition: "Ready".into(),
            ..complete("")
        };
        assert_eq!(
            derive(&[other], &json!({"apiVersion": "v1", "kind": "Pod"})),
            []
        );
    }

    fn cel(
        kind: &str,
        expressions: &[&str],
        message: &str,
        message_expression: &str,
    ) -> ConditionRule {
        ConditionRule {
            condition: kind.into(),
            type_: ConditionRuleType::Cel,
            cel_expressions: expressions.iter().map(|e| (*e).to_owned()).collect(),
            message: message.into(),
            message_expression: message_expression.into(),
        }
    }

    #[test]
    fn expressions_are_joined_by_and_and_say_why_they_cannot_be() {
        let object = json!({"kind": "Widget", "spec": {"size": 3}, "status": {"phase": "Up", "conditions": [{"type": "Ready", "status": "True"}]}});
        let ready = "hasConditions(object.status) && object.status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')";
        // expressions, message, message expression → status, reason, part of the message
        for (expressions, message, message_expression, truth, why, words) in [
            (
                vec![ready, "object.spec.size == 3"],
                "",
                "",
                Truth::True,
                reason::EVALUATED,
                "Manifest is Healthy",
            ),
            (
                vec![ready, "object.spec.size > 3"],
                "",
                "",
                Truth::False,
                reason::EVALUATED,
                "Manifest is not Healthy",
            ),
            (
                vec!["object.spec.size > 3", "object.nothing.at.all"],
                "no",
                "",
                Truth::False,
                reason::EVALUATED,
                "no",
            ),
            (
                vec!["true"],
                "",
                "object.status.phase + (result ? '!' : '?')",
                Truth::True,
                reason::EVALUATED,
                "Up!",
            ),
            (
                vec!["true"],
                "fixed",
                "''",
                Truth::True,
                reason::EVALUATED,
                "fixed",
            ),
            (
                vec!["true"],
                "",
                "object.none",
                Truth::True,
                reason::EVALUATED,
                "none",
            ),
            (
                vec!["object.none == 1"],
                "",
                "",
                Truth::False,
                reason::EXPRESSION_ERROR,
                "none",
            ),
            (
                vec!["object.spec.size"],
                "",
                "",
                Truth::False,
                reason::EXPRESSION_ERROR,
                "bool",
            ),
            (
                vec!["object.spec."],
                "",
                "",
                Truth::False,
                reason::EXPRESSION_ERROR,
                "ERROR",
            ),
            (
                vec!["hasConditions(object.spec)"],
                "",
                "",
                Truth::False,
                reason::EVALUATED,
                "Manifest is not Healthy",
            ),
            (
                vec![],
                "",
                "",
                Truth::Unknown,
                reason::INVALID,
                "no expressions",
            ),
        ] {
            let derived = derive(
                &[cel("Healthy", &expressions, message, message_expression)],
                &object,
            );
            assert_eq!(
                (derived[0].truth, derived[0].reason),
                (truth, why),
                "{expressions:?} {}",
                derived[0].message
            );
            assert!(
                derived[0].message.contains(words),
                "{expressions:?} {}",
                derived[0].message
            );
        }
    }

    #[test]
    fn rules_share_a_bound_on_their_work() {
        let list: Vec<u32> = (0..300).collect();
        let object = json!({"list": list});
        let heavy = "object.list.all(a, object.list.all(b, object.list.all(c, a + b + c >= 0)))";
        let rules: Vec<_> = (0..30)
            .map(|n| cel(&format!("C{n}"), &[heavy], "", ""))
            .collect();
        let derived = derive(&rules, &object);
        assert!(
            derived
                .iter()
                .all(|d| d.reason == reason::EXPRESSION_ERROR && d.message.contains("cost limit"))
        );
    }

    #[test]
    fn the_first_rule_of_a_type_counts() {
        let rules = [
            cel("Fine", &["true"], "", ""),
            cel("Fine", &["false"], "", ""),
        ];
        let derived = derive(&rules, &json!({}));
        assert_eq!(derived.len(), 1, "{derived:?}");
        assert_eq!(derived[0].truth, Truth::True);
    }

    #[test]
    fn rules_cannot_say_what_the_agent_says() {
        let rules = [
            cel("Applied", &["true"], "", ""),
            cel("Fine", &["true"], "", ""),
        ];
        let derived = derive(&rules, &json!({}));
        let kinds: Vec<_> = derived.iter().map(|d| d.kind.as_str()).collect();
        assert_eq!(kinds, ["Fine", "ConditionRulesUnusable"]);
        assert!(derived[1].message.contains("Applied"));
    }
}
