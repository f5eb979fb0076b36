use koinon_api::work::{
    Manifest as Raw, ManifestsTemplate, OrphaningRule, ResourceIdentifier, SelectivelyOrphan,
};
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
