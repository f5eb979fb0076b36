//! The engine against the evaluation that explains: for random histories, what is kept up to date change by change
//! decides as one decides from scratch.

mod budget;
mod footprint;
mod kept;
mod specs;
mod together;

use std::sync::Arc;

use jiff::Timestamp;
use koinon_api::{ManagedCluster, Placement};
use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use self::specs::{KINDS, spec};
use super::*;
use crate::placement::{Amount, Answer, World, expression};

const NS: &str = "apps";

fn name(placement: &str) -> Name {
    (NS.to_owned(), placement.to_owned())
}

/// The same objects in both.
#[derive(Default)]
struct Both {
    engine: Engine,
    world: World,
    objects: BTreeMap<String, Value>,
    scores: BTreeMap<String, Vec<(String, i64)>>,
    /// Seconds that have passed.
    later: i64,
    /// When placements are to be decided again.
    due: BTreeMap<Name, Timestamp>,
    /// That placements are looked at ahead on; one when they are not.
    threads: usize,
}

impl Conditions for (&BTreeMap<String, Value>, ()) {
    fn test(&self, cluster: &str, expression: &Program, scores: ScoreLookup<'_>) -> Outcome {
        let Some(object) = self.0.get(cluster) else {
            return Outcome::default();
        };
        expression::test(expression, &expression::subject(object.clone()), scores)
    }
}

impl Both {
    fn new() -> Self {
        let mut both = Self::default();
        both.set(Some(json!({})));
        both.bind("prod");
        both
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_000 + self.later).unwrap()
    }

    fn bind(&mut self, set: &str) {
        self.engine.bind(NS, set);
        let binding =
            json!({ "metadata": { "namespace": NS, "name": set }, "spec": { "clusterSet": set } });
        self.world.put_binding(&typed(
            "cluster.open-cluster-management.io/v1beta2",
            "ManagedClusterSetBinding",
            binding,
        ));
    }

    fn unbind(&mut self, set: &str) {
        self.engine.unbind(NS, set);
        self.world.remove_binding(NS, set);
    }

    fn set(&mut self, spec: Option<Value>) {
        match spec {
            Some(spec) => {
                let set =
                    json!({ "metadata": { "name": "prod" }, "spec": { "clusterSelector": spec } });
                let set = typed(
                    "cluster.open-cluster-management.io/v1beta2",
                    "ManagedClusterSet",
                    set,
                );
                self.engine.put_set("prod", Membership::of(&set));
                self.world.put_set(&set);
            }
            None => {
                self.engine.remove_set("prod");
                self.world.remove_set("prod");
            }
        }
    }

    fn cluster(&mut self, object: Value) {
        let cluster: ManagedCluster = typed(
            "cluster.open-cluster-management.io/v1",
            "ManagedCluster",
            object,
        );
        let name = cluster.metadata.name.clone().unwrap();
        self.objects
            .insert(name.clone(), serde_json::to_value(&cluster).unwrap());
        self.engine.put_cluster(&Cluster::prepare(&cluster));
        self.engine.touch_cluster(&name);
        self.world.put_cluster(&cluster);
    }

    fn gone(&mut self, cluster: &str) {
        self.objects.remove(cluster);
        self.engine.remove_cluster(cluster);
        self.world.remove_cluster(cluster);
    }

    fn score(&mut self, cluster: &str, value: i64, valid_until: Option<i64>) {
        let until = valid_until.map(|at| Timestamp::from_second(at).unwrap());
        self.scores
            .insert(cluster.to_owned(), vec![("demo".to_owned(), value)]);
        self.engine
            .put_scores(cluster, "demo", [("demo".to_owned(), value)], until);
        let object = json!({ "metadata": { "namespace": cluster, "name": "demo" },
            "status": { "scores": [{ "name": "demo", "value": value }], "validUntil": until } });
        self.world.put_scores(&typed(
            "cluster.open-cluster-management.io/v1alpha1",
            "AddOnPlacementScore",
            object,
        ));
    }

    fn placement(&mut self, placement: &str, spec: Value, annotations: Value) {
        let object = json!({ "metadata": { "namespace": NS, "name": placement, "annotations": annotations }, "spec": spec });
        let placement: Placement = typed(
            "cluster.open-cluster-management.io/v1beta1",
            "Placement",
            object,
        );
        let of = (NS.to_owned(), placement.metadata.name.clone().unwrap());
        let policy = Arc::new(Policy::of(&placement));
        let packing = Packing::of(&placement);
        self.engine
            .put_placement(&of, &placement.spec.cluster_sets, &policy, packing.as_ref());
        self.world.put_placement(&placement);
    }

    fn decide(&mut self, placement: &Name) -> Decided {
        self.decide_with(placement, &mut Ahead::default())
    }

    fn decide_with(&mut self, placement: &Name, ahead: &mut Ahead) -> Decided {
        let now = self.now();
        let decided = self
            .engine
            .decide_with(placement, now, &(&self.objects, ()), ahead)
            .unwrap();
        if let Decided::Chosen(choice) = &decided {
            match choice.recheck_at {
                Some(at) => drop(self.due.insert(placement.clone(), at)),
                None => drop(self.due.remove(placement)),
            }
        }
        decided
    }

    /// What is marked, or due.
    fn wanted(&mut self) -> Vec<Name> {
        let now = self.now();
        let due = self.due.iter().filter(|(_, at)| **at <= now);
        let due: Vec<Name> = due.map(|(name, _)| name.clone()).collect();
        self.due.retain(|_, at| *at > now);
        let mut wanted: BTreeSet<Name> = self.engine.take_marked().into_iter().collect();
        wanted.extend(due);
        wanted.into_iter().collect()
    }

    fn ahead(&mut self, names: &[Name]) -> Ahead {
        let (now, threads) = (self.now(), self.threads);
        self.engine.ahead(names, now, &(&self.objects, ()), threads)
    }

    /// Takes a decision as carried out in both.
    fn carry_out(&mut self, placement: &Name, chosen: &BTreeSet<String>) {
        let held: BTreeSet<String> = self.world.held(placement).map(str::to_owned).collect();
        let more = chosen.difference(&held).map(String::as_str);
        self.engine
            .hold(placement, more, held.difference(chosen).map(String::as_str));
        self.world.hold(placement.clone(), chosen.clone());
    }

    /// Decides what is marked until nothing is.
    fn rest(&mut self) {
        for _ in 0..20 {
            let marked = self.wanted();
            if marked.is_empty() {
                return;
            }
            let mut ahead = self.ahead(&marked);
            for placement in marked {
                if let Some(chosen) = chosen(&self.decide_with(&placement, &mut ahead)) {
                    self.carry_out(&placement, &chosen);
                }
            }
        }
        panic!("it does not come to rest");
    }

    /// What the evaluation that explains says of a placement.
    fn scratch_of(&self, placement: &Name) -> Option<(BTreeSet<String>, usize, Option<Timestamp>)> {
        match self.world.answer(placement, self.now())? {
            Answer::Evaluated(evaluation) => Some((
                evaluation
                    .selection()
                    .map(|cluster| cluster.name.clone())
                    .collect(),
                evaluation.unscheduled,
                evaluation.recheck_at,
            )),
            Answer::NoClusters(_) => Some((BTreeSet::new(), 0, None)),
            Answer::Misconfigured(_) | Answer::Untouched => None,
        }
    }
}

