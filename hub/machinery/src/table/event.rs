//! The cells of an event, as kube-apiserver computes them (`pkg/printers/internalversion`, `printEvent`).

use jiff::Timestamp;
use serde_json::Value;

use super::cell::{age_of, text};
use crate::{Object, resource::EventCell};

/// One cell.
pub(super) fn cell(of: EventCell, event: &Object, now: Timestamp) -> Value {
    let part = |name: &str| event.get(name).filter(|value| !value.is_null());
    let number = |value: Option<&Value>| value.and_then(Value::as_i64).filter(|count| *count > 0);
    let first = || part("firstTimestamp").or_else(|| part("eventTime"));
    let age = |at: Option<&Value>| at.map_or_else(|| "<unknown>".into(), |at| age_of(at, now));
    match of {
        EventCell::FirstSeen => age(first()),
        EventCell::LastSeen => {
            let series = event.at(&["series", "lastObservedTime"]);
            age(series
                .filter(|at| !at.is_null())
                .or_else(|| part("lastTimestamp"))
                .or_else(first))
        }
        EventCell::Object => {
            let involved = part("involvedObject").unwrap_or(&Value::Null);
            let kind = text(involved, "kind").to_lowercase();
            match text(involved, "name") {
                "" => kind.into(),
                name => format!("{kind}/{name}").into(),
            }
        }
        EventCell::Source => {
            let source = part("source").unwrap_or(&Value::Null);
            let says = |first: &str, second: &str| match second {
                "" => first.to_owned(),
                second => format!("{first}, {second}"),
            };
            match text(source, "component") {
                "" => {
                    let told = |field| event.get(field).and_then(Value::as_str);
                    let controller = told("reportingComponent").unwrap_or_default();
                    says(controller, told("reportingInstance").unwrap_or_default()).into()
                }
                component => says(component, text(source, "host")).into(),
            }
        }
        EventCell::Message => {
            let message = event.get("message").and_then(Value::as_str);
            message.unwrap_or_default().trim().into()
        }
        EventCell::Text(path) => {
            let found = event.at(path).and_then(Value::as_str);
            found.unwrap_or_default().into()
        }
        EventCell::Count => {
            let series = number(event.at(&["series", "count"]));
            series.or_else(|| number(part("count"))).unwrap_or(1).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ALL: [EventCell; 7] = [
        EventCell::Text(&["involvedObject", "fieldPath"]),
        EventCell::LastSeen,
        EventCell::FirstSeen,
        EventCell::Object,
        EventCell::Source,
        EventCell::Message,
        EventCell::Count,
    ];

    #[test]
    fn cells_are_kube_apiservers() {
        let now = "2026-01-02T00:01:00Z".parse().unwrap();
        let cases = [
            (
                json!({}),
                json!(["", "<unknown>", "<unknown>", "", "", "", 1]),
            ),
            (
                json!({
                    "involvedObject": { "kind": "Placement", "name": "web", "fieldPath": "spec" }, "message": " out ", "count": 3,
                    "source": { "component": "hub", "host": "a" },
                    "firstTimestamp": "2026-01-02T00:00:00Z", "lastTimestamp": "2026-01-02T00:00:30Z",
                }),
                json!(["spec", "30s", "60s", "placement/web", "hub, a", "out", 3]),
            ),
            (
                json!({
                    "involvedObject": { "kind": "Placement" }, "source": null, "count": 0,
                    "reportingComponent": "hub", "reportingInstance": "b",
                    "firstTimestamp": null, "eventTime": "2026-01-02T00:00:10.000000Z",
                    "series": { "count": 7, "lastObservedTime": "2026-01-02T00:00:55.000000Z" },
                }),
                json!(["", "5s", "50s", "placement", "hub, b", "", 7]),
            ),
        ];
        for (event, expected) in cases {
            let object = Object::from_value(event.clone()).unwrap();
            let cells: Vec<_> = ALL.iter().map(|of| cell(*of, &object, now)).collect();
            assert_eq!(json!(cells), expected, "{event}");
        }
    }
}
