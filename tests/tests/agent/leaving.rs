//! How works end, how their objects move, and what agents leave to each other: nothing is lost, deleted by mistake or asked for again
//! and again.

use koinon_klusterlet::work::{Executing, Rights, Without};
use koinon_tests::{Death, eventually, member::Apis, tools::kubernetes_minor};
use serde_json::{Value, json};

use super::{
    bench::{Bench, applied, condition, config_map},
    safety::{held_because, until_held},
    settings::{Account, NEVER, Settings, allow_works, forbid_works},
};

fn work(manifests: &[Value]) -> Value {
    json!({"workload": {"manifests": manifests}})
}

async fn uid(bench: &Bench, name: &str) -> anyhow::Result<Value> {
    Ok(bench.config_map(name).await?.unwrap_or_default()["metadata"]["uid"].clone())
}

async fn owners(bench: &Bench, name: &str) -> anyhow::Result<usize> {
    let live = bench.config_map(name).await?.unwrap_or_default();
    Ok(live["metadata"]["ownerReferences"]
        .as_array()
        .map_or(0, Vec::len))
}

#[tokio::test]
async fn a_deletion_that_has_to_wait_waits_and_what_is_wanted_meanwhile_is_not_lost()
-> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let mut held = config_map("held", &json!({}));
    held["metadata"]["finalizers"] = json!(["test.koinon.dev/hold"]);
    bench.desire("soon", 1, work(&[held]))?;
    bench.status("soon", 1).await?;
    // At once: its uids are not recorded yet.
    bench.delete("soon")?;
    bench
        .until("it is being deleted", "soon", |s| {
            condition(s, "Deleting") == "True"
        })
        .await?;
    let before = bench.gate.reads();
    bench.quiet().await;
    bench.quiet().await;
    let reads = bench.gate.reads() - before;
    assert!(reads < 60, "{reads} reads of what goes nowhere");
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    bench
        .kubectl(&["patch", "configmap", "held", "--type=merge", "-p", patch])
        .await?;
    bench.removed("soon").await?;

    // The hub takes a deletion back while the last of the work goes.
    let map = config_map("again", &json!({"k": "v"}));
    bench.desire("back", 1, work(std::slice::from_ref(&map)))?;
    bench.status("back", 1).await?;
    bench.gate.hold(&["configmaps/again"]);
    bench.delete("back")?;
    bench
        .until("it is being deleted", "back", |s| {
            condition(s, "Deleting") == "True"
        })
        .await?;
    bench.desire("back", 2, work(&[map]))?;
    bench.gate.hold(&[]);
    bench.status("back", 2).await?;
    bench.data("again", &json!({"k": "v"})).await?;
    assert!(!bench.is_removed("back").await);
    bench.delete("back")?;
    bench.removed("back").await?;
    bench.gone("again").await
}

#[tokio::test]
async fn an_object_that_was_made_anew_is_not_forgotten_with_its_old_uid() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let [a, b] = ["a", "b"].map(|name| config_map(name, &json!({"k": "v"})));
    bench.desire("w", 1, work(&[a, b.clone()]))?;
    bench.status("w", 1).await?;
    let before = [uid(&bench, "a").await?, uid(&bench, "b").await?]
        .map(|uid| uid.as_str().unwrap_or_default().to_owned());
    bench.recorded("w", &[&before[0], &before[1]]).await?;
    // Somebody deletes it; it is made anew, and the agent dies before its record says so.
    bench.gate.kill_at(2, Death::Before);
    bench.kubectl(&["delete", "configmap", "a"]).await?;
    eventually("it is back, and the agent is dead", async || {
        Ok((bench.gate.is_dead() && uid(&bench, "a").await?.is_string()).then_some(()))
    })
    .await?;
    assert_ne!(uid(&bench, "a").await?, before[0].as_str());
    bench.desire("w", 2, work(&[b]))?;
    bench.restart().await;
    bench.status("w", 2).await?;
    bench.gone("a").await?;
    assert_eq!(uid(&bench, "b").await?, before[1].as_str());
    Ok(())
}

