//! One request on one kind, as the verbs see it.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, header};
use koinon_machinery::{
    ApiError, Cause, CauseReason, Details, Object, Reason, Result, Verb, apply, decode,
};
use koinon_store::{Key, Revision, Snapshot, Stored};
use serde_json::Value;

use super::{
    Api,
    basis::{self, Basis},
    body,
    held::Hangup,
    options::At,
    query::Query,
    respond::{self, Form},
    tenant::Tenant,
};
use crate::{
    auth::User,
    authz::Attributes,
    registry::{self, FieldValidation, Kind, Writer},
};

/// How long a question may wait for the database to say whether it is back.
const PROBE: Duration = Duration::from_millis(50);

/// A request that was authenticated, authorised and found its kind.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) api: Api,
    pub(super) kind: Arc<Kind>,
    pub(super) asked: Attributes,
    pub(super) user: User,
    /// Whose share what is kept for this request comes out of.
    pub(super) tenant: Tenant,
    /// What it was let in by.
    pub(super) basis: Arc<Basis>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    /// Closes the connection that it came on.
    pub(super) hangup: Option<Hangup>,
}

impl Call {
    /// The namespace of the objects, empty for cluster-scoped kinds.
    pub(super) fn namespace(&self) -> &str {
        if self.kind.info.namespaced {
            &self.asked.namespace
        } else {
            ""
        }
    }

    /// The object that the path names.
    pub(super) fn key(&self) -> Key {
        Key::new(
            Arc::clone(&self.kind.key),
            self.namespace(),
            self.asked.name.as_str(),
        )
    }

    /// Who writes, under the name that the request or else its user agent gives.
    pub(super) fn writer(&self) -> Writer {
        let agent = self
            .headers
            .get(header::USER_AGENT)
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .unwrap_or_default();
        let name = self.query.text("fieldManager").unwrap_or_default();
        Writer {
            user: self.user.clone(),
            epoch: None,
            manager: Some(apply::manager_or_user_agent(name, &agent).into()),
            audit: None,
        }
    }

    /// The form in which the client wants objects.
    pub(super) fn form(&self) -> Result<Form> {
        respond::form(&self.headers, &self.query)
    }

    /// Refuses what the kind does not offer, and to write what is only shown.
    pub(super) fn demand(&self, verb: Verb) -> Result<()> {
        let reads = matches!(verb, Verb::Get | Verb::List | Verb::Watch);
        if self.kind.info.allows(verb) && (reads || !self.kind.is_view(&self.asked.name)) {
            Ok(())
        } else {
            Err(ApiError::method_not_allowed())
        }
    }

    /// Reads the body as an object of this kind; returns warnings about fields that were given twice.
    pub(super) async fn object(
        &self,
        body: axum::body::Body,
        fields: FieldValidation,
    ) -> Result<(Object, Vec<String>)> {
        let bytes = body::read(body, self.kind.strategy.body_limit()).await?;
        let decode::Decoded { value, duplicates } =
            body::decode(&body::media_type(&self.headers), &bytes)?;
        let warnings = match fields {
            FieldValidation::Ignore => Vec::new(),
            FieldValidation::Warn => decode::faults(&[], &duplicates),
            FieldValidation::Strict => {
                refuse_duplicates(&self.kind, &value, &duplicates)?;
                Vec::new()
            }
        };
        Ok((Object::from_value(value)?, warnings))
    }

    /// Waits until the cache may answer a read that asks for `at`; returns a warning when the answer may be old.
    pub(super) async fn settle(&self, at: At) -> Result<Option<String>> {
        let store = self.api.registry().store();
        match at {
            At::Newest => self.fresh().await.map(|()| None),
            At::Any if self.api.is_away() => {
                let back = tokio::time::timeout(PROBE, self.fresh()).await;
                let warning = "the registry is unreachable: this is what the hub knew last";
                Ok((!matches!(back, Ok(Ok(())))).then(|| warning.to_owned()))
            }
            At::Any => Ok(None),
            At::NotOlderThan(revision) | At::Exactly(revision) => {
                if store.revision() < revision {
                    self.fresh().await?;
                }
                let current = store.revision();
                if current < revision {
                    Err(too_large(revision, current))
                } else {
                    Ok(None)
                }
            }
        }
    }

    async fn fresh(&self) -> Result<()> {
        let fresh = self.api.registry().store().fresh().await;
        self.api.set_away(fresh.is_err());
        fresh
            .map(drop)
            .map_err(|error| registry::unavailable(&error))
    }

    /// All stored objects of the kind.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.api.registry().store().snapshot(&self.kind.key)
    }

    /// What is shown beside the stored objects, in key order.
    pub(super) async fn view(&self) -> Result<Vec<Arc<Stored>>> {
        let registry = self.api.registry();
        registry.view(&self.kind, self.namespace()).await
    }

    /// Whoever creates by applying or updating needs the right to create.
    ///
    /// # Errors
    ///
    /// 403.
    pub(super) fn may_create(&self) -> Result<()> {
        let asked = Attributes {
            verb: "create".to_owned(),
            ..self.asked.clone()
        };
        basis::demand(&self.api, &self.user, &asked)
    }
}

/// Refuses what is given twice, and with it what is not known, so that a client mends both at once.
///
/// # Errors
///
/// 400 in the words of Go's strict decoder.
pub(super) fn refuse_duplicates(kind: &Kind, value: &Value, duplicates: &[String]) -> Result<()> {
    if duplicates.is_empty() {
        return Ok(());
    }
    let object = Object::from_value(value.clone()).ok();
    let unknown = object.map(|mut object| kind.info.schema.normalize(&mut object));
    decode::strict(&unknown.unwrap_or_default(), duplicates).map_or(Ok(()), Err)
}

/// 504 for a revision that this replica has not reached: the client is ahead, or the registry was restored.
pub(super) fn too_large(wanted: Revision, current: Revision) -> ApiError {
    // By this reason client-go's reflectors know to list without a revision.
    let cause = Cause {
        reason: Some(CauseReason::ResourceVersionTooLarge),
        ..Cause::bare("Too large resource version")
    };
    let details = Details {
        causes: vec![cause],
        retry_after_seconds: Some(1),
        ..Details::default()
    };
    ApiError::new(
        Reason::Timeout,
        format!("Timeout: Too large resource version: {wanted}, current: {current}"),
    )
    .with_details(details)
}
