use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Event, apimachinery::pkg::apis::meta::v1 as meta};
use proptest::prelude::*;
use serde_json::json;

use super::{FieldSelector, LabelSelector, Operator, Requirement, validate_label_selector};
use crate::{Object, ResourceInfo, validation::FieldPath};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

fn matches(selector: &str, pairs: &[(&str, &str)]) -> bool {
    LabelSelector::parse(selector)
        .unwrap()
        .matches(&labels(pairs))
}

#[test]
fn label_selectors_select() {
    let here = [("a", "b"), ("c", "x"), ("n", "5")];
    let cases = [
        ("", true),
        ("a=b", true),
        ("a==b", true),
        ("a=c", false),
        ("a!=c", true),
        ("a!=b", false),
        ("missing!=b", true),
        ("a", true),
        ("!a", false),
        ("! missing", true),
        ("c in (x,y)", true),
        ("c in (y)", false),
        ("missing in (x)", false),
        ("c notin (y)", true),
        ("c notin (x,y)", false),
        ("missing notin (x)", true),
        ("n>4", true),
        ("n > 5", false),
        ("n<6", true),
        ("a>1", false),
        ("missing<1", false),
        ("a=b,c in (x,y),!d,e notin (z)", true),
        ("a=b,c=z", false),
        ("in=b", false),
        ("missing=", false),
        ("  a = b , c = x ", true),
        ("a in (b)", true),
        ("c in (,x)", true),
        ("c in (x,)", true),
        ("c in ()", false),
        ("c notin ()", true),
    ];
    for (selector, expected) in cases {
        assert_eq!(matches(selector, &here), expected, "{selector}");
    }
    assert!(matches("a=", &[("a", "")]) && matches("in=notin", &[("in", "notin")]));
}

#[test]
fn a_selector_that_does_not_parse_is_a_bad_request_in_the_api_servers_words() {
    let cases = [
        (
            "a b",
            "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
        ),
        ("a=b,", "found '', expected: identifier after ','"),
        (
            "=b",
            "found '=', expected: !, identifier, or 'end of string'",
        ),
        (
            "a in b",
            "unable to parse requirement: found 'b' expected: '('",
        ),
        (
            "a in (b",
            "unable to parse requirement: found '', expected: ',' or ')'",
        ),
        ("a=b c", "found 'c', expected: ',' or 'end of string'"),
        (
            "a>b",
            "unable to parse requirement: values: Invalid value: [\"b\"]: for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        (
            "!",
            "unable to parse requirement: found '', expected: identifier",
        ),
    ];
    for (selector, expected) in cases {
        let error = LabelSelector::parse(selector).unwrap_err();
        assert_eq!(
            (error.code, error.message.as_str()),
            (400, expected),
            "{selector}"
        );
    }
    let error = LabelSelector::parse("a/b/c=d").unwrap_err();
    assert!(error.message.starts_with(
        "unable to parse requirement: <nil>: Invalid value: \"a/b/c\": a qualified name must"
    ));
    let error = LabelSelector::parse("a=-").unwrap_err();
    assert!(error.message.starts_with(
        "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label"
    ));
}

#[test]
fn selector_objects_select_too() {
    let selector: meta::LabelSelector = serde_json::from_value(json!({
        "matchLabels": { "a": "b" },
        "matchExpressions": [
            { "key": "c", "operator": "In", "values": ["x", "y"] },
            { "key": "d", "operator": "DoesNotExist" },
        ],
    }))
    .unwrap();
    let parsed = LabelSelector::try_from(&selector).unwrap();
    assert!(parsed.matches(&labels(&[("a", "b"), ("c", "y")])));
    assert!(!parsed.matches(&labels(&[("a", "b"), ("c", "y"), ("d", "")])));
    assert_eq!(parsed.to_string(), "a=b,c in (x,y),!d");
    assert!(
        LabelSelector::try_from(&meta::LabelSelector::default())
            .unwrap()
            .is_everything()
    );
}

