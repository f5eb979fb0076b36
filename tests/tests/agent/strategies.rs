//! Strategy × state of the live object × change: the object, its managers, the conditions, and how often the agent wrote.

use anyhow::Context as _;
use koinon_tests::eventually;
use serde_json::{Value, json};

use super::bench::{Bench, applied, config_map};

fn work(name: &str, manifest: &Value, strategy: &Value) -> Value {
    let config = json!([{"resourceIdentifier": {"resource": "configmaps", "name": name, "namespace": "*"}, "updateStrategy": strategy}]);
    json!({"workload": {"manifests": [manifest]}, "manifestConfigs": config})
}

fn managers(live: &Value) -> Vec<String> {
    let mut managers: Vec<String> = live["metadata"]["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|m| {
            format!(
                "{}:{}",
                m["manager"].as_str().unwrap_or(""),
                m["operation"].as_str().unwrap_or("")
            )
        })
        .collect();
    managers.sort();
    managers.dedup();
    managers
}

/// One case: what is done to the object between two looks of the agent, and what the agent makes of it.
struct Case {
    name: &'static str,
    strategy: Value,
    before: Option<Value>,
    after: Value,
    managers: &'static [&'static str],
    /// Writes to the object to get there.
    writes: u64,
    /// Somebody sets `k` by merge patch: what `k` is then, and writes.
    drift: (&'static str, u64),
    /// The manifest becomes `{"n": "2"}`: data then, and writes.
    newer: (Value, u64),
}

#[tokio::test]
async fn every_strategy_in_every_state_after_every_change() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let agent: &[&str] = &["koinon-klusterlet:Update"];
    let both: &[&str] = &[
        "koinon-klusterlet:Update",
        "kubectl-create:Update",
        "work-agent:Apply",
    ];
    let seeded: &[&str] = &["koinon-klusterlet:Update", "kubectl-create:Update"];
    let ssa = |force: bool| json!({"type": "ServerSideApply", "serverSideApply": {"force": force}});
    let cases = [
        Case {
            name: "update-absent",
            strategy: json!({"type": "Update"}),
            before: None,
            after: json!({"k": "v"}),
            managers: agent,
            writes: 1,
            drift: ("v", 1),
            newer: (json!({"n": "2"}), 1),
        },
        Case {
            name: "update-same",
            strategy: json!({"type": "Update"}),
            before: Some(json!({"k": "v"})),
            after: json!({"k": "v"}),
            managers: seeded,
            writes: 1,
            drift: ("v", 1),
            newer: (json!({"n": "2"}), 1),
        },
        Case {
            name: "update-other",
            strategy: json!({"type": "Update"}),
            before: Some(json!({"k": "w", "x": "y"})),
            after: json!({"k": "v"}),
            managers: seeded,
            writes: 1,
            drift: ("v", 1),
            newer: (json!({"n": "2"}), 1),
        },
        Case {
            name: "once-absent",
            strategy: json!({"type": "CreateOnly"}),
            before: None,
            after: json!({"k": "v"}),
            managers: agent,
            writes: 1,
            drift: ("drift", 0),
            newer: (json!({"k": "drift"}), 0),
        },
        Case {
            name: "once-other",
            strategy: json!({"type": "CreateOnly"}),
            before: Some(json!({"k": "w"})),
            after: json!({"k": "w"}),
            managers: seeded,
            writes: 1,
            drift: ("drift", 0),
            newer: (json!({"k": "drift"}), 0),
        },
        Case {
            name: "ssa-absent",
            strategy: ssa(true),
            before: None,
            after: json!({"k": "v"}),
            managers: &["koinon-klusterlet:Update", "work-agent:Apply"],
            // The owner is a write of its own.
            writes: 2,
            drift: ("v", 1),
            newer: (json!({"n": "2"}), 1),
        },
        Case {
            name: "ssa-same",
            strategy: ssa(false),
            before: Some(json!({"k": "v", "x": "y"})),
            after: json!({"k": "v", "x": "y"}),
            managers: both,
            // The owner is a write of its own.
            writes: 2,
            drift: ("drift", 0),
            newer: (json!({"k": "drift", "n": "2", "x": "y"}), 1),
        },
        Case {
            name: "ssa-forced",
            strategy: ssa(true),
            before: Some(json!({"k": "w", "x": "y"})),
            after: json!({"k": "v", "x": "y"}),
            managers: both,
            // The owner is a write of its own.
            writes: 2,
            drift: ("v", 1),
            newer: (json!({"n": "2", "x": "y"}), 1),
        },
        Case {
            name: "read-other",
            strategy: json!({"type": "ReadOnly"}),
            before: Some(json!({"k": "w"})),
            after: json!({"k": "w"}),
            managers: &["kubectl-create:Update"],
            writes: 0,
            drift: ("drift", 0),
            newer: (json!({"k": "drift"}), 0),
        },
    ];
    for case in &cases {
        let name = case.name;
        if let Some(data) = &case.before {
            let literals: Vec<String> = data
                .as_object()
                .into_iter()
                .flatten()
                .map(|(k, v)| format!("--from-literal={k}={}", v.as_str().unwrap_or("")))
                .collect();
            let mut args = vec!["create", "configmap", name];
            args.extend(literals.iter().map(String::as_str));
            bench.kubectl(&args).await?;
        }
        let start = bench.writes();
        bench.desire(
            name,
            1,
            work(name, &config_map(name, &json!({"k": "v"})), &case.strategy),
        )?;
        let status = bench.status(name, 1).await?;
        assert_eq!(applied(&status), "True", "{name}: {status}");
        let live = bench.read(&["configmap", name]).await?;
        assert_eq!(live["data"], case.after, "{name}");
        assert_eq!(managers(&live), case.managers, "{name}: {live}");
        assert_eq!(bench.writes() - start, case.writes, "{name}");

        let start = bench.writes();
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
        eventually(&format!("{name} deals with drift"), async || {
            let live = bench.config_map(name).await?.context("gone")?;
            Ok(
                (live["data"]["k"] == case.drift.0 && bench.writes() - start >= case.drift.1)
                    .then_some(()),
            )
        })
        .await?;

        bench.desire(
            name,
            2,
            work(name, &config_map(name, &json!({"n": "2"})), &case.strategy),
        )?;
        bench.status(name, 2).await?;
        assert_eq!(
            bench.config_map(name).await?.context("gone")?["data"],
            case.newer.0,
            "{name}"
        );
        assert_eq!(
            bench.writes() - start,
            case.drift.1 + case.newer.1,
            "{name}"
        );
    }
    // Another process that knows nothing but what is in the cluster finds nothing to write (P13).
    bench.quiet().await;
    let _ = bench.gate.take_writes();
    bench.restart().await;
    for case in &cases {
        bench.status(case.name, 2).await?;
    }
    bench.quiet().await;
    assert_eq!(bench.gate.take_writes(), Vec::<String>::new());
    Ok(())
}

