use koinon_api::work::{
    Manifest as Raw, ManifestsTemplate, OrphaningRule, ResourceIdentifier, SelectivelyOrphan,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn spec(manifests: Vec<Value>) -> ManifestWorkSpec {
    ManifestWorkSpec {
        workload: ManifestsTemplate {
            manifests: manifests.into_iter().map(Raw).collect(),
        },
        ..Default::default()
    }
}

fn config_maps() -> Resource {
    Resource {
        group: String::new(),
        version: "v1".into(),
        kind: "ConfigMap".into(),
        plural: "configmaps".into(),
        namespaced: true,
    }
}

#[test]
fn namespaces_and_definitions_come_first_and_equal_ranks_keep_their_order() {
    let kinds = [
        "Widget",
        "Deployment",
        "ConfigMap",
        "Service",
        "Namespace",
        "Secret",
        "CustomResourceDefinition",
        "Role",
    ];
    let manifests = manifests(&spec(
        kinds
            .iter()
            .map(|k| json!({"apiVersion": "v1", "kind": k, "metadata": {"name": "a"}}))
            .collect(),
    ));
    let order: Vec<_> = manifests
        .iter()
        .map(|m| m.object.as_ref().unwrap().kind.as_str())
        .collect();
    assert_eq!(
        order,
        [
            "Namespace",
            "CustomResourceDefinition",
            "Role",
            "ConfigMap",
            "Secret",
            "Service",
            "Deployment",
            "Widget"
        ]
    );
    assert_eq!(manifests[0].ordinal, 4);
}

#[test]
fn what_cannot_be_an_object_says_why_and_does_not_hide_the_others() {
    let manifests = manifests(&spec(vec![
        json!({"kind": "A", "metadata": {"name": "a"}}),
        json!({"apiVersion": "v1", "metadata": {"name": "a"}}),
        json!({"apiVersion": "v1", "kind": "A", "metadata": {}}),
        json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a", "generateName": "b"}}),
        json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a/../b"}}),
        json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a?b"}}),
        json!({"apiVersion": "v1", "kind": "A", "metadata": {"name": "a:b"}}),
        json!("text"),
    ]));
    let mut by_ordinal: Vec<_> = manifests
        .iter()
        .map(|m| (m.ordinal, m.object.as_ref().err().map(String::as_str)))
        .collect();
    by_ordinal.sort_unstable();
    assert_eq!(by_ordinal[0].1, Some("Object 'apiVersion' is missing"));
    assert_eq!(by_ordinal[1].1, Some("Object 'Kind' is missing"));
    assert_eq!(by_ordinal[2].1, Some("name must be set in manifest"));
    assert_eq!(
        by_ordinal[3].1,
        Some("generateName must not be set in manifest")
    );
    assert!(by_ordinal[4].1.is_some() && by_ordinal[5].1.is_some() && by_ordinal[7].1.is_some());
    assert_eq!(by_ordinal[6].1, None);
}

#[test]
fn live_only_fields_are_dropped_and_string_data_becomes_data() {
    let manifests = manifests(&spec(vec![json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "a", "uid": "x", "resourceVersion": "1", "creationTimestamp": null},
        "stringData": {"k": "v"}, "status": {"a": 1},
    })]));
    let value = &manifests[0].object.as_ref().unwrap().value;
    assert_eq!(
        value,
        &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"k": "dg=="}})
    );
}

fn value(manifest: Value) -> Value {
    let manifests = manifests(&spec(vec![manifest]));
    manifests[0].object.as_ref().unwrap().value.clone()
}

