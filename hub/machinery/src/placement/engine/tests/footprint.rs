//! What a cluster costs.

use super::*;

#[test]
fn a_cluster_takes_less_than_300_bytes_beside_its_strings() {
    const CLUSTERS: usize = 10_000;
    let mut engine = Engine::default();
    let set = json!({ "metadata": { "name": "prod" }, "spec": {} });
    engine.put_set(
        "prod",
        Membership::of(&typed(
            "cluster.open-cluster-management.io/v1beta2",
            "ManagedClusterSet",
            set,
        )),
    );
    for n in 0..CLUSTERS {
        engine.put_cluster(&typical(n));
    }
    let used = engine.footprint();
    assert!(
        used.beside / CLUSTERS < 300,
        "{} bytes for each",
        used.beside / CLUSTERS
    );
    for n in 0..CLUSTERS {
        engine.remove_cluster(&typical(n).name);
    }
    assert_eq!(engine.footprint().strings, 0, "nothing of a cluster stays");
}

/// Eight labels and six claims, three of them its own, and four resources.
fn typical(n: usize) -> Cluster {
    let pairs = |pairs: &[(&str, String)]| {
        let all = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()));
        all.collect::<BTreeMap<String, String>>()
    };
    let units = |units: usize| Amount::thousandths(1000 * i64::try_from(units).unwrap());
    let amounts = |cpu: usize| {
        let all = [
            ("cpu", cpu),
            ("memory", cpu * 4_000_000_000),
            ("pods", 250),
            ("ephemeral-storage", 100_000_000_000),
        ];
        all.map(|(name, amount)| (name.to_owned(), units(amount)))
            .into()
    };
    Cluster {
        name: format!("cluster-{n:05}"),
        labels: pairs(&[
            (
                "cluster.open-cluster-management.io/clusterset",
                "prod".into(),
            ),
            ("name", format!("cluster-{n:05}")),
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
        claims: pairs(&[
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
        cpu: Some(units(n % 64)),
        memory: Some(units(n % 64 * 4_000_000_000)),
        allocatable: amounts(n % 64),
        ..Cluster::default()
    }
}
