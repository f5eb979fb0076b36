//! Works, end to end: hub, agent and a real cluster (P3, P8, P13).

use std::time::Duration;

use anyhow::{Context, ensure};
use koinon_tests::{League, eventually, league::condition, stays};
use serde_json::{Value, json};

const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";

async fn create(league: &League, name: &str, spec: Value) -> anyhow::Result<()> {
    let work = json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork", "metadata": {"name": name}, "spec": spec});
    let request = http::Request::post(WORKS)
        .header("content-type", "application/json")
        .body(serde_json::to_vec(&work)?)?;
    league.client().await?.request::<Value>(request).await?;
    Ok(())
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}, "data": data})
}

fn spec(data: Value) -> Value {
    json!({"workload": {"manifests": [config_map("settings", data), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}]}})
}

async fn until_applied(league: &League, name: &str, applied: &str) -> anyhow::Result<Value> {
    eventually(&format!("work {name} has Applied={applied}"), async || {
        let work = league.get(&format!("{WORKS}/{name}")).await?;
        let current = work["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten();
        let current = current
            .filter(|c| c["type"] == "Applied")
            .any(|c| c["observedGeneration"] == work["metadata"]["generation"]);
        ensure!(
            condition(&work, "Applied") == applied && current,
            "{}",
            work["status"]
        );
        Ok(Some(work))
    })
    .await
}

async fn data(league: &League, expected: Value) -> anyhow::Result<Value> {
    let kubectl = league.member_kubectl("east");
    eventually("the config map has its data", async || {
        let live = kubectl
            .json(&["get", "configmap", "settings", "-n", "shop"])
            .await?;
        ensure!(live["data"] == expected, "{live}");
        Ok(Some(live))
    })
    .await
}

/// Versions of everything that the agent has written in the member: the cluster's own controllers write there
/// too (default service accounts and their tokens), whenever they get to it.
async fn versions(league: &League) -> anyhow::Result<Vec<String>> {
    let kubectl = league.member_kubectl("east");
    let mut versions = Vec::new();
    for path in [
        "/api/v1/namespaces",
        "/api/v1/namespaces/shop/configmaps",
        "/api/v1/namespaces/shop/serviceaccounts",
        "/apis/work.open-cluster-management.io/v1/appliedmanifestworks",
        "/api/v1/namespaces/open-cluster-management-agent/configmaps",
        "/api/v1/namespaces/open-cluster-management-agent/secrets",
    ] {
        let list: Value = serde_json::from_str(&kubectl.run(&["get", "--raw", path]).await?)?;
        // Items of a typed list do not say what they are.
        let kind = list["kind"].as_str().unwrap_or_default();
        let kind = kind.trim_end_matches("List");
        for item in list["items"].as_array().context("no list")? {
            let managers = item["metadata"]["managedFields"].as_array();
            if managers.is_some_and(|m| m.iter().any(|m| m["manager"] == "koinon-klusterlet")) {
                versions.push(format!(
                    "{kind} {} {}",
                    item["metadata"]["name"], item["metadata"]["resourceVersion"]
                ));
            }
        }
    }
    Ok(versions)
}

#[tokio::test]
async fn a_work_is_applied_kept_changed_and_removed() -> anyhow::Result<()> {
    let league = League::start().clusters(["east"]).await?;
    create(&league, "shop", spec(json!({"k": "1"}))).await?;
    let work = until_applied(&league, "shop", "True").await?;
    assert_eq!(condition(&work, "Available"), "True");
    let kubectl = league.member_kubectl("east");
    let live = data(&league, json!({"k": "1"})).await?;
    assert_eq!(
        live["metadata"]["ownerReferences"][0]["kind"],
        "AppliedManifestWork"
    );

    // It stays as declared.
    kubectl
        .run(&[
            "patch",
            "configmap",
            "settings",
            "-n",
            "shop",
            "--type=merge",
            "-p",
            r#"{"data":{"k":"drift"}}"#,
        ])
        .await?;
    data(&league, json!({"k": "1"})).await?;
    kubectl
        .run(&["delete", "configmap", "settings", "-n", "shop"])
        .await?;
    data(&league, json!({"k": "1"})).await?;

    // It follows.
    league
        .patch(
            &format!("{WORKS}/shop"),
            &json!({"spec": spec(json!({"n": "2"}))}),
        )
        .await?;
    until_applied(&league, "shop", "True").await?;
    data(&league, json!({"n": "2"})).await?;

    // It goes, in the member first.
    kubectl
        .run(&[
            "patch",
            "configmap",
            "settings",
            "-n",
            "shop",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":["test.koinon.dev/hold"]}}"#,
        ])
        .await?;
    league
        .kubectl()
        .run(&[
            "delete",
            "manifestwork",
            "shop",
            "-n",
            "east",
            "--wait=false",
        ])
        .await?;
    eventually("the work says that it is being deleted", async || {
        let work = league.get(&format!("{WORKS}/shop")).await?;
        Ok((condition(&work, "Deleting") == "True").then_some(()))
    })
    .await?;
    stays(
        "the work waits for its objects",
        Duration::from_secs(2),
        async || Ok(league.get(&format!("{WORKS}/shop")).await.is_ok()),
    )
    .await?;
    kubectl
        .run(&[
            "patch",
            "configmap",
            "settings",
            "-n",
            "shop",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .await?;
    eventually("the work is gone", async || {
        Ok(league
            .get(&format!("{WORKS}/shop"))
            .await
            .is_err()
            .then_some(()))
    })
    .await?;
    assert!(
        kubectl
            .run(&["get", "configmap", "settings", "-n", "shop"])
            .await
            .is_err()
    );
    let records = kubectl.json(&["get", "appliedmanifestworks"]).await?;
    assert_eq!(records["items"], json!([]));
    league.finish();
    Ok(())
}

#[tokio::test]
async fn a_bad_manifest_shows_the_servers_words_and_the_others_are_applied() -> anyhow::Result<()> {
    let league = League::start().clusters(["east"]).await?;
    let mut bad = spec(json!({"k": "1"}));
    bad["workload"]["manifests"].as_array_mut().context("no list")?.push(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad", "namespace": "shop"}, "spec": {"ports": [{"port": 99999}]},
    }));
    create(&league, "shop", bad).await?;
    let work = until_applied(&league, "shop", "False").await?;
    let manifests = &work["status"]["resourceStatus"]["manifests"];
    let applied = |n: usize| {
        manifests[n]["conditions"]
            .as_array()
            .and_then(|all| all.iter().find(|c| c["type"] == "Applied"))
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(
        (applied(0)["status"].as_str(), applied(1)["status"].as_str()),
        (Some("True"), Some("True")),
        "{manifests}"
    );
    assert!(
        applied(2)["message"]
            .as_str()
            .is_some_and(|m| m.contains("Invalid value: 99999")),
        "{manifests}"
    );
    data(&league, json!({"k": "1"})).await?;
    league.finish();
    Ok(())
}

/// P8 and P3: without its hub, and across its own restart, an agent keeps the cluster as it was last told, writes nothing
/// on its own account, and deletes nothing; what happened meanwhile arrives later.
#[tokio::test]
async fn an_agent_without_its_hub_keeps_its_cluster_across_its_own_restart() -> anyhow::Result<()> {
    let mut league = League::start().clusters(["east"]).await?;
    create(&league, "shop", spec(json!({"k": "1"}))).await?;
    create(&league, "doomed", json!({"workload": {"manifests": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "doomed", "namespace": "default"}}]}})).await?;
    until_applied(&league, "shop", "True").await?;
    until_applied(&league, "doomed", "True").await?;
    let before = data(&league, json!({"k": "1"})).await?;

    league.site("east").wire.cut();
    league
        .kubectl()
        .run(&[
            "delete",
            "manifestwork",
            "doomed",
            "-n",
            "east",
            "--wait=false",
        ])
        .await?;
    league
        .patch(
            &format!("{WORKS}/shop"),
            &json!({"spec": spec(json!({"k": "2"}))}),
        )
        .await?;
    league.site("east").agent.restart()?;

    let kubectl = league.member_kubectl("east");
    // Alive and at work: drift is repaired without the hub.
    eventually("drift is repaired without the hub", async || {
        kubectl
            .run(&[
                "delete",
                "configmap",
                "settings",
                "-n",
                "shop",
                "--ignore-not-found",
            ])
            .await?;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let live = kubectl
            .json(&["get", "configmap", "settings", "-n", "shop"])
            .await?;
        Ok((live["metadata"]["uid"] != before["metadata"]["uid"]
            && live["data"] == json!({"k": "1"}))
        .then_some(()))
    })
    .await?;
    stays(
        "what was not told is not done",
        Duration::from_secs(3),
        async || {
            Ok(kubectl.run(&["get", "configmap", "doomed"]).await.is_ok()
                && data(&league, json!({"k": "1"})).await.is_ok())
        },
    )
    .await?;

    league.site("east").wire.resume();
    data(&league, json!({"k": "2"})).await?;
    eventually("the deleted work is gone", async || {
        Ok(league
            .get(&format!("{WORKS}/doomed"))
            .await
            .is_err()
            .then_some(()))
    })
    .await?;
    assert!(kubectl.run(&["get", "configmap", "doomed"]).await.is_err());
    league.finish();
    Ok(())
}

