//! Metadata of an object that is written.

use serde_json::Value;

use super::{FieldPath, MAX_ANNOTATION_BYTES, NameRule, labels, syntax};
use crate::{Cause, Object, ResourceInfo, are_enough};

/// Judges the metadata of an object that is about to be created, after its name was generated.
#[must_use]
pub fn metadata_create(object: &Object, resource: &ResourceInfo, rule: NameRule) -> Vec<Cause> {
    let path = FieldPath::new("metadata");
    let mut causes = Vec::new();
    let prefix = object.generate_name();
    if !prefix.is_empty() {
        let field = path.child("generateName");
        causes.extend(
            rule.prefix_faults(prefix)
                .iter()
                .map(|fault| Cause::invalid(&field, prefix, fault)),
        );
    }
    let (name, field) = (object.name(), path.child("name"));
    if name.is_empty() {
        causes.push(Cause::required(field, "name or generateName is required"));
    } else {
        causes.extend(
            rule.faults(name)
                .iter()
                .map(|fault| Cause::invalid(&field, name, fault)),
        );
    }
    let (namespace, field) = (object.namespace(), path.child("namespace"));
    match (resource.namespaced, namespace.is_empty()) {
        (true, true) => causes.push(Cause::required(field, "")),
        (true, false) => {
            causes.extend(
                syntax::dns_label(namespace)
                    .iter()
                    .map(|fault| Cause::invalid(&field, namespace, fault)),
            );
        }
        (false, false) => causes.push(Cause::forbidden(field, "not allowed on this type")),
        (false, true) => {}
    }
    causes.extend(metadata(object));
    causes
}

/// Judges the metadata of an object inside an object, at `path`: all of it is optional there. Its types are right.
pub(crate) fn metadata_embedded(object: &Object, path: &FieldPath) -> Vec<Cause> {
    let mut causes = Vec::new();
    let rule = NameRule::PathSegment;
    for (field, text, faults) in [
        (
            "generateName",
            object.generate_name(),
            rule.prefix_faults(object.generate_name()),
        ),
        ("name", object.name(), rule.faults(object.name())),
        (
            "namespace",
            object.namespace(),
            syntax::dns_label(object.namespace()),
        ),
    ] {
        if !text.is_empty() {
            let field = path.child(field);
            causes.extend(
                faults
                    .iter()
                    .map(|fault| Cause::invalid(&field, text, fault)),
            );
        }
    }
    causes.extend(common(object, path));
    causes
}

/// Judges how many bytes all labels take, keys included, for kinds whose labels are sent on: Kubernetes bounds each label
/// and not their number.
///
/// What has more already keeps it, and may have less: a bound must not stop every other change of what is older than it.
#[must_use]
pub fn labels_fit(object: &Object, old: Option<&Object>, max: usize) -> Vec<Cause> {
    let bytes = |object: &Object| -> usize {
        let pairs = object.labels();
        pairs.map(|(key, value)| key.len() + value.len()).sum()
    };
    let size = bytes(object);
    if size <= max || old.is_some_and(|old| size <= bytes(old)) {
        return Vec::new();
    }
    vec![Cause::too_long(
        FieldPath::new("metadata").child("labels"),
        max,
    )]
}

/// What holds for metadata in every write.
pub(super) fn metadata(object: &Object) -> Vec<Cause> {
    let path = FieldPath::new("metadata");
    let mut causes = common(object, &path);
    unqualified(object, &path.child("finalizers"), &mut causes);
    causes
}

fn common(object: &Object, path: &FieldPath) -> Vec<Cause> {
    let mut causes = labels(object.labels(), &path.child("labels"));
    annotations(object, &path.child("annotations"), &mut causes);
    owners(object, &path.child("ownerReferences"), &mut causes);
    finalizers(object, &path.child("finalizers"), &mut causes);
    if object.generation() < 0 {
        let field = path.child("generation");
        causes.push(Cause::invalid(
            field,
            object.generation(),
            "must be greater than or equal to 0",
        ));
    }
    causes
}

fn annotations(object: &Object, path: &FieldPath, causes: &mut Vec<Cause>) {
    let mut bytes = 0;
    for (key, value) in object.annotations() {
        bytes += key.len() + value.len();
        if are_enough(causes) {
            continue;
        }
        let faults = syntax::qualified_name(&key.to_lowercase());
        causes.extend(faults.iter().map(|fault| Cause::invalid(path, key, fault)));
    }
    if bytes > MAX_ANNOTATION_BYTES {
        causes.push(Cause::too_long(path, MAX_ANNOTATION_BYTES));
    }
}

fn owners(object: &Object, path: &FieldPath, causes: &mut Vec<Cause>) {
    let list = object
        .metadata()
        .get("ownerReferences")
        .and_then(Value::as_array);
    let mut controller: Option<&str> = None;
    for (index, owner) in list.into_iter().flatten().enumerate() {
        if are_enough(causes) {
            return;
        }
        let at = path.index(index);
        let text = |field: &str| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let named = text("apiVersion");
        let version = named.split_once('/').map_or(named, |(_, version)| version);
        // Of what has more than one slash nothing can be read.
        if version.is_empty() || version.contains('/') {
            causes.push(Cause::invalid(
                at.child("apiVersion"),
                named,
                "version must not be empty",
            ));
        }
        for field in ["kind", "name", "uid"] {
            if text(field).is_empty() {
                causes.push(Cause::invalid(
                    at.child(field),
                    text(field),
                    &format!("{field} must not be empty"),
                ));
            }
        }
        if text("apiVersion") == "v1" && text("kind") == "Event" {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            causes.push(Cause::invalid(path, owner.clone(), detail));
        }
        for field in ["controller", "blockOwnerDeletion"] {
            if owner.get(field).is_some_and(|value| !value.is_boolean()) {
                causes.push(Cause::invalid(
                    at.child(field),
                    owner[field].clone(),
                    "must be true or false",
                ));
            }
        }
        if owner
            .get("controller")
            .and_then(Value::as_bool)
            .unwrap_or_default()
        {
            match controller {
                None => controller = Some(text("name")),
                Some(first) => {
                    let second = text("name");
                    let detail = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and \
                         {second}"
                    );
                    causes.push(Cause::invalid(path, second, &detail));
                }
            }
        }
    }
}

fn finalizers(object: &Object, path: &FieldPath, causes: &mut Vec<Cause>) {
    for finalizer in object.finalizers() {
        if are_enough(causes) {
            return;
        }
        let faults = syntax::qualified_name(finalizer);
        causes.extend(
            faults
                .iter()
                .map(|fault| Cause::invalid(path, finalizer, fault)),
        );
    }
    if object.has_finalizer("orphan") && object.has_finalizer("foregroundDeletion") {
        let detail = "finalizer orphan and foregroundDeletion cannot be both set";
        causes.push(Cause::invalid(path, "orphan", detail));
    }
}

/// A finalizer of the hub's own kinds says whose it is. Kubernetes asks that of its own kinds alone, so that manifests need not.
fn unqualified(object: &Object, path: &FieldPath, causes: &mut Vec<Cause>) {
    for finalizer in object.finalizers() {
        if are_enough(causes) {
            return;
        }
        let standard = matches!(finalizer, "kubernetes" | "orphan" | "foregroundDeletion");
        if !standard && !finalizer.contains('/') && syntax::qualified_name(finalizer).is_empty() {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(path, finalizer, detail));
        }
    }
}
