use std::time::Duration;

use tokio::time::Instant;

/// How long failures must last before they are told; OCM's figure. A restarting API server is no news.
const LASTING: Duration = Duration::from_secs(20);

/// What is told about the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Ok,
    Failing(String),
}

/// Turns single looks into something worth telling.
#[derive(Debug, Default)]
pub(super) struct Health {
    verdict: Option<Verdict>,
    failing_since: Option<Instant>,
}

impl Health {
    /// Adds a look; `None` while nothing can be said yet.
    pub(super) fn observe(&mut self, outcome: Result<(), String>, now: Instant) -> Option<Verdict> {
        match outcome {
            Ok(()) => {
                self.failing_since = None;
                self.verdict = Some(Verdict::Ok);
            }
            Err(message) => {
                let since = *self.failing_since.get_or_insert(now);
                if now.duration_since(since) >= LASTING {
                    self.verdict = Some(Verdict::Failing(message));
                }
            }
        }
        self.verdict.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lasting_failures_are_told_and_a_success_ends_them_at_once() {
        let (mut health, start) = (Health::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let fail = || Err("down".to_owned());
        assert_eq!(health.observe(fail(), at(0)), None);
        assert_eq!(health.observe(Ok(()), at(1)), Some(Verdict::Ok));
        assert_eq!(health.observe(fail(), at(2)), Some(Verdict::Ok));
        assert_eq!(health.observe(fail(), at(21)), Some(Verdict::Ok));
        assert_eq!(
            health.observe(fail(), at(22)),
            Some(Verdict::Failing("down".into()))
        );
        assert_eq!(health.observe(Ok(()), at(23)), Some(Verdict::Ok));
        assert_eq!(health.observe(fail(), at(24)), Some(Verdict::Ok));
    }
}
