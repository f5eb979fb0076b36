//! What may go wrong for others: nothing is deleted that a work has no right to, nothing is forgotten, and whatever waits says why.

use std::time::Duration;

use anyhow::Context as _;
use koinon_tests::eventually;
use serde_json::{Value, json};

use super::{
    bench::{Bench, applied, condition, config_map},
    settings::Settings,
};

pub(super) fn why(status: &Value, ordinal: usize) -> String {
    let conditions = status["resourceStatus"]["manifests"][ordinal]["conditions"].as_array();
    let applied = conditions.and_then(|all| all.iter().find(|c| c["type"] == "Applied"));
    let message = applied.and_then(|c| c["message"].as_str());
    message.unwrap_or_default().to_owned()
}

/// Reason and message of a deletion that waits.
pub(super) fn held_because(status: &Value) -> String {
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions
        .filter(|c| c["type"] == "DeletionHeld")
        .map(|c| format!("{} {}", c["reason"], c["message"]))
        .collect()
}

pub(super) async fn until_held(bench: &Bench, work: &str, words: &[&str]) -> anyhow::Result<Value> {
    let what = format!("the deletion of {work} is held because of {words:?}");
    bench
        .until(&what, work, |s| {
            let why = held_because(s);
            words.iter().all(|word| why.contains(word))
        })
        .await
}

pub(super) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub(super) fn secret(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}, "stringData": {"token": "hidden"}})
}

#[tokio::test]
async fn a_namespace_goes_with_nothing_in_it_that_is_to_stay() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let owners = async |namespace: &str, name: &str| {
        let live = bench.read(&["secret", name, "-n", namespace]).await?;
        let owners = live["metadata"]["ownerReferences"].as_array();
        anyhow::Ok(owners.map_or(0, Vec::len))
    };
    // Another work has something in it. Secrets are looked at after Namespaces.
    let both = [namespace("shop"), secret("shop", "shared")];
    bench.desire("one", 1, json!({"workload": {"manifests": both}}))?;
    bench.status("one", 1).await?;
    bench.desire("two", 1, json!({"workload": {"manifests": [both[1]]}}))?;
    bench.status("two", 1).await?;
    bench.delete("one")?;
    until_held(&bench, "one", &["ContentOfOthers", "secrets", "shared"]).await?;
    assert_eq!(owners("shop", "shared").await?, 1);
    bench.delete("two")?;
    bench.removed("two").await?;
    bench.removed("one").await?;
    assert!(bench.read(&["namespace", "shop"]).await.is_err());

    // Something is to stay, which was said together with the deletion.
    let spec = json!({"workload": {"manifests": [namespace("keep"), secret("keep", "data"), secret("keep", "scratch")]}});
    bench.desire("stay", 1, spec.clone())?;
    bench.status("stay", 1).await?;
    let mut last = spec;
    last["deleteOption"] = json!({"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {"orphaningRules": [{"resource": "secrets", "namespace": "keep", "name": "data"}]}});
    bench.delete_as("stay", 2, last)?;
    until_held(&bench, "stay", &["ContentOfOthers", "secrets", "data"]).await?;
    assert_eq!(owners("keep", "data").await?, 0);
    assert!(
        bench
            .read(&["secret", "scratch", "-n", "keep"])
            .await
            .is_err()
    );
    assert!(!bench.is_removed("stay").await);
    bench.direct("stay", "koinon.dev/approve-deletion", "namespaces/keep")?;
    bench.removed("stay").await?;

    // The work itself still has something in it.
    let (inside, outside) = (secret("inner", "wanted"), config_map("outside", &json!({})));
    bench.desire(
        "drop",
        1,
        json!({"workload": {"manifests": [namespace("inner"), inside, outside]}}),
    )?;
    bench.status("drop", 1).await?;
    bench.desire(
        "drop",
        2,
        json!({"workload": {"manifests": [inside, outside]}}),
    )?;
    until_held(&bench, "drop", &["which the work still has"]).await?;
    let live = bench.read(&["namespace", "inner"]).await?;
    assert!(
        live["metadata"].get("deletionTimestamp").is_none(),
        "{live}"
    );

    // A kind that is not in its group's preferred version, and an object whose owner is in no namespace.
    for (plural, kind, version) in [("firsts", "First", "v1"), ("seconds", "Second", "v1alpha1")] {
        bench
            .create(&definition(plural, kind, &[(version, true)]))
            .await?;
    }
    bench.desire(
        "hold",
        1,
        json!({"workload": {"manifests": [namespace("alpha"), namespace("beta")]}}),
    )?;
    bench.status("hold", 1).await?;
    eventually("the kind is served", async || {
        let object = json!({"apiVersion": "safe.koinon.dev/v1alpha1", "kind": "Second", "metadata": {"name": "theirs", "namespace": "alpha"}});
        Ok(bench.create(&object).await.is_ok().then_some(()))
    })
    .await?;
    let role = bench.read(&["clusterrole", "view"]).await?;
    let owned = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "composed", "namespace": "beta", "ownerReferences": [
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "name": "view", "uid": role["metadata"]["uid"]}]}});
    bench.create(&owned).await?;
    bench.delete("hold")?;
    until_held(&bench, "hold", &["seconds"]).await?;
    bench.direct("hold", "koinon.dev/approve-deletion", "namespaces/alpha")?;
    until_held(&bench, "hold", &["composed"]).await?;
    let live = bench.read(&["namespace", "beta"]).await?;
    assert!(
        live["metadata"].get("deletionTimestamp").is_none(),
        "{live}"
    );
    Ok(())
}

