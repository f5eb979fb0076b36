//! Status feedback: values of live objects that a work wants to see on the hub.

mod well_known;

use koinon_api::work::{FeedbackRule, FeedbackType, FeedbackValue, FieldValue, ValueType};
use koinon_machinery::jsonpath;
use serde_json::Value;

/// Reads what `rules` ask for. Values that can be read are returned although others cannot.
pub fn read(rules: &[FeedbackRule], object: &Value) -> (Vec<FeedbackValue>, Option<String>) {
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
                        collect(name, path, object, &mut values, &mut errors);
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
                    collect(&path.name, &path.path, object, &mut values, &mut errors);
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
    // The first result counts, as in OCM without RawFeedbackJsonString.
    match parsed.find(object).first() {
        None | Some(Value::Null) => {}
        Some(value) => match field(value) {
            Some(field_value) => values.push(FeedbackValue {
                name: name.to_owned(),
                field_value,
            }),
            None => errors.push(format!("the type of the value {name} is not supported")),
        },
    }
}

/// Returns the value of a field; OCM reports neither floats nor structures unless told to.
fn field(value: &Value) -> Option<FieldValue> {
    let mut field = FieldValue {
        type_: ValueType::Integer,
        integer: None,
        string: None,
        boolean: None,
        json_raw: None,
    };
    match value {
        Value::Number(number) => field.integer = Some(number.as_i64()?),
        Value::String(text) => {
            field.type_ = ValueType::String;
            field.string = Some(text.clone());
        }
        Value::Bool(truth) => {
            field.type_ = ValueType::Boolean;
            field.boolean = Some(*truth);
        }
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    }
    Some(field)
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
        );
        assert!(values.is_empty() && error.is_some());
    }
}
