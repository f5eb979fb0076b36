//! What a live object says that the hub wants to know: feedback values, derived conditions, readiness. Pure.

mod conditions;
mod readiness;
mod well_known;

pub use conditions::{Derived, derive, may_derive};
pub use readiness::{Finding, Readiness, assess};

use koinon_api::work::{FeedbackRule, FeedbackType, FeedbackValue, FieldValue, ValueType};
use koinon_machinery::jsonpath;
use serde_json::Value;

/// Longest string that is reported, in bytes. OCM knows no bound; a status has one.
const MOST_TEXT: usize = 16 * 1024;

/// What of structures and floats is reported; OCM's feature gate `RawFeedbackJsonString` and its `--max-json-raw-length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RawJson {
    /// They are errors, and of several results the first one counts. OCM's default.
    #[default]
    Refused,
    /// They are reported as JSON of at most so many bytes, and several results as a list.
    UpTo(usize),
}

/// Reads what `rules` ask for. Values that can be read are returned although others cannot.
#[must_use]
pub fn read(
    rules: &[FeedbackRule],
    object: &Value,
    raw: RawJson,
) -> (Vec<FeedbackValue>, Option<String>) {
    let (mut values, mut errors) = (Vec::new(), Vec::new());
    let version = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    for rule in rules {
        match rule.type_ {
            FeedbackType::WellKnownStatus => match well_known::paths(version, kind) {
                Some(paths) => {
                    for (name, path) in paths {
                        collect(name, path, object, raw, &mut values, &mut errors);
                    }
                }
                None => errors.push(format!(
                    "cannot find the wellknown statuses for resource with gvk {version}/{kind}"
                )),
            },
            FeedbackType::JsonPaths => {
                for path in &rule.json_paths {
                    let served = version.rsplit('/').next().unwrap_or_default();
                    if !path.version.is_empty() && path.version != served {
                        errors.push(format!(
                            "version set in the path {} is not matched for the related resource",
                            path.name
                        ));
                        continue;
                    }
                    collect(
                        &path.name,
                        &path.path,
                        object,
                        raw,
                        &mut values,
                        &mut errors,
                    );
                }
            }
        }
    }
    // Rules may overlap; the first value under a name counts.
    let mut names = std::collections::HashSet::new();
    values.retain(|v| names.insert(v.name.clone()));
    (
        values,
        (!errors.is_empty()).then(|| format!("[{}]", errors.join(", "))),
    )
}

fn collect(
    name: &str,
    path: &str,
    object: &Value,
    raw: RawJson,
    values: &mut Vec<FeedbackValue>,
    errors: &mut Vec<String>,
) {
    let parsed = match jsonpath::JsonPath::parse(path) {
        Ok(parsed) => parsed,
        Err(error) => {
            errors.push(format!(
                "failed to parse json path {path} of {name} with error: {error}"
            ));
            return;
        }
    };
    let found = parsed.find(object);
    let value = match (found.as_slice(), raw) {
        ([], _) | ([Value::Null, ..], RawJson::Refused) | ([Value::Null], _) => return,
        ([first, ..], RawJson::Refused) | ([first], _) => field(name, first, raw),
        (many, RawJson::UpTo(most)) => {
            let list = many.iter().copied().cloned().collect();
            json(name, &Value::Array(list), most)
        }
    };
    match value {
        Ok(field_value) => values.push(FeedbackValue {
            name: name.to_owned(),
            field_value,
        }),
        Err(error) => errors.push(error),
    }
}

fn empty(type_: ValueType) -> FieldValue {
    FieldValue {
        type_,
        integer: None,
        string: None,
        boolean: None,
        json_raw: None,
    }
}

/// Returns the value of one field, or why it is not reported.
fn field(name: &str, value: &Value, raw: RawJson) -> Result<FieldValue, String> {
    Ok(match (value, raw) {
        (Value::Number(number), _) if number.is_i64() => FieldValue {
            integer: number.as_i64(),
            ..empty(ValueType::Integer)
        },
        (Value::String(text), _) if text.len() > MOST_TEXT => {
            return Err(format!("the value {name} is longer than {MOST_TEXT} bytes"));
        }
        (Value::String(text), _) => FieldValue {
            string: Some(text.clone()),
            ..empty(ValueType::String)
        },
        (Value::Bool(truth), _) => FieldValue {
            boolean: Some(*truth),
            ..empty(ValueType::Boolean)
        },
        (value, RawJson::UpTo(most)) => return json(name, value, most),
        (_, RawJson::Refused) => {
            return Err(format!("the type of the value {name} is not supported"));
        }
    })
}

