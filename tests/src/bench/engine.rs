//! The placement engine alone, on one thread: 10,000 clusters and 1,000 placements.

use std::{
    collections::{BTreeMap, BTreeSet},
    hint::black_box,
    sync::Arc,
    time::Instant,
};

use jiff::Timestamp;
use koinon_api::Placement;
use koinon_machinery::{
    cel::Program,
    placement::{
        Amount, Cluster, Conditions, Decided, Effect, Engine, Membership, Misconfigured, Name,
        Policy, Taint,
        expression::{Outcome, ScoreLookup},
    },
};
use serde_json::json;

use super::{
    latency::{Latency, shown},
    table::Table,
};

const CLUSTERS: usize = 10_000;
const PLACEMENTS: usize = 1_000;
/// Clusters that lose and get back their place.
const LOSSES: usize = 300;
/// Placements that are all in one place.
const CROWD: usize = 100;

pub(super) fn run(table: &mut Table) -> anyhow::Result<()> {
    let mut engine = Engine::default();
    engine.put_set("all", Membership::Exclusive("all".to_owned()));
    engine.bind("apps", "all");
    for n in 0..CLUSTERS {
        engine.put_cluster(&cluster(n));
        let scores = [("capacity".to_owned(), i64::try_from(n * 37 % 200)? - 100)];
        engine.put_scores(&cluster(n).name, "demo", scores, None);
    }
    let mut policies = BTreeMap::new();
    for n in 0..PLACEMENTS {
        let name = ("apps".to_owned(), format!("p{n:04}"));
        policies.insert(name, Arc::new(Policy::of(&placement(n)?)));
    }
    for (name, policy) in &policies {
        engine.put_placement(name, &[], policy, None);
    }
    let mut held = BTreeMap::new();
    let begin = Instant::now();
    let first = decide(&mut engine, &mut held);
    table.row(
        &format!("engine: {PLACEMENTS} placements decided for the first time"),
        &format!("{}, {first} decisions", shown(begin.elapsed())),
        "",
        "",
    );
    while decide(&mut engine, &mut held) > 0 {}
    anew(&mut engine, &policies, table);
    lose_and_regain(&mut engine, &mut held, table);
    lose_the_crowded(&mut engine, &mut held, table)?;
    let used = engine.footprint();
    table.row(
        "engine: memory per cluster beside its strings",
        &format!(
            "{} bytes (strings: {})",
            used.beside / CLUSTERS,
            used.strings / CLUSTERS
        ),
        "",
        "< 300 bytes",
    );
    Ok(())
}

/// Nothing is known to be unchanged: every placement is evaluated.
fn anew(
    engine: &mut Engine,
    policies: &BTreeMap<Name, Arc<Result<Policy, Misconfigured>>>,
    table: &mut Table,
) {
    let begin = Instant::now();
    for name in policies.keys() {
        black_box(engine.decide(name, Timestamp::UNIX_EPOCH, &Nobody));
    }
    table.row(
        &format!("engine: {PLACEMENTS} placements over {CLUSTERS} clusters decided anew"),
        &shown(begin.elapsed()),
        "",
        "< 1 s",
    );
}

/// One cluster after the other gets a taint that nobody tolerates, and loses it again.
fn lose_and_regain(
    engine: &mut Engine,
    held: &mut BTreeMap<Name, BTreeSet<String>>,
    table: &mut Table,
) {
    let (mut lost, mut regained) = (Vec::new(), Vec::new());
    let mut moved = 0;
    for n in 0..LOSSES {
        let sound = cluster(n * CLUSTERS / LOSSES);
        let tainted = tainted(sound.clone());
        let begin = Instant::now();
        engine.put_cluster(&tainted);
        moved += decide(engine, held);
        lost.push(begin.elapsed());
        let begin = Instant::now();
        engine.put_cluster(&sound);
        moved += decide(engine, held);
        regained.push(begin.elapsed());
    }
    for (what, times) in [("gets a taint", lost), ("loses it", regained)] {
        table.row(
            &format!("engine: a cluster {what}: all affected decisions"),
            &Latency::of(times).to_string(),
            "",
            "< 5 ms",
        );
    }
    table.row(
        "engine: decisions that moved meanwhile",
        &moved.to_string(),
        "",
        "",
    );
}

/// One cluster after the other gets a taint that so many placements hold, who all move to the next.
fn lose_the_crowded(
    engine: &mut Engine,
    held: &mut BTreeMap<Name, BTreeSet<String>>,
    table: &mut Table,
) -> anyhow::Result<()> {
    let steady = json!({ "mode": "Exact", "configurations": [{ "scoreCoordinate": { "builtIn": "Steady" } }] });
    for n in 0..CROWD {
        let placement = serde_json::from_value(json!({
            "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement",
            "metadata": { "name": format!("crowd{n:04}") },
            "spec": { "numberOfClusters": 1, "prioritizerPolicy": steady },
        }))?;
        let name = ("apps".to_owned(), format!("crowd{n:04}"));
        engine.put_placement(&name, &[], &Arc::new(Policy::of(&placement)), None);
    }
    decide(engine, held);
    let mut times = Vec::new();
    for n in 0..LOSSES / 6 {
        let tainted = tainted(cluster(n));
        let begin = Instant::now();
        engine.put_cluster(&tainted);
        let moved = decide(engine, held);
        times.push(begin.elapsed());
        anyhow::ensure!(moved >= CROWD, "{moved} decisions moved");
    }
    table.row(
        &format!("engine: a cluster that {CROWD} placements hold gets a taint"),
        &Latency::of(times).to_string(),
        "",
        "",
    );
    Ok(())
}

