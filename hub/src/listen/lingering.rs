//! Bodies that are refused before they have come whole.
//!
//! Over HTTP/1.1 a client sends all of its body before it reads the answer. A server that closes with some of it unread makes
//! TCP say "reset", and the reset takes an answer that was sent already away from the client: it learns of a lost
//! connection where it was told why it was refused ([RFC 9112, 9.6](https://www.rfc-editor.org/rfc/rfc9112#section-9.6)). So what is left
//! is read and dropped, up to a bound; the connection is good for another request then.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Version, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// What is read of a refused body: as much as the largest that is taken. It is dropped piece by piece.
const MOST: usize = 16 << 20;
/// For how long.
const LONGEST: Duration = Duration::from_secs(10);

/// The body of a request. What nobody reads of it is read here, after it is dropped.
#[derive(Debug)]
pub(super) struct Lingering {
    /// None only while it is dropped.
    body: Option<Incoming>,
    lingers: bool,
}

impl Lingering {
    pub(super) fn new(body: Incoming, version: Version, headers: &HeaderMap) -> Self {
        // HTTP/2 has a word for it, and who expects to be told to go on has sent nothing yet.
        let lingers = version < Version::HTTP_2 && !headers.contains_key(header::EXPECT);
        Self {
            body: Some(body),
            lingers,
        }
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.lingers = false;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && self.lingers
            && !body.is_end_stream()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // It ends with the connection, and by its bounds.
            runtime.spawn(tokio::time::timeout(LONGEST, read(body)));
        }
    }
}

async fn read(mut body: Incoming) {
    let mut left = MOST;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