/// Work `a` and work `b` declare one object.
#[tokio::test]
async fn works_that_share_an_object_do_not_take_it_from_each_other() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    for strategy in ["ServerSideApply", "Update"] {
        let shared = strategy.to_lowercase();
        let one = format!("one-{shared}");
        let two = format!("two-{shared}");
        let labelled = |label: &str| {
            let mut map = config_map(&shared, &json!({"k": "v"}));
            // Under one manager the same fields, or they are given up.
            let label = if strategy == "Update" { label } else { "both" };
            map["metadata"]["labels"] = json!({label: "x"});
            map
        };
        let strategy = json!({"type": strategy});
        bench.desire(&one, 1, work(&shared, &labelled("one"), &strategy))?;
        bench.status(&one, 1).await?;
        bench.desire(&two, 1, work(&shared, &labelled("two"), &strategy))?;
        bench.status(&two, 1).await?;
        bench.quiet().await;
        let live = bench.config_map(&shared).await?.context("gone")?;
        let owners = live["metadata"]["ownerReferences"].as_array().map(Vec::len);
        assert_eq!(owners, Some(2), "{live}");
        // They agree: neither undoes what the other did.
        let before = bench.writes();
        bench.look_again(&one)?;
        bench.look_again(&two)?;
        bench.quiet().await;
        assert_eq!(bench.writes(), before, "{shared}");
        bench.delete(&one)?;
        bench.removed(&one).await?;
        bench.quiet().await;
        let left = bench
            .config_map(&shared)
            .await?
            .context("it went with one work")?;
        let owners = left["metadata"]["ownerReferences"].as_array().map(Vec::len);
        assert_eq!(
            (owners, &left["metadata"]["uid"]),
            (Some(1), &live["metadata"]["uid"])
        );
        bench.delete(&two)?;
        bench.removed(&two).await?;
        bench.gone(&shared).await?;
    }
    Ok(())
}

