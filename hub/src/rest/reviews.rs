//! The questions about rights: who am I, may I, may they, what may I, whose token is this.
//!
//! None of them is stored: each is a create that is answered with its own status.

mod access;
mod rules;
mod token;
mod who;

use std::sync::Arc;

use axum::{body::Body, response::Response};
use http::{HeaderMap, StatusCode};
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenReview},
    authorization::v1::{
        LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview,
        SubjectAccessReview,
    },
};
use koinon_machinery::{ApiError, Object, ResourceInfo, Result, Verb};
use serde_json::{Value, json};

use super::{Api, body, respond};
use crate::{auth::User, authz::Attributes};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// A question is small.
pub(super) const LIMIT: usize = 64 << 10;

/// The kinds of the questions, for discovery.
pub(super) fn kinds() -> Vec<Arc<ResourceInfo>> {
    // The schemas are Kubernetes' own and structural, so nothing is left out.
    let all = [
        ResourceInfo::from_type::<SelfSubjectReview>(false, &[]),
        ResourceInfo::from_type::<TokenReview>(false, &[]),
        ResourceInfo::from_type::<LocalSubjectAccessReview>(false, &[]),
        ResourceInfo::from_type::<SelfSubjectAccessReview>(false, &[]),
        ResourceInfo::from_type::<SelfSubjectRulesReview>(false, &[]),
        ResourceInfo::from_type::<SubjectAccessReview>(false, &[]),
    ];
    all.into_iter()
        .flatten()
        .map(|info| Arc::new(info.with_verbs([Verb::Create])))
        .collect()
}

/// Whether a request asks one of them.
pub(super) fn is_one(asked: &Attributes) -> bool {
    matches!(
        (asked.group.as_str(), asked.resource.as_str()),
        (AUTHENTICATION, "selfsubjectreviews" | "tokenreviews")
            | (
                AUTHORIZATION,
                "localsubjectaccessreviews"
                    | "selfsubjectaccessreviews"
                    | "selfsubjectrulesreviews"
                    | "subjectaccessreviews"
            )
    )
}

/// Answers it.
pub(super) async fn answer(
    api: &Api,
    asked: &Attributes,
    user: &User,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response> {
    let local = asked.resource == "localsubjectaccessreviews";
    if asked.version != "v1" || !asked.subresource.is_empty() || asked.namespace.is_empty() == local
    {
        return Err(ApiError::no_such_resource());
    }
    if asked.verb != "create" {
        return Err(ApiError::method_not_allowed());
    }
    let bytes = body::read(body, LIMIT).await?;
    let review = Object::from_value(body::decode(&body::media_type(headers), &bytes)?.value)?;
    let authorizer = api.registry().authorizer();
    let (kind, spec, status) = match asked.resource.as_str() {
        "selfsubjectreviews" => ("SelfSubjectReview", None, who::status(user)),
        "tokenreviews" => {
            let (spec, status) = token::answer(api, &review).await?;
            ("TokenReview", Some(spec), status)
        }
        "selfsubjectaccessreviews" => {
            let (spec, status) = access::own(authorizer, user, &review)?;
            ("SelfSubjectAccessReview", Some(spec), status)
        }
        "subjectaccessreviews" => {
            let (spec, status) = access::of_another(authorizer, &review, None)?;
            ("SubjectAccessReview", Some(spec), status)
        }
        "localsubjectaccessreviews" => {
            let namespace = Some(asked.namespace.as_str());
            let (spec, status) = access::of_another(authorizer, &review, namespace)?;
            ("LocalSubjectAccessReview", Some(spec), status)
        }
        _ => {
            let (spec, status) = rules::answer(authorizer, user, &review)?;
            ("SelfSubjectRulesReview", Some(spec), status)
        }
    };
    let mut metadata = review.metadata().clone();
    metadata.remove("managedFields");
    if asked.resource == "selfsubjectreviews" {
        let now = koinon_machinery::object::timestamp(crate::clock::now());
        metadata.insert("creationTimestamp".to_owned(), now.into());
    }
    let mut answer = json!({
        "kind": kind, "apiVersion": format!("{}/v1", asked.group), "metadata": metadata, "status": status,
    });
    if let Some(spec) = spec {
        answer["spec"] = spec;
    }
    Ok(respond::json(StatusCode::CREATED, &answer))
}

/// A text field, empty if it is not there.
fn text(value: &Value, field: &str) -> String {
    value
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// A list of texts.
fn texts(value: &Value, field: &str) -> Vec<String> {
    let list = value.get(field).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|text| text.as_str().map(str::to_owned))
        .collect()
}
