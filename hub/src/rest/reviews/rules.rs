//! `SelfSubjectRulesReview`: what may I do in a namespace? For `kubectl auth can-i --list`; it decides nothing.

use koinon_machinery::{ApiError, Object, Result};
use serde_json::{Value, json};

use super::text;
use crate::{
    auth::User,
    authz::{Authorizer, Rule},
};

pub(super) fn answer(
    authorizer: &Authorizer,
    user: &User,
    review: &Object,
) -> Result<(Value, Value)> {
    let spec = review.spec().cloned().unwrap_or_else(|| json!({}));
    let namespace = text(&spec, "namespace");
    if namespace.is_empty() {
        return Err(ApiError::bad_request("no namespace on request"));
    }
    let (rules, faults) = authorizer.shown(user, &namespace);
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    for rule in &rules {
        let Rule {
            verbs,
            api_groups,
            resources: plurals,
            resource_names,
            non_resource_urls,
        } = rule;
        if !plurals.is_empty() {
            let mut shown =
                json!({ "verbs": verbs, "apiGroups": api_groups, "resources": plurals });
            if !resource_names.is_empty() {
                shown["resourceNames"] = json!(resource_names);
            }
            resources.push(shown);
        }
        if !non_resource_urls.is_empty() {
            paths.push(json!({ "verbs": verbs, "nonResourceURLs": non_resource_urls }));
        }
    }
    let mut status = json!({
        "resourceRules": resources, "nonResourceRules": paths, "incomplete": !faults.is_empty(),
    });
    if !faults.is_empty() {
        status["evaluationError"] = faults.join(", ").into();
    }
    Ok((spec, status))
}
