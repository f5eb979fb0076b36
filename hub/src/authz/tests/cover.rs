//! Escalation: what counts as having a right already.

use proptest::prelude::*;

use crate::authz::{Attributes, Rule, missing};

#[test]
fn what_is_missing_is_said_as_kubernetes_says_it() {
    let held = [
        Rule::on(&[""], &["configmaps"], &["get"]),
        Rule::on(&["g"], &["*/status"], &["*"]),
    ];
    for (wanted, words) in [
        (Rule::on(&[""], &["configmaps"], &["get"]), None),
        (
            Rule::on(&[""], &["configmaps"], &["get"]).named(&["a"]),
            None,
        ),
        (Rule::on(&["g"], &["a/status"], &["patch"]), None),
        (
            Rule::on(&[""], &["configmaps", "secrets"], &["get", "list"]),
            Some(
                "{APIGroups:[\"\"], Resources:[\"configmaps\"], Verbs:[\"list\"]}\n\
                 {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}",
            ),
        ),
        (
            Rule::on_paths(&["/x/*"], &["get"]),
            Some("{NonResourceURLs:[\"/x/*\"], Verbs:[\"get\"]}"),
        ),
        (
            Rule::on(&["*"], &["*"], &["*"]),
            Some("{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}"),
        ),
    ] {
        let said = missing(&held, std::slice::from_ref(&wanted)).map(|missing| missing.to_string());
        assert_eq!(said.as_deref(), words, "{wanted:?}");
    }
}

#[test]
fn a_rule_that_breaks_into_millions_is_refused_without_looking() {
    let many: Vec<String> = (0..2000).map(|number| format!("r{number}")).collect();
    let rule = Rule {
        api_groups: many.clone(),
        resources: many.clone(),
        verbs: many,
        ..Rule::default()
    };
    assert!(missing(&[Rule::on(&["*"], &["*"], &["*"])], &[rule]).is_some());
}

fn some(of: &'static [&'static str], least: usize) -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(of, least..=of.len())
        .prop_map(|list| list.into_iter().map(str::to_owned).collect())
}

fn rule() -> impl Strategy<Value = Rule> {
    let resource = (
        some(&["", "g", "*"], 1),
        some(&["a", "b", "a/status", "*/status", "*"], 1),
        some(&["x", "y"], 0),
        some(&["get", "list", "*"], 1),
    );
    let path = (some(&["/a", "/a/*", "*"], 1), some(&["get", "*"], 1));
    prop_oneof![
        resource.prop_map(|(api_groups, resources, resource_names, verbs)| Rule {
            api_groups,
            resources,
            resource_names,
            verbs,
            ..Rule::default()
        }),
        path.prop_map(|(non_resource_urls, verbs)| Rule {
            non_resource_urls,
            verbs,
            ..Rule::default()
        }),
    ]
}

/// Everything that the rules above could tell apart.
fn questions() -> Vec<Attributes> {
    let mut all = Vec::new();
    for verb in ["get", "list", "other"] {
        for resource in ["a", "b", "c", "a/status", "c/status", "a/scale"] {
            for group in ["", "g", "h"] {
                for name in ["", "x", "y", "z"] {
                    all.push(Attributes::of(verb, group, resource).named(name));
                }
            }
        }
        for path in ["/a", "/a/b", "/b"] {
            all.push(Attributes {
                verb: verb.to_owned(),
                path: path.to_owned(),
                ..Attributes::default()
            });
        }
    }
    all
}

proptest! {
    /// Whoever passes the check gains nothing: all that the new rules allow, the old ones allowed.
    #[test]
    fn a_grant_that_passes_gives_nothing_new(
        held in prop::collection::vec(rule(), 0..4),
        wanted in prop::collection::vec(rule(), 1..3),
    ) {
        if missing(&held, &wanted).is_none() {
            for asked in questions() {
                let allows = |rules: &[Rule]| rules.iter().any(|rule| rule.allows(&asked));
                prop_assert!(!allows(&wanted) || allows(&held), "{asked:?}");
            }
        }
    }

    /// Everybody may pass on what he has.
    #[test]
    fn what_is_held_may_be_granted(held in prop::collection::vec(rule(), 1..4)) {
        prop_assert_eq!(missing(&held, &held), None);
    }
}
