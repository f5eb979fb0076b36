use std::collections::BTreeMap;

use koinon_api::meta::condition as find;
use koinon_proto::v1::{ClusterClaim, DeletionHold, RollbackHold};

use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn accepted() -> ManagedClusterStatus {
    let mut status = ManagedClusterStatus::default();
    let accepted = new_condition(
        condition::HUB_ACCEPTED,
        Truth::True,
        reason::hub_accepted::ACCEPTED,
        "",
        now(),
    );
    set_condition(&mut status.conditions, accepted);
    status
}

fn report() -> ClusterReport {
    ClusterReport {
        kubernetes_version: "v1.33.1".to_owned(),
        capacity: BTreeMap::from([("cpu".to_owned(), "4".to_owned())]),
        allocatable: BTreeMap::from([("cpu".to_owned(), "3".to_owned())]),
        claims: vec![ClusterClaim {
            name: "id.k8s.io".to_owned(),
            value: "u-1".to_owned(),
        }],
        api_health: ApiHealth::Ok.into(),
        ..ClusterReport::default()
    }
}

#[test]
fn nothing_is_reported_of_a_cluster_that_is_not_accepted() {
    let mut status = ManagedClusterStatus::default();
    assert!(!apply(&report(), &mut status, now()));
    assert_eq!(status, ManagedClusterStatus::default());
}

#[test]
fn a_healthy_report_joins_and_fills_the_status() {
    let mut status = accepted();
    assert!(apply(&report(), &mut status, now()));
    assert!(is_true(&status.conditions, condition::JOINED));
    let available = find(&status.conditions, condition::CLUSTER_AVAILABLE).unwrap();
    assert_eq!(
        (available.status.as_str(), available.reason.as_str()),
        ("True", "ManagedClusterAvailable")
    );
    assert_eq!(status.version.kubernetes, "v1.33.1");
    assert_eq!(status.allocatable["cpu"].0, "3");
    assert_eq!(status.cluster_claims[0].value, "u-1");
}

#[test]
fn an_equal_report_changes_nothing() {
    let mut status = accepted();
    apply(&report(), &mut status, now());
    let later = Timestamp::from_second(1_700_000_060).unwrap();
    assert!(!apply(&report(), &mut status, later), "P13");
}

#[test]
fn a_failing_api_server_is_said_and_the_last_facts_stay() {
    let mut status = accepted();
    apply(&report(), &mut status, now());
    let failing = ClusterReport {
        api_health: ApiHealth::Failing.into(),
        api_message: "status code: 500".to_owned(),
        ..ClusterReport::default()
    };
    assert!(apply(&failing, &mut status, now()));
    let available = find(&status.conditions, condition::CLUSTER_AVAILABLE).unwrap();
    assert_eq!(
        (available.status.as_str(), available.message.as_str()),
        ("False", "The kube-apiserver is not ok, status code: 500")
    );
    assert_eq!(status.version.kubernetes, "v1.33.1");
    assert_eq!(status.cluster_claims.len(), 1);
}

#[test]
fn capacity_that_others_added_stays_and_allocatable_is_replaced() {
    let mut status = accepted();
    status
        .capacity
        .insert("example.com/gpu".to_owned(), Quantity("1".to_owned()));
    status
        .allocatable
        .insert("memory".to_owned(), Quantity("1Gi".to_owned()));
    apply(&report(), &mut status, now());
    assert_eq!(
        status.capacity.keys().collect::<Vec<_>>(),
        ["cpu", "example.com/gpu"]
    );
    assert_eq!(status.allocatable.keys().collect::<Vec<_>>(), ["cpu"]);
}

/// An agent that starts must not take away what it has not looked at yet: placements would leave the cluster.
#[test]
fn what_the_agent_has_not_seen_yet_stays() {
    let mut status = accepted();
    let mut full = report();
    full.claims.push(ClusterClaim {
        name: "region".to_owned(),
        value: "eu".to_owned(),
    });
    apply(&full, &mut status, now());
    let before = status.clone();
    let blind = ClusterReport {
        kubernetes_version: "v1.33.1".to_owned(),
        claims: report().claims,
        api_health: ApiHealth::Ok.into(),
        resources_unknown: true,
        claims_unknown: true,
        ..ClusterReport::default()
    };
    assert!(!apply(&blind, &mut status, now()));
    assert_eq!(status, before);
    let mut new = accepted();
    apply(&blind, &mut new, now());
    assert_eq!(new.cluster_claims[0].name, "id.k8s.io");
    assert!(new.allocatable.is_empty());
    // A known absence is one.
    let known = ClusterReport {
        resources_unknown: false,
        claims_unknown: false,
        ..blind
    };
    assert!(apply(&known, &mut status, now()));
    assert_eq!(status.cluster_claims.len(), 1);
    assert!(status.allocatable.is_empty());
}