#[test]
fn selector_objects_are_judged_field_by_field() {
    let selector: meta::LabelSelector = serde_json::from_value(json!({
        "matchLabels": { "a": "@" },
        "matchExpressions": [
            { "key": "c", "operator": "In" },
            { "key": "d", "operator": "Exists", "values": ["x"] },
            { "key": "e", "operator": "Near", "values": ["x"] },
            { "key": "f g", "operator": "In", "values": ["-"] },
        ],
    }))
    .unwrap();
    let causes = validate_label_selector(&selector, &FieldPath::new("spec").child("selector"));
    let fields: Vec<&str> = causes.iter().map(|cause| cause.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "spec.selector.matchLabels[a]",
            "spec.selector.matchExpressions[0].values",
            "spec.selector.matchExpressions[1].values",
            "spec.selector.matchExpressions[2].operator",
            "spec.selector.matchExpressions[3].key",
            "spec.selector.matchExpressions[3].values[0]",
        ]
    );
    assert!(LabelSelector::try_from(&selector).is_err());
}

fn events() -> ResourceInfo {
    ResourceInfo::from_type::<Event>(false, &[])
        .unwrap()
        .with_selectable_fields(["involvedObject.name", "count", "flag"])
}

#[test]
fn field_selectors_select() {
    let event = Object::from_value(json!({
        "metadata": { "name": "e", "namespace": "n" }, "involvedObject": { "name": "x,y" }, "count": 3, "flag": true,
    }))
    .unwrap();
    let cases = [
        ("", true),
        ("metadata.name=e", true),
        ("metadata.name==e,metadata.namespace=n", true),
        ("metadata.name!=e", false),
        (r"involvedObject.name=x\,y", true),
        ("involvedObject.name=x", false),
        ("count=3,flag=true", true),
        ("flag!=true", false),
    ];
    for (text, expected) in cases {
        let selector = FieldSelector::parse(text, &events()).unwrap();
        assert_eq!(selector.matches(&event), expected, "{text}");
    }
    let selector = FieldSelector::parse("metadata.name=e,count=3", &events()).unwrap();
    assert_eq!(
        (selector.name(), selector.namespace(), selector.is_on_key()),
        (Some("e"), None, false)
    );
    assert!(selector.matches_key("n", "e") && !selector.matches_key("n", "f"));
    assert_eq!(
        FieldSelector::parse("metadata.name!=e", &events())
            .unwrap()
            .name(),
        None
    );
}

#[test]
fn a_field_selector_names_fields_that_are_offered() {
    let error = FieldSelector::parse("spec.x=1", &events()).unwrap_err();
    assert_eq!(
        error.message,
        r#""spec.x" is not a known field selector: only "metadata.name", "metadata.namespace", "involvedObject.name", "count", "flag""#
    );
    for bad in ["metadata.name", "metadata.name=a=b", r"metadata.name=\x"] {
        assert_eq!(
            FieldSelector::parse(bad, &events()).unwrap_err().code,
            400,
            "{bad}"
        );
    }
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let word = "[a-z]([-a-z0-9_.]{0,8}[a-z0-9])?";
    let text = || word.prop_map(String::from).boxed();
    let one =
        || prop_oneof![4 => text(), 1 => Just(String::new())].prop_map(|value| [value].into());
    let number = || any::<i64>().prop_map(|value| [value.to_string()].into());
    let many =
        || prop::collection::btree_set(prop_oneof![4 => text(), 1 => Just(String::new())], 1..4);
    let some = prop_oneof![
        one().prop_map(|values| (Operator::Equals, values)),
        one().prop_map(|values| (Operator::NotEquals, values)),
        many().prop_map(|values| (Operator::In, values)),
        many().prop_map(|values| (Operator::NotIn, values)),
        number().prop_map(|values| (Operator::GreaterThan, values)),
        number().prop_map(|values| (Operator::LessThan, values)),
        Just((Operator::Exists, [].into())),
        Just((Operator::DoesNotExist, [].into())),
    ];
    (text(), some).prop_map(|(key, (operator, values))| Requirement {
        key,
        operator,
        values,
    })
}

proptest! {
    #[test]
    fn what_is_printed_parses_to_the_same(requirements in prop::collection::vec(requirement(), 0..5)) {
        // A negative number is no label value, and a bare "in" would be read as the operator.
        let requirements: Vec<Requirement> =
            requirements.into_iter().filter(|it| it.values.iter().all(|value| !value.starts_with('-'))).collect();
        let selector = LabelSelector::new(requirements);
        let text = selector.to_string();
        prop_assert_eq!(LabelSelector::parse(&text).unwrap(), selector, "{}", text);
    }

    #[test]
    fn any_text_parses_or_is_refused(text in r#"[ab=!,()<> in\\"ä]{0,24}|.{0,24}"#) {
        let _ = LabelSelector::parse(&text);
        let _ = FieldSelector::parse(&text, &events());
    }
}
