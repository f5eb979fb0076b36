//! Sets of fields against plain sets of paths.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use crate::apply::{
    fields_v1,
    set::{Entry, FieldSet},
};

type Paths = BTreeSet<Vec<String>>;

fn set(paths: &Paths) -> FieldSet {
    paths.iter().fold(FieldSet::default(), |set, path| {
        let leaf = path.iter().rev().fold(Entry::leaf(), |below, step| {
            if below.member && below.below.is_empty() && std::ptr::eq(step, path.last().unwrap()) {
                return Entry {
                    member: false,
                    below: FieldSet::from_iter([(step.as_str().into(), Entry::leaf())]),
                };
            }
            Entry {
                member: false,
                below: FieldSet::from_iter([(step.as_str().into(), below)]),
            }
        });
        set.union(leaf.below)
    })
}

fn paths(set: &FieldSet) -> Paths {
    let mut paths = Paths::new();
    set.for_each(&mut |path| {
        paths.insert(path.iter().map(|step| (*step).to_owned()).collect());
    });
    paths
}

fn some_paths() -> impl Strategy<Value = Paths> {
    let step = prop::sample::select(vec![
        "f:a",
        "f:b",
        "f:.",
        "f:",
        "k:{\"name\":\"x\",\"port\":80}",
        "v:\"a\"",
        "v:1",
        "i:0",
    ])
    .prop_map(str::to_owned);
    prop::collection::btree_set(prop::collection::vec(step, 1..4), 0..8)
}

proptest! {
    #[test]
    fn the_algebra_is_that_of_sets_of_paths(one in some_paths(), other in some_paths()) {
        let (left, right) = (set(&one), set(&other));
        prop_assert_eq!(&paths(&left), &one);
        prop_assert_eq!(left.meets(&right), one.intersection(&other).next().is_some());
        let union: Paths = one.union(&other).cloned().collect();
        let both: Paths = one.intersection(&other).cloned().collect();
        let rest: Paths = one.difference(&other).cloned().collect();
        prop_assert_eq!(paths(&left.intersection(&right)), both);
        prop_assert_eq!(left.difference(&right).is_empty(), rest.is_empty());
        prop_assert_eq!(paths(&left.difference(&right)), rest);
        prop_assert_eq!(paths(&left.union(right)), union);
    }

    #[test]
    fn what_is_written_reads_as_the_same(some in some_paths()) {
        let set = set(&some);
        prop_assert_eq!(fields_v1::read(&fields_v1::write(&set)).unwrap(), set);
    }

    #[test]
    fn arbitrary_entries_never_panic(text in "[fkvi.]?:?[a-z{}\":0-9\\\\]{0,12}", deep in 0..3usize) {
        let mut value = serde_json::json!({});
        for _ in 0..=deep {
            value = serde_json::json!({ text.clone(): value });
        }
        if let Ok(set) = fields_v1::read(&value) {
            set.for_each(&mut |path| { fields_v1::path_text(path); });
            prop_assert_eq!(fields_v1::read(&fields_v1::write(&set)).unwrap(), set);
        }
    }
}

#[test]
fn other_writers_order_keys_and_escape_otherwise() {
    let theirs: Value = serde_json::from_str(
        r#"{"f:a":{"k:{\"protocol\":\"TCP\", \"port\":80}":{},"v:\"\\u003c\"":{},"x:later":{}}}"#,
    )
    .unwrap();
    let read = fields_v1::read(&theirs).unwrap();
    assert_eq!(
        fields_v1::write(&read).to_string(),
        r#"{"f:a":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{},"v:\"<\"":{}}}"#
    );
    for malformed in [
        r#"{"f:a":1}"#,
        r#"{"name":{}}"#,
        r#"{"k:[]":{}}"#,
        r#"{"i:x":{}}"#,
        "[]",
    ] {
        let value = serde_json::from_str(malformed).unwrap();
        assert!(fields_v1::read(&value).is_err(), "{malformed}");
    }
}
