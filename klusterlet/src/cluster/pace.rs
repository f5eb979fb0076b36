//! Patience with an API server that has too much to do.
//!
//! API Priority and Fairness answers 429 with `Retry-After`. Then nothing is asked for that long; after it one call goes first, and the others
//! follow when it was answered. A server that is asked by everybody again the moment it has recovered does not recover.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{HeaderMap, Request, Response, StatusCode, header::RETRY_AFTER};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service};
use tracing::info;

/// Longest pause that is kept, whatever the server asks for.
const LONGEST: Duration = Duration::from_secs(60);

/// How often those look who wait for the first call's answer, and how long that is waited for.
const LOOK: Duration = Duration::from_millis(50);
const ANSWER: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
struct State {
    /// Nothing is asked before; absent while all is well.
    until: Option<Instant>,
    /// When the call went that goes first.
    first: Option<Instant>,
}

/// What to do with a call. Pure.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Go,
    Wait(Duration),
}

impl State {
    fn turn(&mut self, now: Instant) -> Turn {
        let Some(until) = self.until else {
            return Turn::Go;
        };
        if now < until {
            return Turn::Wait(until - now);
        }
        match self.first {
            // An answer that does not come must not keep the others for ever.
            Some(first) if now.saturating_duration_since(first) < ANSWER => Turn::Wait(LOOK),
            _ => {
                self.first = Some(now);
                Turn::Go
            }
        }
    }

    /// Notes an answer; says whether a pause begins.
    fn note(&mut self, pause: Option<Duration>, now: Instant) -> bool {
        let Some(pause) = pause else {
            // What was sent before the pause says nothing about its end.
            if self.until.is_some_and(|until| until <= now) {
                *self = Self::default();
            }
            return false;
        };
        let begins = self.until.is_none();
        let until = now + pause.min(LONGEST);
        self.until = Some(self.until.map_or(until, |before| before.max(until)));
        self.first = None;
        begins
    }
}

/// Shared by all that speak to one API server. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace(Arc<Mutex<State>>);

impl Pace {
    /// Waits until something may be asked.
    pub(super) async fn wait(&self) {
        loop {
            let turn = self.0.lock().turn(Instant::now());
            match turn {
                Turn::Go => return,
                // Those who wait do not all come at once.
                Turn::Wait(pause) => {
                    sleep(pause + LOOK.mul_f64(rand::random_range(0.0..1.0))).await
                }
            }
        }
    }

    /// Whether the server has asked for a pause that is not over.
    pub(super) fn is_paused(&self) -> bool {
        self.0.lock().until.is_some()
    }

    fn note(&self, status: StatusCode, headers: &HeaderMap) {
        let pause = pause(status, headers);
        if self.0.lock().note(pause, Instant::now()) {
            info!(?pause, "the API server has too much to do; waiting");
        }
    }
}

/// How long a server asks to be left alone: RFC 9110, section 10.2.3, in seconds as Kubernetes says it.
fn pause(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if !matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    ) {
        return None;
    }
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Lets a [`Pace`] see all answers.
impl<S> Layer<S> for Pace {
    type Service = Paced<S>;

    fn layer(&self, inner: S) -> Paced<S> {
        Paced {
            inner,
            pace: self.clone(),
        }
    }
}

/// A client whose answers a [`Pace`] sees.
#[derive(Debug, Clone)]
pub(super) struct Paced<S> {
    inner: S,
    pace: Pace,
}

impl<S, B, R> Service<Request<B>> for Paced<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (answer, pace) = (self.inner.call(request), self.pace.clone());
        Box::pin(async move {
            let response = answer.await?;
            pace.note(response.status(), response.headers());
            Ok(response)
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn after_a_pause_one_goes_first() {
        let (mut state, start) = (State::default(), Instant::now());
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(state.turn(at(0)), Turn::Go);
        assert!(!state.note(None, at(0)));
        assert!(state.note(Some(Duration::from_secs(2)), at(0)));
        // Others that were under way are refused as well, or not: it is one pause.
        assert!(!state.note(Some(Duration::from_secs(1)), at(500)));
        assert!(!state.note(None, at(500)));
        assert_eq!(state.turn(at(500)), Turn::Wait(Duration::from_millis(1500)));
        assert_eq!(state.turn(at(2000)), Turn::Go);
        assert_eq!(state.turn(at(2001)), Turn::Wait(LOOK));
        // Refused again, then answered.
        assert!(!state.note(Some(Duration::from_secs(1)), at(2100)));
        assert_eq!(state.turn(at(2200)), Turn::Wait(Duration::from_millis(900)));
        assert_eq!(state.turn(at(3100)), Turn::Go);
        assert!(!state.note(None, at(3150)));
        assert_eq!(state.turn(at(3151)), Turn::Go);
        assert_eq!(state.turn(at(3151)), Turn::Go);
        // An answer that never comes.
        state.note(Some(Duration::ZERO), at(4000));
        assert_eq!(state.turn(at(4000)), Turn::Go);
        assert_eq!(state.turn(at(8999)), Turn::Wait(LOOK));
        assert_eq!(state.turn(at(9000)), Turn::Go);
    }

    #[test]
    fn only_a_server_that_is_overloaded_asks_for_a_pause() {
        let mut headers = HeaderMap::new();
        let too_many = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(pause(too_many, &headers), None);
        for (text, expected) in [("3", Some(3)), ("soon", None), ("-1", None), ("", None)] {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            let found = pause(too_many, &headers);
            assert_eq!(found, expected.map(Duration::from_secs), "{text:?}");
        }
        headers.insert(RETRY_AFTER, HeaderValue::from_static("3"));
        assert_eq!(pause(StatusCode::CONFLICT, &headers), None);
        let mut state = State::default();
        state.note(Some(Duration::from_secs(1 << 40)), Instant::now());
        assert!(
            state
                .until
                .is_some_and(|until| until <= Instant::now() + LONGEST)
        );
    }
}
