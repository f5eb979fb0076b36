//! Kubernetes' protobuf, as far as `kubectl` insists on it.
//!
//! Its typed clients (`create namespace`, `create rolebinding`, `create token`, `auth can-i`, deletes) send protobuf for Kubernetes' own
//! kinds and do not fall back. Answers are JSON, which they take. The field numbers are those of the `generated.proto`
//! files in `k8s.io/api` and `k8s.io/apimachinery`; they never change.

mod access;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use koinon_machinery::{ApiError, Result, object};
use serde_json::{Map, Value};

/// What every message in this encoding begins with.
const MAGIC: &[u8] = b"k8s\0";

/// How a field is written in JSON.
enum Shape {
    Text,
    Texts,
    Bytes,
    Number,
    Bool,
    Time,
    Message(&'static [Field]),
    Messages(&'static [Field]),
    TextMap,
    BytesMap,
}

type Field = (u64, &'static str, Shape);

const ENVELOPE: &[Field] = &[
    (1, "type", Shape::Message(TYPE)),
    (2, "raw", Shape::Bytes),
    (4, "contentType", Shape::Text),
];
const TYPE: &[Field] = &[(1, "apiVersion", Shape::Text), (2, "kind", Shape::Text)];
const OWNER: &[Field] = &[
    (1, "kind", Shape::Text),
    (3, "name", Shape::Text),
    (4, "uid", Shape::Text),
    (5, "apiVersion", Shape::Text),
    (6, "controller", Shape::Bool),
    (7, "blockOwnerDeletion", Shape::Bool),
];
const METADATA: &[Field] = &[
    (1, "name", Shape::Text),
    (2, "generateName", Shape::Text),
    (3, "namespace", Shape::Text),
    (5, "uid", Shape::Text),
    (6, "resourceVersion", Shape::Text),
    (8, "creationTimestamp", Shape::Time),
    (9, "deletionTimestamp", Shape::Time),
    (11, "labels", Shape::TextMap),
    (12, "annotations", Shape::TextMap),
    (13, "ownerReferences", Shape::Messages(OWNER)),
    (14, "finalizers", Shape::Texts),
];
const CONFIG_MAP: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "data", Shape::TextMap),
    (3, "binaryData", Shape::BytesMap),
    (4, "immutable", Shape::Bool),
];
const SECRET: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "data", Shape::BytesMap),
    (3, "type", Shape::Text),
    (4, "stringData", Shape::TextMap),
    (5, "immutable", Shape::Bool),
];
const NAMESPACE: &[Field] = &[(1, "metadata", Shape::Message(METADATA))];
const REFERENCE: &[Field] = &[
    (1, "kind", Shape::Text),
    (2, "namespace", Shape::Text),
    (3, "name", Shape::Text),
    (4, "uid", Shape::Text),
    (5, "apiVersion", Shape::Text),
    (6, "resourceVersion", Shape::Text),
    (7, "fieldPath", Shape::Text),
];
const SOURCE: &[Field] = &[(1, "component", Shape::Text), (2, "host", Shape::Text)];
const EVENT: &[Field] = &[
    (1, "metadata", Shape::Message(METADATA)),
    (2, "involvedObject", Shape::Message(REFERENCE)),
    (3, "reason", Shape::Text),
    (4, "message", Shape::Text),
    (5, "source", Shape::Message(SOURCE)),
    (6, "firstTimestamp", Shape::Time),
    (7, "lastTimestamp", Shape::Time),
    (8, "count", Shape::Number),
    (9, "type", Shape::Text),
    (12, "action", Shape::Text),
    (14, "reportingComponent", Shape::Text),
    (15, "reportingInstance", Shape::Text),
];
const ATTRIBUTES: &[Field] = &[
    (1, "namespace", Shape::Text),
    (2, "verb", Shape::Text),
    (3, "group", Shape::Text),
    (4, "version", Shape::Text),
    (5, "resource", Shape::Text),
    (6, "subresource", Shape::Text),
    (7, "name", Shape::Text),
];
const PATH_ATTRIBUTES: &[Field] = &[(1, "path", Shape::Text), (2, "verb", Shape::Text)];
const ACCESS: &[Field] = &[
    (1, "resourceAttributes", Shape::Message(ATTRIBUTES)),
    (2, "nonResourceAttributes", Shape::Message(PATH_ATTRIBUTES)),
];
const ACCESS_REVIEW: &[Field] = &[(2, "spec", Shape::Message(ACCESS))];
const PRECONDITIONS: &[Field] = &[(1, "uid", Shape::Text), (2, "resourceVersion", Shape::Text)];
const DELETE_OPTIONS: &[Field] = &[
    (1, "gracePeriodSeconds", Shape::Number),
    (2, "preconditions", Shape::Message(PRECONDITIONS)),
    (3, "orphanDependents", Shape::Bool),
    (4, "propagationPolicy", Shape::Text),
    (5, "dryRun", Shape::Texts),
];

