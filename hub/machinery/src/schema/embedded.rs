//! Objects inside of objects, such as the manifests of a work: `x-kubernetes-embedded-resource`.
//!
//! apiextensions' `objectmeta` package judges them as it judges an object of its own, except that nothing but the type has to
//! be there.

use serde_json::{Map, Value};

use super::validate::type_name;
use crate::{
    Cause, Object, object,
    path::Path,
    validation::{self, FieldPath},
};

/// An embedded object has a type and, if any, well-formed metadata.
pub(super) fn check(fields: &Map<String, Value>, path: &Path<'_>, causes: &mut Vec<Cause>) {
    if let Some(version) = text(fields, "apiVersion", path, causes)
        && version.matches('/').count() > 1
    {
        let detail = format!("unexpected GroupVersion string: {version}");
        causes.push(Cause::invalid(path.field("apiVersion"), version, &detail));
    }
    if let Some(kind) = text(fields, "kind", path, causes) {
        let faults = validation::kind_name(kind);
        if !faults.is_empty() {
            let detail = format!(
                "may have mixed case, but should otherwise match: {}",
                faults.join(",")
            );
            causes.push(Cause::invalid(path.field("kind"), kind, &detail));
        }
    }
    let Some(metadata) = fields.get("metadata").filter(|found| !found.is_null()) else {
        return;
    };
    let field = path.field("metadata");
    match object::check_metadata(metadata) {
        Err(error) => {
            let found = type_name(metadata);
            causes.push(Cause::type_invalid(field, found, &error.message));
        }
        Ok(()) => {
            // Most have a name and a namespace, and those are soon judged.
            let alone = Map::from_iter([("metadata".to_owned(), metadata.clone())]);
            if let Ok(object) = Object::from_map(alone) {
                let field = FieldPath::new(&field.to_string());
                causes.extend(validation::metadata_embedded(&object, &field));
            }
        }
    }
}

/// A text that has to be there.
fn text<'a>(
    fields: &'a Map<String, Value>,
    name: &str,
    path: &Path<'_>,
    causes: &mut Vec<Cause>,
) -> Option<&'a str> {
    let field = path.field(name);
    match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => return Some(text),
        None | Some(Value::String(_) | Value::Null) => {
            causes.push(Cause::required(field, "must not be empty"));
        }
        Some(other) => {
            let found = type_name(other);
            causes.push(Cause::type_invalid(field, found, "must be a string"));
        }
    }
    None
}
