//! The hub as users of `kubectl` know an API server: README's tour, command by command.

mod kubectl {
    mod explaining;
}

use std::time::Duration;

use anyhow::{Context as _, bail};
use koinon_tests::{Hub, kubectl::Kubectl};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::ChildStdout,
};

const OBJECTS: &str = "
apiVersion: cluster.open-cluster-management.io/v1
kind: ManagedCluster
metadata: {name: east, labels: {env: prod}}
spec:
  hubAcceptsClient: true
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: cluster.open-cluster-management.io/v1beta2
kind: ManagedClusterSetBinding
metadata: {name: default, namespace: shop}
spec: {clusterSet: default}
---
apiVersion: cluster.open-cluster-management.io/v1beta1
kind: Placement
metadata: {name: two, namespace: shop}
spec: {numberOfClusters: 2}
---
apiVersion: work.open-cluster-management.io/v1alpha1
kind: ManifestWorkReplicaSet
metadata: {name: web, namespace: shop}
spec:
  placementRefs: [{name: two}]
  manifestWorkTemplate:
    workload:
      manifests:
      - {apiVersion: v1, kind: ConfigMap, metadata: {name: page, namespace: shop}, data: {title: hello}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: notes, namespace: shop}
data: {k: v}
";

async fn hub(dir: &tempfile::TempDir) -> anyhow::Result<(Hub, Kubectl)> {
    let hub = Hub::start(dir.path()).await?;
    let kubectl = hub.kubectl();
    Ok((hub, kubectl))
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[tokio::test]
async fn objects_are_applied_read_changed_and_deleted() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (_hub, kubectl) = hub(&dir).await?;

    let said = kubectl.apply(OBJECTS).await?;
    assert_eq!(said.matches(" created").count(), 6, "{said}");
    let said = kubectl.apply(OBJECTS).await?;
    for unchanged in ["managedcluster", "placement", "managedclustersetbinding"] {
        let line = said
            .lines()
            .find(|line| line.starts_with(&format!("{unchanged}.")));
        assert!(
            line.is_some_and(|line| line.ends_with(" unchanged")),
            "{said}"
        );
    }
    let changed = OBJECTS
        .replace("env: prod", "env: dev")
        .replace("{k: v}", "{k: w}")
        .replace("numberOfClusters: 2", "numberOfClusters: 3");
    kubectl.apply(&changed).await?;
    let read = |value: Value, pointer: &str| value.pointer(pointer).cloned().unwrap_or_default();
    let notes = kubectl
        .json(&["get", "configmap", "notes", "-n", "shop"])
        .await?;
    assert_eq!(read(notes, "/data/k"), "w");
    let placement = kubectl
        .json(&["get", "placement", "two", "-n", "shop"])
        .await?;
    assert_eq!(read(placement, "/spec/numberOfClusters"), 3);

    let table = kubectl.run(&["get", "managedclusters"]).await?;
    let mut lines = table.lines();
    let head = "NAME HUB ACCEPTED MANAGED CLUSTER URLS JOINED AVAILABLE AGE";
    assert_eq!(words(lines.next().unwrap_or_default()).join(" "), head);
    assert_eq!(
        words(lines.next().unwrap_or_default())[..2],
        ["east", "true"]
    );
    let table = kubectl.run(&["get", "placements", "-A"]).await?;
    assert_eq!(
        words(table.lines().next().unwrap_or_default()),
        [
            "NAMESPACE",
            "NAME",
            "SUCCEEDED",
            "REASON",
            "SELECTEDCLUSTERS"
        ]
    );
    kubectl
        .run(&["get", "manifestworks", "-A", "-o", "wide"])
        .await?;
    let described = kubectl.run(&["describe", "mcl", "east"]).await?;
    assert!(
        described.contains("Hub Accepts Client:") && described.contains("env=dev"),
        "{described}"
    );

    kubectl.run(&["label", "mcl", "east", "region=eu"]).await?;
    kubectl
        .run(&["annotate", "ns", "shop", "owner=team"])
        .await?;
    kubectl
        .edit(
            &["mcl", "east"],
            "sed -i 's/leaseDurationSeconds:.*/leaseDurationSeconds: 77/' \"$1\"",
        )
        .await?;
    kubectl
        .edit(
            &["configmap", "notes", "-n", "shop"],
            "sed -i 's/  k: w/  k: x/' \"$1\"",
        )
        .await?;
    let east = kubectl
        .json(&["get", "mcl", "-l", "region=eu,env in (dev)"])
        .await?;
    assert_eq!(read(east, "/items/0/spec/leaseDurationSeconds"), 77);
    kubectl
        .run(&[
            "wait",
            "--for=jsonpath={.spec.leaseDurationSeconds}=77",
            "mcl/east",
            "--timeout=20s",
        ])
        .await?;
    let status = r#"{"status":{"conditions":[{"type":"Example","status":"True","reason":"Test","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
    kubectl
        .run(&[
            "patch",
            "mcl",
            "east",
            "--subresource=status",
            "--type=merge",
            "-p",
            status,
        ])
        .await?;
    kubectl
        .run(&[
            "wait",
            "--for=condition=Example",
            "mcl/east",
            "--timeout=60s",
        ])
        .await?;

    kubectl
        .run(&["delete", "placement", "two", "-n", "shop"])
        .await?;
    let gone = kubectl
        .refused(&["get", "placement", "two", "-n", "shop"], "")
        .await?;
    assert!(
        gone.contains(
            r#"(NotFound): placements.cluster.open-cluster-management.io "two" not found"#
        ),
        "{gone}"
    );
    kubectl
        .run(&["delete", "mwrs", "web", "-n", "shop", "--timeout=60s"])
        .await?;
    kubectl
        .run(&["delete", "namespace", "shop", "--timeout=60s"])
        .await?;
    Ok(())
}

