//! The agent dies before or after any of its writes, and another one takes over: what was asked for comes about, nothing
//! is left behind, nothing else is deleted.

use koinon_tests::{Death, eventually};
use serde_json::{Value, json};

use super::bench::{Bench, applied, config_map};

/// Does `act`, with the agent dying at each of its writes in turn, until it lives through it; after each death, and what the hub says
/// `meanwhile`, another agent must reach what `reached` asks for.
async fn at_every_write(
    bench: &Bench,
    what: &str,
    mut prepare: impl AsyncFnMut(&str) -> anyhow::Result<()>,
    act: impl Fn(&str) -> anyhow::Result<()>,
    meanwhile: impl Fn(&str) -> anyhow::Result<()>,
    reached: impl AsyncFn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<usize> {
    let mut deaths = 0;
    for death in [Death::Before, Death::After] {
        for number in 1.. {
            let name = format!(
                "{what}-{}{number}",
                if death == Death::Before { "b" } else { "a" }
            );
            prepare(&name).await?;
            bench.settled().await;
            bench.gate.kill_at(number, death);
            act(&name)?;
            let mut calm = 0;
            eventually("the agent dies or is done", async || {
                calm = if bench.gate.take_writes().is_empty() {
                    calm + 1
                } else {
                    0
                };
                Ok((bench.gate.is_dead() || calm > 12).then_some(()))
            })
            .await?;
            let died = bench.gate.is_dead();
            // The hub's next word may be known before the other agent has looked at anything.
            meanwhile(&name)?;
            bench.restart().await;
            reached(&name).await?;
            bench.forget(&name).await?;
            if !died {
                break;
            }
            deaths += 1;
            anyhow::ensure!(number < 40, "{what} never ends");
        }
    }
    Ok(deaths)
}

fn nothing(_: &str) -> anyhow::Result<()> {
    Ok(())
}

fn spec(maps: &[(&str, &str)]) -> Value {
    let maps: Vec<_> = maps
        .iter()
        .map(|(name, value)| config_map(name, &json!({"k": value})))
        .collect();
    json!({"workload": {"manifests": maps}})
}

#[tokio::test]
async fn an_agent_that_dies_between_two_writes_leaves_nothing_undone() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let bench = &bench;
    bench.put(&config_map("bystander", &json!({}))).await?;
    let is = async |name: &str, value: &str| bench.data(name, &json!({"k": value})).await;

    // A work comes.
    let deaths = at_every_write(
        bench,
        "come",
        async |_| Ok(()),
        |name| {
            let (a, b) = (format!("{name}-x"), format!("{name}-y"));
            bench.desire(name, 1, spec(&[(&a, "1"), (&b, "1")]))
        },
        nothing,
        async |name| {
            assert_eq!(applied(&bench.status(name, 1).await?), "True");
            is(&format!("{name}-x"), "1").await?;
            is(&format!("{name}-y"), "1").await
        },
    )
    .await?;
    assert!(deaths >= 6, "only {deaths} writes to die at");

    // A work changes: one object changes, one goes, one comes.
    let deaths = at_every_write(
        bench,
        "turn",
        async |name| {
            let (a, b) = (format!("{name}-x"), format!("{name}-y"));
            bench.desire(name, 1, spec(&[(&a, "1"), (&b, "1")]))?;
            bench.status(name, 1).await.map(drop)
        },
        |name| {
            let (a, c) = (format!("{name}-x"), format!("{name}-z"));
            bench.desire(name, 2, spec(&[(&a, "2"), (&c, "2")]))
        },
        nothing,
        async |name| {
            assert_eq!(applied(&bench.status(name, 2).await?), "True");
            is(&format!("{name}-x"), "2").await?;
            is(&format!("{name}-z"), "2").await?;
            bench.gone(&format!("{name}-y")).await
        },
    )
    .await?;
    assert!(deaths >= 6, "only {deaths} writes to die at");

    // A work goes; what it shares with another work stays.
    bench.desire("other", 1, spec(&[("shared", "1")]))?;
    bench.status("other", 1).await?;
    let deaths = at_every_write(
        bench,
        "go",
        async |name| {
            let a = format!("{name}-x");
            bench.desire(name, 1, spec(&[(&a, "1"), ("shared", "1")]))?;
            bench.status(name, 1).await.map(drop)
        },
        |name| bench.delete(name),
        nothing,
        async |name| {
            bench.removed(name).await?;
            bench.gone(&format!("{name}-x")).await?;
            is("shared", "1").await
        },
    )
    .await?;
    assert!(deaths >= 6, "only {deaths} writes to die at");

    // Nothing of all that is left, and nobody else was touched.
    assert!(bench.config_map("bystander").await?.is_some());
    let left: Vec<_> = bench
        .versions()
        .await?
        .into_keys()
        .filter(|key| {
            !["kube-root-ca.crt", "bystander", "shared", "aaaa-other"]
                .iter()
                .any(|known| key.ends_with(known))
        })
        .collect();
    assert_eq!(left, Vec::<String>::new());
    Ok(())
}

