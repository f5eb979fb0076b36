//! OCM's worked examples for decision groups and shards.

use super::{
    super::{Cluster, GroupPolicy, GroupSize, Order, groups, shards},
    fixtures::{cluster, labelled},
};

fn clouds(names: &[(&str, &str)]) -> Vec<Cluster> {
    names
        .iter()
        .map(|(name, cloud)| cluster(name).labelled("cloud", cloud))
        .collect()
}

/// `(group, group name, number, clusters)` of each shard.
fn layout(policy: &GroupPolicy, selected: &[Cluster]) -> Vec<(usize, String, usize, String)> {
    shards(&groups(policy, Order::Name, selected))
        .into_iter()
        .map(|shard| {
            (
                shard.group,
                shard.group_name,
                shard.number,
                shard.clusters.join(","),
            )
        })
        .collect()
}

fn row(group: usize, name: &str, number: usize, clusters: &str) -> (usize, String, usize, String) {
    (group, name.to_owned(), number, clusters.to_owned())
}

#[test]
fn a_named_group_is_chunked_before_the_rest() {
    let selected = clouds(&[
        ("c1", "Amazon"),
        ("c2", "Amazon"),
        ("c3", "Azure"),
        ("c4", "Azure"),
    ]);
    let policy = GroupPolicy {
        size: GroupSize::Clusters(1),
        named: vec![("canary".into(), labelled("cloud", &["Azure"]))],
    };
    assert_eq!(
        layout(&policy, &selected),
        [
            row(0, "canary", 1, "c3"),
            row(1, "canary", 2, "c4"),
            row(2, "", 3, "c1"),
            row(3, "", 4, "c2")
        ]
    );
}

#[test]
fn groups_without_a_limit_take_all_that_match() {
    let selected = clouds(&[("c1", "Amazon"), ("c2", "Amazon"), ("c3", "Azure")]);
    let policy = GroupPolicy {
        size: GroupSize::All,
        named: vec![
            ("group1".into(), labelled("cloud", &["Amazon"])),
            ("group2".into(), labelled("cloud", &["Azure"])),
        ],
    };
    assert_eq!(
        layout(&policy, &selected),
        [row(0, "group1", 1, "c1,c2"), row(1, "group2", 2, "c3")]
    );
}

#[test]
fn a_percentage_is_rounded_up() {
    let selected = ["c1", "c2", "c3"].map(cluster);
    let policy = GroupPolicy {
        size: GroupSize::Percent(25.0),
        named: Vec::new(),
    };
    assert_eq!(
        layout(&policy, &selected),
        [
            row(0, "", 1, "c1"),
            row(1, "", 2, "c2"),
            row(2, "", 3, "c3")
        ]
    );
}

#[test]
fn a_named_group_that_matches_nobody_does_not_exist() {
    let selected = ["c1", "c2", "c3"].map(cluster);
    let policy = GroupPolicy {
        size: GroupSize::All,
        named: vec![("canary".into(), labelled("cloud", &["Azure"]))],
    };
    assert_eq!(layout(&policy, &selected), [row(0, "", 1, "c1,c2,c3")]);
}

#[test]
fn an_object_holds_at_most_100_decisions() {
    let selected: Vec<Cluster> = (0..101).map(|n| cluster(&format!("c{n:03}"))).collect();
    let shards = shards(&groups(&GroupPolicy::default(), Order::Name, &selected));
    let sizes: Vec<_> = shards
        .iter()
        .map(|shard| (shard.group, shard.number, shard.clusters.len()))
        .collect();
    assert_eq!(sizes, [(0, 1, 100), (0, 2, 1)]);
}

#[test]
fn nothing_selected_is_one_empty_object() {
    assert_eq!(layout(&GroupPolicy::default(), &[]), [row(0, "", 1, "")]);
}

#[test]
fn sizes_out_of_range_mean_all() {
    let selected = ["c1", "c2"].map(cluster);
    for size in [
        GroupSize::Clusters(0),
        GroupSize::Clusters(-3),
        GroupSize::Clusters(9),
        GroupSize::Percent(0.0),
    ] {
        assert_eq!(
            layout(
                &GroupPolicy {
                    size,
                    named: Vec::new()
                },
                &selected
            ),
            [row(0, "", 1, "c1,c2")],
            "{size:?}"
        );
    }
}
