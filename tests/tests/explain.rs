//! Why a placement chose what it chose, asked of a hub: now and afterwards, by those who may.

use anyhow::{Context, ensure};
use koinon_tests::{Hub, Koinon, eventually, kubectl::Kubectl};
use serde_json::Value;

const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: apps}
---
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSetBinding
metadata: {name: global, namespace: apps}
spec: {clusterSet: global}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reader, namespace: apps}
rules:
- {apiGroups: [cluster.open-cluster-management.io], resources: [placements], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: apps}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: tenant}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: sees-c1}
rules:
- {apiGroups: [cluster.open-cluster-management.io], resources: [managedclusters], resourceNames: [c1], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: sees-c1}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: sees-c1}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: tenant}]
";

const EXPLAIN: &str = "/apis/cluster.open-cluster-management.io/v1beta1/namespaces/apps/placements";

fn clusters() -> String {
    let one = |n: usize| {
        format!(
            "---\napiVersion: cluster.open-cluster-management.io/v1\nkind: ManagedCluster\nmetadata: {{name: c{n}, labels: {{tier: prod}}}}\nspec: {{hubAcceptsClient: false}}\n"
        )
    };
    (1..=4).map(one).collect()
}

fn placements() -> String {
    let one = |name: &str| {
        format!(
            "---\napiVersion: cluster.open-cluster-management.io/v1beta1\nkind: Placement\nmetadata: {{name: {name}, namespace: apps}}\nspec:\n  numberOfClusters: 2\n  tolerations: [{{operator: Exists}}]\n  predicates: [{{requiredClusterSelector: {{labelSelector: {{matchLabels: {{tier: prod}}}}}}}}]\n"
        )
    };
    ["a", "b", "c"].map(one).concat()
}

async fn raw(kubectl: &Kubectl, path: &str, user: Option<&str>) -> anyhow::Result<Value> {
    let mut args = vec!["get", "--raw", path];
    args.extend(user.map(|_| "--as"));
    args.extend(user);
    Ok(serde_json::from_str(&kubectl.run(&args).await?)?)
}

fn chosen(explanation: &Value) -> Vec<String> {
    let clusters = explanation["clusters"].as_array().into_iter().flatten();
    clusters
        .filter(|one| one["selected"] == true)
        .filter_map(|one| one["cluster"].as_str().map(str::to_owned))
        .collect()
}

/// Clusters and snapshot of the decision of a placement, once it has one.
async fn decided(kubectl: &Kubectl, placement: &str) -> anyhow::Result<(Vec<String>, String)> {
    eventually(&format!("{placement} is decided"), async || {
        let name = format!("{placement}-decision-1");
        let decision = kubectl
            .json(&["get", "placementdecision", &name, "-n", "apps"])
            .await?;
        let decisions = decision["status"]["decisions"].as_array().cloned();
        let names: Vec<String> = decisions
            .into_iter()
            .flatten()
            .filter_map(|one| one["clusterName"].as_str().map(str::to_owned))
            .collect();
        let snapshot = decision["metadata"]["annotations"]["koinon.dev/snapshot"].as_str();
        Ok(snapshot
            .filter(|_| names.len() == 2)
            .map(|snapshot| (names, snapshot.to_owned())))
    })
    .await
}

#[tokio::test]
async fn a_decision_is_explained_now_and_with_the_snapshot_it_was_made_from() -> anyhow::Result<()>
{
    let dir = tempfile::tempdir()?;
    let hub = Hub::start(dir.path()).await?;
    let kubectl = hub.kubectl();
    kubectl.apply(OBJECTS).await?;
    kubectl.apply(&clusters()).await?;
    kubectl.apply(&placements()).await?;

    let mut before = Vec::new();
    for placement in ["a", "b", "c"] {
        let (names, snapshot) = decided(&kubectl, placement).await?;
        let now = raw(&kubectl, &format!("{EXPLAIN}/{placement}/explain"), None).await?;
        ensure!(chosen(&now) == names, "{placement}: {now:#}");
        ensure!(
            now["clusters"][0]["scores"][0]["prioritizer"] == "Balance",
            "{now:#}"
        );
        before.push((placement, names, snapshot));
    }

    // What they were made from is no more.
    kubectl
        .run(&["label", "managedcluster", "--all", "tier-", "--overwrite"])
        .await?;
    kubectl
        .run(&["label", "managedcluster", "c4", "tier=prod"])
        .await?;
    eventually("only one cluster is left", async || {
        let now = raw(&kubectl, &format!("{EXPLAIN}/a/explain"), None).await?;
        Ok((chosen(&now) == ["c4"]).then_some(()))
    })
    .await?;
    for (placement, names, snapshot) in &before {
        let path = format!("{EXPLAIN}/{placement}/explain?revision={snapshot}");
        let then = raw(&kubectl, &path, None).await?;
        ensure!(
            chosen(&then) == *names,
            "{placement} at {snapshot}: {names:?}, {then:#}"
        );
    }
    let refused = kubectl
        .refused(
            &[
                "get",
                "--raw",
                &format!("{EXPLAIN}/a/explain?revision=999999999"),
            ],
            "",
        )
        .await?;
    ensure!(refused.contains("is not there yet"), "{refused}");

    may_be_asked_by_those_who_may(&kubectl).await?;
    what_would_be_is_asked_of_the_hub(&hub, &kubectl).await
}