#[tokio::test]
async fn an_object_that_moves_waits_for_whoever_is_to_have_it() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    // The new owner's first attempts fail.
    bench
        .create(&json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "guard"}, "webhooks": [{
            "name": "guard.koinon.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 5,
            "clientConfig": {"url": "https://127.0.0.1:1/"}, "objectSelector": {"matchLabels": {"guarded": "yes"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["configmaps"]}]}]}))
        .await?;
    let mut moves = config_map("moves", &json!({"k": "v"}));
    moves["metadata"]["labels"] = json!({"guarded": "yes"});
    let [stays, other] = ["stays", "other"].map(|name| config_map(name, &json!({})));
    bench.desire("from", 1, work(&[moves.clone(), stays.clone()]))?;
    bench.desire("to", 1, work(std::slice::from_ref(&other)))?;
    bench.status("from", 1).await?;
    bench.status("to", 1).await?;
    let before = uid(&bench, "moves").await?;
    eventually("the API server guards it", async || {
        let tried = bench.kubectl(&["label", "configmap", "moves", "x=y", "--dry-run=server"]);
        Ok(tried.await.is_err().then_some(()))
    })
    .await?;
    bench.desire("to", 2, work(&[other, moves]))?;
    bench
        .until("it cannot be taken over", "to", |s| applied(s) == "False")
        .await?;
    bench.desire("from", 2, work(&[stays]))?;
    let words = ["WantedByAnotherWork", "configmaps default/moves"];
    until_held(&bench, "from", &words).await?;
    assert_eq!(uid(&bench, "moves").await?, before);
    bench
        .kubectl(&["delete", "validatingwebhookconfiguration", "guard"])
        .await?;
    bench
        .until("it is taken over", "to", |s| applied(s) == "True")
        .await?;
    bench
        .until("nothing is held", "from", |s| held_because(s).is_empty())
        .await?;
    assert_eq!(
        (uid(&bench, "moves").await?, owners(&bench, "moves").await?),
        (before, 1)
    );
    bench.delete("from")?;
    bench.removed("from").await?;
    bench.data("moves", &json!({"k": "v"})).await
}

#[tokio::test]
async fn who_only_looks_keeps_nothing_and_who_leaves_things_behind_loses_nothing()
-> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let [seen, kept] = ["seen", "kept"].map(|name| config_map(name, &json!({"k": "v"})));
    bench.desire("a", 1, work(&[seen.clone(), kept.clone()]))?;
    bench.status("a", 1).await?;
    let mut looks = work(&[seen]);
    looks["manifestConfigs"] = json!([{"resourceIdentifier": {"resource": "configmaps", "namespace": "*", "name": "*"}, "updateStrategy": {"type": "ReadOnly"}}]);
    let mut leaves = work(&[kept]);
    leaves["deleteOption"] = json!({"propagationPolicy": "Orphan"});
    bench.desire("looks", 1, looks)?;
    bench.desire("leaves", 1, leaves)?;
    bench.status("looks", 1).await?;
    bench.status("leaves", 1).await?;
    let before = uid(&bench, "kept").await?;
    // The deletion is the first thing that the next agent looks at, before it knows what the others are about.
    bench.gate.kill_at(1, Death::Before);
    bench.delete("a")?;
    eventually("the agent is dead", async || {
        Ok(bench.gate.is_dead().then_some(()))
    })
    .await?;
    bench.restart().await;
    bench.removed("a").await?;
    bench.gone("seen").await?;
    assert_eq!(
        (uid(&bench, "kept").await?, owners(&bench, "kept").await?),
        (before, 0)
    );
    Ok(())
}

