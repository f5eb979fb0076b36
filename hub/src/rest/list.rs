//! List.

use std::{io::Write as _, sync::Arc};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::stream;
use http::StatusCode;
use koinon_machinery::{
    ApiError, Result, Verb,
    continue_token::ContinueToken,
    table::{IncludeObject, ListMeta},
};
use koinon_store::{Key, Revision, Stored};

use super::{
    call::Call,
    options::{At, ListOptions},
    pages, present,
    respond::{self, Form},
    selection::Selection,
};
use crate::{clock, registry::object_of};

/// Lists leave in pieces of about this size.
const PIECE: usize = 128 << 10;
/// What a buffer holds beyond a piece, so that the last object in it seldom makes it grow.
const SPARE: usize = 32 << 10;

/// The part of a list that is answered.
pub(super) struct Page {
    revision: Revision,
    objects: Vec<Arc<Stored>>,
    next: Option<ContinueToken>,
    remaining: Option<usize>,
}

impl Page {
    /// The keys of its objects.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.objects
            .iter()
            .map(|stored| stored.key.clone())
            .collect()
    }

    /// A list that is answered in one.
    fn whole(revision: Revision, objects: Vec<Arc<Stored>>) -> Self {
        Self {
            revision,
            objects,
            next: None,
            remaining: None,
        }
    }
}

/// Answers with the selected objects, or a page of them.
pub(super) async fn list(call: &Call) -> Result<Response> {
    call.demand(Verb::List)?;
    let form = call.form()?;
    let options = ListOptions::list(&call.query)?;
    let (page, warning) = match select(call, &options).await? {
        Selected::Page(page, warning) => (page, warning),
        Selected::Gone(gone) => return Ok(gone),
    };
    let body = match form {
        Form::Table(include) => table(call, include, page),
        form => body(call, form, page),
    };
    let mut response = respond::streamed(StatusCode::OK, body);
    respond::warn(&mut response, &warning.into_iter().collect::<Vec<_>>());
    Ok(response)
}

/// What a list comes to.
pub(super) enum Selected {
    /// Objects, and a warning if they may be old.
    Page(Page, Option<String>),
    /// The answer to a token whose list is no longer known.
    Gone(Response),
}

/// Selects what `options` ask for.
pub(super) async fn select(call: &Call, options: &ListOptions) -> Result<Selected> {
    let selection = Selection::new(&call.kind, call.namespace(), options)?;
    let token = options
        .continue_token
        .as_deref()
        .map(ContinueToken::decode)
        .transpose()?;
    if let Some(token) = &token
        && !selection.covers(&token.namespace)
    {
        return Err(ApiError::bad_request(
            "continue key is not valid: it belongs to the list of another namespace",
        ));
    }
    let at = if token.as_ref().is_some_and(|token| token.revision > 0) {
        At::Any
    } else {
        options.at
    };
    let warning = call.settle(at).await?;
    Ok(
        match page(call, &selection, options, token.as_ref()).await? {
            Ok(page) => Selected::Page(page, warning),
            Err(gone) => Selected::Gone(gone),
        },
    )
}

async fn page(
    call: &Call,
    selection: &Selection,
    options: &ListOptions,
    token: Option<&ContinueToken>,
) -> Result<std::result::Result<Page, Response>> {
    let snapshot = match token {
        Some(token) if token.revision > 0 => {
            match call
                .api
                .pages()
                .find(&call.kind.key, Revision(token.revision))
            {
                Some(snapshot) => snapshot,
                None => return Ok(Err(pages::expired(token))),
            }
        }
        _ => call.snapshot(),
    };
    let snapshot = match options.at {
        At::Exactly(wanted) if token.is_none() && wanted < snapshot.revision() => {
            let past = call.api.registry().store().past(&call.kind.key, wanted);
            past.map_err(|_| {
                ApiError::expired("The resourceVersion for the provided list is too old.")
            })?
        }
        _ => snapshot,
    };
    let revision = snapshot.revision();
    let start = token.map(|token| (token.namespace.as_str(), token.name.as_str()));
    let shown = call.view().await?;
    let mut rest = selection.objects(&snapshot, &shown, start);
    if options.limit == 0 {
        return Ok(Ok(Page::whole(revision, rest.cloned().collect())));
    }
    let objects: Vec<Arc<Stored>> = rest.by_ref().take(options.limit).cloned().collect();
    let Some(_) = rest.next() else {
        return Ok(Ok(Page::whole(revision, objects)));
    };
    // As in Kubernetes: with selectors a count would cost a look at all that is left.
    let remaining = selection.is_everything().then(|| 1 + rest.count());
    let next = objects.last().map(|last| ContinueToken {
        revision: revision.0,
        namespace: last.key.namespace.to_string(),
        name: last.key.name.to_string(),
    });
    call.api
        .pages()
        .keep(&call.tenant.key, &call.kind.key, snapshot);
    Ok(Ok(Page {
        revision,
        objects,
        next,
        remaining,
    }))
}

/// The list as JSON, by concatenation of what the store holds.
pub(super) fn body(call: &Call, form: Form, page: Page) -> Body {
    let kind = Arc::clone(&call.kind);
    let Page {
        revision,
        objects,
        next,
        remaining,
    } = page;
    let mut head = Vec::with_capacity(PIECE + SPARE);
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
    pieces(head, objects, b"]}\n", move |out, stored| {
        present::render(out, &kind, form, stored, stored.revision);
    })
}

/// The list as a table.
fn table(call: &Call, include: IncludeObject, page: Page) -> Body {
    let kind = Arc::clone(&call.kind);
    let meta = ListMeta {
        resource_version: page.revision.to_string(),
        continue_token: page
            .next
            .as_ref()
            .map(ContinueToken::encode)
            .unwrap_or_default(),
        remaining_item_count: page.remaining.and_then(|count| u64::try_from(count).ok()),
    };
    let now = clock::now();
    let (head, tail) = kind.printer.around_rows(&meta);
    pieces(head, page.objects, tail, move |out, stored| {
        let row = kind.printer.row(&object_of(&kind, stored), now, include);
        // A Vec takes every write.
        let _ = serde_json::to_writer(out, &row);
    })
}

/// What is written before objects, the objects with commas between them, and what is written after them; in pieces, so that
/// no list is in memory twice.
fn pieces(
    head: Vec<u8>,
    objects: Vec<Arc<Stored>>,
    tail: &'static [u8],
    render: impl Fn(&mut Vec<u8>, &Arc<Stored>) + Send + 'static,
) -> Body {
    let pieces = stream::unfold(Some((head, 0)), move |state| {
        let piece = state.map(|(mut out, mut at)| {
            while at < objects.len() && out.len() < PIECE {
                if at > 0 {
                    out.push(b',');
                }
                render(&mut out, &objects[at]);
                at += 1;
            }
            if at < objects.len() {
                return (
                    Bytes::from(out),
                    Some((Vec::with_capacity(PIECE + SPARE), at)),
                );
            }
            out.extend_from_slice(tail);
            (Bytes::from(out), None)
        });
        std::future::ready(
            piece.map(|(bytes, next)| (Ok::<_, std::convert::Infallible>(bytes), next)),
        )
    });
    Body::from_stream(pieces)
}
