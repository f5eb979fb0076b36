//! What users get wrong in placements: it is refused or said, in a condition and in an event, and nobody else notices.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Event;
use koinon_api::{
    ManagedCluster, ManagedClusterSet, ManagedClusterSetBinding, Placement, PlacementDecision,
    labels::condition, meta::condition as find,
};
use koinon_machinery::Reason;
use koinon_store::testing::TestPostgres;
use serde_json::{Value, json};

use crate::support::{Hub, eventually, eventually_or};

const NS: &str = "apps";

fn placement(name: &str, spec: &Value) -> Placement {
    serde_json::from_value(json!({
        "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement",
        "metadata": { "name": name, "namespace": NS }, "spec": spec,
    }))
    .unwrap()
}

fn expression(text: &str) -> Value {
    json!({ "predicates": [{ "requiredClusterSelector": { "celSelector": { "celExpressions": [text] } } }] })
}

fn labels(selector: &Value) -> Value {
    json!({ "predicates": [{ "requiredClusterSelector": { "labelSelector": selector } }] })
}

fn prioritizers(configurations: &Value) -> Value {
    json!({ "prioritizerPolicy": { "configurations": configurations } })
}

fn groups(size: &Value) -> Value {
    json!({ "decisionStrategy": { "groupStrategy": { "clustersPerDecisionGroup": size } } })
}

/// Status, reason and message of a condition, once the placement has it.
fn shown(hub: &Hub, name: &str, kind: &str) -> Option<(String, String, String)> {
    let placement = hub.client.get::<Placement>(NS, name).unwrap()?;
    let found = find(&placement.status?.conditions, kind)?.clone();
    Some((found.status, found.reason, found.message))
}

fn chosen(hub: &Hub, name: &str) -> Vec<String> {
    let decisions = hub.list::<PlacementDecision>(Some(NS));
    let label = "cluster.open-cluster-management.io/placement";
    let of = |decision: &PlacementDecision| {
        let labels = decision.metadata.labels.as_ref();
        labels
            .and_then(|labels| labels.get(label))
            .is_some_and(|of| of == name)
    };
    let statuses = decisions
        .into_iter()
        .filter(of)
        .filter_map(|one| one.status);
    let all = statuses.flat_map(|status| status.decisions);
    all.map(|one| one.cluster_name).collect()
}

/// Reasons of the warnings about an object.
fn warnings(hub: &Hub, name: &str) -> Vec<String> {
    let about = |event: &Event| {
        event.involved_object.name.as_deref() == Some(name)
            && event.type_.as_deref() == Some("Warning")
    };
    let events = hub.list::<Event>(Some(NS)).into_iter().filter(about);
    events.filter_map(|event| event.reason).collect()
}

