//! How long a request may take: as long as its client says, and no longer than kube-apiserver lets one.

use std::{future::Future, time::Duration};

use koinon_machinery::{ApiError, Reason, Result};
use tokio::time::{Instant, timeout_at};

use super::query::Query;

/// For a request that is no watch, once its body has come: `--request-timeout` of kube-apiserver.
const LONGEST: Duration = Duration::from_secs(60);

/// When a request is given up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    /// By its client's word, from when it came.
    wanted: Option<Instant>,
    ends: bool,
}

impl Deadline {
    /// Reads `timeout`, which `kubectl --request-timeout` and client-go's `Timeout` send. A watch has ends of its own.
    ///
    /// # Errors
    ///
    /// `BadRequest` for what is no duration of Go's.
    pub(super) fn read(query: &Query, is_watch: bool) -> Result<Self> {
        let wanted = match query.text("timeout") {
            Some(text) if !is_watch => Some(duration(text).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "invalid timeout specified in the request URL - time: invalid duration {text:?}"
                ))
            })?),
            _ => None,
        };
        // Zero is no wish, and more than the longest is not granted.
        let wanted = wanted.filter(|wanted| !wanted.is_zero() && *wanted < LONGEST);
        Ok(Self {
            wanted: wanted.map(|wanted| Instant::now() + wanted),
            ends: !is_watch,
        })
    }

    /// Waits for what comes before the request is carried out, such as its body.
    ///
    /// # Errors
    ///
    /// `Timeout` when its client has given up by then.
    pub(super) async fn entering<T>(self, future: impl Future<Output = Result<T>>) -> Result<T> {
        match self.wanted {
            None => future.await,
            Some(end) => timeout_at(end, future)
                .await
                .unwrap_or_else(|_| Err(overdue())),
        }
    }

    /// Carries the request out. What it has handed to the database by its end may happen all the same.
    ///
    /// # Errors
    ///
    /// `Timeout` when that takes too long.
    pub(super) async fn acting<T>(self, future: impl Future<Output = T>) -> Result<T> {
        if !self.ends {
            return Ok(future.await);
        }
        let longest = Instant::now() + LONGEST;
        let end = self.wanted.map_or(longest, |wanted| wanted.min(longest));
        timeout_at(end, future).await.map_err(|_| overdue())
    }
}

/// In kube-apiserver's words. Without `Retry-After`, for clients repeat what has one, and nobody knows what became of it.
fn overdue() -> ApiError {
    ApiError::new(
        Reason::Timeout,
        "Timeout: request did not complete within requested timeout - context deadline exceeded",
    )
}

/// Reads a duration as Go's `time.ParseDuration` does: `300ms`, `1.5h`, `2h45m`. A negative one counts as none.
fn duration(text: &str) -> Option<Duration> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        seconds += number
            * match &rest[..end] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[end..];
    }
    // Go's are 64 bits of nanoseconds.
    if seconds > 9.2e9 {
        return None;
    }
    Some(if negative {
        Duration::ZERO
    } else {
        Duration::from_secs_f64(seconds)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in [
            ("0", 0),
            ("5s", 5000),
            ("+5s", 5000),
            ("300ms", 300),
            ("1.5m", 90_000),
            ("1h2m3s4ms", 3_723_004),
            (".5s", 500),
            ("-5s", 0),
        ] {
            assert_eq!(
                duration(text),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "s",
            "5x",
            "5 s",
            "1.2.3s",
            "-",
            "ms5",
            "99999999h",
            "NaNs",
            "infs",
            "1e3s",
            "5sé",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_ends_when_its_client_wants_and_after_a_minute_anyway() {
        let never = std::future::pending::<()>();
        for (query, seconds) in [
            ("timeout=5s", 5),
            ("timeout=2h", 60),
            ("timeout=0", 60),
            ("", 60),
        ] {
            let deadline = Deadline::read(&Query::parse(query), false).unwrap();
            let began = Instant::now();
            let ended = deadline.acting(never.clone()).await.unwrap_err();
            assert_eq!(began.elapsed().as_secs(), seconds, "{query}");
            assert_eq!(ended.code, 504);
        }
        let watch = Deadline::read(&Query::parse("timeout=5s"), true).unwrap();
        let longer = tokio::time::timeout(LONGEST * 2, watch.acting(never));
        assert!(longer.await.is_err(), "a watch has an end of its own");
        assert!(Deadline::read(&Query::parse("timeout=soon"), false).is_err());
    }
}
