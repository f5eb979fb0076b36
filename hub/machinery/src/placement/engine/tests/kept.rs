//! What is told again, what stays, and what makes room.

use super::*;

fn packing(cpu: u8) -> Value {
    json!({ "koinon.dev/packing": format!(r#"{{"requests": {{"cpu": "{cpu}"}}}}"#) })
}

fn reserves(cpu: u8) -> Packing {
    Packing {
        requests: [("cpu".to_owned(), Amount::thousandths(1000 * i64::from(cpu)))].into(),
        ..Packing::default()
    }
}

/// Whoever was told may have let it lie: what is suspended is not decided.
#[test]
fn a_mark_that_was_let_lie_is_told_again() {
    let mut both = Both::new();
    both.cluster(cluster("a", Some(1), None, 0, 1));
    both.placement("web", json!({}), json!({}));
    assert_eq!(both.engine.take_marked(), [name("web")]);
    both.engine.mark(&name("web"));
    both.engine.mark(&name("web"));
    assert_eq!(both.engine.take_marked(), [name("web")]);
    both.carry_out(&name("web"), &["a".to_owned()].into());
    both.engine.suspend_placement(&name("web"), None);
    assert!(both.engine.take_marked().is_empty());
    both.placement("web", json!({}), json!({}));
    assert_eq!(both.engine.take_marked(), [name("web")]);
}

/// `Balance` alone moves nothing when a hub starts; scores that have changed since do.
#[test]
fn what_changed_while_nobody_led_is_decided() {
    let mut both = Both::new();
    for one in ["a", "b"] {
        both.cluster(cluster(one, Some(1), None, 0, 1));
    }
    both.score("b", 100, None);
    both.carry_out(&name("web"), &["a".to_owned()].into());
    let add_on =
        json!({ "type": "AddOn", "addOn": { "resourceName": "demo", "scoreName": "demo" } });
    let configurations = json!([{ "scoreCoordinate": add_on, "weight": 2 }]);
    let spec =
        json!({ "numberOfClusters": 1, "prioritizerPolicy": { "configurations": configurations } });
    both.placement("web", spec, json!({}));
    let decided = both.decide(&name("web"));
    assert_eq!(chosen(&decided).unwrap(), ["b".to_owned()].into());
}

#[test]
fn what_a_suspended_placement_gives_back_is_told_to_those_who_wait() {
    let mut both = Both::new();
    both.cluster(cluster("a", Some(1), None, 0, 4));
    both.placement("first", json!({}), packing(3));
    both.carry_out(&name("first"), &["a".to_owned()].into());
    both.engine
        .suspend_placement(&name("first"), Some(&reserves(3)));
    both.placement("second", json!({ "numberOfClusters": 1 }), packing(3));
    let decided = both.decide(&name("second"));
    assert!(chosen(&decided).unwrap().is_empty(), "{decided:?}");
    both.engine.take_marked();
    both.engine.remove_placement(&name("first"));
    assert_eq!(both.engine.take_marked(), [name("second")]);
    let decided = both.decide(&name("second"));
    assert_eq!(chosen(&decided).unwrap(), ["a".to_owned()].into());
}

/// The annotation may go while nobody decides it.
#[test]
fn what_is_taken_up_again_without_requests_makes_room() {
    let mut both = Both::new();
    both.cluster(cluster("a", Some(1), None, 0, 4));
    both.placement("first", json!({}), packing(3));
    both.carry_out(&name("first"), &["a".to_owned()].into());
    both.placement("second", json!({ "numberOfClusters": 1 }), packing(3));
    both.engine
        .suspend_placement(&name("first"), Some(&reserves(3)));
    assert!(chosen(&both.decide(&name("second"))).unwrap().is_empty());
    both.engine.take_marked();
    both.placement("first", json!({}), json!({}));
    assert_eq!(both.engine.take_marked(), [name("first"), name("second")]);
    let decided = both.decide(&name("second"));
    assert_eq!(chosen(&decided).unwrap(), ["a".to_owned()].into());
}

#[test]
fn a_mistake_reserves_what_its_annotation_says_now() {
    let mut both = Both::new();
    both.cluster(cluster("a", Some(1), None, 0, 4));
    let mistake = json!({ "predicates": [{ "requiredClusterSelector": { "celSelector": { "celExpressions": ["("] } } }] });
    both.placement("wrong", mistake.clone(), packing(1));
    both.carry_out(&name("wrong"), &["a".to_owned()].into());
    both.placement("web", json!({ "numberOfClusters": 1 }), packing(3));
    assert_eq!(chosen(&both.decide(&name("web"))).unwrap().len(), 1);
    both.placement("wrong", mistake, packing(2));
    both.engine.mark(&name("web"));
    assert!(chosen(&both.decide(&name("web"))).unwrap().is_empty());
}
