//! Conditions that a work wants derived from its live objects (`conditionRules`). Pure.

use koinon_api::{
    labels::{condition, reason::rule as reason},
    meta::Truth,
    work::{ConditionRule, ConditionRuleType},
};
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

/// Derives what `rules` ask for. A well-known rule for a kind that nothing is known about yields nothing, as in OCM.
#[must_use]
pub fn derive(rules: &[ConditionRule], object: &Value) -> Vec<Derived> {
    rules
        .iter()
        .filter_map(|rule| match rule.type_ {
            ConditionRuleType::WellKnownConditions => well_known(rule, object),
            ConditionRuleType::Cel => Some(expressions(rule)),
        })
        .collect()
}

fn well_known(rule: &ConditionRule, object: &Value) -> Option<Derived> {
    if rule.condition != condition::COMPLETE {
        return None;
    }
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let (holds, message) = match (text("/apiVersion")?, text("/kind")?) {
        ("batch/v1", "Job") => {
            let finished = object
                .pointer("/status/conditions")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .any(|c| {
                    let is =
                        |key: &str, value: &str| c.get(key).and_then(Value::as_str) == Some(value);
                    (is("type", "Complete") || is("type", "Failed")) && is("status", "True")
                });
            let message = if finished {
                "Job is finished"
            } else {
                "Job is not finished"
            };
            (finished, message.to_owned())
        }
        ("v1", "Pod") => {
            let phase = text("/status/phase").unwrap_or_default();
            (
                matches!(phase, "Succeeded" | "Failed"),
                format!("Pod is in phase {phase}"),
            )
        }
        _ => return None,
    };
    Some(Derived {
        kind: rule.condition.clone(),
        truth: holds.into(),
        reason: reason::EVALUATED,
        message: if rule.message.is_empty() {
            message
        } else {
            rule.message.clone()
        },
    })
}

fn expressions(rule: &ConditionRule) -> Derived {
    Derived {
        kind: rule.condition.clone(),
        truth: Truth::Unknown,
        reason: reason::INVALID,
        message: "this agent does not evaluate CEL expressions".to_owned(),
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
}