/// What the API server would refuse is not made into something that it takes.
#[test]
fn string_data_that_is_no_text_is_left_to_the_server() {
    let secret = |fields: Value| {
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
        for (key, value) in fields.as_object().unwrap() {
            secret[key] = value.clone();
        }
        secret
    };
    for fields in [
        json!({"stringData": {"port": 5432, "k": "v"}}),
        json!({"stringData": {"on": true}}),
        json!({"stringData": "text"}),
        json!({"stringData": {"k": "v"}, "data": "text"}),
    ] {
        assert_eq!(value(secret(fields.clone())), secret(fields));
    }
    for (fields, expected) in [
        (
            json!({"stringData": {"k": null}}),
            json!({"data": {"k": ""}}),
        ),
        (
            json!({"stringData": {"k": "v"}, "data": null}),
            json!({"data": {"k": "dg=="}}),
        ),
        (
            json!({"stringData": {"k": "v"}, "data": {"k": "bw==", "l": ""}}),
            json!({"data": {"k": "dg==", "l": ""}}),
        ),
        (json!({"stringData": null}), json!({})),
        (json!({"stringData": {}}), json!({})),
    ] {
        assert_eq!(value(secret(fields)), secret(expected));
    }
}

#[test]
fn what_the_cluster_fills_in_is_not_declared_by_an_empty_value() {
    let role = |rule: Value| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "a"},
            "aggregationRule": rule, "rules": []})
    };
    let aggregated = value(role(json!({"clusterRoleSelectors": []})));
    assert_eq!(aggregated.get("rules"), None);
    assert_eq!(value(role(Value::Null))["rules"], json!([]));
    let hooks = |config: Value| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "a"}, "webhooks": [{"name": "n", "clientConfig": config}]})
    };
    for (config, expected) in [
        (json!({"url": "u", "caBundle": ""}), json!({"url": "u"})),
        (json!({"url": "u", "caBundle": null}), json!({"url": "u"})),
        (json!({"caBundle": "Cg=="}), json!({"caBundle": "Cg=="})),
    ] {
        assert_eq!(value(hooks(config)), hooks(expected));
    }
}

#[test]
fn patterns() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("*", "", true),
        ("*", "abc", true),
        ("a*", "abc", true),
        ("*c", "abc", true),
        ("a*c", "abc", true),
        ("a*c", "ac", true),
        ("a*b*c", "aXbYc", true),
        ("a*b*c", "aXc", false),
        ("a*a", "a", false),
        ("", "", true),
        ("", "a", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}

#[test]
fn the_first_option_that_says_something_wins() {
    let option = |name: &str, strategy: Option<UpdateStrategyType>| ManifestConfigOption {
        resource_identifier: ResourceIdentifier {
            resource: "configmaps".into(),
            namespace: "*".into(),
            name: name.into(),
            ..Default::default()
        },
        update_strategy: strategy.map(|type_| UpdateStrategy {
            type_,
            server_side_apply: None,
        }),
        ..Default::default()
    };
    let configs = [
        option("b*", None),
        option("b*", Some(UpdateStrategyType::CreateOnly)),
        option("*", Some(UpdateStrategyType::ReadOnly)),
    ];
    assert_eq!(
        treatment(&configs, &config_maps(), "ns", "bee")
            .strategy
            .type_,
        UpdateStrategyType::CreateOnly
    );
    assert_eq!(
        treatment(&configs, &config_maps(), "ns", "ant")
            .strategy
            .type_,
        UpdateStrategyType::ReadOnly
    );
    assert_eq!(
        treatment(&configs[..2], &config_maps(), "ns", "ant")
            .strategy
            .type_,
        UpdateStrategyType::Update
    );
}

