//! The options of a delete.
//!
//! What is misread here is lost for good: an option of the wrong type is refused, and never taken for one that is absent.

use koinon_machinery::{ApiError, Cause, Result};
use serde_json::{Map, Value};

use super::{Query, dry_run, invalid};
use crate::registry::{DeleteOptions, Preconditions, Propagation};

const KIND: &str = "DeleteOptions";

/// Reads them: a body wins over the query, as in Kubernetes.
pub(in super::super) fn delete_options(
    query: &Query,
    body: Option<&Value>,
) -> Result<DeleteOptions> {
    // Grace is for what runs, and nothing runs on a hub; that it is a number is checked all the same.
    query.integer("gracePeriodSeconds")?;
    let body = match body {
        None | Some(Value::Null) => &Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(_) => {
            return Err(ApiError::bad_request(
                "the body of a delete is a DeleteOptions object",
            ));
        }
    };
    let body = Fields { fields: body };
    match body.text("kind")? {
        None | Some("" | KIND) => {}
        Some(other) => {
            return Err(ApiError::bad_request(format!(
                "the body of a delete is a DeleteOptions, not a {other}"
            )));
        }
    }
    body.text("apiVersion")?;
    body.integer("gracePeriodSeconds")?;
    let preconditions = match body.value("preconditions") {
        None => Preconditions::default(),
        Some(Value::Object(fields)) => {
            let preconditions = Fields { fields };
            Preconditions {
                uid: preconditions.text("uid")?.map(str::to_owned),
                resource_version: preconditions.text("resourceVersion")?.map(str::to_owned),
            }
        }
        Some(_) => return Err(wrong("preconditions", "an object")),
    };
    let dry = body.texts("dryRun")?;
    let dry_run = if dry.is_empty() {
        dry_run(query.all("dryRun"), KIND)?
    } else {
        dry_run(dry, KIND)?
    };
    let (policy, orphan) = match (
        body.text("propagationPolicy")?,
        body.flag("orphanDependents")?,
    ) {
        (None, None) => (
            query.text("propagationPolicy"),
            query.optional_flag("orphanDependents"),
        ),
        given => given,
    };
    Ok(DeleteOptions {
        dry_run,
        preconditions,
        propagation: propagation(policy, orphan)?,
    })
}

/// The fields of an object; null is absence.
struct Fields<'a> {
    fields: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    fn value(&self, name: &str) -> Option<&'a Value> {
        self.fields.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Result<Option<&'a str>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(name, "a string")),
        }
    }

    fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(wrong(name, "true or false")),
        }
    }

    fn integer(&self, name: &str) -> Result<Option<i64>> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(name, "a whole number")),
            },
        }
    }

    fn texts(&self, name: &str) -> Result<Vec<&'a str>> {
        let list = match self.value(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(wrong(name, "a list of strings")),
        };
        let texts = list.iter().map(Value::as_str);
        texts
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| wrong(name, "a list of strings"))
    }
}

fn wrong(name: &str, wanted: &str) -> ApiError {
    ApiError::bad_request(format!("{KIND}.{name} must be {wanted}"))
}

fn propagation(policy: Option<&str>, orphan: Option<bool>) -> Result<Option<Propagation>> {
    if let (Some(policy), Some(_)) = (policy, orphan) {
        let detail = "orphanDependents and deletionPropagation cannot be both set";
        let cause = Cause::invalid("propagationPolicy", policy, detail);
        return Err(invalid(KIND, cause));
    }
    Ok(Some(match (policy, orphan) {
        (None, None) => return Ok(None),
        (None, Some(true)) => Propagation::Orphan,
        (None, Some(false)) => Propagation::Background,
        (Some("Orphan"), _) => Propagation::Orphan,
        (Some("Background"), _) => Propagation::Background,
        (Some("Foreground"), _) => Propagation::Foreground,
        (Some(other), _) => {
            let known = ["Background", "Foreground", "Orphan"];
            return Err(invalid(
                KIND,
                Cause::not_supported("propagationPolicy", other, known),
            ));
        }
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::DryRun;

    fn read(query: &str, body: &Value) -> Result<DeleteOptions> {
        delete_options(&Query::parse(query), Some(body))
    }

    #[test]
    fn a_body_wins_over_the_query() {
        let body = json!({"kind": "DeleteOptions", "propagationPolicy": "Orphan", "preconditions": {"uid": "u"}});
        let options = read("propagationPolicy=Foreground", &body).unwrap();
        assert_eq!(options.propagation, Some(Propagation::Orphan));
        assert_eq!(options.preconditions.uid.as_deref(), Some("u"));
        let options = read("propagationPolicy=Foreground&dryRun=All", &json!({})).unwrap();
        assert_eq!(options.propagation, Some(Propagation::Foreground));
        assert_eq!(options.dry_run, DryRun::All);
    }

    /// Each of these was meant to hold a deletion back, or to change it: none of them may be deleted by.
    #[test]
    fn an_option_of_the_wrong_type_is_not_an_absent_one() {
        for body in [
            json!([]),
            json!(5),
            json!("x"),
            json!({"preconditions": 5}),
            json!({"preconditions": []}),
            json!({"preconditions": "u"}),
            json!({"preconditions": {"uid": 5}}),
            json!({"preconditions": {"resourceVersion": 5}}),
            json!({"dryRun": "All"}),
            json!({"dryRun": true}),
            json!({"dryRun": [true]}),
            json!({"dryRun": {}}),
            json!({"orphanDependents": "true"}),
            json!({"orphanDependents": 1}),
            json!({"propagationPolicy": ["Orphan"]}),
            json!({"gracePeriodSeconds": "0"}),
            json!({"gracePeriodSeconds": 0.5}),
            json!({"kind": 5}),
            json!({"kind": "Other"}),
        ] {
            assert_eq!(read("", &body).unwrap_err().code, 400, "{body}");
        }
        for body in [
            json!({"dryRun": ["All", "Some"]}),
            json!({"dryRun": [""]}),
            json!({"propagationPolicy": "Sideways"}),
            json!({"orphanDependents": true, "propagationPolicy": "Orphan"}),
        ] {
            assert_eq!(read("", &body).unwrap_err().code, 422, "{body}");
        }
        for body in [
            json!(null),
            json!({}),
            json!({"preconditions": null, "dryRun": null, "dryRun ": 1}),
            json!({"dryRun": [], "gracePeriodSeconds": -1}),
        ] {
            assert_eq!(read("", &body).unwrap(), DeleteOptions::default(), "{body}");
        }
        assert_eq!(
            delete_options(&Query::parse("gracePeriodSeconds=x"), None)
                .unwrap_err()
                .code,
            400
        );
    }
}
