//! The agent's engine against a real API server, without a hub: strategy × live state × change, and the number of
//! writes that it takes (P3, P13).

mod agent {
    pub(crate) mod bench;
    mod beside;
    mod crash;
    mod deletion;
    mod failing;
    mod fights;
    mod leaving;
    mod leftovers;
    mod lingering;
    mod pace;
    mod reach;
    mod rights;
    mod safety;
    mod settings;
    mod strategies;
    mod switching;
    mod truth;
    mod waiting;
}

use agent::bench::{Bench, applied, available, config_map};
use serde_json::json;

const NS: &str = "default";

#[tokio::test]
async fn each_strategy_treats_what_it_finds_in_its_own_way() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    // strategy, what exists before, what is declared → Applied, data afterwards, owned
    let cases = [
        (
            "update-new",
            json!({"type": "Update"}),
            None,
            json!({"k": "v"}),
            "True",
            Some(json!({"k": "v"})),
            true,
        ),
        (
            "update-old",
            json!({"type": "Update"}),
            Some(json!({"k": "w", "x": "y"})),
            json!({"k": "v"}),
            "True",
            Some(json!({"k": "v"})),
            true,
        ),
        (
            "once-new",
            json!({"type": "CreateOnly"}),
            None,
            json!({"k": "v"}),
            "True",
            Some(json!({"k": "v"})),
            true,
        ),
        (
            "once-old",
            json!({"type": "CreateOnly"}),
            Some(json!({"k": "w"})),
            json!({"k": "v"}),
            "True",
            Some(json!({"k": "w"})),
            true,
        ),
        (
            "ssa-new",
            json!({"type": "ServerSideApply"}),
            None,
            json!({"k": "v"}),
            "True",
            Some(json!({"k": "v"})),
            true,
        ),
        (
            "ssa-conflict",
            json!({"type": "ServerSideApply"}),
            Some(json!({"k": "w"})),
            json!({"k": "v"}),
            "False",
            Some(json!({"k": "w"})),
            false,
        ),
        (
            "ssa-beside",
            json!({"type": "ServerSideApply"}),
            Some(json!({"x": "y"})),
            json!({"k": "v"}),
            "True",
            Some(json!({"k": "v", "x": "y"})),
            true,
        ),
        (
            "ssa-force",
            json!({"type": "ServerSideApply", "serverSideApply": {"force": true, "fieldManager": "work-agent-x"}}),
            Some(json!({"k": "w", "x": "y"})),
            json!({"k": "v"}),
            "True",
            Some(json!({"k": "v", "x": "y"})),
            true,
        ),
        (
            "read-none",
            json!({"type": "ReadOnly"}),
            None,
            json!({"k": "v"}),
            "True",
            None,
            false,
        ),
        (
            "read-old",
            json!({"type": "ReadOnly"}),
            Some(json!({"k": "w"})),
            json!({"k": "v"}),
            "True",
            Some(json!({"k": "w"})),
            false,
        ),
    ];
    for (name, strategy, before, declared, expected, after, owned) in &cases {
        if let Some(data) = before {
            bench.put(&config_map(name, data)).await?;
        }
        let config = json!([{"resourceIdentifier": {"resource": "configmaps", "name": name, "namespace": NS}, "updateStrategy": strategy}]);
        bench.desire(name, 1, json!({"workload": {"manifests": [config_map(name, declared)]}, "manifestConfigs": config}))?;
        let status = bench.status(name, 1).await?;
        assert_eq!(applied(&status), *expected, "{name}: {status}");
        let live = bench.config_map(name).await?;
        assert_eq!(live.as_ref().map(|l| &l["data"]), after.as_ref(), "{name}");
        let owners = live
            .as_ref()
            .and_then(|l| l["metadata"]["ownerReferences"].as_array())
            .map_or(0, Vec::len);
        assert_eq!(owners == 1, *owned, "{name}");
        assert_eq!(
            available(&status),
            if after.is_some() { "True" } else { "False" },
            "{name}"
        );
    }

    // Quiet at rest: another look finds nothing to write, whatever the strategy (P13).
    bench.quiet().await;
    let before = bench.versions().await?;
    for (name, ..) in &cases {
        bench.look_again(name)?;
    }
    bench.quiet().await;
    let mut after = bench.versions().await?;
    after.retain(|key, _| before.contains_key(key));
    assert_eq!(before, after);

    // A newer manifest without a field removes it where the strategy may change the object.
    for (name, strategy, ..) in cases
        .iter()
        .filter(|c| ["update-old", "once-new", "ssa-force"].contains(&c.0))
    {
        let config = json!([{"resourceIdentifier": {"resource": "configmaps", "name": name, "namespace": "*"}, "updateStrategy": strategy}]);
        bench.desire(name, 2, json!({"workload": {"manifests": [config_map(name, &json!({"n": "1"}))]}, "manifestConfigs": config}))?;
        bench.status(name, 2).await?;
        let data = bench.config_map(name).await?.map(|l| l["data"].clone());
        let expected = match *name {
            "once-new" => json!({"k": "v"}),
            "ssa-force" => json!({"n": "1", "x": "y"}),
            _ => json!({"n": "1"}),
        };
        assert_eq!(data, Some(expected), "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn drift_is_repaired_at_once_and_with_one_write() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    for (name, strategy) in [("drift-update", "Update"), ("drift-ssa", "ServerSideApply")] {
        let config = json!([{
            "resourceIdentifier": {"resource": "configmaps", "name": "*", "namespace": "*"},
            "updateStrategy": {"type": strategy, "serverSideApply": {"force": true}},
        }]);
        bench.desire(name, 1, json!({"workload": {"manifests": [config_map(name, &json!({"k": "v"}))]}, "manifestConfigs": config}))?;
        bench.status(name, 1).await?;
        let uid = bench.config_map(name).await?.unwrap()["metadata"]["uid"].clone();

        // Somebody changes a declared field.
        let writes = bench.writes();
        bench
            .kubectl(&[
                "patch",
                "configmap",
                name,
                "--type=merge",
                "-p",
                r#"{"data":{"k":"drift"}}"#,
            ])
            .await?;
        bench.data(name, &json!({"k": "v"})).await?;
        bench.quiet().await;
        assert_eq!(bench.writes() - writes, 1, "{name}");

        // Somebody adds a field that nobody declared: not our business.
        bench
            .kubectl(&[
                "patch",
                "configmap",
                name,
                "--type=merge",
                "-p",
                r#"{"data":{"other":"x"},"metadata":{"labels":{"theirs":"x"}}}"#,
            ])
            .await?;
        bench.quiet().await;
        assert_eq!(bench.writes() - writes, 1, "{name}");
        bench.data(name, &json!({"k": "v", "other": "x"})).await?;

        // Somebody deletes it.
        bench.kubectl(&["delete", "configmap", name]).await?;
        bench.data(name, &json!({"k": "v"})).await?;
        bench.quiet().await;
        // Server-side apply sets the owner with a write of its own.
        let again = if strategy == "Update" { 2 } else { 3 };
        assert_eq!(bench.writes() - writes, again, "{name}");
        let made = bench.config_map(name).await?.unwrap()["metadata"]["uid"].clone();
        assert_ne!(made, uid);
        // The record names the new object.
        bench.recorded(name, &[made.as_str().unwrap()]).await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_work_may_bring_a_definition_and_its_objects_and_bad_manifests_harm_nobody()
-> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.test.koinon.dev"},
        "spec": {
            "group": "test.koinon.dev", "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}, "depth": {"type": "integer", "default": 3}}}},
            }}}],
        },
    });
    let widget = json!({"apiVersion": "test.koinon.dev/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "made-here"}, "spec": {"size": 1}});
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "made-here"}});
    // The worst order: what depends comes first.
    bench.desire(
        "brings",
        1,
        json!({"workload": {"manifests": [widget, crd, namespace]}}),
    )?;
    let status = bench.status("brings", 1).await?;
    assert_eq!(applied(&status), "True", "{status}");

    let good = config_map("good", &json!({"k": "v"}));
    let manifests = json!([
        {"apiVersion": "nobody.dev/v1", "kind": "Nothing", "metadata": {"name": "a", "namespace": NS}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad", "namespace": NS}, "spec": {"ports": [{"port": 99999}]}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "nowhere", "namespace": "does-not-exist"}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x", "namespace": NS}},
        good,
    ]);
    bench.desire("bad", 1, json!({"workload": {"manifests": manifests}}))?;
    let status = bench.status("bad", 1).await?;
    assert_eq!(applied(&status), "False");
    let manifests = status["resourceStatus"]["manifests"].as_array().unwrap();
    let words: Vec<String> = manifests
        .iter()
        .map(|m| {
            m["conditions"]
                .as_array()
                .unwrap()
                .iter()
                .find(|c| c["type"] == "Applied")
                .unwrap()["message"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert!(
        words[0].contains("the server doesn't have a resource type \"Nothing\""),
        "{}",
        words[0]
    );
    assert!(words[1].contains("Invalid value: 99999"), "{}", words[1]);
    assert!(
        words[2].contains("namespaces \"does-not-exist\" not found"),
        "{}",
        words[2]
    );
    assert!(
        words[3].contains("generateName must not be set"),
        "{}",
        words[3]
    );
    assert_eq!(words[4], "Apply manifest complete");
    assert!(bench.config_map("good").await?.is_some());
    Ok(())
}

#[tokio::test]
async fn objects_with_defaults_and_controllers_of_their_own_are_left_in_peace() -> anyhow::Result<()>
{
    let bench = Bench::start().await?;
    let labels = json!({"app": "web"});
    let manifests = json!([
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": NS}, "spec": {
            "replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels, "creationTimestamp": null}, "spec": {"containers": [{
                "name": "c", "image": "example.com/web:1", "resources": {"limits": {"cpu": "1000m"}}, "ports": [{"containerPort": 80}]}]}}}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": NS}, "spec": {"selector": labels, "ports": [{"port": 80}]}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web", "namespace": NS}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web", "namespace": NS}, "stringData": {"a": "b"}},
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "web", "namespace": NS}, "spec": {
            "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "example.com/job:1"}]}}}},
    ]);
    let feedback = json!([{"resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "web", "namespace": NS}, "feedbackRules": [{"type": "WellKnownStatus"}]}]);
    bench.desire(
        "web",
        1,
        json!({"workload": {"manifests": manifests}, "manifestConfigs": feedback}),
    )?;
    let status = bench.status("web", 1).await?;
    assert_eq!(applied(&status), "True", "{status}");
    // Feedback follows the deployment's status without polling.
    bench
        .until("two replicas are reported ready", "web", |status| {
            let values = status["resourceStatus"]["manifests"][0]["statusFeedback"]["values"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            values
                .iter()
                .any(|v| v["name"] == "ReadyReplicas" && v["fieldValue"]["integer"] == 2)
        })
        .await?;
    bench.quiet().await;
    let writes = bench.writes();
    assert_eq!(writes, 5, "one write for each object");

    // A field that the server keeps for itself does not stop an update.
    let mut changed = manifests.clone();
    changed[0]["spec"]["replicas"] = json!(1);
    changed[4]["metadata"]["labels"] = json!({"l": "1"});
    bench.desire(
        "web",
        2,
        json!({"workload": {"manifests": changed}, "manifestConfigs": feedback}),
    )?;
    let status = bench.status("web", 2).await?;
    assert_eq!(applied(&status), "True", "{status}");
    bench.look_again("web")?;
    bench.quiet().await;
    assert!(
        bench.writes() - writes <= 3,
        "{} writes",
        bench.writes() - writes
    );
    Ok(())
}

#[tokio::test]
async fn what_is_no_longer_asked_for_goes_and_what_is_orphaned_or_shared_stays()
-> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let all = [
        config_map("a", &json!({"k": "1"})),
        config_map("b", &json!({"k": "1"})),
        config_map("shared", &json!({"k": "1"})),
    ];
    bench.desire("one", 1, json!({"workload": {"manifests": all}}))?;
    bench.status("one", 1).await?;
    bench.desire("two", 1, json!({"workload": {"manifests": [all[2]]}}))?;
    bench.status("two", 1).await?;
    assert_eq!(
        bench.config_map("shared").await?.unwrap()["metadata"]["ownerReferences"]
            .as_array()
            .unwrap()
            .len(),
        2
    );

    // Pruned: `b` is ours alone, `shared` is not.
    bench.desire("one", 2, json!({"workload": {"manifests": [all[0]]}}))?;
    bench.status("one", 2).await?;
    bench.gone("b").await?;
    koinon_tests::eventually("the shared object has one owner", async || {
        let shared = bench.config_map("shared").await?.unwrap_or_default();
        let owners = shared["metadata"]["ownerReferences"].as_array();
        Ok((owners.map(Vec::len) == Some(1)).then_some(()))
    })
    .await?;

    // Deleted while something holds an object: the work is only gone when the object is.
    bench
        .kubectl(&[
            "patch",
            "configmap",
            "a",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":["test.koinon.dev/hold"]}}"#,
        ])
        .await?;
    bench.delete("one")?;
    bench
        .until("the work says that it is being deleted", "one", |status| {
            status["conditions"]
                .as_array()
                .is_some_and(|c| c.iter().any(|c| c["type"] == "Deleting"))
        })
        .await?;
    assert!(bench.config_map("a").await?.is_some());
    assert!(!bench.is_removed("one").await);
    bench
        .kubectl(&[
            "patch",
            "configmap",
            "a",
            "--type=merge",
            "-p",
            r#"{"metadata":{"finalizers":null}}"#,
        ])
        .await?;
    bench.removed("one").await?;
    bench.gone("a").await?;
    assert!(
        bench.config_map("shared").await?.is_some(),
        "another work's object survives"
    );

    // Orphaned: the object stays, without our name on it.
    let orphan = json!({"workload": {"manifests": [all[2]]}, "deleteOption": {"propagationPolicy": "Orphan"}});
    bench.desire("two", 2, orphan)?;
    bench.status("two", 2).await?;
    bench.delete("two")?;
    bench.removed("two").await?;
    let left = bench.config_map("shared").await?.unwrap();
    assert!(left["metadata"].get("ownerReferences").is_none(), "{left}");
    Ok(())
}