async fn world(postgres: &TestPostgres) -> Hub {
    let hub = Hub::open(postgres).await;
    for cluster in ["c1", "c2"] {
        hub.cluster(cluster, 3600).await;
    }
    let many: BTreeMap<String, String> = (0..10_000)
        .map(|n| (format!("l{n}"), "v".to_owned()))
        .collect();
    let many = |cluster: &mut ManagedCluster| {
        cluster
            .metadata
            .labels
            .get_or_insert_default()
            .extend(many.clone());
        true
    };
    hub.client
        .modify::<ManagedCluster>("", "c2", many)
        .await
        .unwrap();
    let region = |cluster: &mut ManagedCluster| {
        let labels = cluster.metadata.labels.get_or_insert_default();
        labels
            .insert("region".to_owned(), "eu".to_owned())
            .is_none()
    };
    hub.client
        .modify::<ManagedCluster>("", "c1", region)
        .await
        .unwrap();
    hub.namespace(NS).await;
    hub
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_refused_or_said_and_others_do_not_notice() {
    let postgres = TestPostgres::start().await.unwrap();
    let hub = world(&postgres).await;
    let leader = hub.lead("hub", "*,-lease");
    hub.client
        .create(&placement("good", &json!({})))
        .await
        .unwrap();
    eventually("the sound placement is decided", || {
        chosen(&hub, "good").len() == 2
    })
    .await;
    let revision = || {
        let object = hub.client.get::<PlacementDecision>(NS, "good-decision-1");
        object.unwrap().unwrap().metadata.resource_version
    };
    let before = revision();

    what_no_schema_takes_is_refused(&hub).await;
    what_makes_no_sense_is_said(&hub).await;
    what_matches_nobody_is_said(&hub).await;
    what_is_only_odd_works(&hub).await;
    assert_eq!(revision(), before, "the sound placement was not touched");
    assert!(!leader.has_failed(), "{:?}", leader.reports.list());
    sets_that_vanish_are_said(&hub).await;
    leader.stop().await;
}

async fn what_no_schema_takes_is_refused(hub: &Hub) {
    let weight = |weight: i32| {
        prioritizers(&json!([{ "scoreCoordinate": { "builtIn": "Steady" }, "weight": weight }]))
    };
    let long = "x".repeat(64);
    for (name, spec, field) in [
        ("heavy", weight(11), "weight"),
        ("light", weight(-11), "weight"),
        ("percent", groups(&json!("0%")), "clustersPerDecisionGroup"),
        ("text", groups(&json!("many")), "clustersPerDecisionGroup"),
        (
            "number",
            groups(&json!(3_000_000_000_u64)),
            "clustersPerDecisionGroup",
        ),
        (long.as_str(), json!({}), "metadata.name"),
    ] {
        // As JSON: the type could not even hold some of them.
        let object = json!({
            "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement",
            "metadata": { "name": name, "namespace": NS }, "spec": spec,
        });
        let object = koinon_machinery::Object::from_value(object).unwrap();
        let kinds = hub.client.registry().kinds();
        let kind = kinds
            .by_key("placements.cluster.open-cluster-management.io")
            .unwrap();
        let options = koinon_hub::registry::Options::default();
        let writer = koinon_hub::registry::Writer::hub();
        let made = hub
            .client
            .registry()
            .create(kind, NS, object, options, &writer)
            .await;
        let error = made.err().unwrap_or_else(|| panic!("{name} was taken"));
        assert_eq!(error.reason, Reason::Invalid, "{error}");
        assert!(error.to_string().contains(field), "{name}: {error}");
    }
}

async fn what_makes_no_sense_is_said(hub: &Hub) {
    let built_in = |name: &str| prioritizers(&json!([{ "scoreCoordinate": { "builtIn": name } }]));
    let cases = [
        (
            "syntax",
            expression("managedCluster.metadata.name =="),
            "Predicate:ERROR: <input>:1:",
        ),
        (
            "undeclared",
            expression("cluster.name == 'a'"),
            "<input>:1:1: undeclared reference to 'cluster'",
        ),
        (
            "pattern",
            expression("'a'.matches('(')"),
            "invalid regular expression",
        ),
        (
            "builtin",
            built_in("Spread"),
            "incorrect builtin prioritizer: Spread",
        ),
        (
            "mode",
            json!({ "prioritizerPolicy": { "mode": "Fancy" } }),
            "incorrect prioritizer policy mode: Fancy",
        ),
        (
            "key",
            labels(&json!({ "matchLabels": { "region/": "eu" } })),
            "key: Invalid value: \"region/\"",
        ),
        (
            "operator",
            labels(&json!({ "matchExpressions": [{ "key": "a", "operator": "Is" }] })),
            "is not a valid label selector operator",
        ),
        (
            "toleration",
            json!({ "tolerations": [{ "operator": "Equal" }] }),
            "If the key is empty, operator must be Exists.",
        ),
        (
            "essay",
            json!({ "prioritizerPolicy": { "mode": "x".repeat(40_000) } }),
            "incorrect prioritizer policy mode: xxx",
        ),
    ];
    for (name, spec, _) in &cases {
        hub.client.create(&placement(name, spec)).await.unwrap();
    }
    for (name, _, said) in &cases {
        let state = || format!("{:?}", shown(hub, name, condition::PLACEMENT_MISCONFIGURED));
        let condition = || {
            shown(hub, name, condition::PLACEMENT_MISCONFIGURED)
                .is_some_and(|(status, _, message)| status == "True" && message.contains(said))
        };
        eventually_or(&format!("{name} is misconfigured"), condition, state).await;
        let event = || warnings(hub, name).contains(&"Misconfigured".to_owned());
        eventually_or(&format!("{name} has an event"), event, || {
            format!("{:?}", warnings(hub, name))
        })
        .await;
        assert!(chosen(hub, name).is_empty());
    }
}

async fn what_matches_nobody_is_said(hub: &Hub) {
    let eu = |operator: &str| json!({ "key": "region", "operator": operator, "values": ["eu"] });
    let long = "x".repeat(15_000);
    let cases = [
        (
            "contradiction",
            labels(&json!({ "matchExpressions": [eu("In"), eu("NotIn")] })),
        ),
        (
            "runaway",
            expression("lists.range(100000).all(i, lists.range(100000).all(j, true))"),
        ),
        (
            "free",
            expression(&format!(
                "lists.range(100000).all(i, '{long}'.findAll('').size() >= 0)"
            )),
        ),
        ("number", expression("1 + 1")),
    ];
    for (name, spec) in &cases {
        hub.client.create(&placement(name, spec)).await.unwrap();
    }
    for (name, _) in &cases {
        let condition = || {
            shown(hub, name, condition::PLACEMENT_SATISFIED).is_some_and(|(status, reason, _)| {
                status == "False" && reason == "NoManagedClusterMatched"
            })
        };
        eventually(&format!("{name} matches nobody"), condition).await;
        let event = || warnings(hub, name).contains(&"NoManagedClusterMatched".to_owned());
        eventually(&format!("{name} has an event"), event).await;
    }
}

async fn what_is_only_odd_works(hub: &Hub) {
    let never = json!({ "requiredClusterSelector": { "labelSelector": { "matchLabels": { "no": "where" } } } });
    let mut predicates = vec![never; 999];
    predicates.push(json!({ "requiredClusterSelector": { "labelSelector": { "matchLabels": { "l9999": "v" } } } }));
    let twice = json!({ "scoreCoordinate": { "builtIn": "Steady" }, "weight": 2 });
    for (name, spec, expected) in [
        // No such label on c2: no value there, so no match, and c1 is not affected.
        (
            "partial",
            expression("managedCluster.metadata.labels.region == 'eu'"),
            &["c1"][..],
        ),
        ("thousand", json!({ "predicates": predicates }), &["c2"]),
        ("twice", prioritizers(&json!([twice, twice])), &["c1", "c2"]),
        ("hundred", groups(&json!("100%")), &["c1", "c2"]),
        ("group", groups(&json!(2_147_483_647)), &["c1", "c2"]),
    ] {
        hub.client.create(&placement(name, &spec)).await.unwrap();
        eventually_or(
            &format!("{name} is decided"),
            || chosen(hub, name) == expected,
            || format!("{:?}", chosen(hub, name)),
        )
        .await;
        let sound = || {
            shown(hub, name, condition::PLACEMENT_MISCONFIGURED)
                .is_some_and(|(status, ..)| status == "False")
        };
        eventually(&format!("{name} is not misconfigured"), sound).await;
    }
}

async fn sets_that_vanish_are_said(hub: &Hub) {
    let set = json!({
        "apiVersion": "cluster.open-cluster-management.io/v1beta2", "kind": "ManagedClusterSet", "metadata": { "name": "mine" },
        "spec": { "clusterSelector": { "selectorType": "LabelSelector", "labelSelector": { "matchLabels": { "region": "eu" } } } },
    });
    let binding = |name: &str| {
        json!({
            "apiVersion": "cluster.open-cluster-management.io/v1beta2", "kind": "ManagedClusterSetBinding",
            "metadata": { "name": name, "namespace": NS }, "spec": { "clusterSet": name },
        })
    };
    hub.create::<ManagedClusterSet>(set).await;
    hub.create::<ManagedClusterSetBinding>(binding("mine"))
        .await;
    hub.create::<ManagedClusterSetBinding>(binding("nowhere"))
        .await;
    let bound = |name: &str| {
        let binding = hub
            .client
            .get::<ManagedClusterSetBinding>(NS, name)
            .unwrap()?;
        Some(
            find(&binding.status?.conditions, condition::BOUND)?
                .status
                .clone(),
        )
    };
    eventually("the bindings are judged", || {
        bound("mine").as_deref() == Some("True") && bound("nowhere").as_deref() == Some("False")
    })
    .await;
    for (name, set) in [("ours", "mine"), ("lost", "nowhere")] {
        let spec = json!({ "clusterSets": [set] });
        hub.client.create(&placement(name, &spec)).await.unwrap();
    }
    eventually("the set's cluster is chosen", || {
        chosen(hub, "ours") == ["c1"]
    })
    .await;
    let said = |name: &str| {
        shown(hub, name, condition::PLACEMENT_SATISFIED)
            .is_some_and(|(_, reason, _)| reason == "NoIntersection")
            && warnings(hub, name).contains(&"NoIntersection".to_owned())
    };
    eventually("a set that is not there is said", || said("lost")).await;
    hub.delete::<ManagedClusterSet>("", "mine").await;
    eventually("a set that vanishes is said", || said("ours")).await;
    eventually("its binding says so", || {
        bound("mine").as_deref() == Some("False")
    })
    .await;
    // The built-in sets come back.
    for name in ["default", "global"] {
        hub.delete::<ManagedClusterSet>("", name).await;
        let back = || {
            hub.client
                .get::<ManagedClusterSet>("", name)
                .unwrap()
                .is_some()
        };
        eventually(&format!("{name} is back"), back).await;
    }
    let created = || {
        let events = hub.list::<Event>(Some("default"));
        [
            "DefaultManagedClusterSetCreated",
            "GlobalManagedClusterSetCreated",
        ]
        .iter()
        .all(|wanted| {
            events
                .iter()
                .any(|event| event.reason.as_deref() == Some(wanted))
        })
    };
    eventually("that they were made is an event", created).await;
    let rename = |set: &mut ManagedClusterSet| {
        let selector = &mut set.spec.cluster_selector;
        selector.label_selector =
            Some(serde_json::from_value(json!({ "matchLabels": { "a": "b" } })).unwrap());
        true
    };
    hub.client
        .modify::<ManagedClusterSet>("", "global", rename)
        .await
        .unwrap();
    let rolled_back = || {
        let events = hub.list::<Event>(Some("default"));
        events
            .iter()
            .any(|event| event.reason.as_deref() == Some("GlobalManagedClusterSetSpecRollbacked"))
    };
    eventually("that its selector came back is an event", rolled_back).await;
}
