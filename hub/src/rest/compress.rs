//! Large answers, compressed for clients that say they read gzip.
//!
//! As in kube-apiserver: from 128 KiB on, at the fastest level, and never a watch, whose events must not wait for each other.

use std::io::Write as _;

use axum::{
    body::{Body, BodyDataStream},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use flate2::{Compression, write::GzEncoder};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, header};
use http_body::Body as _;

/// What is smaller travels faster as it is.
const LEAST: usize = 128 << 10;

/// Whether the client reads gzip.
pub(super) fn is_accepted(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            parts.next() == Some("gzip")
                && !parts.any(|weight| matches!(weight, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
}

/// Compresses a response whose body is large. The body is never in memory as a whole.
pub(super) async fn large(response: Response) -> Response {
    let most = response.body().size_hint().upper();
    if most.is_some_and(|most| most < LEAST as u64) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let mut rest = body.into_data_stream();
    let mut start = BytesMut::new();
    while start.len() < LEAST {
        match rest.next().await {
            Some(Ok(piece)) => start.extend_from_slice(&piece),
            // What breaks off breaks off for the client as well.
            Some(Err(error)) => {
                let pieces = stream::iter([Ok(start.freeze()), Err(error)]);
                return Response::from_parts(head, Body::from_stream(pieces));
            }
            None => return Response::from_parts(head, Body::from(start.freeze())),
        }
    }
    head.headers
        .insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers
        .append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from_stream(compressed(start.freeze(), rest)))
}

fn compressed(
    start: Bytes,
    rest: BodyDataStream,
) -> impl futures::Stream<Item = Result<Bytes, axum::Error>> {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let pieces = stream::once(std::future::ready(Ok(start))).chain(rest);
    let ends = pieces
        .map(Some)
        .chain(stream::once(std::future::ready(None)));
    ends.scan(Some(encoder), |state, piece| {
        let out = match (state.as_mut(), piece) {
            (Some(encoder), Some(Ok(piece))) => {
                // A Vec takes every write.
                let _ = encoder.write_all(&piece);
                Some(Ok(Bytes::from(std::mem::take(encoder.get_mut()))))
            }
            (_, Some(Err(error))) => {
                *state = None;
                Some(Err(error))
            }
            (Some(_), None) => state
                .take()
                .and_then(|encoder| encoder.finish().ok())
                .map(|last| Ok(Bytes::from(last))),
            (None, _) => None,
        };
        std::future::ready(out)
    })
    .filter(|piece| std::future::ready(!matches!(piece, Ok(piece) if piece.is_empty())))
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, io::Read as _};

    use http_body_util::BodyExt as _;

    use super::*;

    async fn sent(pieces: Vec<Bytes>) -> (HeaderMap, Bytes) {
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
        let (head, body) = large(Response::new(body)).await.into_parts();
        (head.headers, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn large_bodies_are_compressed_and_small_ones_are_not() {
        let (headers, body) =
            sent(vec![Bytes::from_static(b"{}"), Bytes::from_static(b"\n")]).await;
        assert_eq!(headers.get(header::CONTENT_ENCODING), None);
        assert_eq!(&body[..], b"{}\n");

        let piece = Bytes::from("abcdefgh".repeat(10 << 10));
        let (headers, body) = sent(vec![piece.clone(), piece.clone(), piece.clone()]).await;
        assert_eq!(headers[header::CONTENT_ENCODING], "gzip");
        assert!(body.len() < piece.len() / 10);
        let mut text = String::new();
        flate2::read::GzDecoder::new(&body[..])
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "abcdefgh".repeat(30 << 10));
    }

    #[test]
    fn gzip_must_be_asked_for() {
        for (value, accepted) in [
            ("gzip", true),
            ("deflate, gzip;q=0.8", true),
            ("gzip;q=0", false),
            ("identity", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
            assert_eq!(is_accepted(&headers), accepted, "{value}");
        }
    }
}