#[test]
fn claims_that_are_left_out_show_until_they_are_not() {
    let shown = |status: &ManagedClusterStatus| {
        let found = find(&status.conditions, condition::CLAIMS_TRUNCATED);
        found.map(|found| (found.reason.clone(), found.message.clone()))
    };
    let mut status = accepted();
    let mut many = report();
    many.claims_left_out = Some(ClaimsLeftOut {
        custom: 25,
        limit: 20,
        unfit: vec![],
    });
    assert!(apply(&many, &mut status, now()) && !apply(&many, &mut status, now()));
    assert_eq!(
        shown(&status),
        Some((
            "CustomClusterClaimsTruncated".to_owned(),
            "25 cluster claims are found. It exceeds the max number of custom cluster claims (20). \
             5 custom cluster claims are truncated."
                .to_owned()
        ))
    );
    many.claims_left_out = Some(ClaimsLeftOut {
        custom: 2,
        limit: 20,
        unfit: vec!["essay".to_owned()],
    });
    assert!(apply(&many, &mut status, now()));
    let (reason, message) = shown(&status).unwrap();
    assert!(
        reason == "ClusterClaimsUnfit" && message.ends_with(": essay"),
        "{message}"
    );
    // An older agent, or one that lies: the hub counts for itself.
    let mut hostile = report();
    hostile.claims = (0..300)
        .map(|n| ClusterClaim {
            name: format!("c{n}"),
            value: "v".to_owned(),
        })
        .collect();
    assert!(apply(&hostile, &mut status, now()));
    assert_eq!(status.cluster_claims.len(), MOST_CLAIMS);
    assert!(shown(&status).unwrap().1.starts_with("44 claims"));
    assert!(apply(&report(), &mut status, now()));
    assert_eq!(shown(&status), None);
}

#[test]
fn a_resource_that_the_cluster_had_leaves_capacity_with_its_nodes() {
    let mut status = accepted();
    let mut with_gpu = report();
    for resources in [&mut with_gpu.capacity, &mut with_gpu.allocatable] {
        resources.insert("example.com/gpu".to_owned(), "8".to_owned());
    }
    apply(&with_gpu, &mut status, now());
    assert_eq!(status.capacity.len(), 2);
    apply(&report(), &mut status, now());
    assert_eq!(status.capacity.keys().collect::<Vec<_>>(), ["cpu"]);
}

/// An agent that makes up other resources in every report must not make the object grow with each.
#[test]
fn made_up_resources_do_not_pile_up() {
    let mut status = accepted();
    for round in 0..50 {
        let mut hostile = report();
        for n in 0..500 {
            let name = format!("x{round}-{n}");
            hostile.capacity.insert(name.clone(), "1".to_owned());
            if round % 2 == 0 {
                hostile.allocatable.insert(name, "1".to_owned());
            }
        }
        for (name, value) in [
            ("a".repeat(400), "1".to_owned()),
            ("not a name".to_owned(), "1".to_owned()),
            ("much".to_owned(), "9".repeat(65)),
            ("none".to_owned(), "some".to_owned()),
        ] {
            hostile.capacity.insert(name.clone(), value.clone());
            hostile.allocatable.insert(name, value);
        }
        apply(&hostile, &mut status, now());
        assert!(status.capacity.len() <= 2 * MOST_RESOURCES);
        assert!(status.allocatable.len() <= MOST_RESOURCES);
    }
    for odd in ["not a name", "much", "none"] {
        assert!(!status.capacity.contains_key(odd), "{odd}");
    }
    apply(&report(), &mut status, now());
    assert_eq!(
        status.capacity["cpu"],
        Quantity("4".to_owned()),
        "an honest report gets in"
    );
    let mut hold = report();
    hold.rollback_hold = Some(RollbackHold {
        seen: None,
        offered: Some(Position {
            incarnation: "i".repeat(1 << 20),
            ..Position::default()
        }),
    });
    let mut cluster = ManagedCluster::new("east", Default::default());
    annotate(&hold, &mut cluster);
    let annotations = cluster.metadata.annotations.unwrap();
    assert!(annotations.values().all(|value| value.len() < 128));
}

