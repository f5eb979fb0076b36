use serde_json::{Value, json};

use super::{
    super::fixtures::{gone, put, stored},
    *,
};

struct World {
    sets: ClusterSets,
    queue: Queue<Subject>,
}

fn world() -> World {
    World {
        sets: ClusterSets::default(),
        queue: Queue::default(),
    }
}

impl World {
    fn see(&mut self, event: Event) -> &mut Self {
        self.sets.observe(&event, &mut self.queue);
        self
    }

    fn decide_set(&mut self, name: &str) -> Vec<Plan> {
        self.sets
            .decide(&Subject::Set(name.into()), Timestamp::UNIX_EPOCH)
            .unwrap_or_default()
    }

    fn message(&mut self, name: &str) -> String {
        match self.decide_set(name).pop() {
            Some(Plan::ShowSet(_, condition)) => {
                format!("{} {}", condition.status, condition.message)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn cluster(name: &str, set: &str) -> Event {
    let labels = json!({ "labels": { "cluster.open-cluster-management.io/clusterset": set } });
    put(stored(
        resource::CLUSTERS,
        "",
        name,
        labels,
        json!({ "spec": {} }),
        Value::Null,
    ))
}

fn set(name: &str, spec: Value) -> Event {
    put(stored(
        resource::SETS,
        "",
        name,
        json!({}),
        json!({ "spec": spec }),
        Value::Null,
    ))
}

#[test]
fn members_are_counted() {
    let mut world = world();
    world.see(set("prod", json!({})));
    assert_eq!(world.message("prod"), "True No ManagedCluster selected");
    world
        .see(cluster("east", "prod"))
        .see(cluster("west", "prod"))
        .see(cluster("other", "dev"));
    assert_eq!(world.message("prod"), "False 2 ManagedClusters selected");
    world.see(cluster("west", "dev"));
    assert_eq!(world.message("prod"), "False 1 ManagedClusters selected");
    world.see(gone(cluster("east", "prod").after.unwrap()));
    assert_eq!(world.message("prod"), "True No ManagedCluster selected");
}

#[test]
fn built_in_sets_are_made_and_kept() {
    let mut world = world();
    assert!(matches!(
        &world.decide_set("default")[..],
        [Plan::CreateSet(..)]
    ));
    assert!(
        matches!(&world.decide_set("global")[..], [Plan::CreateSet(_, selector)] if selector.label_selector.is_some())
    );
    assert!(world.decide_set("other").is_empty());
    world.see(set("global", json!({ "clusterSelector": { "selectorType": "LabelSelector", "labelSelector": { "matchLabels": { "a": "b" } } } })));
    assert!(matches!(&world.decide_set("global")[0], Plan::RollBack(..)));
    world.see(set(
        "global",
        json!({ "clusterSelector": { "selectorType": "LabelSelector", "labelSelector": {} } }),
    ));
    world.see(cluster("east", "prod"));
    assert_eq!(world.message("global"), "False 1 ManagedClusters selected");
}

#[test]
fn an_annotation_unlocks_a_built_in_set() {
    let mut world = world();
    let metadata =
        json!({ "annotations": { "cluster.open-cluster-management.io/autoupdate": "false" } });
    let spec = json!({ "spec": { "clusterSelector": { "selectorType": "LabelSelector" } } });
    world.see(put(stored(
        resource::SETS,
        "",
        "default",
        metadata,
        spec,
        Value::Null,
    )));
    assert!(matches!(
        &world.decide_set("default")[..],
        [Plan::ShowSet(..)]
    ));
}

#[test]
fn a_binding_shows_whether_its_set_exists() {
    let mut world = world();
    world.see(put(stored(
        resource::BINDINGS,
        "apps",
        "prod",
        json!({}),
        json!({ "spec": { "clusterSet": "prod" } }),
        Value::Null,
    )));
    let key = Subject::Binding {
        namespace: "apps".into(),
        name: "prod".into(),
    };
    let shown = |world: &mut World| match world
        .sets
        .decide(&key, Timestamp::UNIX_EPOCH)
        .unwrap()
        .pop()
    {
        Some(Plan::ShowBinding { condition, .. }) => condition.reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(shown(&mut world), "ClusterSetNotFound");
    world.queue.take(tokio::time::Instant::now());
    world.see(set("prod", json!({})));
    assert!(world.queue.take(tokio::time::Instant::now()).contains(&key));
    assert_eq!(shown(&mut world), "ClusterSetBound");
}

#[test]
fn namespaces_of_sets_are_shown_in_their_clusters() {
    let mut world = world();
    let wants = |names: &[&str]| {
        let names: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
        set("prod", json!({ "managedNamespaces": names }))
    };
    let global = json!({ "selectorType": "LabelSelector", "labelSelector": {} });
    let global = json!({ "clusterSelector": global, "managedNamespaces": [{ "name": "base" }] });
    world.see(wants(&["b", "a"])).see(set("global", global));
    world
        .see(cluster("east", "prod"))
        .see(cluster("west", "dev"));
    let decided = |world: &mut World, cluster: &str| {
        let key = Subject::Cluster(cluster.to_owned());
        match world.sets.decide(&key, Timestamp::UNIX_EPOCH)?.pop() {
            Some(Plan::ShowNamespaces(_, wanted)) => {
                let pairs = wanted
                    .into_iter()
                    .map(|(set, name)| format!("{set}/{name}"));
                Some(pairs.collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        decided(&mut world, "east").unwrap(),
        ["global/base", "prod/a", "prod/b"]
    );
    assert_eq!(decided(&mut world, "west").unwrap(), ["global/base"]);

    let entry = |set: &str, name: &str| json!({ "clusterSet": set, "name": name });
    let shown = [
        entry("global", "base"),
        entry("prod", "a"),
        entry("prod", "b"),
    ];
    let labels = json!({ "labels": { "cluster.open-cluster-management.io/clusterset": "prod" } });
    let status = json!({ "managedNamespaces": shown });
    let east = |labels: Value| {
        put(stored(
            resource::CLUSTERS,
            "",
            "east",
            labels,
            json!({ "spec": {} }),
            status.clone(),
        ))
    };
    world.see(east(labels));
    assert_eq!(
        decided(&mut world, "east"),
        None,
        "what is shown is not written again (P13)"
    );
    world.queue.take(tokio::time::Instant::now());
    world.see(wants(&["a"]));
    let marked = world.queue.take(tokio::time::Instant::now());
    assert!(
        marked.contains(&Subject::Cluster("east".into())),
        "{marked:?}"
    );
    assert!(
        !marked.contains(&Subject::Cluster("west".into())),
        "{marked:?}"
    );
    assert_eq!(
        decided(&mut world, "east").unwrap(),
        ["global/base", "prod/a"]
    );
    world.see(east(json!({})));
    assert_eq!(decided(&mut world, "east").unwrap(), ["global/base"]);
}
