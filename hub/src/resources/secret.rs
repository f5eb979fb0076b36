//! `Secret`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use koinon_machinery::{ApiError, Cause, Column, Object, ResourceInfo, Result, are_enough};
use serde_json::Value;

use super::configmap;
use crate::registry::{Admission, Generation, Strategy, Unconditional};

const MAX_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Secrets {
    /// Whether new ones may be stored. Those that are there are served all the same.
    pub(super) are_taken: bool,
}

impl Strategy for Secrets {
    fn info(&self) -> ResourceInfo {
        let mut info = super::builtin::<Secret>(false, &[]).with_selectable_fields(["type"]);
        let columns = [
            Column::text("Type", ".type"),
            Column::entries("Data", &["data"]),
        ];
        info.columns.splice(0..0, columns);
        info
    }

    fn generation(&self) -> Generation {
        Generation::Absent
    }

    fn unconditional_update(&self) -> Unconditional {
        Unconditional::Allowed
    }

    fn prepare_create(&self, object: &mut Object, _: &mut Admission<'_>) -> Result<()> {
        settle(object);
        self.admit(object, None)
    }

    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        _: &mut Admission<'_>,
    ) -> Result<()> {
        if let (None, Some(kind)) = (object.get("type"), old.get("type")) {
            object.as_map_mut().insert("type".to_owned(), kind.clone());
        }
        settle(object);
        self.admit(object, Some(old))
    }

    fn validate(&self, object: &Object, old: Option<&Object>) -> Vec<Cause> {
        let mut causes = configmap::keys(object, &["data"], MAX_BYTES);
        for (key, value) in object
            .get("data")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            if are_enough(&causes) {
                break;
            }
            if value
                .as_str()
                .is_none_or(|text| STANDARD.decode(text).is_err())
            {
                causes.push(Cause::invalid(
                    format!("data[{key}]"),
                    "<secret>",
                    "must be base64",
                ));
            }
        }
        if old.is_some_and(|old| old.get("type") != object.get("type")) {
            let kind = object.get("type").cloned().unwrap_or(Value::Null);
            causes.push(Cause::invalid("type", kind, "field is immutable"));
        }
        causes.extend(configmap::immutable(object, old, &["data"]));
        causes
    }
}

impl Secrets {
    /// Refuses to store in the clear what nobody said may be.
    fn admit(&self, object: &Object, old: Option<&Object>) -> Result<()> {
        if self.are_taken || old.is_some_and(|old| old.get("data") == object.get("data")) {
            return Ok(());
        }
        let why = "this hub has no key to seal it with (--secrets-key-file FILE), and was not told to store it in the clear \
                   (--secrets-key-file=none)";
        Err(ApiError::forbidden(&self.info(), object.name(), why))
    }
}

/// Sets the type and turns the write-only `stringData` into data.
fn settle(object: &mut Object) {
    let fields = object.as_map_mut();
    if fields.get("type").is_none_or(|kind| kind == "") {
        fields.insert("type".to_owned(), "Opaque".into());
    }
    let Some(Value::Object(texts)) = fields.remove("stringData") else {
        return;
    };
    let data = fields
        .entry("data")
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Value::Object(data) = data {
        for (key, text) in texts {
            data.insert(
                key,
                STANDARD.encode(text.as_str().unwrap_or_default()).into(),
            );
        }
    }
}
