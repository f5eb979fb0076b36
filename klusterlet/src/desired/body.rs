//! Reads bodies of works. Pure.

use koinon_api::work::{
    DeleteOption, Manifest, ManifestConfigOption, ManifestWorkExecutor, ManifestWorkSpec,
    ManifestsTemplate,
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

#[derive(Deserialize)]
struct Body<'b> {
    #[serde(borrow, default)]
    spec: Spec<'b>,
}

/// [`ManifestWorkSpec`], with manifests that are not read yet.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'b> {
    #[serde(borrow, default)]
    workload: Workload<'b>,
    #[serde(default)]
    delete_option: Option<DeleteOption>,
    #[serde(default)]
    manifest_configs: Vec<ManifestConfigOption>,
    #[serde(default)]
    executor: Option<ManifestWorkExecutor>,
}

#[derive(Default, Deserialize)]
struct Workload<'b> {
    #[serde(borrow, default)]
    manifests: Vec<&'b RawValue>,
}

/// Reads the spec with the manifests that are `wanted`; the others are null.
pub(super) fn spec(
    bytes: &[u8],
    wanted: impl Fn(usize) -> bool,
) -> serde_json::Result<ManifestWorkSpec> {
    let Spec {
        workload,
        delete_option,
        manifest_configs,
        executor,
    } = serde_json::from_slice::<Body<'_>>(bytes)?.spec;
    let manifests = workload.manifests.into_iter().enumerate();
    let manifests = manifests.map(|(ordinal, raw)| {
        Ok(Manifest(if wanted(ordinal) {
            serde_json::from_str(raw.get())?
        } else {
            Value::Null
        }))
    });
    Ok(ManifestWorkSpec {
        workload: ManifestsTemplate {
            manifests: manifests.collect::<serde_json::Result<_>>()?,
        },
        delete_option,
        manifest_configs,
        executor,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_spec_is_read_as_its_type_reads_it() {
        let full = json!({
            "workload": {"manifests": [{"kind": "A", "n": [1, {"x": "\u{e9}\"}"}]}, {"kind": "B"}, null, 7]},
            "deleteOption": {"propagationPolicy": "Orphan"},
            "manifestConfigs": [{
                "resourceIdentifier": {"group": "", "resource": "configmaps", "name": "a", "namespace": "b"},
                "updateStrategy": {"type": "CreateOnly"},
            }],
            "executor": {"subject": {"type": "ServiceAccount", "serviceAccount": {"namespace": "n", "name": "s"}}},
        });
        for value in [full, json!({}), json!({"workload": {}})] {
            let bytes = serde_json::to_vec(&json!({ "spec": value })).unwrap();
            let expected: ManifestWorkSpec = serde_json::from_value(value).unwrap();
            assert_eq!(spec(&bytes, |_| true).unwrap(), expected);
        }
        assert_eq!(spec(b"{}", |_| true).unwrap(), ManifestWorkSpec::default());
        for bad in [
            &b""[..],
            b"[]x",
            br#"{"spec":{"workload":{"manifests":[{]}}}"#,
        ] {
            assert!(spec(bad, |_| false).is_err());
        }
    }

    #[test]
    fn only_what_is_wanted_is_read() {
        let body = br#"{"spec":{"workload":{"manifests":[{"kind":"A"},{"kind":"B"}]}}}"#;
        let manifests = spec(body, |ordinal| ordinal == 1)
            .unwrap()
            .workload
            .manifests;
        assert_eq!(
            manifests,
            [Manifest(Value::Null), Manifest(json!({"kind": "B"}))]
        );
    }
}
