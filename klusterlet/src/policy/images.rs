//! The images that an object brings into the cluster. Pure.

use serde_json::Value;

use crate::cluster::Resource;

/// The images of all containers, wherever a pod or the template of one is, those that are mounted as volumes, and whatever
/// else a field `image` names: custom kinds embed pods, and have images of their own.
pub(super) fn images<'a>(resource: &Resource, object: &'a Value) -> Vec<&'a str> {
    // Their content is anybody's text.
    let text =
        resource.group.is_empty() && matches!(resource.plural.as_str(), "configmaps" | "secrets");
    let mut found = Vec::new();
    let fields = object.as_object().into_iter().flatten();
    for (key, value) in fields.filter(|(key, _)| !text && *key != "metadata") {
        walk(key, value, &mut found);
    }
    found
}

fn walk<'a>(key: &str, value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(image) if key == "image" => found.push(image),
        Value::Object(fields) => {
            for (inner, value) in fields {
                // `volumes[].image.reference`.
                let inner = match (key, inner.as_str()) {
                    ("image", "reference") => "image",
                    (_, inner) => inner,
                };
                walk(inner, value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| walk(key, item, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_are_found_wherever_a_field_names_one() {
        let found = |plural: &str, object: &Value| {
            let resource = Resource {
                group: String::new(),
                version: "v1".into(),
                kind: String::new(),
                plural: plural.into(),
                namespaced: true,
            };
            let found = images(&resource, object).into_iter().map(str::to_owned);
            found.collect::<Vec<_>>()
        };
        let pod = json!({
            "metadata": {"annotations": {"image": "not-one"}},
            "spec": {"template": {"spec": {
                "initContainers": [{"image": "a"}], "containers": [{"image": "b", "imagePullPolicy": "Always"}],
                "ephemeralContainers": [{"image": "c"}],
                "volumes": [{"name": "v", "image": {"reference": "d", "pullPolicy": "Always"}}],
            }}},
        });
        let mut all = found("things", &pod);
        all.sort();
        assert_eq!(all, ["a", "b", "c", "d"]);
        assert_eq!(
            found("databases", &json!({"spec": {"image": "db:1"}})),
            ["db:1"]
        );
        assert!(found("configmaps", &json!({"data": {"image": "any text"}})).is_empty());
        // A schema says of a field that it is a text.
        assert!(
            found(
                "definitions",
                &json!({"spec": {"properties": {"image": {"type": "string"}}}})
            )
            .is_empty()
        );
    }
}