/// The same commands as on a folder; nothing is written.
async fn what_would_be_is_asked_of_the_hub(hub: &Hub, kubectl: &Kubectl) -> anyhow::Result<()> {
    let (koinon, untouched) = (Koinon::new(&hub.kubeconfig()), "placementdecisions");
    eventually("two clusters for each", async || {
        let all = kubectl.json(&["get", untouched, "-n", "apps"]).await?;
        let decisions = all["items"].as_array().cloned().unwrap_or_default();
        let full = |one: &Value| one["status"]["decisions"].as_array().map(Vec::len) == Some(2);
        Ok((decisions.len() == 3 && decisions.iter().all(full)).then_some(()))
    })
    .await?;
    let before = kubectl.json(&["get", untouched, "-n", "apps"]).await?;
    for (args, code, said) in [
        (vec!["what-if", "--without-cluster", "c1"], 0, "moves"),
        (vec!["what-if", "--without", "tier=prod"], 3, "breaks"),
        (vec!["survive", "--by", "tier"], 3, "breaks"),
        (vec!["explain", "placement", "apps/a"], 0, "ranked 1 of 4"),
        (
            vec!["explain", "placement", "apps/a", "--cluster", "c3"],
            0,
            "Balance",
        ),
    ] {
        let answer = koinon.say(&args).await?;
        ensure!(
            answer.code == code && answer.stdout.contains(said),
            "{args:?}: {} {}{}",
            answer.code,
            answer.stdout,
            answer.stderr
        );
    }
    let after = kubectl.json(&["get", untouched, "-n", "apps"]).await?;
    ensure!(before["items"] == after["items"], "{after:#}");

    // Who is no candidate is explained, too.
    let outside = "apiVersion: cluster.open-cluster-management.io/v1\nkind: ManagedCluster\nmetadata: {name: c9}\nspec: {hubAcceptsClient: false}\n";
    kubectl.apply(outside).await?;
    kubectl
        .run(&["delete", "managedclustersetbinding", "global", "-n", "apps"])
        .await?;
    let bind = "apiVersion: cluster.open-cluster-management.io/v1beta2\nkind: ManagedClusterSet\nmetadata: {name: prod}\nspec: {clusterSelector: {selectorType: LabelSelector, labelSelector: {matchLabels: {tier: prod}}}}\n---\napiVersion: cluster.open-cluster-management.io/v1beta2\nkind: ManagedClusterSetBinding\nmetadata: {name: prod, namespace: apps}\nspec: {clusterSet: prod}\n";
    kubectl.apply(bind).await?;
    let args = ["explain", "placement", "apps/a", "--cluster", "c9"];
    let answer = koinon.run(&args).await?;
    ensure!(
        answer.contains("it is in none of the ManagedClusterSets [prod]"),
        "{answer}"
    );
    ensure!(answer.contains("label tier in (prod)"), "{answer}");
    let path = format!("{EXPLAIN}/a/explain?cluster=c9");
    let hidden = raw(kubectl, &path, Some("tenant")).await?;
    ensure!(hidden["reason"] == "NotFound", "{hidden:#}");
    Ok(())
}

async fn may_be_asked_by_those_who_may(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl
        .run(&[
            "label",
            "managedcluster",
            "--all",
            "tier=prod",
            "--overwrite",
        ])
        .await?;
    let path = format!("{EXPLAIN}/a/explain");
    let seen = raw(kubectl, &path, Some("tenant")).await?;
    let names: Vec<&str> = seen["clusters"]
        .as_array()
        .context("no clusters")?
        .iter()
        .filter_map(|one| one["cluster"].as_str())
        .collect();
    ensure!(
        names == ["c1"] && seen["hidden"]["clusters"] == 3,
        "{seen:#}"
    );
    let debug = raw(kubectl, "/debug/placements/apps/a", Some("tenant")).await?;
    ensure!(
        debug["filteredPipelineResults"][0]["filteredClusters"] == serde_json::json!(["c1"]),
        "{debug:#}"
    );
    ensure!(!debug.to_string().contains("c2"), "{debug:#}");
    let all = raw(kubectl, "/debug/placements/apps/a", None).await?;
    ensure!(
        all["aggregatedScores"]
            .as_array()
            .is_some_and(|all| all.len() == 4),
        "{all:#}"
    );
    for path in [path.as_str(), "/debug/placements/apps/a"] {
        let refused = kubectl
            .refused(&["get", "--raw", path, "--as", "stranger"], "")
            .await?;
        ensure!(refused.contains("forbidden"), "{refused}");
    }
    Ok(())
}
