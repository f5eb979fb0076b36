//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

/// Long enough for anything that happens at all on a slow, shared machine.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The same for starting a hub or an API server, which takes seconds on a machine
/// with nothing else to do and minutes on one that builds things.
pub const START: Duration = Duration::from_secs(240);

/// How long one try of a probe may take.
const ONE_TRY: Duration = Duration::from_secs(15);

/// Asks again and again until the probe answers, for [`PATIENCE`].
///
/// # Errors
/// When the deadline passes; with what the probe said last.
pub async fn eventually<T>(
    what: &str,
    probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    eventually_within(PATIENCE, what, probe).await
}

/// Asks again and again until the probe answers. `Ok(None)` and `Err` both mean
/// "not yet"; the last error is part of the report.
///
/// # Errors
/// When the deadline passes; with what the probe said last.
pub async fn eventually_within<T>(
    within: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(20);
    loop {
        // A server that is starting may accept a request and never answer it.
        let left = within
            .saturating_sub(began.elapsed())
            .clamp(Duration::from_secs(1), ONE_TRY);
        let said = match tokio::time::timeout(left, probe()).await {
            Ok(Ok(Some(answer))) => return Ok(answer),
            Ok(Ok(None)) => anyhow!("the condition did not hold"),
            Ok(Err(error)) => error,
            Err(_) => anyhow!("the probe did not answer"),
        };
        if began.elapsed() >= within {
            return Err(said).with_context(|| format!("waited {within:?} for: {what}"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_millis(250));
    }
}

/// Checks that something stays true for a while: for what must *not* happen.
///
/// # Errors
/// As soon as the probe says `false` or fails.
pub async fn stays(
    what: &str,
    during: Duration,
    mut probe: impl AsyncFnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    while began.elapsed() < during {
        anyhow::ensure!(
            probe().await.with_context(|| what.to_owned())?,
            "did not stay true: {what}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