fn json(name: &str, value: &Value, most: usize) -> Result<FieldValue, String> {
    let text = value.to_string();
    if text.len() > most {
        return Err(format!(
            "the JSON of the value {name} has {} bytes, more than {most}",
            text.len()
        ));
    }
    Ok(FieldValue {
        json_raw: Some(text),
        ..empty(ValueType::JsonRaw)
    })
}

#[cfg(test)]
mod tests {
    use koinon_api::work::JsonPath;
    use serde_json::json;

    use super::*;

    fn rule(paths: &[(&str, &str)]) -> FeedbackRule {
        let json_paths = paths
            .iter()
            .map(|(name, path)| JsonPath {
                name: (*name).into(),
                path: (*path).into(),
                version: String::new(),
            })
            .collect();
        FeedbackRule {
            type_: FeedbackType::JsonPaths,
            json_paths,
        }
    }

    #[test]
    fn well_known_values_of_a_deployment() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {"replicas": 3, "readyReplicas": 2}});
        let (values, error) = read(
            &[FeedbackRule {
                type_: FeedbackType::WellKnownStatus,
                json_paths: vec![],
            }],
            &object,
            RawJson::Refused,
        );
        let values: Vec<_> = values
            .iter()
            .map(|v| (v.name.as_str(), v.field_value.integer))
            .collect();
        assert_eq!(
            (values, error),
            (
                vec![("ReadyReplicas", Some(2)), ("Replicas", Some(3))],
                None
            )
        );
    }

    #[test]
    fn what_cannot_be_read_does_not_hide_the_rest() {
        let object = json!({"apiVersion": "v1", "kind": "A", "status": {"text": "t", "flag": true, "list": [1], "float": 1.5}});
        let (values, error) = read(
            &[rule(&[
                ("text", ".status.text"),
                ("flag", "{.status.flag}"),
                ("list", ".status.list"),
                ("float", ".status.float"),
                ("none", ".status.none"),
                ("bad", ".status["),
            ])],
            &object,
            RawJson::Refused,
        );
        assert_eq!(
            values.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(),
            ["text", "flag"]
        );
        let error = error.unwrap();
        assert!(
            error.contains("list")
                && error.contains("float")
                && error.contains("bad")
                && !error.contains("none"),
            "{error}"
        );
    }

    #[test]
    fn unknown_kinds_have_no_well_known_status() {
        let (values, error) = read(
            &[FeedbackRule {
                type_: FeedbackType::WellKnownStatus,
                json_paths: vec![],
            }],
            &json!({"apiVersion": "v1", "kind": "ConfigMap"}),
            RawJson::Refused,
        );
        assert!(values.is_empty() && error.is_some());
    }

    #[test]
    fn structures_are_json_up_to_a_length_where_that_is_wanted() {
        let object = json!({"apiVersion": "v1", "kind": "A", "status": {"list": [1, {"a": "b"}], "float": 1.5, "big": "x".repeat(99), "conditions": [{"type": "A"}, {"type": "B"}], "n": 1, "none": null}});
        let paths = rule(&[
            ("list", ".status.list"),
            ("float", ".status.float"),
            ("types", ".status.conditions[*].type"),
            ("n", ".status.n"),
            ("none", ".status.none"),
            ("big", ".status"),
        ]);
        let (values, error) = read(&[paths], &object, RawJson::UpTo(64));
        let values: Vec<_> = values
            .iter()
            .map(|v| (v.name.as_str(), v.field_value.json_raw.as_deref()))
            .collect();
        assert_eq!(
            values,
            [
                ("list", Some(r#"[1,{"a":"b"}]"#)),
                ("float", Some("1.5")),
                ("types", Some(r#"["A","B"]"#)),
                ("n", None),
            ]
        );
        assert!(error.unwrap().contains("more than 64"));
    }

    #[test]
    fn endless_texts_and_numbers_beyond_64_bits_are_refused_by_name() {
        let object = json!({"apiVersion": "v1", "kind": "A", "text": "x".repeat(MOST_TEXT + 1), "number": u64::MAX});
        let (values, error) = read(
            &[rule(&[("text", ".text"), ("number", ".number")])],
            &object,
            RawJson::Refused,
        );
        let error = error.unwrap();
        assert!(
            values.is_empty() && error.contains("text") && error.contains("number"),
            "{error}"
        );
    }
}
