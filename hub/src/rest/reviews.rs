//! The two questions that everybody may ask about himself: who am I, and may I?

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderMap, StatusCode};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview, authorization::v1::SelfSubjectAccessReview,
};
use koinon_machinery::{ApiError, Object, ResourceInfo, Result, Verb, object};
use serde_json::{Value, json};

use super::{body, respond};
use crate::{
    auth::User,
    authz::{self, Attributes, Denied},
    clock,
};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// A question is small.
const LIMIT: usize = 64 << 10;

/// The kinds of the questions, for discovery.
pub(super) fn kinds() -> Vec<Arc<ResourceInfo>> {
    // Both schemas are Kubernetes' own and structural, so nothing is left out.
    let who = ResourceInfo::from_type::<SelfSubjectReview>(false, &[]);
    let may = ResourceInfo::from_type::<SelfSubjectAccessReview>(false, &[]);
    [who, may]
        .into_iter()
        .flatten()
        .map(|info| Arc::new(info.with_verbs([Verb::Create])))
        .collect()
}

/// Whether a request asks one of them.
pub(super) fn is_one(asked: &Attributes) -> bool {
    matches!(
        (asked.group.as_str(), asked.resource.as_str()),
        (AUTHENTICATION, "selfsubjectreviews") | (AUTHORIZATION, "selfsubjectaccessreviews")
    )
}

/// Answers it.
pub(super) async fn answer(
    asked: &Attributes,
    user: &User,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response> {
    match (
        asked.verb.as_str(),
        asked.version.as_str(),
        asked.group.as_str(),
        asked.subresource.as_str(),
    ) {
        ("create", "v1", AUTHENTICATION, "") => who(user, headers, body).await,
        ("create", "v1", AUTHORIZATION, "") => may(user, headers, body).await,
        (_, "v1", _, "") => Err(ApiError::method_not_allowed()),
        _ => Err(ApiError::no_such_resource()),
    }
}

async fn who(user: &User, headers: &HeaderMap, body: Body) -> Result<Response> {
    read(headers, body).await?;
    let answer = json!({
        "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
        "metadata": { "creationTimestamp": object::timestamp(clock::now()) },
        "status": { "userInfo": { "username": user.name, "groups": user.groups } },
    });
    Ok(respond::json(StatusCode::CREATED, &answer))
}

async fn may(user: &User, headers: &HeaderMap, body: Body) -> Result<Response> {
    let review = read(headers, body).await?;
    let spec = review.spec().cloned().unwrap_or_default();
    let asked = attributes(&spec)?;
    let (allowed, reason) = match authz::authorize(Some(user), &asked) {
        Ok(()) => (true, String::new()),
        Err(Denied::Forbidden(words)) => (false, words),
        Err(Denied::Unauthenticated) => (false, "no certificate".to_owned()),
    };
    let answer = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": spec,
        "status": { "allowed": allowed, "reason": reason },
    });
    Ok(respond::json(StatusCode::CREATED, &answer))
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Object> {
    let bytes = body::read(body, LIMIT).await?;
    Object::from_value(body::decode(&body::media_type(headers), &bytes)?.value)
}

fn attributes(spec: &Value) -> Result<Attributes> {
    let text = |value: &Value, field: &str| {
        value
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match (
        spec.get("resourceAttributes"),
        spec.get("nonResourceAttributes"),
    ) {
        (Some(resource), None) => Ok(Attributes {
            verb: text(resource, "verb"),
            group: text(resource, "group"),
            version: text(resource, "version"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: text(resource, "namespace"),
            name: text(resource, "name"),
            path: String::new(),
        }),
        (None, Some(path)) => Ok(Attributes {
            verb: text(path, "verb"),
            path: text(path, "path"),
            ..Attributes::default()
        }),
        _ => Err(ApiError::bad_request(
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )),
    }
}
