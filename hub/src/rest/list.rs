//! List.

use std::{io::Write as _, sync::Arc};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::stream;
use http::StatusCode;
use koinon_machinery::{ApiError, Result, Verb, continue_token::ContinueToken, table::ListMeta};
use koinon_store::{Revision, Stored};

use super::{
    call::{Call, Source},
    options::{At, ListOptions},
    pages, present,
    respond::{self, Form},
    selection::Selection,
};

/// Large lists leave in pieces of about this size, so that no list is in memory twice.
const PIECE: usize = 256 << 10;

/// The part of a list that is answered.
struct Page {
    revision: Revision,
    objects: Vec<Arc<Stored>>,
    next: Option<ContinueToken>,
    remaining: Option<usize>,
}

/// Answers with the selected objects, or a page of them.
pub(super) async fn list(call: &Call) -> Result<Response> {
    call.demand(Verb::List)?;
    let form = call.form()?;
    let options = ListOptions::list(&call.query)?;
    let selection = Selection::new(&call.kind, call.namespace(), &options)?;
    let token = options
        .continue_token
        .as_deref()
        .map(ContinueToken::decode)
        .transpose()?;
    let at = if token.as_ref().is_some_and(|token| token.revision > 0) {
        At::Any
    } else {
        options.at
    };
    let warning = call.settle(at).await?;
    let page = match page(call, &selection, &options, token.as_ref()).await? {
        Ok(page) => page,
        Err(gone) => return Ok(gone),
    };
    let mut response = match form {
        Form::Table(include) => {
            let meta = ListMeta {
                resource_version: page.revision.to_string(),
                continue_token: page
                    .next
                    .as_ref()
                    .map(ContinueToken::encode)
                    .unwrap_or_default(),
                remaining_item_count: page.remaining.and_then(|count| u64::try_from(count).ok()),
            };
            present::table(&call.kind, include, &page.objects, &meta)
        }
        form => respond::streamed(StatusCode::OK, body(call, form, page)),
    };
    respond::warn(&mut response, &warning.into_iter().collect::<Vec<_>>());
    Ok(response)
}

async fn page(
    call: &Call,
    selection: &Selection,
    options: &ListOptions,
    token: Option<&ContinueToken>,
) -> Result<std::result::Result<Page, Response>> {
    let snapshot = match (call.snapshot().await?, token) {
        (Source::View(revision, objects), _) => {
            let selected = |stored: &Arc<Stored>| selection.selects(stored);
            let objects = objects.into_iter().filter(selected).collect();
            return Ok(Ok(Page {
                revision,
                objects,
                next: None,
                remaining: None,
            }));
        }
        (Source::Snapshot(_), Some(token)) if token.revision > 0 => {
            match call
                .api
                .pages()
                .find(&call.kind.key, Revision(token.revision))
            {
                Some(snapshot) => snapshot,
                None => return Ok(Err(pages::expired(token))),
            }
        }
        (Source::Snapshot(snapshot), _) => snapshot,
    };
    let revision = snapshot.revision();
    if let At::Exactly(wanted) = options.at
        && token.is_none()
        && wanted != revision
    {
        return Err(ApiError::expired(format!(
            "The provided resource version is too old: {wanted}, current: {revision}"
        )));
    }
    let start = token.map(|token| (token.namespace.as_str(), token.name.as_str()));
    let mut objects = selection.objects(&snapshot, start);
    if options.limit == 0 || objects.len() <= options.limit {
        return Ok(Ok(Page {
            revision,
            objects,
            next: None,
            remaining: None,
        }));
    }
    let remaining = selection
        .is_everything()
        .then(|| objects.len() - options.limit);
    objects.truncate(options.limit);
    let next = objects.last().map(|last| ContinueToken {
        revision: revision.0,
        namespace: last.key.namespace.to_string(),
        name: last.key.name.to_string(),
    });
    call.api.pages().keep(&call.kind.key, snapshot);
    Ok(Ok(Page {
        revision,
        objects,
        next,
        remaining,
    }))
}

/// The list as JSON, by concatenation of what the store holds.
fn body(call: &Call, form: Form, page: Page) -> Body {
    let kind = Arc::clone(&call.kind);
    let Page {
        revision,
        objects,
        next,
        remaining,
    } = page;
    let mut head = Vec::with_capacity(256);
    let (list_version, list_kind) = match form {
        Form::Metadata => ("meta.k8s.io/v1", "PartialObjectMetadataList".to_owned()),
        _ => (kind.api_version.as_str(), kind.info.list_kind()),
    };
    // A Vec takes every write; tokens are base64 and kinds our own, so nothing needs escaping.
    let _ = write!(
        head,
        r#"{{"kind":"{list_kind}","apiVersion":"{list_version}","metadata":{{"resourceVersion":"{revision}""#
    );
    if let Some(token) = next {
        let _ = write!(head, r#","continue":"{}""#, token.encode());
    }
    if let Some(remaining) = remaining {
        let _ = write!(head, r#","remainingItemCount":{remaining}"#);
    }
    head.extend_from_slice(br#"},"items":["#);
    let pieces = stream::unfold(Some((head, 0)), move |state| {
        let piece = state.map(|(mut out, mut at)| {
            while at < objects.len() && out.len() < PIECE {
                if at > 0 {
                    out.push(b',');
                }
                present::render(&mut out, &kind, form, &objects[at], objects[at].revision);
                at += 1;
            }
            if at < objects.len() {
                return (Bytes::from(out), Some((Vec::with_capacity(PIECE), at)));
            }
            out.extend_from_slice(b"]}\n");
            (Bytes::from(out), None)
        });
        std::future::ready(
            piece.map(|(bytes, next)| (Ok::<_, std::convert::Infallible>(bytes), next)),
        )
    });
    Body::from_stream(pieces)
}