/// P13, also across a restart of the agent.
#[tokio::test]
async fn an_agent_writes_nothing_while_nothing_changes() -> anyhow::Result<()> {
    let mut league = League::start().clusters(["east"]).await?;
    create(&league, "shop", spec(json!({"k": "1"}))).await?;
    until_applied(&league, "shop", "True").await?;
    let records = league.member_kubectl("east");
    eventually("what was applied is recorded", async || {
        let records = records.json(&["get", "appliedmanifestworks"]).await?;
        let applied = records["items"][0]["status"]["appliedResources"].as_array();
        Ok(applied.is_some_and(|all| all.len() == 2).then_some(()))
    })
    .await?;
    let before = versions(&league).await?;
    for kind in ["Namespace", "ConfigMap", "AppliedManifestWork"] {
        ensure!(before.iter().any(|v| v.starts_with(kind)), "{before:?}");
    }
    stays("nothing is written", Duration::from_secs(6), async || {
        Ok(versions(&league).await? == before)
    })
    .await?;
    let status = league.get(&format!("{WORKS}/shop")).await?["status"].clone();

    league.site("east").agent.restart()?;
    league.available("east", "True").await?;
    stays(
        "nothing is written after a restart",
        Duration::from_secs(6),
        async || Ok(versions(&league).await? == before),
    )
    .await?;
    let after = league.get(&format!("{WORKS}/shop")).await?["status"].clone();
    assert_eq!(
        status["resourceStatus"]["manifests"]
            .as_array()
            .map(Vec::len),
        after["resourceStatus"]["manifests"]
            .as_array()
            .map(Vec::len)
    );
    league.finish();
    Ok(())
}