#[test]
fn claims_that_no_schema_allows_are_left_out() {
    let claim = |name: &str, value: &str| ClusterClaim {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let mut odd = report();
    odd.claims = vec![
        claim("", "x"),
        claim("a", ""),
        claim(&"n".repeat(254), "x"),
        claim("a", &"v".repeat(1025)),
        claim("good", "x"),
    ];
    let mut status = accepted();
    apply(&odd, &mut status, now());
    assert_eq!(
        status
            .cluster_claims
            .iter()
            .map(|c| c.name.as_str())
            .collect::<Vec<_>>(),
        ["good"]
    );
}

#[test]
fn a_rollback_hold_shows_until_it_is_lifted() {
    let position = |revision| Position {
        incarnation: "i".to_owned(),
        revision,
        stamp: String::new(),
    };
    let mut held = report();
    held.rollback_hold = Some(RollbackHold {
        seen: Some(position(9)),
        offered: Some(position(7)),
    });
    let mut cluster = ManagedCluster {
        status: Some(accepted()),
        ..ManagedCluster::default()
    };
    assert!(apply(&held, cluster.status.as_mut().unwrap(), now()));
    assert!(needs_annotation(&held, &cluster) && annotate(&held, &mut cluster));
    let annotations = cluster.metadata.annotations.as_ref().unwrap();
    assert_eq!(annotations[annotation::ROLLBACK_HOLD], "i:7");
    assert!(is_true(
        &cluster.status.as_ref().unwrap().conditions,
        ROLLBACK_HOLD
    ));

    let offer = annotations[annotation::ROLLBACK_HOLD].clone();
    cluster
        .metadata
        .annotations
        .as_mut()
        .unwrap()
        .insert(annotation::ACCEPT_ROLLBACK.to_owned(), offer);
    assert_eq!(accepted_rollback(&cluster), Some(position(7)));

    assert!(annotate(&report(), &mut cluster));
    assert!(apply(&report(), cluster.status.as_mut().unwrap(), now()));
    assert!(find(&cluster.status.as_ref().unwrap().conditions, ROLLBACK_HOLD).is_none());
}

#[test]
fn a_deletion_hold_shows_with_its_counts_and_is_approved_by_its_revision() {
    let mut held = report();
    held.deletion_hold = Some(DeletionHold {
        revision: 17,
        works: 2,
        objects: 9,
        applied: 12,
    });
    let mut status = accepted();
    assert!(apply(&held, &mut status, now()));
    let condition = find(&status.conditions, "DeletionHold").unwrap();
    assert_eq!(condition.reason, "MassDeletion");
    assert!(
        condition.message.starts_with("9 objects of 2 works"),
        "{}",
        condition.message
    );
    let mut cluster = ManagedCluster::default();
    assert!(annotate(&held, &mut cluster) && !annotate(&held, &mut cluster));
    let annotations = cluster.metadata.annotations.get_or_insert_default();
    assert_eq!(
        annotations
            .get("koinon.dev/deletion-hold")
            .map(String::as_str),
        Some("17")
    );
    assert_eq!(approved_deletions(&cluster), 0);
    let annotations = cluster.metadata.annotations.get_or_insert_default();
    annotations.insert("koinon.dev/approve-deletions".into(), "17".into());
    assert_eq!(approved_deletions(&cluster), 17);
    assert!(annotate(&report(), &mut cluster));
    assert!(apply(&report(), &mut status, now()));
    assert!(find(&status.conditions, "DeletionHold").is_none());
}

#[test]
fn namespaces_that_are_wanted_show_how_they_fared() {
    use koinon_api::cluster::ClusterSetManagedNamespace;
    use koinon_proto::v1::NamespaceState;

    let wanted = |name: &str, set: &str| ClusterSetManagedNamespace {
        name: name.to_owned(),
        cluster_set: set.to_owned(),
        ..ClusterSetManagedNamespace::default()
    };
    let mut cluster = ManagedCluster {
        status: Some(accepted()),
        ..ManagedCluster::default()
    };
    let status = cluster.status.as_mut().unwrap();
    status.managed_namespaces = vec![wanted("a", "x"), wanted("a", "y"), wanted("b", "x")];
    assert_eq!(wanted_namespaces(&cluster), ["a", "b"]);
    let state = |name: &str, failure: &str| NamespaceState {
        name: name.to_owned(),
        failure: failure.to_owned(),
    };
    let mut told = report();
    told.namespaces = vec![state("a", ""), state("b", "forbidden"), state("other", "")];
    let status = cluster.status.as_mut().unwrap();
    assert!(apply(&told, status, now()) && !apply(&told, status, now()));
    let of = |place: usize| {
        let conditions = &status.managed_namespaces[place].conditions;
        let found = find(conditions, condition::NAMESPACE_AVAILABLE).unwrap();
        (found.status.as_str(), found.reason.as_str())
    };
    assert_eq!(of(0), ("True", "NamespaceApplied"));
    assert_eq!(of(1), ("True", "NamespaceApplied"));
    assert_eq!(of(2), ("False", "NamespaceApplyFailed"));
    assert_eq!(
        status.managed_namespaces.len(),
        3,
        "what nobody wants is not taken"
    );
    cluster.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    assert!(wanted_namespaces(&cluster).is_empty());
}
