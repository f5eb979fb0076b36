use koinon_api::work::{ConditionRule, UpdateStrategy};
use serde_json::json;

use super::*;
use crate::cluster::known::CONFIG_MAPS;

#[test]
fn what_was_not_even_tried_still_has_its_rules_and_its_stake() {
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}});
    let object = Object {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        namespace: "n".into(),
        name: "a".into(),
        value: manifest,
    };
    let rule = |json| serde_json::from_value::<ConditionRule>(json).unwrap();
    let rule_of_cel =
        rule(json!({"condition": "Complete", "type": "CEL", "celExpressions": ["true"]}));
    // It says nothing of ConfigMaps, and would never be true.
    let well_known = rule(json!({"condition": "Complete", "type": "WellKnownConditions"}));
    for (rules, strategy, ownership, completes, stake) in [
        (
            vec![rule_of_cel],
            UpdateStrategyType::Update,
            Ownership::Owned,
            true,
            Stake::Own,
        ),
        (
            vec![well_known],
            UpdateStrategyType::Update,
            Ownership::Owned,
            false,
            Stake::Own,
        ),
        (
            vec![],
            UpdateStrategyType::Update,
            Ownership::Orphaned,
            false,
            Stake::Keep,
        ),
        (
            vec![],
            UpdateStrategyType::ReadOnly,
            Ownership::Orphaned,
            false,
            Stake::Look,
        ),
    ] {
        let located = Located {
            ordinal: 0,
            object: Cow::Borrowed(&object),
            key: ObjectKey {
                resource: Arc::new(CONFIG_MAPS.clone()),
                namespace: "n".into(),
                name: "a".into(),
            },
            treatment: Treatment {
                strategy: UpdateStrategy {
                    type_: strategy,
                    ..Default::default()
                },
                conditions: rules,
                ..Default::default()
            },
            ownership,
        };
        let slot = located.refused(&Error::Timeout);
        assert_eq!((slot.completes, slot.stake), (completes, stake));
        assert!(slot.outcome.applied.is_err() && slot.outcome.derived.is_empty());
    }
}
