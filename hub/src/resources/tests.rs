use serde_json::Value;

use super::*;

fn kinds() -> Kinds {
    all(&Settings {
        ca_sha256: [7; 32],
        work_limit: WORK_LIMIT,
        takes_secrets: true,
    })
}

#[test]
fn every_kind_is_structural_and_has_its_own_key() {
    let kinds = kinds();
    assert!(kinds.iter().count() > 14);
    for kind in kinds.iter() {
        let info = &kind.info;
        let found = kinds
            .find(&info.group, &info.version, &info.plural)
            .expect("a kind is found by its path");
        assert_eq!(found.key, kind.key);
    }
}

/// `kubectl explain --recursive` says something of every field.
#[test]
fn every_field_of_every_kind_is_explained() {
    fn walk(schema: &Value, path: &str, missing: &mut Vec<String>) {
        for (name, child) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            let said = child["description"].as_str().unwrap_or_default();
            if said.trim().is_empty() {
                missing.push(path.clone());
            }
            walk(child, &path, missing);
        }
        for part in ["items", "additionalProperties"] {
            if schema[part].is_object() {
                walk(&schema[part], &format!("{path}[]"), missing);
            }
        }
    }
    let mut missing = Vec::new();
    for kind in kinds().iter() {
        let schema = kind.info.schema.document();
        if schema["description"]
            .as_str()
            .unwrap_or_default()
            .is_empty()
        {
            missing.push(kind.info.kind.clone());
        }
        let mut below = schema.clone();
        // Every object has these; OpenAPI adds them with what they mean.
        for shared in ["apiVersion", "kind", "metadata"] {
            if let Some(properties) = below["properties"].as_object_mut() {
                properties.remove(shared);
            }
        }
        walk(&below, &kind.info.kind, &mut missing);
    }
    assert!(missing.is_empty(), "nothing is said of {missing:#?}");
}

#[test]
fn the_printed_definitions_carry_the_rules() {
    let kinds = kinds();
    let works = kinds
        .by_key("manifestworks.work.open-cluster-management.io")
        .expect("works are served");
    let printed = works.info.definition().to_string();
    assert!(
        printed.contains("x-kubernetes-validations")
            && printed.contains("Condition is required for CEL rules")
    );
}