fn tainted(mut cluster: Cluster) -> Cluster {
    cluster.taints.push(Taint {
        key: "cluster.open-cluster-management.io/unreachable".to_owned(),
        value: String::new(),
        effect: Effect::NoSelect,
        added: None,
    });
    cluster
}

/// Decides what is marked and takes it as carried out; says how many clusters were added to decisions.
fn decide(engine: &mut Engine, held: &mut BTreeMap<Name, BTreeSet<String>>) -> usize {
    let mut added = 0;
    for name in engine.take_marked() {
        let Some(Decided::Chosen(choice)) = engine.decide(&name, Timestamp::UNIX_EPOCH, &Nobody)
        else {
            continue;
        };
        if !choice.changed {
            continue;
        }
        let chosen: BTreeSet<String> = choice
            .groups
            .into_iter()
            .flat_map(|group| group.clusters)
            .collect();
        let before = held.entry(name.clone()).or_default();
        let more: Vec<&str> = chosen.difference(before).map(String::as_str).collect();
        added += more.len();
        engine.hold(&name, more, before.difference(&chosen).map(String::as_str));
        *before = chosen;
    }
    added
}

/// No placement here has expressions.
struct Nobody;

impl Conditions for Nobody {
    fn test(&self, _: &str, _: &Program, _: ScoreLookup<'_>) -> Outcome {
        Outcome::default()
    }
}

/// Eight labels and six claims, some of them its own, and four resources.
fn cluster(n: usize) -> Cluster {
    let pairs = |pairs: Vec<(&str, String)>| -> BTreeMap<String, String> {
        let pairs = pairs.into_iter();
        pairs.map(|(key, value)| (key.to_owned(), value)).collect()
    };
    let name = format!("cluster-{n:05}");
    let units = |units: usize| Amount::thousandths(1000 * i64::try_from(units).unwrap_or(0));
    let cpu = n * 13 % 97 + 4;
    let resources = [
        ("cpu", cpu),
        ("memory", cpu * 4_000_000_000),
        ("pods", 250),
        ("ephemeral-storage", 100_000_000_000),
    ];
    Cluster {
        labels: pairs(vec![
            (
                "cluster.open-cluster-management.io/clusterset",
                "all".into(),
            ),
            ("name", name.clone()),
            ("region", format!("region-{}", n % 20)),
            ("zone", format!("zone-{}", n % 60)),
            ("environment", ["dev", "test", "prod"][n % 3].into()),
            ("vendor", "Kubernetes".into()),
            (
                "cloud",
                ["Amazon", "Azure", "Google", "Other"][n % 4].into(),
            ),
            ("tier", format!("{}", n % 5)),
        ]),
        claims: pairs(vec![
            ("id.k8s.io", format!("{n:08x}-1d4c-4f0a-9a5e-8f2d3c4b5a69")),
            (
                "kubeversion.open-cluster-management.io",
                format!("v1.3{}.2", n % 5),
            ),
            ("platform.open-cluster-management.io", "AWS".into()),
            ("product.open-cluster-management.io", "EKS".into()),
            (
                "region.open-cluster-management.io",
                format!("region-{}", n % 20),
            ),
            (
                "console.example.com",
                format!("https://console-{n:05}.example.com"),
            ),
        ]),
        cpu: Some(units(cpu)),
        memory: Some(units(cpu * 4_000_000_000)),
        allocatable: resources
            .map(|(name, amount)| (name.to_owned(), units(amount)))
            .into(),
        name,
        ..Cluster::default()
    }
}

/// Of ten: five by labels, one by claims, two anywhere, one by what is allocatable, one by an add-on's scores.
fn placement(n: usize) -> serde_json::Result<Placement> {
    let by = |labels: serde_json::Value| json!([{ "requiredClusterSelector": { "labelSelector": labels } }]);
    let mut spec = json!({ "numberOfClusters": n % 5 + 1 });
    match n % 10 {
        0 => {
            spec["predicates"] =
                by(json!({ "matchLabels": { "region": format!("region-{}", n / 10 % 20) } }))
        }
        1 => {
            spec["predicates"] = by(
                json!({ "matchLabels": { "environment": "prod", "tier": format!("{}", n / 10 % 5) } }),
            )
        }
        2 => {
            let clouds = [["Amazon", "Azure"], ["Google", "Other"]][n / 10 % 2];
            spec["predicates"] = by(
                json!({ "matchExpressions": [{ "key": "cloud", "operator": "In", "values": clouds }] }),
            );
        }
        3 => {
            spec["predicates"] = by(
                json!({ "matchExpressions": [{ "key": "environment", "operator": "NotIn", "values": ["dev"] }] }),
            )
        }
        4 => {
            spec["predicates"] =
                by(json!({ "matchLabels": { "zone": format!("zone-{}", n / 10 % 60) } }))
        }
        5 => {
            let version = format!("v1.3{}.2", n / 10 % 5);
            spec["predicates"] = json!([{ "requiredClusterSelector": { "claimSelector": { "matchExpressions": [
                { "key": "kubeversion.open-cluster-management.io", "operator": "In", "values": [version] },
            ] } } }]);
        }
        6 => {
            spec["prioritizerPolicy"] = json!({ "configurations": [{ "scoreCoordinate": { "builtIn": "ResourceAllocatableCPU" } }] })
        }
        7 => {
            let add_on = json!({ "type": "AddOn", "addOn": { "resourceName": "demo", "scoreName": "capacity" } });
            spec["prioritizerPolicy"] =
                json!({ "configurations": [{ "scoreCoordinate": add_on }] });
        }
        _ => {}
    }
    serde_json::from_value(json!({
        "apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "Placement",
        "metadata": { "name": format!("p{n:04}") }, "spec": spec,
    }))
}