/// What is applied server-side names its owner with a second write; without it the object is the work's all the same.
#[tokio::test]
async fn what_is_applied_server_side_is_owned_from_its_first_write() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let bench = &bench;
    let come = |name: &str| {
        let mut spec = spec(&[(&format!("{name}-x"), "1"), (&format!("{name}-y"), "1")]);
        spec["manifestConfigs"] = json!([{
            "resourceIdentifier": {"resource": "configmaps", "namespace": "*", "name": "*"},
            "updateStrategy": {"type": "ServerSideApply"},
        }]);
        bench.desire(name, 1, spec)
    };
    let deaths = at_every_write(
        bench,
        "side",
        async |_| Ok(()),
        come,
        nothing,
        async |name| {
            assert_eq!(applied(&bench.status(name, 1).await?), "True");
            for object in ["x", "y"].map(|end| format!("{name}-{end}")) {
                let live = bench.config_map(&object).await?;
                let metadata = &live.as_ref().expect("it is there")["metadata"];
                assert_eq!(
                    metadata["ownerReferences"].as_array().map(Vec::len),
                    Some(1)
                );
                assert_eq!(metadata["annotations"], Value::Null, "the mark is gone");
            }
            Ok(())
        },
    )
    .await?;
    assert!(deaths >= 8, "only {deaths} writes to die at");
    over(bench, "side-over", 8, come).await
}

/// Lets a work come, and go after each death on the way.
async fn over(
    bench: &Bench,
    what: &str,
    least: usize,
    come: impl Fn(&str) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let deaths = at_every_write(
        bench,
        what,
        async |_| Ok(()),
        come,
        |name| bench.delete(name),
        async |name| {
            bench.removed(name).await?;
            bench.gone(&format!("{name}-x")).await?;
            bench.gone(&format!("{name}-y")).await
        },
    )
    .await?;
    assert!(deaths >= least, "only {deaths} writes to die at");
    Ok(())
}

/// A crash in the middle of one generation, and the next one, or the end of the work, is known before anything was looked at again.
#[tokio::test]
async fn what_a_dead_agent_left_is_not_forgotten_for_newer_news() -> anyhow::Result<()> {
    let bench = Bench::start().await?;
    let bench = &bench;
    let come = |name: &str| {
        let (a, b) = (format!("{name}-x"), format!("{name}-y"));
        bench.desire(name, 1, spec(&[(&a, "1"), (&b, "1")]))
    };
    let deaths = at_every_write(
        bench,
        "newer",
        async |_| Ok(()),
        come,
        |name| bench.desire(name, 2, spec(&[(&format!("{name}-z"), "2")])),
        async |name| {
            assert_eq!(applied(&bench.status(name, 2).await?), "True");
            bench.data(&format!("{name}-z"), &json!({"k": "2"})).await?;
            bench.gone(&format!("{name}-x")).await?;
            bench.gone(&format!("{name}-y")).await
        },
    )
    .await?;
    assert!(deaths >= 6, "only {deaths} writes to die at");
    over(bench, "over", 6, come).await
}
