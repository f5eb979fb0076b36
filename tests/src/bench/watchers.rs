//! Many watchers that all see every change: how long a change takes to reach each of them.
//!
//! Watchers and writer are in this process, so both ends of a time are read from one clock; reading the events costs about
//! what sending them does.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hyper::Method;
use tokio::{task::JoinSet, time::sleep_until};

use super::{
    Settings,
    beside::{self, Kinds, PATIENCE},
    https::{Connection, Lines, Target},
    latency::{Latency, shown},
    objects,
    table::Table,
    writes::namespace,
};

/// Time between two changes of the paced round: 40 a second.
const PACE: Duration = Duration::from_millis(25);
/// A watcher that hears nothing for so long will hear nothing any more.
const SILENCE: Duration = Duration::from_secs(30);

pub(super) async fn run(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let (watchers, changes) = (settings.watchers, settings.changes);
    let (ours, beside) = beside::both(Kinds::BuiltIn, async |side| {
        let target = side.admin()?;
        let mut api = target.connect().await?;
        namespace(&mut api).await?;
        let paced = round(&target, &mut api, "paced", watchers, changes, PACE).await?;
        let burst = round(
            &target,
            &mut api,
            "burst",
            watchers,
            changes,
            Duration::ZERO,
        )
        .await?;
        Ok((paced, burst))
    })
    .await?;
    let (paced, burst) = beside.unzip();
    table.row(
        &format!("{watchers} watchers, {changes} changes at 40/s, delivery"),
        &ours.0.to_string(),
        &beside::kube(paced),
        "",
    );
    table.row(
        &format!("{watchers} watchers, {changes} changes one after the other, all delivered"),
        &ours.1.last(),
        &beside::kube(burst.map(|burst| burst.last())),
        "",
    );
    Ok(())
}

/// How a round of changes reached the watchers.
struct Round {
    latency: Latency,
    /// From the first change until the last event anywhere.
    took: Duration,
    /// Events that no watcher saw.
    missed: usize,
}

impl Round {
    fn last(&self) -> String {
        format!("{}{}", shown(self.took), self.lost())
    }

    fn lost(&self) -> String {
        match self.missed {
            0 => String::new(),
            missed => format!(" ({missed} events not delivered)"),
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.latency, self.lost())
    }
}

async fn round(
    target: &Target,
    api: &mut Connection,
    prefix: &'static str,
    watchers: usize,
    changes: usize,
    pace: Duration,
) -> anyhow::Result<Round> {
    let list = format!("{}?limit=1", objects::CONFIG_MAPS);
    let now = api
        .json(Method::GET, &list, &serde_json::Value::Null)
        .await?;
    let from = now["metadata"]["resourceVersion"]
        .as_str()
        .context("a list without a revision")?;
    let path = format!("{}?watch=1&resourceVersion={from}", objects::CONFIG_MAPS);
    let opened: Vec<Lines> = stream::iter(0..watchers)
        .map(async |_| target.connect().await?.lines(&path).await)
        .buffer_unordered(32)
        .try_collect()
        .await?;
    let sent: Arc<Vec<OnceLock<Instant>>> =
        Arc::new((0..changes).map(|_| OnceLock::new()).collect());
    let mut reading = JoinSet::new();
    for lines in opened {
        reading.spawn(watcher(lines, prefix, Arc::clone(&sent)));
    }
    let begin = Instant::now();
    for (index, at) in sent.iter().enumerate() {
        let due = begin + pace * u32::try_from(index)?;
        sleep_until(due.into()).await;
        let object = objects::small_config_map(&format!("{prefix}-{index}"));
        // It is set once, here.
        let _ = at.set(Instant::now());
        api.json(Method::POST, objects::CONFIG_MAPS, &object)
            .await?;
    }
    let (mut times, mut last) = (Vec::new(), begin);
    let all = async {
        while let Some(seen) = reading.join_next().await {
            let (seen, at) = seen??;
            times.extend(seen);
            last = last.max(at);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, all)
        .await
        .context("the watchers did not see all in time")??;
    let missed = watchers * changes - times.len();
    ensure!(!times.is_empty(), "no watcher saw anything");
    Ok(Round {
        latency: Latency::of(times),
        took: last - begin,
        missed,
    })
}

/// Reads until it has seen all changes or the watch ends: how long each took, and when the last came.
async fn watcher(
    mut lines: Lines,
    prefix: &str,
    sent: Arc<Vec<OnceLock<Instant>>>,
) -> anyhow::Result<(Vec<Duration>, Instant)> {
    let name = format!(r#""name":"{prefix}-"#);
    let mut times = Vec::with_capacity(sent.len());
    let mut last = Instant::now();
    while times.len() < sent.len() {
        // A server that drops slow watchers ends the body; one that forgot this one says nothing.
        let Ok(line) = tokio::time::timeout(SILENCE, lines.next()).await else {
            break;
        };
        let Some(line) = line? else { break };
        let at = Instant::now();
        let sent = index(&line, name.as_bytes())
            .and_then(|index| sent.get(index))
            .and_then(OnceLock::get);
        if let Some(sent) = sent {
            times.push(at - *sent);
            last = at;
        }
    }
    Ok((times, last))
}

/// The number behind `name` in an event. Parsing the whole of it would cost more than the server's work.
fn index(line: &[u8], name: &[u8]) -> Option<usize> {
    let at = line.windows(name.len()).position(|window| window == name)?;
    let digits = line[at + name.len()..].split(|byte| *byte == b'"').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