/// What scripts and pipelines do.
#[tokio::test]
async fn pipelines_compare_prune_wait_and_read_events() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (_hub, kubectl) = hub(&dir).await?;
    let map = |name: &str, value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default, labels: {{app: web}}}}\ndata: {{k: {value}}}\n---\n"
        )
    };
    let both = map("one", "a") + &map("two", "a");
    kubectl.apply(&both).await?;

    let same = kubectl.say(&["diff", "-f", "-"], &both).await?;
    assert_eq!(
        (same.code, same.stdout.as_str()),
        (0, ""),
        "{}",
        same.stderr
    );
    let changed = map("one", "b") + &map("two", "a");
    let differs = kubectl.say(&["diff", "-f", "-"], &changed).await?;
    assert_eq!(differs.code, 1, "{}", differs.stderr);
    assert!(
        differs.stdout.contains("-  k: a") && differs.stdout.contains("+  k: b"),
        "{}",
        differs.stdout
    );
    let untouched = kubectl
        .json(&["get", "configmap", "one", "-n", "default"])
        .await?;
    assert_eq!(untouched["data"]["k"], "a");
    let server_side = kubectl
        .say(
            &["diff", "--server-side", "--force-conflicts", "-f", "-"],
            &changed,
        )
        .await?;
    assert_eq!(server_side.code, 1, "{}", server_side.stderr);

    let prune = [
        "apply",
        "-f",
        "-",
        "--prune",
        "-l",
        "app=web",
        "--prune-allowlist=core/v1/ConfigMap",
        "-n",
        "default",
    ];
    let pruned = kubectl.run_with_input(&prune, &map("one", "b")).await?;
    assert!(
        pruned.contains("configmap/one configured") && pruned.contains("configmap/two pruned"),
        "{pruned}"
    );

    let wait = |what: &'static [&'static str]| {
        let kubectl = kubectl.clone();
        tokio::spawn(async move { kubectl.run(what).await })
    };
    kubectl
        .run(&[
            "patch",
            "configmap",
            "one",
            "-n",
            "default",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":["example.com/hold"]}}"#,
        ])
        .await?;
    kubectl
        .run(&[
            "delete",
            "configmap",
            "one",
            "-n",
            "default",
            "--wait=false",
        ])
        .await?;
    let gone = wait(&[
        "wait",
        "--for=delete",
        "configmap/one",
        "-n",
        "default",
        "--timeout=60s",
    ]);
    kubectl
        .run(&[
            "patch",
            "configmap",
            "one",
            "-n",
            "default",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .await?;
    gone.await??;

    let event = "apiVersion: v1\nkind: Event\nmetadata: {name: shop.1, namespace: default}\ntype: Warning\nreason: Sold\nmessage: nothing is left\ninvolvedObject: {apiVersion: v1, kind: ConfigMap, name: shop, namespace: default}\nlastTimestamp: 2026-01-01T00:00:00Z\n";
    kubectl
        .run_with_input(&["create", "-f", "-"], event)
        .await?;
    let shown = kubectl
        .run(&["events", "-n", "default", "--types=Warning"])
        .await?;
    assert!(
        shown.contains("Sold")
            && shown.contains("ConfigMap/shop")
            && shown.contains("nothing is left"),
        "{shown}"
    );
    let of_one = kubectl
        .run(&["events", "-n", "default", "--for", "configmap/shop"])
        .await?;
    assert!(of_one.contains("Sold"), "{of_one}");
    Ok(())
}

#[tokio::test]
async fn what_is_wrong_is_said_as_kubernetes_says_it() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (_hub, kubectl) = hub(&dir).await?;
    let cluster = "apiVersion: cluster.open-cluster-management.io/v1\nkind: ManagedCluster\nmetadata: {name: NAME}\nspec: SPEC\n";
    let made = |name: &str, spec: &str| cluster.replace("NAME", name).replace("SPEC", spec);
    for (yaml, said) in [
        (
            made("east", "{colour: red}"),
            "unknown field \"spec.colour\"",
        ),
        (
            made("east", "{leaseDurationSeconds: soon}"),
            "spec.leaseDurationSeconds",
        ),
        (
            made("Not_A_Name", "{}"),
            "metadata.name: Invalid value: \"Not_A_Name\"",
        ),
        (
            made("east", "{taints: [{key: a, effect: Never}]}"),
            "spec.taints[0].effect: Unsupported value: \"Never\"",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: nowhere}\n".to_owned(),
            "namespaces \"nowhere\" not found",
        ),
    ] {
        let refused = kubectl.refused(&["create", "-f", "-"], &yaml).await?;
        assert!(refused.contains(said), "{said}: {refused}");
    }
    let refused = kubectl.refused(&["get", "mcl", "-l", "a in b"], "").await?;
    assert!(refused.contains("unable to parse requirement"), "{refused}");
    assert_eq!(
        kubectl.json(&["get", "mcl"]).await?["items"],
        serde_json::json!([]),
        "nothing was changed"
    );

    kubectl.apply(&made("east", "{}")).await?;
    let mut stale = kubectl.json(&["get", "mcl", "east"]).await?;
    kubectl.run(&["label", "mcl", "east", "a=b"]).await?;
    stale["spec"]["leaseDurationSeconds"] = 5.into();
    let refused = kubectl
        .refused(&["replace", "-f", "-"], &stale.to_string())
        .await?;
    assert!(
        refused.contains(
            "the object has been modified; please apply your changes to the latest version"
        ),
        "{refused}"
    );
    Ok(())
}

