//! Somebody else keeps changing what is declared.

use anyhow::ensure;
use koinon_tests::eventually;
use serde_json::{Value, json};

use super::bench::{Bench, condition, config_map};

fn feedback(status: &Value) -> Value {
    let values = &status["resourceStatus"]["manifests"][0]["statusFeedback"]["values"];
    values[0]["fieldValue"]["string"].clone()
}

#[tokio::test]
async fn a_fight_is_recognised_slowed_down_and_reported_with_whoever_fights() -> anyhow::Result<()>
{
    let bench = Bench::start().await?;
    let config = json!([{
        "resourceIdentifier": {"resource": "configmaps", "namespace": "default", "name": "m"},
        "feedbackRules": [{"type": "JSONPaths", "jsonPaths": [{"name": "mode", "path": ".data.mode"}]}],
    }]);
    let work = |value: &str| {
        let map = config_map("m", &json!({"k": value}));
        json!({"workload": {"manifests": [map]}, "manifestConfigs": config})
    };
    let change = async |data: &Value| {
        let patch = json!({"data": data}).to_string();
        bench
            .kubectl(&[
                "patch",
                "configmap",
                "m",
                "--type=merge",
                "--field-manager=rival",
                "-p",
                &patch,
            ])
            .await
    };
    bench.desire("w", 1, work("v"))?;
    bench.status("w", 1).await?;
    for round in 0..40 {
        let writes = bench.writes();
        change(&json!({"k": format!("theirs-{round}")})).await?;
        // It is repaired, until it is given up.
        let given_up = eventually("the change is seen", async || {
            bench.collect()?;
            let status = bench.known("w");
            match condition(&status, "Contested").as_str() {
                "True" => Ok(Some(true)),
                _ => Ok((bench.writes() > writes).then_some(false)),
            }
        })
        .await?;
        if given_up {
            break;
        }
        ensure!(round < 39, "the agent fights for ever");
    }
    let status = bench
        .until("it says who", "w", |s| {
            s.to_string().contains("rival keeps changing")
        })
        .await?;
    assert_eq!(condition(&status, "Contested"), "True");

    // It stays as it was made, and what it says is reported all the same.
    let writes = bench.writes();
    change(&json!({"k": "theirs", "mode": "war"})).await?;
    let status = bench
        .until("what it says is reported", "w", |s| feedback(s) == "war")
        .await?;
    assert_eq!(condition(&status, "Contested"), "True", "{status}");
    bench
        .data("m", &json!({"k": "theirs", "mode": "war"}))
        .await?;
    assert_eq!(bench.writes(), writes);

    // Its values are fought about, not that it is there.
    bench.kubectl(&["delete", "configmap", "m"]).await?;
    bench.data("m", &json!({"k": "v"})).await?;
    bench
        .until("that it was made anew is no fight", "w", |s| {
            condition(s, "Contested").is_empty()
        })
        .await?;

    // A newer manifest is another matter.
    bench.desire("w", 2, work("new"))?;
    bench
        .until("the work is applied anew", "w", |s| {
            condition(s, "Contested").is_empty()
        })
        .await?;
    bench.data("m", &json!({"k": "new"})).await
}

/// Two works want the same object, each in its own way.
#[tokio::test]
async fn a_fight_ends_with_whoever_fought() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let work =
        |value: &str| json!({"workload": {"manifests": [config_map("m", &json!({"k": value}))]}});
    bench.desire("a", 1, work("1"))?;
    bench.status("a", 1).await?;
    bench.desire("b", 1, work("2"))?;
    let status = bench
        .until("they give it up for a while", "a", |s| {
            condition(s, "Contested") == "True"
        })
        .await?;
    ensure!(status.to_string().contains("-b"), "{status}");
    bench.delete("b")?;
    bench.data("m", &json!({"k": "1"})).await?;
    bench
        .until("it is at peace", "a", |s| {
            condition(s, "Contested").is_empty()
        })
        .await?;
    Ok(())
}
