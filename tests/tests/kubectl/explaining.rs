//! Discovery, definitions and documents.

use crate::{hub, words};

#[tokio::test]
async fn the_api_explains_itself() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let (_hub, kubectl) = hub(&dir).await?;
    let resources = kubectl.run(&["api-resources"]).await?;
    for line in [
        "managedclusters mcl,mcls cluster.open-cluster-management.io/v1 false ManagedCluster",
        "manifestworks work.open-cluster-management.io/v1 true ManifestWork",
        "leases coordination.k8s.io/v1 true Lease",
    ] {
        assert!(
            resources
                .lines()
                .any(|shown| words(shown).join(" ") == line),
            "{line}: {resources}"
        );
    }
    // Who looks whether a kind is there finds its definition.
    kubectl
        .run(&[
            "wait",
            "--for=condition=established",
            "crd/manifestworks.work.open-cluster-management.io",
            "--timeout=30s",
        ])
        .await?;
    let crd = "crd/manifestworks.work.open-cluster-management.io";
    let refused = kubectl.refused(&["delete", crd], "").await?;
    assert!(refused.contains("MethodNotAllowed"), "{refused}");
    // As Kubernetes' own documentation asks; kubectl looks here whether the kind is a custom one.
    let review = "apiVersion: authorization.k8s.io/v1\nkind: SelfSubjectAccessReview\nspec: {resourceAttributes: {verb: get, resource: secrets}}";
    let answer = kubectl
        .run_with_input(&["create", "-f", "-", "-o", "yaml"], review)
        .await?;
    assert!(answer.contains("allowed: true"), "{answer}");
    let explained = kubectl
        .run(&["explain", "managedcluster.spec.taints"])
        .await?;
    assert!(
        explained.contains("enum: NoSelect, PreferNoSelect, NoSelectIfNew"),
        "{explained}"
    );
    kubectl
        .run(&["explain", "manifestworkreplicaset", "--recursive"])
        .await?;
    // What clients read that predate OpenAPI v3, as protobuf.
    let explained = kubectl
        .run(&[
            "explain",
            "manifestwork.spec.deleteOption",
            "--output=plaintext-openapiv2",
            "--recursive",
        ])
        .await?;
    assert!(
        explained.contains("propagationPolicy") && explained.contains("<string>"),
        "{explained}"
    );
    assert!(kubectl.run(&["version"]).await?.contains("koinon"));
    let who = kubectl.run(&["auth", "whoami"]).await?;
    assert!(
        who.contains("koinon-admin") && who.contains("system:masters"),
        "{who}"
    );
    assert_eq!(
        kubectl
            .run(&["auth", "can-i", "create", "placements"])
            .await?
            .trim(),
        "yes"
    );

    // Typed clients of kubectl send protobuf.
    kubectl.run(&["create", "namespace", "typed"]).await?;
    kubectl
        .run(&[
            "create",
            "configmap",
            "c",
            "-n",
            "typed",
            "--from-literal=a=b",
        ])
        .await?;
    kubectl
        .run(&[
            "create",
            "secret",
            "generic",
            "s",
            "-n",
            "typed",
            "--from-literal=a=b",
        ])
        .await?;
    let secret = kubectl.json(&["get", "secret", "s", "-n", "typed"]).await?;
    assert_eq!(secret["data"]["a"], "Yg==");
    Ok(())
}