#[tokio::test]
async fn only_a_later_agent_takes_a_work_over() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let map = config_map("m", &json!({"k": "v"}));
    bench.desire("w", 1, work(std::slice::from_ref(&map)))?;
    bench.status("w", 1).await?;
    let planned_by = async |by: &str| {
        let record = "appliedmanifestworks.work.open-cluster-management.io";
        bench
            .kubectl(&["annotate", record, "aaaa-w", "--overwrite", by])
            .await
    };
    let drift = async |to: &str| {
        let patch = json!({"data": {"k": to}}).to_string();
        bench
            .kubectl(&["patch", "configmap", "m", "--type=merge", "-p", &patch])
            .await
    };
    // Somebody takes the annotation away, and the record of a backup names an earlier process.
    for by in [
        "koinon.dev/planned-by-",
        "koinon.dev/planned-by=0000000001-00",
    ] {
        planned_by(by).await?;
        bench.quiet().await;
        drift("drifted").await?;
        bench.data("m", &json!({"k": "v"})).await?;
    }
    assert_eq!(bench.overtaken(), 0);
    planned_by("koinon.dev/planned-by=ffffffffff-00").await?;
    eventually("it is left to that one", async || {
        Ok((bench.overtaken() == 1).then_some(()))
    })
    .await?;
    bench
        .until("the work says so", "w", |s| {
            condition(s, "Overtaken") == "True"
        })
        .await?;
    drift("theirs").await?;
    bench.quiet().await;
    bench.data("m", &json!({"k": "theirs"})).await?;
    // Until the hub says something new.
    bench.desire("w", 2, work(&[config_map("m", &json!({"k": "new"}))]))?;
    bench.data("m", &json!({"k": "new"})).await?;
    assert_eq!(bench.overtaken(), 0);
    bench
        .until("it says nothing of it any more", "w", |s| {
            condition(s, "Overtaken").is_empty() && applied(s) == "True"
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_work_does_not_get_rid_of_its_executor_to_delete() -> anyhow::Result<()> {
    let executing = Executing {
        rights: Rights::Account,
        without: Without::Refused,
    };
    let bench = Bench::executing(executing).await?;
    bench.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployer", "namespace": "default"}})).await?;
    bench
        .create(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "deployer", "namespace": "default"},
            "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create", "patch"]}]}))
        .await?;
    bench
        .create(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "deployer", "namespace": "default"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "deployer"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": "default"}]}))
        .await?;
    bench.put(&config_map("theirs", &json!({"k": "v"}))).await?;
    let mut spec = work(&[config_map("theirs", &json!({}))]);
    spec["manifestConfigs"] = json!([{"resourceIdentifier": {"resource": "configmaps", "namespace": "*", "name": "*"}, "updateStrategy": {"type": "CreateOnly"}}]);
    spec["executor"] = json!({"subject": {"type": "ServiceAccount", "serviceAccount": {"namespace": "default", "name": "deployer"}}});
    bench.desire("w", 1, spec)?;
    bench
        .until("it is adopted", "w", |s| applied(s) == "True")
        .await?;
    assert_eq!(owners(&bench, "theirs").await?, 1);
    bench.desire("w", 2, work(&[config_map("other", &json!({}))]))?;
    until_held(&bench, "w", &["DeletionFailed", "without an executor"]).await?;
    bench.delete("w")?;
    bench.quiet().await;
    bench.data("theirs", &json!({"k": "v"})).await?;
    assert!(!bench.is_removed("w").await);
    Ok(())
}

/// An object was made, its uid is not recorded yet, and from that moment on the agent may not even look: that is not how an object ends.
/// Its record is what keeps Kubernetes' garbage collector from it.
#[tokio::test]
async fn what_the_agent_may_not_look_at_any_more_is_not_taken_for_never_made() -> anyhow::Result<()>
{
    let bench = Bench::with(Settings {
        account: Account::Narrow,
        books: NEVER,
        ..Settings::default()
    })
    .await?;
    let orphan = |manifest: Value| {
        let mut spec = work(&[manifest]);
        spec["deleteOption"] = json!({"propagationPolicy": "Orphan"});
        spec
    };
    let record = async |work: &str| {
        bench
            .read(&["appliedmanifestwork", &format!("aaaa-{work}")])
            .await
    };
    let [warm, cold] = ["warm", "cold"].map(|name| config_map(name, &json!({"k": "v"})));
    let beyond = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "beyond", "namespace": "kube-public"}});
    for (name, manifest, expected) in [
        ("warm", &warm, "True"),
        ("cold", &cold, "True"),
        ("never", &beyond, "False"),
    ] {
        bench.desire(name, 1, work(std::slice::from_ref(manifest)))?;
        assert_eq!(applied(&bench.status(name, 1).await?), expected, "{name}");
        assert!(record(name).await?["status"]["appliedResources"].is_null());
    }
    forbid_works(&bench).await?;

    // By the agent that made it, and by one that was started since.
    bench.delete_as("warm", 2, orphan(warm))?;
    let words = ["DeletionFailed", "forbidden", "warm"];
    until_held(&bench, "warm", &words).await?;
    bench.restart().await;
    bench.delete_as("cold", 2, orphan(cold.clone()))?;
    until_held(&bench, "warm", &words).await?;
    let words = ["DeletionFailed", "it is not known whether", "cold"];
    until_held(&bench, "cold", &words).await?;
    bench.quiet().await;
    for name in ["warm", "cold"] {
        assert!(!bench.is_removed(name).await, "{name}");
        assert!(
            record(name).await?["metadata"]
                .get("deletionTimestamp")
                .is_none(),
            "{name}"
        );
        assert_eq!(owners(&bench, name).await?, 1, "{name}");
    }
    // What leaves a work waits in the same way, and keeps nothing else from being done.
    allow_works(&bench).await?;
    for name in ["warm", "cold"] {
        bench.look_again(name)?;
        bench.removed(name).await?;
        assert_eq!(owners(&bench, name).await?, 0, "{name}");
        bench.data(name, &json!({"k": "v"})).await?;
    }

    // An agent that was started since does not know that it never was allowed to make this one. Somebody does.
    bench.delete("never")?;
    until_held(
        &bench,
        "never",
        &["DeletionFailed", "koinon.dev/approve-deletion=configmaps"],
    )
    .await?;
    bench.direct("never", "koinon.dev/approve-deletion", "secrets")?;
    bench.quiet().await;
    assert!(!bench.is_removed("never").await);
    bench.direct("never", "koinon.dev/approve-deletion", "configmaps")?;
    bench.removed("never").await
}