#[tokio::test]
async fn a_watch_shows_what_happens() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (_hub, kubectl) = hub(&dir).await?;
    let map = |data: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: seen, namespace: default}}\ndata: {{k: {data}}}\n"
        )
    };
    kubectl.apply(&map("a")).await?;
    let mut watching = kubectl.start(&["get", "configmaps", "-w", "--output-watch-events"])?;
    let stdout = watching.stdout.take().context("standard output is piped")?;
    let mut lines = BufReader::new(stdout).lines();
    // What is there already comes first: from then on the watch is up.
    read_until(&mut lines, "ADDED").await?;
    kubectl.apply(&map("b")).await?;
    read_until(&mut lines, "MODIFIED").await?;
    kubectl.run(&["delete", "configmap", "seen"]).await?;
    read_until(&mut lines, "DELETED").await?;
    watching.kill().await?;
    Ok(())
}

/// Reads lines until one begins with `event` and names the object.
async fn read_until(lines: &mut Lines<BufReader<ChildStdout>>, event: &str) -> anyhow::Result<()> {
    let read = async {
        while let Some(line) = lines.next_line().await? {
            if line.starts_with(event) && line.contains("seen") {
                return Ok(());
            }
        }
        bail!("the watch ended before {event}")
    };
    tokio::time::timeout(Duration::from_secs(60), read)
        .await
        .with_context(|| format!("no {event} came"))?
}
