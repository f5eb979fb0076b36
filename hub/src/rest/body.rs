//! Request bodies: size, format, and what decoding alone would swallow.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use koinon_machinery::{ApiError, Result, decode};
use serde_saphyr::DuplicateKeyPolicy;

use super::{Api, delete, explain, protobuf, request, reviews, token};
use crate::authz::Attributes;

const ACCEPTED: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

/// The largest body that is taken for what is asked; `None` where none is looked at.
pub(super) fn limit(api: &Api, asked: &Attributes) -> Option<usize> {
    let kinds = api.registry().kinds();
    match asked.verb.as_str() {
        "delete" | "deletecollection" => Some(delete::OPTIONS_LIMIT),
        "post" if request::is_debug(asked) => Some(explain::LIMIT),
        "create" if reviews::is_one(asked) => Some(reviews::LIMIT),
        "create" if asked.subresource == request::TOKEN => Some(token::LIMIT),
        "create" | "update" | "patch" => kinds
            .find(&asked.group, &asked.version, &asked.resource)
            .map(|kind| kind.strategy.body_limit()),
        _ => None,
    }
}

/// Takes the body, up to `limit` bytes: it has come whole.
pub(super) async fn read(body: Body, limit: usize) -> Result<Bytes> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::request_entity_too_large(limit))
        }
        Err(_) => Err(ApiError::bad_request("the request body ended early")),
    }
}

/// The media type of the request, in lower case and without parameters.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let value = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// Decodes a JSON or YAML body; without a content type it is JSON, as in Kubernetes.
pub(super) fn decode(media_type: &str, bytes: &[u8]) -> Result<decode::Decoded> {
    match media_type {
        "" | "application/json" | "*/*" => json(bytes),
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(bytes),
        "application/vnd.kubernetes.protobuf" => match protobuf::decode(bytes)? {
            Some(value) => Ok(decode::Decoded {
                value,
                duplicates: Vec::new(),
            }),
            None => Err(ApiError::unsupported_media_type(&ACCEPTED)),
        },
        _ => Err(ApiError::unsupported_media_type(&ACCEPTED)),
    }
}

/// Decodes JSON.
pub(super) fn json(bytes: &[u8]) -> Result<decode::Decoded> {
    if bytes.trim_ascii().is_empty() {
        return Err(ApiError::bad_request("the request has no body"));
    }
    decode::json(bytes).map_err(|error| {
        ApiError::bad_request(format!("couldn't decode the body as JSON: {error}"))
    })
}

fn yaml(bytes: &[u8]) -> Result<decode::Decoded> {
    let refused = |error: &dyn std::fmt::Display| {
        ApiError::bad_request(format!("error converting YAML to JSON: {error}"))
    };
    let text = std::str::from_utf8(bytes).map_err(|error| refused(&error))?;
    // As in JSON, the last of two counts, and `fieldValidation` says what becomes of that.
    let options = serde_saphyr::options! { duplicate_keys: DuplicateKeyPolicy::LastWins };
    serde_saphyr::with_deserializer_from_str_with_options(text, options, |yaml| decode::read(yaml))
        .map_err(|error| refused(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_yaml_decode_to_the_same() {
        let json = decode("application/json", br#"{"a":[1,true]}"#)
            .unwrap()
            .value;
        assert_eq!(
            decode("application/yaml", b"a: [1, true]\n").unwrap().value,
            json
        );
    }

    #[test]
    fn what_is_said_twice_is_noticed_in_both() {
        for (media_type, body) in [
            (
                "application/json",
                r#"{"a":{"b":1,"c":[{"d":1,"d":2}],"b":3}}"#,
            ),
            (
                "application/yaml",
                "a:\n  b: 1\n  c:\n  - {d: 1, d: 2}\n  b: 3\n",
            ),
        ] {
            let decoded = decode(media_type, body.as_bytes()).unwrap();
            assert_eq!(decoded.value["a"]["b"], 3, "the last one counts");
            assert_eq!(decoded.value["a"]["c"][0]["d"], 2);
            assert_eq!(decoded.duplicates, ["a.c[0].d", "a.b"], "{media_type}");
        }
    }

    #[test]
    fn an_empty_text_is_not_null() {
        for text in [r#"{"a":""}"#, "a: ''\n", "a: \"\"\n"] {
            let value = decode("application/yaml", text.as_bytes()).unwrap().value;
            assert_eq!(value["a"], "", "{text}");
        }
        for text in ["a:\n", "a: ~\n", r#"{"a":null}"#] {
            let value = decode("application/yaml", text.as_bytes()).unwrap().value;
            assert!(value["a"].is_null(), "{text}");
        }
    }

    #[test]
    fn what_does_not_decode_is_a_bad_request() {
        for (media_type, body) in [
            ("", ""),
            ("application/json", "{"),
            ("application/json", "a: 1"),
            ("application/yaml", "a: [1"),
            ("application/yaml", "a: 1\n b: 2\n"),
        ] {
            assert_eq!(
                decode(media_type, body.as_bytes()).unwrap_err().code,
                400,
                "{body:?}"
            );
        }
        assert_eq!(decode("application/cbor", b"x").unwrap_err().code, 415);
    }
}