/// Lists with keys, and items of them that are left alone. (Servers before 1.22 refuse ports without a protocol.)
#[tokio::test]
async fn lists_that_the_server_completes_are_settled_and_items_may_be_left_alone()
-> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let labels = json!({"app": "web"});
    let web = |image: &str| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": {
        "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [
            {"name": "c", "image": image, "ports": [{"containerPort": 80, "protocol": "TCP"}]}, {"name": "side", "image": "side:1"}]}}}})
    };
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}, "spec": {"selector": labels, "ports": [{"port": 80, "protocol": "TCP"}]}});
    let spec = |image: &str| {
        let ignore = json!([{"condition": "OnSpokePresent", "jqPathExpressions": [r#".spec.template.spec.containers[] | select(.name == "side")"#]}]);
        json!({"workload": {"manifests": [web(image), service]}, "manifestConfigs": [
            {"resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "web", "namespace": "default"},
             "updateStrategy": {"type": "ServerSideApply", "serverSideApply": {"force": true, "ignoreFields": ignore}}},
            {"resourceIdentifier": {"resource": "services", "name": "web", "namespace": "default"}, "updateStrategy": {"type": "ServerSideApply"}}]})
    };
    bench.desire("web", 1, spec("web:1"))?;
    assert_eq!(applied(&bench.status("web", 1).await?), "True");
    bench.quiet().await;
    let _ = bench.gate.take_writes();
    bench.restart().await;
    bench.status("web", 1).await?;
    bench.quiet().await;
    assert_eq!(bench.gate.take_writes(), Vec::<String>::new());
    bench.desire("web", 2, spec("web:2"))?;
    bench.status("web", 2).await?;
    let live = bench.read(&["deployment", "web"]).await?;
    let containers = live["spec"]["template"]["spec"]["containers"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let images: Vec<_> = containers
        .iter()
        .filter_map(|c| c["image"].as_str())
        .collect();
    assert!(
        images.contains(&"web:2") && images.contains(&"side:1"),
        "{images:?}"
    );
    Ok(())
}

fn deployment(image: &str, replicas: u32) -> Value {
    let labels = json!({"app": "web"});
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": image}]}}}})
}

fn ignoring(manifest: &Value, fields: &Value) -> Value {
    let config = json!([{"resourceIdentifier": {"group": "apps", "resource": "deployments", "name": "web", "namespace": "default"},
        "updateStrategy": {"type": "ServerSideApply", "serverSideApply": {"force": true, "ignoreFields": fields}}}]);
    json!({"workload": {"manifests": [manifest]}, "manifestConfigs": config})
}

#[tokio::test]
async fn fields_that_are_to_be_left_alone_are_left_alone() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let facts = async || {
        let live = bench.read(&["deployment", "web"]).await?;
        let spec = &live["spec"];
        anyhow::Ok((
            spec["replicas"].as_u64().unwrap_or(0),
            spec["template"]["spec"]["containers"][0]["image"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        ))
    };
    let is = async |what: &str, replicas: u64, image: &str| {
        eventually(what, async || {
            let facts = facts().await?;
            anyhow::ensure!(facts == (replicas, image.to_owned()), "{facts:?}");
            Ok(Some(()))
        })
        .await
    };
    let present = json!([{"condition": "OnSpokePresent", "jqPathExpressions": [".spec.replicas"]}]);
    bench.desire("web", 1, ignoring(&deployment("web:1", 3), &present))?;
    bench.status("web", 1).await?;
    is("an object that is made has all fields", 3, "web:1").await?;
    // Nobody else has touched it: it must not fall back to the server's default.
    bench.desire("web", 2, ignoring(&deployment("web:2", 2), &present))?;
    bench.status("web", 2).await?;
    is("a new manifest leaves them alone", 3, "web:2").await?;
    bench
        .kubectl(&["scale", "deployment", "web", "--replicas=1"])
        .await?;
    bench.desire("web", 3, ignoring(&deployment("web:3", 2), &present))?;
    bench.status("web", 3).await?;
    is("also when somebody has changed them", 1, "web:3").await?;
    bench
        .kubectl(&["set", "image", "deployment/web", "c=drift:1"])
        .await?;
    is("other fields are kept as declared", 1, "web:3").await?;

    let changed = json!([{"condition": "OnSpokeChange", "jsonPointers": ["/spec/replicas"]}]);
    bench.desire("web", 4, ignoring(&deployment("web:3", 2), &changed))?;
    bench.status("web", 4).await?;
    is("a new manifest is applied whole", 2, "web:3").await?;
    bench
        .kubectl(&["scale", "deployment", "web", "--replicas=4"])
        .await?;
    bench
        .kubectl(&["set", "image", "deployment/web", "c=drift:2"])
        .await?;
    is("and then only what is not to be left alone", 4, "web:3").await?;
    bench.look_again("web")?;
    bench.quiet().await;
    assert_eq!(facts().await?, (4, "web:3".to_owned()));
    bench.desire("web", 5, ignoring(&deployment("web:5", 2), &changed))?;
    bench.status("web", 5).await?;
    is("until the manifest changes", 2, "web:5").await?;

    let wrong = json!([{"condition": "OnSpokePresent", "jqPathExpressions": ["[range(1e18)]"]}]);
    bench.desire("web", 6, ignoring(&deployment("web:6", 9), &wrong))?;
    let status = bench.status("web", 6).await?;
    let conditions = status["resourceStatus"]["manifests"][0]["conditions"].as_array();
    let applied = conditions.and_then(|all| all.iter().find(|c| c["type"] == "Applied"));
    assert_eq!(
        applied.map(|c| &c["reason"]),
        Some(&json!("AppliedManifestSSAIgnoreFieldError")),
        "{status}"
    );
    assert_eq!(facts().await?, (2, "web:5".to_owned()));
    Ok(())
}
