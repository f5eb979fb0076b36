//! Label selectors as they stand in objects: `matchLabels` and `matchExpressions`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;

use super::{
    label::{LabelSelector, Operator, Requirement},
    parse,
};
use crate::{ApiError, Cause, Result, are_enough, validation, validation::FieldPath};

impl TryFrom<&meta::LabelSelector> for LabelSelector {
    type Error = ApiError;

    /// An empty selector selects everything. What an absent one selects depends on the field, so that is the caller's.
    ///
    /// # Errors
    /// `BadRequest` for an unknown operator or values that do not fit it.
    fn try_from(selector: &meta::LabelSelector) -> Result<Self> {
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            let values = [value.clone()].into();
            requirements.push(Requirement {
                key: key.clone(),
                operator: Operator::Equals,
                values,
            });
        }
        for expression in selector.match_expressions.iter().flatten() {
            let operator = operator(&expression.operator).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "{:?} is not a valid label selector operator",
                    expression.operator
                ))
            })?;
            let values = expression.values.iter().flatten().cloned().collect();
            let requirement = Requirement {
                key: expression.key.clone(),
                operator,
                values,
            };
            requirements.push(parse::check(requirement).map_err(ApiError::bad_request)?);
        }
        Ok(Self::new(requirements))
    }
}

/// Judges a selector in an object, at `path`.
#[must_use]
pub fn validate(selector: &meta::LabelSelector, path: &FieldPath) -> Vec<Cause> {
    let labels = selector
        .match_labels
        .iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str()));
    let mut causes = validation::labels(labels, &path.child("matchLabels"));
    let path = path.child("matchExpressions");
    for (index, expression) in selector.match_expressions.iter().flatten().enumerate() {
        if are_enough(&causes) {
            break;
        }
        let at = path.index(index);
        let values: Vec<&String> = expression.values.iter().flatten().collect();
        match operator(&expression.operator) {
            Some(Operator::In | Operator::NotIn) if values.is_empty() => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                causes.push(Cause::required(at.child("values"), detail));
            }
            Some(Operator::Exists | Operator::DoesNotExist) if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                causes.push(Cause::forbidden(at.child("values"), detail));
            }
            Some(_) => {}
            None => {
                let field = at.child("operator");
                causes.push(Cause::invalid(
                    field,
                    expression.operator.clone(),
                    "not a valid selector operator",
                ));
            }
        }
        for fault in validation::qualified_name(&expression.key) {
            causes.push(Cause::invalid(
                at.child("key"),
                expression.key.clone(),
                &fault,
            ));
        }
        for (index, value) in values.iter().enumerate() {
            if are_enough(&causes) {
                break;
            }
            for fault in validation::label_value(value) {
                causes.push(Cause::invalid(
                    at.child("values").index(index),
                    value.as_str(),
                    &fault,
                ));
            }
        }
    }
    causes
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        _ => return None,
    })
}