fn typed<T: serde::de::DeserializeOwned>(api_version: &str, kind: &str, mut object: Value) -> T {
    object["apiVersion"] = json!(api_version);
    object["kind"] = json!(kind);
    serde_json::from_value(object).unwrap()
}

fn chosen(decided: &Decided) -> Option<BTreeSet<String>> {
    match decided {
        Decided::Same | Decided::Misconfigured { .. } => None,
        Decided::NoClusters(_) => Some(BTreeSet::new()),
        Decided::Chosen(choice) => Some(
            choice
                .groups
                .iter()
                .flat_map(|group| group.clusters.clone())
                .collect(),
        ),
    }
}

fn cluster(name: &str, region: Option<u8>, taint: Option<u8>, note: u8, cpu: u8) -> Value {
    let mut labels = json!({ "cluster.open-cluster-management.io/clusterset": if name == "c11" { "other" } else { "prod" } });
    if let Some(region) = region {
        labels["region"] = json!(region.to_string());
    }
    let effect = |taint: u8| ["NoSelect", "PreferNoSelect", "NoSelectIfNew"][usize::from(taint)];
    let taints: Vec<Value> = taint
        .iter()
        .map(|taint| json!({ "key": "k", "value": taint.to_string(), "effect": effect(*taint), "timeAdded": "1970-01-01T00:10:00Z" }))
        .collect();
    let claims = region.map(|region| json!({ "name": "zone", "value": format!("z{region}") }));
    json!({
        "metadata": { "name": name, "labels": labels, "annotations": { "note": note.to_string() } },
        "spec": { "hubAcceptsClient": true, "taints": taints },
        "status": { "conditions": [], "capacity": { "cpu": "8" }, "allocatable": { "cpu": cpu.to_string() },
            "clusterClaims": claims.into_iter().collect::<Vec<_>>() },
    })
}

