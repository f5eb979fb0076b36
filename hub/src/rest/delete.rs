//! Delete, of one object or of all that are selected.

use axum::{body::Body, response::Response};
use http::StatusCode;
use koinon_machinery::{Result, Verb};
use serde_json::{Value, json};

use super::{
    body,
    call::Call,
    list::{self, Selected},
    options::{self, ListOptions},
    present,
    respond::{self, Form},
};
use crate::registry::{DeleteOptions, Deletion};

/// Options are small; whoever sends more means something else.
pub(super) const OPTIONS_LIMIT: usize = 64 << 10;

/// Deletes the object that the path names.
pub(super) async fn delete(call: &Call, body: Body) -> Result<Response> {
    call.demand(Verb::Delete)?;
    let form = call.form()?;
    let options = read(call, body).await?;
    let key = call.key();
    match call
        .api
        .registry()
        .delete(&call.kind, &key, &options, &call.writer())
        .await?
    {
        Deletion::Pending(state) => Ok(present::state(StatusCode::OK, &call.kind, form, state)),
        Deletion::Done(stored) => {
            let info = &call.kind.info;
            let mut details = json!({ "name": &*key.name, "kind": info.plural, "uid": stored.uid });
            if !info.group.is_empty() {
                details["group"] = Value::from(info.group.as_str());
            }
            Ok(present::success(&details))
        }
    }
}

/// Deletes every object that a list with the same options would show: with a limit those of one page.
pub(super) async fn delete_collection(call: &Call, body: Body) -> Result<Response> {
    call.demand(Verb::DeleteCollection)?;
    let list = ListOptions::list(&call.query)?;
    let options = read(call, body).await?;
    let page = match list::select(call, &list).await? {
        Selected::Page(page, _) => page,
        Selected::Gone(gone) => return Ok(gone),
    };
    call.api
        .registry()
        .delete_collection(&call.kind, page.keys(), &options, &call.writer())
        .await?;
    // As in Kubernetes the answer is what was listed, not what became of it.
    let body = list::body(call, Form::Object, page);
    Ok(respond::streamed(StatusCode::OK, body))
}

async fn read(call: &Call, body: Body) -> Result<DeleteOptions> {
    let bytes = body::read(body, OPTIONS_LIMIT).await?;
    if bytes.trim_ascii().is_empty() {
        return options::delete_options(&call.query, None);
    }
    let decoded = body::decode(&body::media_type(&call.headers), &bytes)?;
    options::delete_options(&call.query, Some(&decoded.value))
}
