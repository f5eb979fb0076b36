//! An API server that has too much to do, and answers that overtake each other: the agent is patient, and what is asked for comes about.

use std::time::Duration;

use koinon_tests::eventually;
use serde_json::{Value, json};

use super::{
    bench::{Bench, applied, config_map},
    settings::{NEVER, Settings},
};

fn spec(name: &str, value: usize) -> Value {
    json!({"workload": {"manifests": [config_map(name, &json!({"k": value.to_string()}))]}})
}

#[tokio::test]
async fn an_overloaded_api_server_is_left_alone_as_long_as_it_asks() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    bench.desire("before", 1, spec("before", 1))?;
    bench.status("before", 1).await?;
    bench.quiet().await;
    bench.gate.throttle(Duration::from_secs(5));
    for n in 0..40 {
        let name = format!("many-{n:02}");
        bench.desire(&name, 1, spec(&name, 1))?;
    }
    for n in 0..40 {
        let status = bench.status(&format!("many-{n:02}"), 1).await?;
        assert_eq!(applied(&status), "True", "{status}");
    }
    // What was under way when the pause began, then one call a second and a few watches.
    let refused = bench.gate.throttled();
    assert!(
        (1..60).contains(&refused),
        "{refused} requests were refused"
    );
    Ok(())
}

#[tokio::test]
async fn answers_that_overtake_each_other_lead_to_the_same_end() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    bench.put(&config_map("bystander", &json!({}))).await?;
    bench.gate.shuffle(Duration::from_millis(300));
    for generation in 1..=12_i64 {
        for n in 0..6_i64 {
            let name = format!("w{n}");
            // Every now and then the object changes its name, so that one comes and one goes.
            let map = format!("{name}-{}", (generation + n) / 4);
            let value = usize::try_from(generation)?;
            bench.desire(&name, generation, spec(&map, value))?;
        }
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    for n in 0..6_i64 {
        let name = format!("w{n}");
        assert_eq!(applied(&bench.status(&name, 12).await?), "True");
        bench
            .data(&format!("{name}-{}", (12 + n) / 4), &json!({"k": "12"}))
            .await?;
    }
    bench.gate.shuffle(Duration::ZERO);
    eventually(
        "nothing is left of what was asked for in between",
        async || {
            let maps = bench.read(&["configmaps"]).await?;
            let names = maps["items"].as_array().into_iter().flatten();
            let names = names.filter_map(|map| map["metadata"]["name"].as_str());
            let ours = names.filter(|name| name.starts_with('w')).count();
            Ok((ours == 6).then_some(()))
        },
    )
    .await?;
    assert!(bench.config_map("bystander").await?.is_some());
    Ok(())
}

/// What a new work costs: its record while it is being stored, and its object. Whatever else was asked would be asked hundreds of times
/// in a burst, of the server that has the most to do.
#[tokio::test]
async fn a_new_work_costs_one_write_for_its_record_and_one_for_its_object() -> anyhow::Result<()> {
    const WORKS: usize = 40;
    let bench = Bench::with(Settings {
        books: NEVER,
        ..Settings::default()
    })
    .await?;
    // The kind is looked up, and watched from now on.
    bench.desire("first", 1, spec("first", 1))?;
    bench.status("first", 1).await?;
    bench.quiet().await;
    let (writes, reads) = (bench.gate.total(), bench.gate.reads());
    let names: Vec<_> = (0..WORKS).map(|n| format!("many-{n:02}")).collect();
    for name in &names {
        bench.announce(name, &spec(name, 1))?;
    }
    let made = || usize::try_from(bench.gate.total() - writes);
    eventually("all records are made", async || {
        Ok((made()? == WORKS).then_some(()))
    })
    .await?;
    for name in &names {
        bench.desire(name, 1, spec(name, 1))?;
    }
    for name in &names {
        assert_eq!(applied(&bench.status(name, 1).await?), "True");
    }
    bench.quiet().await;
    assert_eq!(made()?, 2 * WORKS);
    // Watches that are opened anew, if any.
    let reads = bench.gate.reads() - reads;
    assert!(reads < 10, "{reads} requests that are no writes");
    Ok(())
}
