//! Objects on their way out, in the form that the client asked for.

use std::io::Write as _;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use koinon_machinery::{
    Object,
    table::{self, IncludeObject, ListMeta},
};
use koinon_store::{Revision, Stored};
use serde_json::{Value, json};

use super::respond::{self, Form};
use crate::{
    clock,
    registry::{Kind, State, object_of},
};

/// Annotation that ends the initial events of a watch.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Appends an object as it is, or its metadata alone. Nothing is parsed.
pub(super) fn render(
    out: &mut Vec<u8>,
    kind: &Kind,
    form: Form,
    stored: &Stored,
    revision: Revision,
) {
    match form {
        Form::Metadata => {
            let bare = Stored {
                body: Bytes::from_static(b"{}"),
                status: Bytes::new(),
                ..stored.clone()
            };
            bare.render_at_into(revision, out, "meta.k8s.io/v1", "PartialObjectMetadata");
        }
        Form::Object | Form::Table(_) => {
            stored.render_at_into(revision, out, &kind.api_version, &kind.info.kind)
        }
    }
}

/// Appends a table with one row, for a watch.
pub(super) fn row(
    out: &mut Vec<u8>,
    kind: &Kind,
    include: IncludeObject,
    stored: &Stored,
    revision: Revision,
    with_columns: bool,
) {
    let mut object = object_of(kind, stored);
    object.set_resource_version(&revision.to_string());
    let row = kind.printer.row(&object, clock::now(), include);
    let meta = ListMeta {
        resource_version: revision.to_string(),
        ..ListMeta::default()
    };
    let table = kind.printer.table(vec![row], &meta, with_columns);
    // A Vec takes every write.
    let _ = serde_json::to_writer(out, &table);
}

/// Appends what says how far a watch has come.
pub(super) fn bookmark(
    out: &mut Vec<u8>,
    kind: &Kind,
    form: Form,
    revision: Revision,
    initial_events_end: bool,
) {
    let annotations = if initial_events_end {
        format!(r#","annotations":{{"{INITIAL_EVENTS_END}":"true"}}"#)
    } else {
        String::new()
    };
    let (version, name, rest) = match form {
        Form::Object => (kind.api_version.as_str(), kind.info.kind.as_str(), ""),
        Form::Metadata => ("meta.k8s.io/v1", "PartialObjectMetadata", ""),
        Form::Table(_) => (
            "meta.k8s.io/v1",
            "Table",
            r#","columnDefinitions":[],"rows":[]"#,
        ),
    };
    // A Vec takes every write; all that is written is our own and needs no escaping.
    let _ = write!(
        out,
        r#"{{"kind":"{name}","apiVersion":"{version}","metadata":{{"resourceVersion":"{revision}","creationTimestamp":null{annotations}}}{rest}}}"#
    );
}

/// A response with one stored object.
pub(super) fn stored(code: StatusCode, kind: &Kind, form: Form, stored: &Stored) -> Response {
    if let Form::Table(_) = form {
        return object(code, kind, form, &object_of(kind, stored));
    }
    let mut out = Vec::new();
    render(&mut out, kind, form, stored, stored.revision);
    out.push(b'\n');
    respond::raw(code, out)
}

/// A response with the outcome of a write.
pub(super) fn state(code: StatusCode, kind: &Kind, form: Form, state: State) -> Response {
    match state {
        State::Stored(state) => stored(code, kind, form, &state),
        State::Object(state) => object(code, kind, form, &state),
    }
}

fn object(code: StatusCode, kind: &Kind, form: Form, object: &Object) -> Response {
    let value = match form {
        Form::Object => Value::Object(object.as_map().clone()),
        Form::Metadata => table::partial(object),
        Form::Table(include) => {
            let meta = ListMeta {
                resource_version: object.resource_version().to_owned(),
                ..ListMeta::default()
            };
            kind.printer.table(
                vec![kind.printer.row(object, clock::now(), include)],
                &meta,
                true,
            )
        }
    };
    respond::json(code, &value)
}

/// The `Status` of something that worked and has nothing to show.
pub(super) fn success(details: &Value) -> Response {
    let status = json!({ "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details });
    respond::json(StatusCode::OK, &status)
}
