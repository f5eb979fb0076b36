//! What is left of works that nobody speaks of any more: of an earlier hub, above all. It is told, it stays, and it goes by order
//! alone (P3).

use std::time::Duration;

use koinon_tests::eventually;
use serde_json::{Value, json};

use super::bench::{Bench, HUB, Told, applied, config_map};

const RECORD: &str = "appliedmanifestworks.work.open-cluster-management.io";

fn work(maps: &[&str]) -> Value {
    let maps: Vec<_> = maps
        .iter()
        .map(|name| config_map(name, &json!({"k": "v"})))
        .collect();
    json!({"workload": {"manifests": maps}})
}

async fn owners(bench: &Bench, map: &str) -> anyhow::Result<Vec<String>> {
    let live = bench.read(&["configmap", map]).await?;
    let owners = live["metadata"]["ownerReferences"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let name = |owner: &Value| owner["name"].as_str().unwrap_or_default().to_owned();
    Ok(owners.iter().map(name).collect())
}

#[tokio::test]
async fn what_is_left_of_an_earlier_hub_is_told_and_goes_by_order_alone() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    bench.put(&config_map("bystander", &json!({}))).await?;
    for (name, maps) in [
        ("stay", &["both"][..]),
        ("gone", &["x", "y"]),
        ("late", &["z"]),
    ] {
        bench.desire(name, 1, work(maps))?;
        assert_eq!(applied(&bench.status(name, 1).await?), "True");
    }
    // Somebody else's record: of another agent, which may well be at work.
    let record = json!({"apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork",
        "metadata": {"name": "cccc-theirs", "finalizers": ["cluster.open-cluster-management.io/applied-manifest-work-cleanup"]},
        "spec": {"hubHash": "cccc", "agentID": "theirs", "manifestWorkName": "theirs"}});
    bench.create(&record).await?;
    bench.quiet().await;

    // The cluster joins another hub, and one of its works goes with it.
    bench.move_to("bbbb", &["stay"]).await;
    bench.status("stay", 1).await?;
    bench.unmanaged.look_again();
    let told = bench
        .until_unmanaged("two former works are told", |told| {
            told.as_ref()
                .is_some_and(|told| (told.records, told.objects) == (2, 3))
        })
        .await?
        .unwrap_or_default();
    assert_eq!(told.names, [format!("{HUB}-gone"), format!("{HUB}-late")]);
    // What the present work has is its own, and the former record went.
    assert_eq!(owners(&bench, "both").await?, ["bbbb-stay"]);
    assert!(bench.read(&[RECORD, &format!("{HUB}-stay")]).await.is_err());
    let left = bench.read(&[RECORD, &format!("{HUB}-gone")]).await?;
    assert!(left["status"]["evictionStartTime"].is_string(), "{left}");
    bench.quiet().await;
    for map in ["both", "x", "y", "z"] {
        assert!(bench.config_map(map).await?.is_some(), "{map}");
    }

    // Whoever deletes a record in the cluster lets its objects go.
    bench
        .kubectl(&["delete", RECORD, &format!("{HUB}-late"), "--wait=false"])
        .await?;
    bench.unmanaged.look_again();
    bench
        .until_unmanaged("one is told", |told| {
            told.as_ref().is_some_and(|told| told.records == 1)
        })
        .await?;
    assert!(owners(&bench, "z").await?.is_empty());

    // An order for what was told before is for another set.
    bench.unmanaged.order(&format!("delete:{}", told.token), 7);
    bench.quiet().await;
    assert!(bench.config_map("x").await?.is_some());
    let told = bench.until_unmanaged("it is told", Option::is_some).await?;
    bench
        .unmanaged
        .order(&format!("delete:{}", told.unwrap_or_default().token), 8);
    bench.gone("x").await?;
    bench.gone("y").await?;
    bench
        .until_unmanaged("nothing is left", Option::is_none)
        .await?;
    assert!(bench.read(&[RECORD, &format!("{HUB}-gone")]).await.is_err());

    // A work comes back to its old hub: its record is the managed one again, and nothing is missing.
    bench.move_to(HUB, &["stay"]).await;
    bench.status("stay", 1).await?;
    bench.unmanaged.look_again();
    eventually("the record of the other hub is gone", async || {
        Ok((owners(&bench, "both").await? == [format!("{HUB}-stay")]).then_some(()))
    })
    .await?;
    for map in ["both", "z", "bystander"] {
        assert!(bench.config_map(map).await?.is_some(), "{map}");
    }
    bench.read(&[RECORD, "cccc-theirs"]).await?;
    Ok(())
}

#[tokio::test]
async fn a_former_work_can_be_forgotten_without_its_objects() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    bench.desire("gone", 1, work(&["x"]))?;
    bench.status("gone", 1).await?;
    bench.quiet().await;
    bench.move_to("bbbb", &[]).await;
    let told = bench.until_unmanaged("it is told", Option::is_some).await?;
    bench
        .unmanaged
        .order(&format!("orphan:{}", told.unwrap_or_default().token), 9);
    bench
        .until_unmanaged("nothing is left", Option::is_none)
        .await?;
    assert!(owners(&bench, "x").await?.is_empty());
    assert!(bench.read(&[RECORD, &format!("{HUB}-gone")]).await.is_err());
    Ok(())
}

/// OCM's way, where the cluster's own people ask for it: what is unknown for so long goes, and only while the hub says that it is.
#[tokio::test]
async fn what_is_left_is_evicted_after_its_grace_while_the_hub_does_not_know_it()
-> anyhow::Result<()> {
    let bench = Bench::start().await?;
    bench.desire("old", 1, work(&["x"]))?;
    assert_eq!(applied(&bench.status("old", 1).await?), "True");
    bench.quiet().await;
    let is_told = |told: &Told| told.as_ref().is_some_and(|told| told.records == 1);
    let stays = async |why: &str| {
        bench.unmanaged.look_again();
        bench.quiet().await;
        assert!(bench.config_map("x").await?.is_some(), "{why}");
        bench
            .until_unmanaged("it is still told", is_told)
            .await
            .map(drop)
    };

    let hour = Duration::from_secs(3600);
    bench.move_to_evicting("bbbb", &[], Some(hour)).await;
    bench.until_unmanaged("it is told", is_told).await?;
    bench.unmanaged.set_sure(true);
    stays("its grace is not over").await?;

    // A hub that is away, or has not said what it has, knows nothing.
    bench.unmanaged.set_sure(false);
    bench
        .move_to_evicting("bbbb", &[], Some(Duration::ZERO))
        .await;
    stays("the hub has not said that it does not know it").await?;

    bench.unmanaged.set_sure(true);
    bench.unmanaged.look_again();
    bench.gone("x").await?;
    eventually("its record is gone", async || {
        Ok(bench
            .read(&[RECORD, "aaaa-old"])
            .await
            .is_err()
            .then_some(()))
    })
    .await
}