#[derive(Clone, Debug)]
enum Change {
    /// Cluster, region, taint, annotation, CPU.
    Cluster(u8, Option<u8>, Option<u8>, u8, u8),
    Gone(u8),
    Score(u8, i64, Option<i64>),
    Placement(u8, u8),
    Set(u8),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        8 => (0..12u8, prop::option::of(0..3u8), prop::option::of(0..3u8), 0..2u8, 1..4u8)
            .prop_map(|(n, region, taint, note, cpu)| Change::Cluster(n, region, taint, note, cpu)),
        1 => (0..12u8).prop_map(Change::Gone),
        3 => (0..12u8, -100..100i64, prop::option::of(prop_oneof![Just(900), Just(2_000)]))
            .prop_map(|(n, value, until)| Change::Score(n, value, until)),
        2 => (0..6u8, 0..KINDS).prop_map(|(n, kind)| Change::Placement(n, kind)),
        1 => (0..4u8).prop_map(Change::Set),
    ]
}

fn apply(both: &mut Both, change: &Change) {
    match change {
        Change::Cluster(n, region, taint, note, cpu) => {
            both.cluster(cluster(&format!("c{n:02}"), *region, *taint, *note, *cpu));
        }
        Change::Gone(n) => both.gone(&format!("c{n:02}")),
        Change::Score(n, value, until) => both.score(&format!("c{n:02}"), *value, *until),
        Change::Placement(n, kind) => both.placement(&format!("p{n}"), spec(*kind), json!({})),
        Change::Set(0) => both.set(None),
        Change::Set(1) => both.set(Some(
            json!({ "selectorType": "LabelSelector", "labelSelector": {} }),
        )),
        Change::Set(_) => both.set(Some(json!({}))),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Also for placements that no change was found to concern.
    #[test]
    fn what_is_kept_up_to_date_is_what_one_gets_from_scratch(history in vec(vec(change(), 1..4), 1..25)) {
        let mut both = Both::new();
        for n in 0..6 {
            both.placement(&format!("p{n}"), spec(n), json!({}));
        }
        for step in &history {
            for change in step {
                apply(&mut both, change);
            }
            both.rest();
            for n in 0..6 {
                let placement = name(&format!("p{n}"));
                let held: BTreeSet<String> = both.world.held(&placement).map(str::to_owned).collect();
                let (scratch, unscheduled, _) = both.scratch_of(&placement).unwrap();
                prop_assert_eq!(&held, &scratch, "p{} after {:?}", n, step);
                // A full evaluation agrees in everything that is written.
                let decided = both.decide(&placement);
                prop_assert_eq!(chosen(&decided).unwrap(), scratch);
                if let Decided::Chosen(choice) = decided {
                    prop_assert_eq!(choice.unscheduled, unscheduled);
                    prop_assert!(!choice.changed);
                }
            }
        }
    }

    /// With all prioritizers and packing, asked at the same moment.
    #[test]
    fn the_engine_chooses_as_the_evaluation_that_explains(
        history in vec(change(), 1..40), others in vec((0..4u8, vec(0..12u8, 0..5)), 0..6), kind in 0..KINDS, weights in (0..3i32, -2..3i32),
    ) {
        let mut both = Both::new();
        for change in history.iter().filter(|change| !matches!(change, Change::Placement(..))) {
            apply(&mut both, change);
        }
        for (n, held) in &others {
            let placement = name(&format!("other{n}"));
            let packing = json!({ "koinon.dev/packing": r#"{"requests": {"cpu": "1"}}"# });
            both.placement(&placement.1, json!({}), packing);
            both.carry_out(&placement, &held.iter().map(|n| format!("c{n:02}")).collect());
        }
        let mut spec = spec(kind);
        let balance = json!({ "scoreCoordinate": { "builtIn": "Balance" }, "weight": weights.0 });
        let configurations = spec["prioritizerPolicy"]["configurations"].as_array_mut().unwrap();
        configurations.push(balance);
        let packing = format!(r#"{{"requests": {{"cpu": "1"}}, "strategy": "Pack", "weight": {}}}"#, weights.1);
        let annotations = if kind % 2 == 0 { json!({ "koinon.dev/packing": packing }) } else { json!({}) };
        both.placement("web", spec, annotations);
        let web = name("web");
        for _ in 0..3 {
            let scratch = both.scratch_of(&web);
            let decided = both.decide(&web);
            let picked = chosen(&decided).unwrap();
            let (expected, unscheduled, recheck_at) = scratch.unwrap();
            prop_assert_eq!(&picked, &expected);
            if let Decided::Chosen(choice) = &decided {
                prop_assert_eq!(choice.unscheduled, unscheduled);
                prop_assert_eq!(choice.recheck_at, recheck_at);
            }
            both.carry_out(&web, &picked);
        }
    }

    /// A hub that starts finds what another has decided, while others were decided after it (P13).
    #[test]
    fn a_restart_moves_nothing(
        clusters in 3..12u8, wanted in vec(1..4usize, 1..8), crowd in vec(0..12u8, 0..12), by_score in any::<bool>(),
    ) {
        let sort = if by_score { "Score" } else { "ClusterName" };
        let spec = |wanted: usize| json!({ "numberOfClusters": wanted, "sortBy": sort });
        let mut both = Both::new();
        for n in 0..clusters {
            both.cluster(cluster(&format!("c{n:02}"), Some(n % 3), None, 0, 2));
        }
        for (n, wanted) in wanted.iter().enumerate() {
            both.placement(&format!("p{n}"), spec(*wanted), json!({}));
        }
        both.rest();
        both.carry_out(&name("crowd"), &crowd.iter().map(|n| format!("c{n:02}")).collect());
        let (mut again, names) = (Both::new(), both.world.placements().cloned().collect::<Vec<_>>());
        for n in 0..clusters {
            again.cluster(cluster(&format!("c{n:02}"), Some(n % 3), None, 0, 2));
        }
        for placement in names.iter().cloned().chain([name("crowd")]) {
            again.carry_out(&placement, &both.world.held(&placement).map(str::to_owned).collect());
        }
        for (n, wanted) in wanted.iter().enumerate() {
            again.placement(&format!("p{n}"), spec(*wanted), json!({}));
        }
        for placement in again.engine.take_marked() {
            let decided = again.decide(&placement);
            prop_assert!(matches!(&decided, Decided::Chosen(choice) if !choice.changed), "{:?}: {:?}", placement, decided);
        }
        // Nor does the look at everything that is taken now and then.
        both.engine.mark_all();
        for placement in both.engine.take_marked() {
            let decided = both.decide(&placement);
            prop_assert!(matches!(&decided, Decided::Chosen(choice) if !choice.changed), "{:?}: {:?}", placement, decided);
        }
    }

    /// `Balance` moves placements on its own; a cluster that is passed over must not be one that would be chosen.
    #[test]
    fn a_cluster_that_is_passed_over_would_not_have_been_chosen(
        held in vec((0..6u8, 0..8u8), 0..24), lost in 0..8u8,
    ) {
        let mut both = Both::new();
        for n in 0..8 {
            both.cluster(cluster(&format!("c{n:02}"), Some(n % 3), (n == lost).then_some(0), 0, 2));
        }
        for n in 0..6u8 {
            both.placement(&format!("p{n}"), json!({ "numberOfClusters": 2 }), json!({}));
        }
        for (n, cluster) in &held {
            let placement = name(&format!("p{n}"));
            let mut all: BTreeSet<String> = both.world.held(&placement).map(str::to_owned).collect();
            all.insert(format!("c{cluster:02}"));
            both.carry_out(&placement, &all);
        }
        both.rest();
        both.cluster(cluster(&format!("c{lost:02}"), Some(lost % 3), None, 0, 2));
        let marked: BTreeSet<Name> = both.engine.take_marked().into_iter().collect();
        for n in 0..6u8 {
            let placement = name(&format!("p{n}"));
            let (scratch, ..) = both.scratch_of(&placement).unwrap();
            if !marked.contains(&placement) {
                let back = format!("c{lost:02}");
                let held: BTreeSet<String> = both.world.held(&placement).map(str::to_owned).collect();
                prop_assert!(held.contains(&back) || !scratch.contains(&back), "{:?}: {:?} {:?}", placement, held, scratch);
            }
        }
    }
}