/// An object that leaves one work under one name and comes into another one under its other name is one object.
#[tokio::test]
async fn an_object_that_moves_to_another_work_and_group_is_not_deleted() -> anyhow::Result<()> {
    let bench = Bench::with(Settings {
        apis: Apis::Whole,
        ..Settings::default()
    })
    .await?;
    // Whoever is to have it cannot take it over, so that there is time to do wrong.
    let refuse = |groups: &[&str], operations: &[&str]| {
        json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "guard"}, "webhooks": [{
        "name": "guard.koinon.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 5,
        "clientConfig": {"url": "https://127.0.0.1:1/"}, "objectSelector": {"matchLabels": {"guarded": "yes"}}, "matchPolicy": "Exact",
        "rules": [{"apiGroups": groups, "apiVersions": ["*"], "operations": operations, "resources": ["*"]}]}]})
    };
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "configmaps.test.koinon.dev"},
        "spec": {"group": "test.koinon.dev", "scope": "Namespaced", "names": {"kind": "ConfigMap", "plural": "configmaps"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    });
    bench.create(&definition).await?;
    bench
        .create(&refuse(
            &["test.koinon.dev", "networking.k8s.io"],
            &["CREATE", "UPDATE"],
        ))
        .await?;
    let guarded = |api_version: &str, kind: &str, spec: Value| {
        json!({"apiVersion": api_version, "kind": kind,
        "metadata": {"name": "door", "namespace": "default", "labels": {"guarded": "yes"}}, "spec": spec})
    };

    // Another object altogether, though of the same name and kind: nobody waits for that one.
    let map = config_map("door", &json!({"k": "v"}));
    let stays = config_map("stays", &json!({}));
    bench.desire("from", 1, work(&[map, stays.clone()]))?;
    bench.status("from", 1).await?;
    let foreign = guarded("test.koinon.dev/v1", "ConfigMap", Value::Null);
    bench.desire("to", 1, work(std::slice::from_ref(&foreign)))?;
    bench
        .until("it is refused", "to", |s| applied(s) == "False")
        .await?;
    bench.desire("from", 2, work(std::slice::from_ref(&stays)))?;
    bench.gone("door").await?;

    if kubernetes_minor()? >= 22 {
        // No kind but events is served in two groups any more.
        return Ok(());
    }
    let old = guarded(
        "extensions/v1beta1",
        "Ingress",
        json!({"backend": {"serviceName": "web", "servicePort": 80}}),
    );
    let new = guarded(
        "networking.k8s.io/v1",
        "Ingress",
        json!({"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}),
    );
    let door = async || {
        bench
            .read(&["ingresses.v1.networking.k8s.io", "door"])
            .await
    };
    bench.desire("from", 3, work(&[old, stays.clone()]))?;
    assert_eq!(applied(&bench.status("from", 3).await?), "True");
    let uid = door().await?["metadata"]["uid"].clone();
    bench.desire("to", 2, work(&[new]))?;
    assert_eq!(applied(&bench.status("to", 2).await?), "False");
    bench.desire("from", 4, work(&[stays]))?;
    until_held(
        &bench,
        "from",
        &["WantedByAnotherWork", "ingresses default/door"],
    )
    .await?;
    assert_eq!(door().await?["metadata"]["uid"], uid);
    bench
        .kubectl(&["delete", "validatingwebhookconfiguration", "guard"])
        .await?;
    bench
        .until("it is taken over", "to", |s| applied(s) == "True")
        .await?;
    bench
        .until("nothing is held", "from", |s| held_because(s).is_empty())
        .await?;
    let live = door().await?;
    assert_eq!(live["metadata"]["uid"], uid);
    assert!(
        live["metadata"].get("deletionTimestamp").is_none(),
        "{live}"
    );
    assert_eq!(
        live["metadata"]["ownerReferences"].as_array().map(Vec::len),
        Some(1),
        "{live}"
    );
    bench.delete("from")?;
    bench.removed("from").await?;
    assert_eq!(door().await?["metadata"]["uid"], uid);
    Ok(())
}