fn definition(plural: &str, kind: &str, versions: &[(&str, bool)]) -> Value {
    let versions: Vec<_> = versions
        .iter()
        .enumerate()
        .map(|(n, (name, served))| {
            json!({"name": name, "served": served, "storage": n == 0, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}})
        })
        .collect();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": format!("{plural}.safe.koinon.dev")},
        "spec": {"group": "safe.koinon.dev", "scope": "Namespaced", "names": {"kind": kind, "plural": plural}, "versions": versions},
    })
}

#[tokio::test]
async fn a_record_that_somebody_deletes_takes_nothing_with_it() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let maps = ["a", "b"].map(|name| config_map(name, &json!({"k": "v"})));
    bench.desire("kept", 1, json!({"workload": {"manifests": maps}}))?;
    bench.status("kept", 1).await?;
    let uid = async |kind: &str, name: &str| {
        let live = bench.read(&[kind, name]).await?;
        anyhow::Ok(
            live["metadata"]["uid"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let maps = async || anyhow::Ok([uid("configmap", "a").await?, uid("configmap", "b").await?]);
    let before = maps().await?;
    bench.recorded("kept", &[&before[0], &before[1]]).await?;
    let record = "appliedmanifestworks.work.open-cluster-management.io";
    for deletion in [["delete", record, "aaaa-kept"], ["delete", "crd", record]] {
        let old = uid(record, "aaaa-kept").await?;
        bench.kubectl(&deletion).await?;
        eventually(
            "there is a new record, and the objects are its",
            async || {
                let Ok(new) = uid(record, "aaaa-kept").await else {
                    return Ok(None);
                };
                let live = bench.read(&["configmap", "b"]).await?;
                let owners = live["metadata"]["ownerReferences"].as_array().cloned();
                let owners = owners.unwrap_or_default();
                Ok(
                    (new != old && owners.len() == 1 && owners[0]["uid"] == new.as_str())
                        .then_some(()),
                )
            },
        )
        .await?;
        bench.recorded("kept", &[&before[0], &before[1]]).await?;
        bench.quiet().await;
        // The same objects, not new ones: neither the agent nor the garbage collector took them.
        assert_eq!(maps().await?, before);
    }
    bench.delete("kept")?;
    bench.removed("kept").await?;
    bench.gone("a").await
}

#[tokio::test]
async fn a_kind_that_is_not_served_hides_its_objects_but_they_are_not_forgotten()
-> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let kind =
        |old: bool, new: bool| definition("gadgets", "Gadget", &[("v1", new), ("v1beta1", old)]);
    bench.create(&kind(true, true)).await?;
    let gadget = |name: &str| json!({"apiVersion": "safe.koinon.dev/v1beta1", "kind": "Gadget", "metadata": {"name": name, "namespace": "default"}});
    let map = config_map("beside", &json!({}));
    let work = |manifests: &[Value]| json!({"workload": {"manifests": manifests}});
    bench.desire("old", 1, work(&[gadget("a"), gadget("b"), map.clone()]))?;
    bench
        .until("all is applied", "old", |s| applied(s) == "True")
        .await?;
    // The version that it was applied with is retired: it is deleted through the other one.
    bench.create(&kind(false, true)).await?;
    eventually("the old version is gone", async || {
        let old = bench.kubectl(&["get", "--raw", "/apis/safe.koinon.dev/v1beta1"]);
        Ok(old.await.is_err().then_some(()))
    })
    .await?;
    bench.desire("old", 2, work(&[gadget("b"), map.clone()]))?;
    eventually("it is deleted", async || {
        let live = bench.read(&["gadgets.v1.safe.koinon.dev", "a"]).await;
        Ok(live.is_err().then_some(()))
    })
    .await?;
    bench.read(&["gadgets.v1.safe.koinon.dev", "b"]).await?;

    // Nothing of the kind is served for a while: what was dropped meanwhile is not taken for deleted.
    bench.create(&kind(false, false)).await?;
    eventually("the kind is away", async || {
        let new = bench.kubectl(&["get", "--raw", "/apis/safe.koinon.dev/v1"]);
        Ok(new.await.is_err().then_some(()))
    })
    .await?;
    bench.desire("old", 3, work(std::slice::from_ref(&map)))?;
    until_held(&bench, "old", &["KindNotServed"]).await?;
    bench.delete("old")?;
    bench.quiet().await;
    assert!(!bench.is_removed("old").await);
    bench.create(&kind(false, true)).await?;
    bench.removed("old").await?;
    eventually("it is deleted after all", async || {
        let list = bench.read(&["gadgets.v1.safe.koinon.dev"]).await?;
        Ok(list["items"]
            .as_array()
            .is_some_and(Vec::is_empty)
            .then_some(()))
    })
    .await
}

#[tokio::test]
async fn deletions_that_are_refused_say_so_and_immutable_secrets_are_not_replaced_against_a_policy()
-> anyhow::Result<()> {
    let bench = Bench::start().await?;
    // A webhook that nobody answers for refuses the deletion.
    bench
        .create(&json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "guard"}, "webhooks": [{
            "name": "guard.koinon.dev", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 5,
            "clientConfig": {"url": "https://127.0.0.1:1/"}, "objectSelector": {"matchLabels": {"guarded": "yes"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}]}]}))
        .await?;
    let mut maps = ["free", "guarded"].map(|name| config_map(name, &json!({})));
    maps[1]["metadata"]["labels"] = json!({"guarded": "yes"});
    bench.desire("w", 1, json!({"workload": {"manifests": maps}}))?;
    bench.status("w", 1).await?;
    eventually("the API server guards it", async || {
        let tried = bench
            .kubectl(&["delete", "configmap", "guarded", "--dry-run=server"])
            .await;
        Ok(tried.is_err().then_some(()))
    })
    .await?;
    bench.delete("w")?;
    until_held(&bench, "w", &["DeletionFailed", "failed calling webhook"]).await?;
    bench.gone("free").await?;
    bench
        .kubectl(&["delete", "validatingwebhookconfiguration", "guard"])
        .await?;
    bench.removed("w").await?;

    // To replace a Secret that cannot be changed is to delete it.
    let policy = |verbs: &Value| json!({"apiVersion": "koinon.dev/v1alpha1", "kind": "WorkPolicy", "metadata": {"name": "limits"}, "spec": {"allowedVerbs": verbs}});
    bench.create(&policy(&json!(["Create", "Update"]))).await?;
    let fixed = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "fixed", "namespace": "default"}, "immutable": true, "stringData": {"k": value}});
    bench.desire("s", 1, json!({"workload": {"manifests": [fixed("1")]}}))?;
    bench.status("s", 1).await?;
    let uid =
        async || anyhow::Ok(bench.read(&["secret", "fixed"]).await?["metadata"]["uid"].clone());
    let before = uid().await?;
    bench.desire("s", 2, json!({"workload": {"manifests": [fixed("2")]}}))?;
    let status = bench.status("s", 2).await?;
    assert!(why(&status, 0).contains("field is immutable"), "{status}");
    assert_eq!(uid().await?, before);
    bench.kubectl(&["delete", "workpolicy", "limits"]).await?;
    bench
        .until("it may be replaced", "s", |s| applied(s) == "True")
        .await?;
    assert_ne!(uid().await?, before);
    assert_eq!(condition(&bench.status("s", 2).await?, "DeletionHeld"), "");
    Ok(())
}