/// P11: when much of what a cluster has is deleted on the hub at once, most of it waits until an admin approves.
#[tokio::test]
async fn a_mass_deletion_waits_for_an_approval_also_across_a_restart() -> anyhow::Result<()> {
    let mut league = League::start()
        .agent_flag("--mass-deletion-percent=50")
        .agent_flag("--mass-deletion-objects=1")
        .clusters(["east"])
        .await?;
    let names: Vec<String> = (0..6).map(|n| format!("work-{n}")).collect();
    for name in &names {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}});
        create(&league, name, json!({"workload": {"manifests": [map]}})).await?;
    }
    for name in &names {
        until_applied(&league, name, "True").await?;
    }
    let delete = [
        "delete",
        "manifestworks",
        "-n",
        "east",
        "--all",
        "--wait=false",
    ];
    league.kubectl().run(&delete).await?;
    let held = async || {
        let works = league.get(WORKS).await?;
        let works = works["items"].as_array().cloned().unwrap_or_default();
        let held = works
            .iter()
            .filter(|work| condition(work, "DeletionHeld") == "True")
            .count();
        anyhow::Ok((works.len(), held))
    };
    eventually("half of them go, the others wait", async || {
        let (left, held) = held().await?;
        ensure!((left, held) == (3, 3), "{left} left, {held} held");
        Ok(Some(()))
    })
    .await?;
    let cluster = "/apis/cluster.open-cluster-management.io/v1/managedclusters/east";
    eventually("the cluster says so", async || {
        Ok((condition(&league.get(cluster).await?, "DeletionHold") == "True").then_some(()))
    })
    .await?;

    league.site("east").agent.restart()?;
    league.available("east", "True").await?;
    stays("they wait", Duration::from_secs(3), async || {
        // What went before counts for the new agent as well.
        let works = league.get(WORKS).await?;
        Ok(works["items"].as_array().is_some_and(|all| all.len() == 3))
    })
    .await?;
    let said = league
        .koinon()
        .run(&["cluster", "approve-deletion", "east"])
        .await?;
    assert!(said.contains("up to revision"), "{said}");
    eventually("all are gone", async || {
        let works = league.get(WORKS).await?;
        Ok(works["items"]
            .as_array()
            .is_some_and(Vec::is_empty)
            .then_some(()))
    })
    .await?;
    eventually("the cluster says nothing of it any more", async || {
        Ok(condition(&league.get(cluster).await?, "DeletionHold")
            .is_empty()
            .then_some(()))
    })
    .await?;
    league.finish();
    Ok(())
}

