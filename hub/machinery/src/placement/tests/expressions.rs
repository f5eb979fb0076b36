//! CEL in predicates: what matches, what errs, what runs away.

use super::{
    super::{Policy, Verdict},
    fixtures::{World, chosen, cluster, expressed, labelled, run, wanting},
};
use crate::cel::EvaluationError;

fn where_(sources: &[&str]) -> Policy {
    Policy {
        predicates: vec![expressed(sources)],
        ..wanting(10)
    }
}

#[test]
fn expressions_select_by_anything_in_the_object() {
    let clusters = [
        cluster("c1")
            .labelled("region", "eu")
            .claiming("version", "v1.30.2"),
        cluster("c2")
            .labelled("region", "us")
            .claiming("version", "v1.28.1"),
        cluster("c3"),
    ];
    let world = World::default().score("c2", 30, None);
    for (expressions, expected) in [
        (
            vec!["managedCluster.metadata.name != 'c2'"],
            vec!["c1", "c3"],
        ),
        (
            vec!["managedCluster.metadata.labels['region'] == 'eu'"],
            vec!["c1"],
        ),
        (
            vec!["managedCluster.metadata.labels.?region.orValue('eu') == 'eu'"],
            vec!["c1", "c3"],
        ),
        (
            vec![
                "managedCluster.status.clusterClaims.exists(c, c.name == 'version' && \
                 semver(c.value.substring(1)).isGreaterThan(semver('1.29.0')))",
            ],
            vec!["c1"],
        ),
        (
            vec!["managedCluster.scores('demo').exists(s, s.name == 'demo' && s.value >= 30)"],
            vec!["c2"],
        ),
        (
            vec![
                "!managedCluster.spec.hubAcceptsClient",
                "managedCluster.status.conditions == null",
            ],
            vec!["c1", "c2", "c3"],
        ),
        (
            vec!["'{\"a\": [1, 2]}'.parseJSON().a[1] == 2"],
            vec!["c1", "c2", "c3"],
        ),
        (
            vec!["true", "managedCluster.metadata.name == 'c1'"],
            vec!["c1"],
        ),
        (vec!["managedCluster.metadata.name"], vec![]),
    ] {
        assert_eq!(
            chosen(&run(&where_(&expressions), &clusters, &world, 0)),
            expected,
            "{expressions:?}"
        );
    }
}

#[test]
fn an_expression_without_a_value_does_not_match_and_says_so() {
    let clusters = [cluster("c1").labelled("region", "eu"), cluster("c2")];
    let policy = where_(&["managedCluster.metadata.labels.region == 'eu'"]);
    let world = World::default();
    let evaluation = run(&policy, &clusters, &world, 0);
    assert_eq!(chosen(&evaluation), ["c1"]);
    let explanation = evaluation.explain(&policy, &world);
    assert_eq!(
        explanation.clusters[1].reason,
        "no predicate matches: celExpressions managedCluster.metadata.labels.region == 'eu'; \
         an expression has no value here: no such key: region"
    );
    assert!(!explanation.clusters[1].filters[1].passed);
}

#[test]
fn an_expression_that_runs_away_matches_nothing_and_others_still_do() {
    let clusters: Vec<_> = (0..5).map(|n| cluster(&format!("c{n}"))).collect();
    let runaway = "lists.range(100000).all(a, lists.range(100000).all(b, a + b >= 0))";
    let mut policy = where_(&[runaway]);
    let world = World::default();
    let evaluation = run(&policy, &clusters, &world, 0);
    assert!(chosen(&evaluation).is_empty());
    let limit = Some(Box::new(EvaluationError::CostLimit));
    assert!(evaluation.verdicts.iter().all(|one| *one
        == Verdict::NoPredicateMatches {
            error: limit.clone()
        }));
    policy
        .predicates
        .push(expressed(&["managedCluster.metadata.name == 'c3'"]));
    assert_eq!(chosen(&run(&policy, &clusters, &world, 0)), ["c3"]);
}

/// An expression costs nothing where labels rule the cluster out.
#[test]
fn expressions_are_looked_at_last() {
    let clusters = [cluster("c1").labelled("cloud", "a"), cluster("c2")];
    let mut predicate = labelled("cloud", &["a"]);
    predicate.expressions = expressed(&["managedCluster.metadata.nothing == 1"]).expressions;
    let policy = Policy {
        predicates: vec![predicate],
        ..wanting(1)
    };
    let world = World::default();
    let evaluation = run(&policy, &clusters, &world, 0);
    assert!(matches!(
        &evaluation.verdicts[0],
        Verdict::NoPredicateMatches { error: Some(_) }
    ));
    assert_eq!(
        evaluation.verdicts[1],
        Verdict::NoPredicateMatches { error: None }
    );
}

/// Thousands of clusters are told why: each in a few lines, however much a placement asks.
#[test]
fn reasons_are_bounded() {
    let clusters = [cluster("c1")];
    let world = World::default();
    let long = format!("managedCluster.metadata.name == '{}'", "x".repeat(600));
    let policy = Policy {
        predicates: vec![expressed(&[long.as_str()]); 500],
        ..wanting(10)
    };
    let evaluation = run(&policy, &clusters, &world, 0);
    let explanation = evaluation.explain(&policy, &world);
    let reason = &explanation.clusters[0].reason;
    assert!(
        reason.starts_with("no predicate matches: celExpressions managedCluster"),
        "{reason}"
    );
    assert!(reason.ends_with("… and 498 more predicates"), "{reason}");
    assert!(reason.len() < 1_100, "{}", reason.len());
}