#[tokio::test]
async fn what_is_declared_to_be_nothing_stays_so_and_moves_take_nothing_away() -> anyhow::Result<()>
{
    let bench = Bench::start().await?;
    let labels = json!({"app": "web"});
    let manifests = json!([
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"}, "spec": {
            "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"hostNetwork": false, "containers": [{
                "name": "c", "image": "example.com/web:1", "securityContext": {"allowPrivilegeEscalation": false}}]}}}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "web", "namespace": "default"}, "automountServiceAccountToken": false},
    ]);
    bench.desire("web", 1, json!({"workload": {"manifests": manifests}}))?;
    bench
        .until("both are applied", "web", |s| applied(s) == "True")
        .await?;
    let escalation = async || {
        let live = bench.read(&["deployment", "web"]).await?;
        anyhow::Ok(live["spec"]["template"]["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"].clone())
    };
    // Somebody takes a `false` away, in a list and at the top.
    let patch = r#"[{"op": "remove", "path": "/spec/template/spec/containers/0/securityContext/allowPrivilegeEscalation"}]"#;
    bench
        .kubectl(&["patch", "deployment", "web", "--type=json", "-p", patch])
        .await?;
    eventually("it is put back", async || {
        Ok((escalation().await? == false).then_some(()))
    })
    .await?;
    let patch = r#"{"automountServiceAccountToken": null}"#;
    bench
        .kubectl(&[
            "patch",
            "serviceaccount",
            "web",
            "--type=merge",
            "-p",
            patch,
        ])
        .await?;
    eventually("its token is not mounted", async || {
        let live = bench.read(&["serviceaccount", "web"]).await?;
        Ok((live["automountServiceAccountToken"] == false).then_some(()))
    })
    .await?;

    // The API server leaves `hostNetwork: false` out. An agent that starts anew cannot know that; it takes nothing away.
    bench
        .kubectl(&["scale", "deployment", "web", "--replicas=3"])
        .await?;
    bench.quiet().await;
    let before = bench.read(&["deployment", "web"]).await?["metadata"]["generation"].clone();
    bench.restart().await;
    bench.status("web", 1).await?;
    bench.quiet().await;
    let live = bench.read(&["deployment", "web"]).await?;
    assert_eq!(live["spec"]["replicas"], 3, "{live}");
    assert_eq!(live["metadata"]["generation"], before, "{live}");

    // An object moves from one work to another: it is the same object afterwards.
    let spec = |names: &[&str]| {
        let maps: Vec<_> = names
            .iter()
            .map(|n| config_map(n, &json!({"k": "v"})))
            .collect();
        json!({"workload": {"manifests": maps}})
    };
    bench.desire("from", 1, spec(&["moves", "stays"]))?;
    bench.desire("to", 1, spec(&["other"]))?;
    bench.status("from", 1).await?;
    bench.status("to", 1).await?;
    let uid = async || {
        anyhow::Ok(bench.config_map("moves").await?.unwrap_or_default()["metadata"]["uid"].clone())
    };
    let before = uid().await?;
    bench.desire("to", 2, spec(&["other", "moves"]))?;
    bench.desire("from", 2, spec(&["stays"]))?;
    bench.status("from", 2).await?;
    bench.status("to", 2).await?;
    eventually("it has one owner", async || {
        let live = bench.config_map("moves").await?.unwrap_or_default();
        Ok((live["metadata"]["ownerReferences"].as_array().map(Vec::len) == Some(1)).then_some(()))
    })
    .await?;
    bench.quiet().await;
    assert_eq!(uid().await?, before);
    bench.delete("from")?;
    bench.removed("from").await?;
    assert_eq!(uid().await?, before);
    Ok(())
}

