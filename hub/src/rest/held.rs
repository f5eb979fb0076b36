//! Answers that are not read yet: the place is held for them, and who does not read loses the connection.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{flow::Place, pace::Pace};

/// Up to here an answer is copied into the connection's buffers, and done with.
const SMALL: u64 = 64 << 10;
/// Larger ones leave in pieces of this size, so that it shows how far they have come.
const PIECE: usize = 64 << 10;

/// Closes the connection that a request came on, when it is cancelled.
#[derive(Clone, Debug)]
pub struct Hangup(pub CancellationToken);

/// Holds `place` until all of `body` was taken, if that is large. A client that takes it too slowly is cut off: lists would
/// else pile up, each with the state that it is read from.
pub(super) fn until_read(body: Body, place: Place, hangup: Option<Hangup>) -> Body {
    if body.size_hint().upper().is_some_and(|size| size <= SMALL) {
        return body;
    }
    let pace = Arc::new(Mutex::new(Pace::begin()));
    let ended = CancellationToken::new();
    if let Some(Hangup(hangup)) = hangup {
        tokio::spawn(watch_over(Arc::clone(&pace), ended.clone(), hangup));
    }
    Body::new(Held {
        body,
        rest: Bytes::new(),
        pace,
        _place: place,
        _ended: ended.drop_guard(),
    })
}

/// Hangs up on a client that falls behind. Its body is not asked for anything then, so it cannot notice itself.
async fn watch_over(pace: Arc<Mutex<Pace>>, ended: CancellationToken, hangup: CancellationToken) {
    loop {
        let due = pace.lock().due();
        let in_time = ended.run_until_cancelled(tokio::time::sleep_until(due));
        if in_time.await.is_none() {
            return;
        }
        if pace.lock().due() <= due {
            tracing::debug!("a client that does not read its answer was cut off");
            hangup.cancel();
            return;
        }
    }
}

struct Held {
    body: Body,
    /// What is left of a frame that was larger than a piece.
    rest: Bytes,
    pace: Arc<Mutex<Pace>>,
    _place: Place,
    _ended: DropGuard,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                end => return Poll::Ready(end),
            }
        }
        let next = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(next);
        self.pace.lock().passed(piece.len());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;
    use crate::{
        auth::User,
        authz::Attributes,
        rest::{
            flow::{Flow, Limits},
            tenant::Tenant,
        },
    };

    async fn place(flow: &Flow) -> Result<Place, koinon_machinery::ApiError> {
        let user = User::default();
        flow.enter(
            &Tenant::of(&user),
            &Attributes::of("list", "", "configmaps"),
        )
        .await
    }

    fn flow() -> Flow {
        Flow::new(Limits {
            reads: 1,
            queue: 0,
            ..Limits::default()
        })
    }

    #[tokio::test]
    async fn a_large_body_holds_its_place_until_it_was_read_and_arrives_whole() {
        let flow = flow();
        let text: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let body = until_read(Body::from(text.clone()), place(&flow).await.unwrap(), None);
        assert_eq!(body.size_hint().exact(), Some(1_000_000));
        assert_eq!(place(&flow).await.unwrap_err().code, 429);
        assert_eq!(body.collect().await.unwrap().to_bytes(), text);
        let small = until_read(Body::from("{}"), place(&flow).await.unwrap(), None);
        place(&flow).await.unwrap();
        assert_eq!(small.collect().await.unwrap().to_bytes(), "{}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_hung_up_on_and_one_that_does_is_not() {
        let flow = flow();
        let hangup = CancellationToken::new();
        let text = vec![b'x'; 1_000_000];
        let held = place(&flow).await.unwrap();
        let mut body = until_read(Body::from(text.clone()), held, Some(Hangup(hangup.clone())));
        while body.frame().await.is_some() {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
        drop(body);
        assert!(!hangup.is_cancelled());
        let held = place(&flow).await.unwrap();
        let _unread = until_read(Body::from(text), held, Some(Hangup(hangup.clone())));
        hangup.cancelled().await;
    }
}