/// Decodes a body; `None` for kinds that nobody has to send this way.
///
/// # Errors
///
/// `BadRequest` when it is damaged.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Value>> {
    let bytes = bytes.strip_prefix(MAGIC).ok_or_else(damaged)?;
    let envelope = message(bytes, ENVELOPE)?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
    let of_type = |field: &str| text(envelope.get("type").and_then(|of| of.get(field)));
    let (version, kind) = (of_type("apiVersion"), of_type("kind"));
    let raw = STANDARD
        .decode(text(envelope.get("raw")))
        .map_err(|_| damaged())?;
    let fields = match kind.as_str() {
        "ConfigMap" => CONFIG_MAP,
        "Secret" => SECRET,
        "Namespace" => NAMESPACE,
        "Event" if version == "v1" => EVENT,
        "SelfSubjectReview" => &[],
        "SelfSubjectAccessReview" => ACCESS_REVIEW,
        "DeleteOptions" => DELETE_OPTIONS,
        "Role" | "ClusterRole" => access::ROLE,
        "RoleBinding" | "ClusterRoleBinding" => access::BINDING,
        "CertificateSigningRequest" => access::CERTIFICATE_REQUEST,
        "ServiceAccount" => access::SERVICE_ACCOUNT,
        "TokenRequest" => access::TOKEN_REQUEST,
        "TokenReview" => access::TOKEN_REVIEW,
        "SelfSubjectRulesReview" => access::RULES_REVIEW,
        "SubjectAccessReview" | "LocalSubjectAccessReview" => access::SUBJECT_REVIEW,
        _ => return Ok(None),
    };
    let mut object = message(&raw, fields)?;
    object.insert("apiVersion".to_owned(), version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Some(Value::Object(object)))
}

fn message(mut bytes: &[u8], fields: &[Field]) -> Result<Map<String, Value>> {
    let mut out = Map::new();
    while !bytes.is_empty() {
        let (number, wire) = next(&mut bytes)?;
        let Some((_, name, shape)) = fields.iter().find(|(known, ..)| *known == number) else {
            continue;
        };
        put(&mut out, name, shape, &wire)?;
    }
    Ok(out)
}

fn put(out: &mut Map<String, Value>, name: &str, shape: &Shape, wire: &Wire<'_>) -> Result<()> {
    let value = match (shape, wire) {
        // Go writes empty texts and zero times where JSON leaves them out.
        (Shape::Text, Wire::Bytes([])) => return Ok(()),
        (Shape::Text, Wire::Bytes(bytes)) => text(bytes)?,
        (Shape::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Shape::Number, Wire::Number(number)) => Value::from(number.cast_signed()),
        (Shape::Bool, Wire::Number(number)) => Value::from(*number != 0),
        (Shape::Time, Wire::Bytes(bytes)) => match time(bytes)? {
            Some(time) => time,
            None => return Ok(()),
        },
        (Shape::Message(fields), Wire::Bytes(bytes)) => Value::Object(message(bytes, fields)?),
        (Shape::Texts, Wire::Bytes(bytes)) => return push(out, name, text(bytes)?),
        (Shape::Messages(fields), Wire::Bytes(bytes)) => {
            return push(out, name, Value::Object(message(bytes, fields)?));
        }
        (Shape::TextMap | Shape::BytesMap, Wire::Bytes(bytes)) => {
            return entry(out, name, shape, bytes);
        }
        _ => return Err(damaged()),
    };
    out.insert(name.to_owned(), value);
    Ok(())
}

fn push(out: &mut Map<String, Value>, name: &str, item: Value) -> Result<()> {
    match out.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
        Value::Array(list) => list.push(item),
        _ => return Err(damaged()),
    }
    Ok(())
}

fn entry(out: &mut Map<String, Value>, name: &str, shape: &Shape, mut bytes: &[u8]) -> Result<()> {
    let (mut key, mut value) = (Value::from(""), Value::from(""));
    while !bytes.is_empty() {
        match (next(&mut bytes)?, shape) {
            ((1, Wire::Bytes(bytes)), _) => key = text(bytes)?,
            ((2, Wire::Bytes(bytes)), Shape::BytesMap) => value = STANDARD.encode(bytes).into(),
            ((2, Wire::Bytes(bytes)), _) => value = text(bytes)?,
            _ => return Err(damaged()),
        }
    }
    match (
        key,
        out.entry(name).or_insert_with(|| Value::Object(Map::new())),
    ) {
        (Value::String(key), Value::Object(map)) => {
            map.insert(key, value);
            Ok(())
        }
        _ => Err(damaged()),
    }
}

fn text(bytes: &[u8]) -> Result<Value> {
    std::str::from_utf8(bytes)
        .map(Value::from)
        .map_err(|_| damaged())
}

fn time(mut bytes: &[u8]) -> Result<Option<Value>> {
    let mut seconds = 0;
    while !bytes.is_empty() {
        if let (1, Wire::Number(number)) = next(&mut bytes)? {
            seconds = number.cast_signed();
        }
    }
    let time = (seconds > 0)
        .then(|| Timestamp::from_second(seconds))
        .transpose()
        .map_err(|_| damaged())?;
    Ok(time.map(|time| object::timestamp(time).into()))
}

/// A value as it is on the wire.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed width, which none of our fields has.
    Other,
}

fn next<'a>(bytes: &mut &'a [u8]) -> Result<(u64, Wire<'a>)> {
    let tag = varint(bytes)?;
    let wire = match tag & 7 {
        0 => Wire::Number(varint(bytes)?),
        1 => take(bytes, 8).map(|_| Wire::Other)?,
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|_| damaged())?;
            Wire::Bytes(take(bytes, length)?)
        }
        5 => take(bytes, 4).map(|_| Wire::Other)?,
        _ => return Err(damaged()),
    };
    Ok((tag >> 3, wire))
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(damaged())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(length).ok_or_else(damaged)?;
    *bytes = tail;
    Ok(head)
}

fn damaged() -> ApiError {
    ApiError::bad_request("the body is not valid Kubernetes protobuf")
}

#[cfg(test)]
mod tests;