#[test]
fn delete_options_decide_who_owns() {
    let rule = OrphaningRule {
        resource: "configmaps".into(),
        namespace: "ns".into(),
        name: "keep".into(),
        ..Default::default()
    };
    let option = |propagation_policy| DeleteOption {
        propagation_policy,
        selectively_orphans: Some(SelectivelyOrphan {
            orphaning_rules: vec![rule.clone()],
        }),
        ..Default::default()
    };
    let of = |option: Option<&DeleteOption>, name: &str| {
        ownership(
            option,
            UpdateStrategyType::Update,
            &config_maps(),
            "ns",
            name,
        )
    };
    assert_eq!(of(None, "keep"), Ownership::Owned);
    assert_eq!(
        of(Some(&option(DeletePropagationPolicy::Foreground)), "keep"),
        Ownership::Owned
    );
    assert_eq!(
        of(Some(&option(DeletePropagationPolicy::Orphan)), "other"),
        Ownership::Orphaned
    );
    assert_eq!(
        of(
            Some(&option(DeletePropagationPolicy::SelectivelyOrphan)),
            "keep"
        ),
        Ownership::Orphaned
    );
    assert_eq!(
        of(
            Some(&option(DeletePropagationPolicy::SelectivelyOrphan)),
            "other"
        ),
        Ownership::Owned
    );
    assert_eq!(
        ownership(
            None,
            UpdateStrategyType::ReadOnly,
            &config_maps(),
            "ns",
            "other"
        ),
        Ownership::Orphaned
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is in a work, and in whatever order: nothing is lost, what others need comes first, and equals keep their order.
    #[test]
    fn the_order_of_a_work_is_a_stable_permutation(picks in prop::collection::vec(0..9_usize, 0..60)) {
        let kinds = ["Namespace", "CustomResourceDefinition", "ClusterRole", "ServiceAccount", "Secret", "Service", "Deployment", "Widget", ""];
        let raw = |(n, pick): (usize, &usize)| {
            json!({"apiVersion": "v1", "kind": kinds[*pick], "metadata": {"name": format!("o{n}")}})
        };
        let ordered = manifests(&spec(picks.iter().enumerate().map(raw).collect()));
        let mut ordinals: Vec<_> = ordered.iter().map(|m| m.ordinal).collect();
        prop_assert!(ordered.windows(2).all(|w| (w[0].rank, w[0].ordinal) < (w[1].rank, w[1].ordinal)));
        for one in &ordered {
            match &one.object {
                Ok(object) => {
                    prop_assert_eq!(&object.name, &format!("o{}", one.ordinal));
                    prop_assert_eq!(one.rank, order::rank(&object.kind));
                }
                Err(_) => prop_assert_eq!((one.rank, kinds[picks[one.ordinal]]), (order::UNREADABLE, "")),
            }
        }
        ordinals.sort_unstable();
        prop_assert_eq!(ordinals, (0..picks.len()).collect::<Vec<_>>());
    }

    /// For each aspect the first option counts that matches and says something, whatever the others say.
    #[test]
    fn the_first_option_that_says_something_counts(options in prop::collection::vec((0..3_usize, any::<bool>(), any::<bool>()), 0..8)) {
        let rule = || serde_json::from_value(json!({"type": "WellKnownStatus"})).unwrap();
        let names = ["*", "a*", "b"];
        let types = [UpdateStrategyType::CreateOnly, UpdateStrategyType::ServerSideApply, UpdateStrategyType::ReadOnly];
        let configs: Vec<_> = options
            .iter()
            .map(|(pick, says, feeds)| ManifestConfigOption {
                resource_identifier: ResourceIdentifier {
                    resource: "configmaps".into(),
                    namespace: "ns".into(),
                    name: names[*pick].into(),
                    ..Default::default()
                },
                update_strategy: says.then(|| UpdateStrategy { type_: types[*pick], ..Default::default() }),
                feedback_rules: feeds.then(rule).into_iter().collect(),
                ..Default::default()
            })
            .collect();
        for name in ["abc", "b", "c"] {
            let found = treatment(&configs, &config_maps(), "ns", name);
            let mut matching = options.iter().filter(|(pick, ..)| matches(names[*pick], name));
            let first = matching.clone().find(|(_, says, _)| *says);
            let expected = first.map_or(UpdateStrategyType::Update, |(pick, ..)| types[*pick]);
            prop_assert_eq!(found.strategy.type_, expected);
            prop_assert_eq!(!found.feedback.is_empty(), matching.any(|(_, _, feeds)| *feeds));
        }
    }
}
