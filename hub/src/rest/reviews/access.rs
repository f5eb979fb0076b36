//! `SelfSubjectAccessReview`, `SubjectAccessReview`, `LocalSubjectAccessReview`: may I, may they?

use koinon_machinery::{ApiError, Cause, Details, Object, Reason, Result};
use serde_json::{Value, json};

use super::{text, texts};
use crate::{
    auth::User,
    authz::{Attributes, Authorizer, Decision},
};

type Answer = (Value, Value);

/// Whether the asker may.
pub(super) fn own(authorizer: &Authorizer, user: &User, review: &Object) -> Result<Answer> {
    let spec = spec(review);
    let asked = attributes("SelfSubjectAccessReview", &spec, Vec::new())?;
    let status = status(authorizer, user, &asked);
    Ok((spec, status))
}

/// Whether the user that the review names may; `namespace` is that of a local review.
pub(super) fn of_another(
    authorizer: &Authorizer,
    review: &Object,
    namespace: Option<&str>,
) -> Result<Answer> {
    let kind = match namespace {
        Some(_) => "LocalSubjectAccessReview",
        None => "SubjectAccessReview",
    };
    let spec = spec(review);
    let mut faults = Vec::new();
    let user = user(&spec);
    if user.name.is_empty() && user.groups.is_empty() {
        faults.push(Cause::invalid(
            "spec.user",
            "",
            "at least one of user or group must be specified",
        ));
    }
    if let Some(namespace) = namespace {
        if spec.get("nonResourceAttributes").is_some() {
            faults.push(Cause::invalid(
                "spec.nonResourceAttributes",
                spec["nonResourceAttributes"].clone(),
                "disallowed on this kind of request",
            ));
        }
        let within = spec
            .get("resourceAttributes")
            .map(|of| text(of, "namespace"));
        if let Some(other) = within.filter(|within| *within != namespace) {
            let field = "spec.resourceAttributes.namespace";
            faults.push(Cause::invalid(
                field,
                other,
                "must match metadata.namespace",
            ));
        }
    }
    let asked = attributes(kind, &spec, faults)?;
    let status = status(authorizer, &user, &asked);
    Ok((spec, status))
}

fn status(authorizer: &Authorizer, user: &User, asked: &Attributes) -> Value {
    let (allowed, reason) = match authorizer.explain(user, asked) {
        Decision::Allowed(reason) => (true, reason),
        Decision::Denied(reason) => (false, reason),
    };
    let mut status = json!({ "allowed": allowed });
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

fn spec(review: &Object) -> Value {
    review.spec().cloned().unwrap_or_else(|| json!({}))
}

/// The user that a review names. It is never an agent: whose cluster a certificate is only the certificate says.
fn user(spec: &Value) -> User {
    let extra = spec.get("extra").and_then(Value::as_object);
    let extra = extra
        .into_iter()
        .flatten()
        .map(|(key, _)| (key.to_lowercase(), texts(&spec["extra"], key)))
        .collect();
    User {
        name: text(spec, "user"),
        uid: text(spec, "uid"),
        groups: texts(spec, "groups"),
        extra,
        ..User::default()
    }
}

fn attributes(kind: &str, spec: &Value, mut faults: Vec<Cause>) -> Result<Attributes> {
    let (resource, path) = (
        spec.get("resourceAttributes"),
        spec.get("nonResourceAttributes"),
    );
    let asked = match (resource, path) {
        (Some(resource), None) => Attributes {
            verb: text(resource, "verb"),
            group: text(resource, "group"),
            version: text(resource, "version"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            namespace: text(resource, "namespace"),
            name: text(resource, "name"),
            labels: selector(resource),
            path: String::new(),
        },
        (None, Some(path)) => Attributes {
            verb: text(path, "verb"),
            path: text(path, "path"),
            ..Attributes::default()
        },
        (both, _) => {
            let why =
                "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            let field = "spec.resourceAttributes";
            faults.push(match both {
                Some(_) => Cause::invalid(
                    "spec.nonResourceAttributes",
                    "",
                    "cannot be specified in combination with resourceAttributes",
                ),
                None => Cause::invalid(field, Value::Null, why),
            });
            Attributes::default()
        }
    };
    if faults.is_empty() {
        return Ok(asked);
    }
    let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let listed = match texts.as_slice() {
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    let details = Details {
        group: super::AUTHORIZATION.to_owned(),
        kind: kind.to_owned(),
        causes: faults,
        ..Details::default()
    };
    let message = format!("{kind}.{} \"\" is invalid: {listed}", super::AUTHORIZATION);
    Err(ApiError::new(Reason::Invalid, message).with_details(details))
}

/// The label selector of the request that is asked about, as text.
fn selector(resource: &Value) -> String {
    let Some(selector) = resource.get("labelSelector") else {
        return String::new();
    };
    let raw = text(selector, "rawSelector");
    if !raw.is_empty() {
        return raw;
    }
    let list = selector.get("requirements").and_then(Value::as_array);
    let terms = list.into_iter().flatten().filter_map(|term| {
        let (key, values) = (text(term, "key"), texts(term, "values").join(","));
        match text(term, "operator").as_str() {
            "In" => Some(format!("{key} in ({values})")),
            "NotIn" => Some(format!("{key} notin ({values})")),
            "Exists" => Some(key),
            "DoesNotExist" => Some(format!("!{key}")),
            _ => None,
        }
    });
    terms.collect::<Vec<_>>().join(",")
}
