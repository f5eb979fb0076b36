use super::*;
use crate::cel::COST_LIMIT;

/// Every expression holds, and costs what is said.
struct Costing(u64);

impl Conditions for Costing {
    fn test(&self, _: &str, _: &Program, _: ScoreLookup<'_>) -> Outcome {
        Outcome {
            result: Ok(true),
            cost: self.0,
        }
    }
}

/// Who is admitted must not depend on how far a budget reaches: a fleet that grows would push out those at the end of the
/// alphabet.
#[test]
fn a_placement_that_costs_too_much_keeps_what_it_has_and_is_told_so() {
    let mut both = Both::new();
    let region = Some(1);
    for n in 0..100 {
        both.cluster(cluster(&format!("c{n:03}"), region, None, 0, 1));
    }
    let expression = json!({ "celSelector": { "celExpressions": ["true"] } });
    let spec = json!({ "predicates": [{ "requiredClusterSelector": expression }] });
    both.placement("dear", spec, json!({}));
    let decide = |both: &mut Both, cost: u64| {
        both.engine.mark(&name("dear"));
        both.engine
            .decide(&name("dear"), Timestamp::UNIX_EPOCH, &Costing(cost))
            .unwrap()
    };
    let Decided::Chosen(choice) = decide(&mut both, COST_LIMIT) else {
        panic!("all of the budget may be spent")
    };
    assert_eq!(choice.selected, 100);
    let clusters = choice.groups[0].clusters.iter().map(String::as_str);
    both.engine.hold(&name("dear"), clusters, []);

    both.cluster(cluster("a", region, None, 0, 1));
    let Decided::Misconfigured { error, remaining } = decide(&mut both, COST_LIMIT) else {
        panic!("one cluster is left over")
    };
    assert_eq!(remaining.len(), 100, "nobody is pushed out");
    assert!(
        error.to_string().contains("cost more than 100000000 units"),
        "{error}"
    );
    let Decided::Chosen(choice) = decide(&mut both, 10) else {
        panic!("a cheaper one is decided")
    };
    assert_eq!(choice.selected, 101);
}

/// The fleet shrinks again: nobody has to touch the placement.
#[test]
fn a_placement_that_cost_too_much_is_decided_when_a_cluster_leaves() {
    let mut both = Both::new();
    for n in 0..101 {
        both.cluster(cluster(&format!("c{n:03}"), Some(1), None, 0, 1));
    }
    let selector = json!({
        "labelSelector": { "matchLabels": { "region": "1" } },
        "celSelector": { "celExpressions": ["true"] },
    });
    let spec = json!({ "predicates": [{ "requiredClusterSelector": selector }] });
    both.placement("dear", spec, json!({}));
    let dear = name("dear");
    for how in ["gone", "relabelled"] {
        both.cluster(cluster("c050", Some(1), None, 0, 1));
        both.engine.take_marked();
        let decide = |both: &mut Both| {
            let now = Timestamp::UNIX_EPOCH;
            both.engine
                .decide(&dear, now, &Costing(COST_LIMIT))
                .unwrap()
        };
        assert!(
            matches!(decide(&mut both), Decided::Misconfigured { .. }),
            "{how}"
        );
        match how {
            "gone" => both.gone("c050"),
            _ => both.cluster(cluster("c050", Some(2), None, 0, 1)),
        }
        let marked = both.engine.take_marked();
        assert_eq!(marked, std::slice::from_ref(&dear), "{how}");
        let Decided::Chosen(choice) = decide(&mut both) else {
            panic!("{how}: the budget suffices");
        };
        assert_eq!(choice.selected, 100, "{how}");
    }
}
