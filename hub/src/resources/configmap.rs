//! `ConfigMap`.

use k8s_openapi::api::core::v1::ConfigMap;
use koinon_machinery::{Cause, Column, Object, ResourceInfo, are_enough};
use serde_json::Value;

use crate::registry::{Generation, Strategy, Unconditional};

/// As in Kubernetes.
const MAX_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct ConfigMaps;

impl Strategy for ConfigMaps {
    fn info(&self) -> ResourceInfo {
        let mut info = super::builtin::<ConfigMap>(false, &["cm"]);
        let data = Column::entries("Data", &["data", "binaryData"]);
        info.columns.insert(0, data);
        info
    }

    fn generation(&self) -> Generation {
        Generation::Absent
    }

    fn unconditional_update(&self) -> Unconditional {
        Unconditional::Allowed
    }

    fn validate(&self, object: &Object, old: Option<&Object>) -> Vec<Cause> {
        let mut causes = keys(object, &["data", "binaryData"], MAX_BYTES);
        causes.extend(immutable(object, old, &["data", "binaryData"]));
        causes
    }
}

/// The rules on keys and size that config maps and secrets share.
pub(super) fn keys(object: &Object, fields: &[&str], max_bytes: usize) -> Vec<Cause> {
    let mut causes = Vec::new();
    let mut bytes = 0;
    for (at, field) in fields.iter().enumerate() {
        for (key, value) in object
            .get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            bytes += value.as_str().map_or(0, str::len);
            if are_enough(&causes) {
                continue;
            }
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if key.is_empty()
                || key.len() > 253
                || matches!(key.as_str(), "." | "..")
                || !key.chars().all(legal)
            {
                let detail = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name', \
                              or 'KEY_NAME', or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
                causes.push(Cause::invalid(
                    format!("{field}[{key}]"),
                    key.as_str(),
                    detail,
                ));
            }
            if fields[..at].iter().any(|other| {
                object
                    .get(other)
                    .is_some_and(|other| other.get(key).is_some())
            }) {
                let detail = format!("duplicate of key present in {}", fields[0]);
                causes.push(Cause::invalid(
                    format!("{field}[{key}]"),
                    key.as_str(),
                    &detail,
                ));
            }
        }
    }
    if bytes > max_bytes {
        causes.push(Cause::too_long(fields[0], max_bytes));
    }
    causes
}

/// What an object that was declared immutable may not change.
pub(super) fn immutable(object: &Object, old: Option<&Object>, fields: &[&str]) -> Vec<Cause> {
    let frozen = |object: &Object| object.get("immutable") == Some(&Value::Bool(true));
    let Some(old) = old.filter(|old| frozen(old)) else {
        return Vec::new();
    };
    let detail = "field is immutable when `immutable` is set";
    let mut causes = Vec::new();
    if !frozen(object) {
        causes.push(Cause::forbidden("immutable", detail));
    }
    causes.extend(
        fields
            .iter()
            .filter(|field| object.get(field) != old.get(field))
            .map(|field| Cause::forbidden(field, detail)),
    );
    causes
}
