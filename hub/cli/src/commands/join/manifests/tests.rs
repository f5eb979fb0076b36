use std::path::Path;

use koinon_api::{AppliedManifestWork, ClusterClaim, WorkPolicy};
use kube::CustomResourceExt as _;

use super::*;

fn settings(deployment: Deployment) -> Settings {
    Settings {
        // A value that YAML would take for something else, were it put in as text.
        token: "koinon.a: b\n# no.comment.#x".into(),
        hub_address: "hub:7444".into(),
        cluster: ClusterName::parse("east").unwrap(),
        image: Some("registry.example.com/klusterlet:1".into()),
        deployment,
    }
}

fn kinds(manifests: &[Value]) -> Vec<&str> {
    manifests
        .iter()
        .map(|manifest| manifest["kind"].as_str().unwrap())
        .collect()
}

#[test]
fn everything_the_agent_needs_is_there_and_in_order() {
    let manifests = render(&settings(Deployment::Yes)).unwrap();
    assert_eq!(
        kinds(&manifests),
        [
            "Namespace",
            "CustomResourceDefinition",
            "CustomResourceDefinition",
            "CustomResourceDefinition",
            "ServiceAccount",
            "ClusterRole",
            "ClusterRoleBinding",
            "Role",
            "RoleBinding",
            "ClusterRoleBinding",
            "Secret",
            "Deployment",
        ]
    );
    for manifest in &manifests {
        assert!(manifest["metadata"]["name"].is_string(), "{manifest}");
        assert_eq!(
            manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"], "koinon",
            "{manifest}"
        );
    }
}

#[test]
fn an_agent_run_as_a_process_gets_everything_but_the_deployment() {
    let manifests = render(&settings(Deployment::No)).unwrap();
    assert!(!kinds(&manifests).contains(&"Deployment") && kinds(&manifests).contains(&"Secret"));
}

#[test]
fn settings_are_put_in_as_values_never_as_text() {
    let manifests = render(&settings(Deployment::Yes)).unwrap();
    let find = |kind: &str| {
        manifests
            .iter()
            .find(|manifest| manifest["kind"] == kind)
            .unwrap()
    };
    let secret = find("Secret");
    assert!(secret.get("stringData").is_none());
    for (key, value) in [
        ("token", "koinon.a: b\n# no.comment.#x"),
        ("hub-address", "hub:7444"),
        ("cluster-name", "east"),
    ] {
        assert_eq!(
            BASE64_STANDARD
                .decode(secret["data"][key].as_str().unwrap())
                .unwrap(),
            value.as_bytes(),
            "{key}"
        );
    }
    assert_eq!(
        secret["metadata"]["name"],
        koinon_api::labels::well_known::BOOTSTRAP_SECRET
    );
    assert_eq!(
        secret["metadata"]["namespace"],
        koinon_api::labels::well_known::AGENT_NAMESPACE
    );
    assert_eq!(
        find("Deployment")["spec"]["template"]["spec"]["containers"][0]["image"],
        "registry.example.com/klusterlet:1"
    );
}

#[test]
fn what_a_dry_run_prints_is_what_would_be_applied() {
    let manifests = render(&settings(Deployment::Yes)).unwrap();
    let printed = to_yaml(&manifests).unwrap();
    assert_eq!(
        serde_saphyr::from_multiple::<Value>(&printed).unwrap(),
        manifests
    );
}

/// `KOINON_REGENERATE=1 cargo test -p koinon-cli` writes the files anew.
#[test]
fn the_members_definitions_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/klusterlet/crds");
    for definition in [
        AppliedManifestWork::crd(),
        ClusterClaim::crd(),
        WorkPolicy::crd(),
    ] {
        let path = folder.join(format!("{}.yaml", definition.spec.names.plural));
        let mut value = serde_json::to_value(&definition).unwrap();
        value["metadata"]["labels"] = json!({ "app.kubernetes.io/part-of": "koinon" });
        let text = format!(
            "# Generated from proto/api: KOINON_REGENERATE=1 cargo test -p koinon-cli\n{}",
            to_yaml(&[value]).unwrap()
        );
        if std::env::var_os("KOINON_REGENERATE").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let on_disk = std::fs::read_to_string(&path).unwrap();
        assert!(
            on_disk == text,
            "{} is out of date; regenerate it with: KOINON_REGENERATE=1 cargo test -p koinon-cli",
            path.display()
        );
    }
}