/// A work that is complete goes from the hub after its time, and its objects go with it.
#[tokio::test]
async fn what_is_finished_goes_after_its_time_with_its_objects() -> anyhow::Result<()> {
    let league = League::start().clusters(["east"]).await?;
    let mut map = config_map("once", json!({"done": "no"}));
    map["metadata"]["namespace"] = "default".into();
    let mut job = json!({"workload": {"manifests": [map]}});
    job["manifestConfigs"] = json!([{
        "resourceIdentifier": {"resource": "configmaps", "name": "once", "namespace": "default"},
        "updateStrategy": {"type": "CreateOnly"},
        "conditionRules": [{"condition": "Complete", "type": "CEL", "celExpressions": ["object.data.done == 'yes'"]}],
    }]);
    job["deleteOption"] = json!({"propagationPolicy": "Foreground", "ttlSecondsAfterFinished": 1});
    create(&league, "job", job).await?;
    let work = until_applied(&league, "job", "True").await?;
    let uid = &work["metadata"]["uid"];
    let kubectl = league.member_kubectl("east");
    // Not before it is complete, however long that takes.
    let is_kept = async || {
        let work = league.get(&format!("{WORKS}/job")).await?;
        Ok(condition(&work, "Complete") == "False" && work["metadata"]["uid"] == *uid)
    };
    eventually("it is not complete", async || {
        Ok(is_kept().await?.then_some(()))
    })
    .await?;
    stays("the work is kept", Duration::from_secs(2), is_kept).await?;
    let patch = json!({"data": {"done": "yes"}}).to_string();
    let patch = ["patch", "configmap", "once", "--type=merge", "-p", &patch];
    kubectl.run(&patch).await?;
    eventually("the work is gone", async || {
        let works = league.get(WORKS).await?;
        Ok(works["items"]
            .as_array()
            .is_some_and(Vec::is_empty)
            .then_some(()))
    })
    .await?;
    let get = [
        "get",
        "configmap",
        "once",
        "--ignore-not-found",
        "-o",
        "name",
    ];
    eventually("its object is gone", async || {
        Ok(kubectl.run(&get).await?.trim().is_empty().then_some(()))
    })
    .await?;
    league.finish();
    Ok(())
}