/// Whoever moves an object writes two works, one after the other: the agent may have looked at the first before there is a second.
#[tokio::test]
async fn an_object_that_moves_is_waited_for_by_the_work_that_drops_it() -> anyhow::Result<()> {
    let bench = Bench::with(Settings {
        // Far longer than it takes to tell of the second work, on any machine.
        forbearance: Duration::from_secs(30),
        ..Settings::default()
    })
    .await?;
    let data = json!({"k": "v"});
    let [moves, goes, stays] = ["moves", "goes", "stays"].map(|name| config_map(name, &data));
    bench.desire(
        "a",
        1,
        json!({"workload": {"manifests": [moves, goes, stays]}}),
    )?;
    bench.status("a", 1).await?;
    let before = bench.config_map("moves").await?.context("it is missing")?;
    bench.desire("a", 2, json!({"workload": {"manifests": [stays]}}))?;
    bench.status("a", 2).await?;
    bench.desire("b", 1, json!({"workload": {"manifests": [moves]}}))?;
    assert_eq!(applied(&bench.status("b", 1).await?), "True");
    // What nobody wants goes all the same, and the other object is b's alone by then.
    bench.gone("goes").await?;
    eventually("it has moved", async || {
        let now = bench.config_map("moves").await?.context("it is gone")?;
        let owners = now["metadata"]["ownerReferences"].as_array();
        let names = owners.into_iter().flatten().map(|owner| &owner["name"]);
        Ok(names.eq(["aaaa-b"]).then_some(()))
    })
    .await?;
    let now = bench.config_map("moves").await?.context("it is missing")?;
    assert_eq!(now["metadata"]["uid"], before["metadata"]["uid"]);
    // A deletion waits for nobody.
    bench.delete("a")?;
    bench.removed("a").await
}
