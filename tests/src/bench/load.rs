//! Many clients that send one request after the other, as fast as they are answered.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::ensure;
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, future::try_join_all, stream};
use hyper::Method;

use super::{
    https::{Connection, Target},
    latency::Latency,
};

/// Clients that fill a server with objects.
const FILLERS: usize = 64;

/// One request of a load.
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

/// What a load reached.
pub(super) struct Load {
    rate: f64,
    latency: Latency,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}/s, {}", self.rate, self.latency)
    }
}

/// Lets `clients` ask for `how_long`, each on a connection of its own; `ask` is told which client asks and how often it did.
pub(super) async fn load(
    target: &Target,
    clients: usize,
    how_long: Duration,
    ask: impl Fn(usize, usize) -> anyhow::Result<Ask> + Clone + Send + 'static,
) -> anyhow::Result<Load> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(target.connect().await?);
    }
    let begin = Instant::now();
    let end = begin + how_long;
    let tasks = connections
        .into_iter()
        .enumerate()
        .map(|(client, mut connection)| {
            let ask = ask.clone();
            let task = tokio::spawn(async move {
                let mut times = Vec::new();
                for count in 0.. {
                    let sent = Instant::now();
                    if sent >= end {
                        break;
                    }
                    put(&mut connection, ask(client, count)?).await?;
                    times.push(sent.elapsed());
                }
                anyhow::Ok(times)
            });
            async move { task.await? }
        });
    let times = try_join_all(tasks).await?.concat();
    let took = begin.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    Ok(Load {
        rate: times.len() as f64 / took,
        latency: Latency::of(times),
    })
}

/// Sends all of `asks`, many at a time, and says how long that took.
pub(super) async fn fill(
    target: &Target,
    count: usize,
    ask: impl Fn(usize) -> anyhow::Result<Ask>,
) -> anyhow::Result<Duration> {
    let begin = Instant::now();
    let clients = (0..FILLERS.min(count)).map(async |client| {
        let mut connection = target.connect().await?;
        for index in (client..count).step_by(FILLERS) {
            put(&mut connection, ask(index)?).await?;
        }
        anyhow::Ok(())
    });
    stream::iter(clients)
        .buffer_unordered(FILLERS)
        .try_collect::<()>()
        .await?;
    Ok(begin.elapsed())
}

async fn put(connection: &mut Connection, ask: Ask) -> anyhow::Result<()> {
    let Ask {
        method,
        path,
        content_type,
        body,
    } = ask;
    let (status, answer) = connection
        .send_as(method, &path, content_type, body)
        .await?;
    ensure!(
        status.is_success(),
        "{path}: {status}: {}",
        String::from_utf8_lossy(&answer)
    );
    Ok(())
}
