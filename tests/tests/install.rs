//! `koinon join` installs the agent in a real cluster: again and again without harm, never over another agent, and with
//! rights that are enough for the agent itself.

use std::path::PathBuf;

use anyhow::ensure;
use koinon_api::{names::TokenName, token::TokenText};
use koinon_tests::{Koinon, Kubectl, Member, kubectl::Said};

const NAMESPACE: &str = "open-cluster-management-agent";
const AGENT: &str = "--as=system:serviceaccount:open-cluster-management-agent:klusterlet";

#[tokio::test]
async fn koinon_join_installs_the_agent() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let member = Member::start("east", dir.path()).await?;
    let kubectl = member.kubectl();
    let token = dir.path().join("token");
    let text = TokenText::new(TokenName::parse("east-1")?, [7; 32], [9; 32]).expose();
    std::fs::write(&token, format!("{text}\n"))?;
    // No hub is asked: only the agent talks to it.
    let install = Install {
        koinon: Koinon::new(&dir.path().join("no-such-hub")),
        member: member.kubeconfig(),
        token,
    };

    everything_is_there_after_one_run_and_after_two(&install, &kubectl, &text).await?;
    the_agents_own_rights_are_enough_for_it(&kubectl).await?;
    another_name_is_refused_unless_it_is_to_replace(&install, &kubectl).await?;
    definitions_of_others_are_left_alone(&install, &kubectl).await?;
    a_dry_run_changes_nothing_and_kubectl_can_apply_it(&install, &kubectl).await
}

struct Install {
    koinon: Koinon,
    member: PathBuf,
    token: PathBuf,
}

impl Install {
    async fn run(&self, cluster: &str, more: &[&str]) -> anyhow::Result<Said> {
        let (member, token) = (self.member.to_string_lossy(), self.token.to_string_lossy());
        let mut args = vec![
            "join",
            "--cluster",
            cluster,
            "--hub-agent-address",
            "hub.example.com:7444",
            "--member-kubeconfig",
            &member,
            "--token-file",
            &token,
        ];
        args.extend(more);
        self.koinon.say(&args).await
    }
}

fn ends_with(said: &Said, code: i32, words: &str) -> anyhow::Result<()> {
    let all = format!("{}{}", said.stderr, said.stdout);
    ensure!(said.code == code, "exit code {}: {all}", said.code);
    ensure!(all.contains(words), "{words:?} is not in: {all}");
    Ok(())
}

async fn everything_is_there_after_one_run_and_after_two(
    install: &Install,
    kubectl: &Kubectl,
    token: &str,
) -> anyhow::Result<()> {
    ends_with(
        &install.run("east", &["--no-deployment"]).await?,
        0,
        "secret/bootstrap-hub-token applied",
    )?;
    let deployments = kubectl
        .run(&["get", "deployments", "-n", NAMESPACE, "-o", "name"])
        .await?;
    ensure!(
        deployments.is_empty(),
        "--no-deployment installed {deployments}"
    );

    for _ in 0..2 {
        ends_with(
            &install.run("east", &["--image", "example.com/k:1"]).await?,
            0,
            "deployment/klusterlet applied",
        )?;
    }
    let deployment = kubectl
        .json(&["get", "deployment", "klusterlet", "-n", NAMESPACE])
        .await?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    ensure!(container["image"] == "example.com/k:1", "{container}");
    let secret = kubectl
        .run(&[
            "get",
            "secret",
            "bootstrap-hub-token",
            "-n",
            NAMESPACE,
            "-o",
            "go-template={{range $k, $v := .data}}{{$k}}={{base64decode $v}} {{end}}",
        ])
        .await?;
    ensure!(
        secret.trim()
            == format!("cluster-name=east hub-address=hub.example.com:7444 token={token}"),
        "{secret}"
    );
    for crd in [
        "appliedmanifestworks.work.open-cluster-management.io",
        "clusterclaims.cluster.open-cluster-management.io",
        "workpolicies.koinon.dev",
    ] {
        kubectl
            .run(&[
                "wait",
                "--for=condition=Established",
                "--timeout=30s",
                "crd",
                crd,
            ])
            .await?;
    }
    // Structural, so that unknown fields are pruned and defaults applied.
    kubectl
        .run_with_input(&["apply", "-f", "-"], &claim("region.example.com", "eu"))
        .await?;
    let refused = kubectl
        .say(&["apply", "-f", "-"], &claim("bad", ""))
        .await?;
    ends_with(&refused, 1, "spec.value")
}

fn claim(name: &str, value: &str) -> String {
    serde_json::json!({
        "apiVersion": "cluster.open-cluster-management.io/v1alpha1", "kind": "ClusterClaim",
        "metadata": { "name": name }, "spec": { "value": value },
    })
    .to_string()
}

/// What works may do is another binding; without it the agent must still be able to be an agent.
async fn the_agents_own_rights_are_enough_for_it(kubectl: &Kubectl) -> anyhow::Result<()> {
    kubectl
        .run(&["delete", "clusterrolebinding", "koinon:klusterlet:works"])
        .await?;
    let own = [
        &["get", "namespace/kube-system"][..],
        &["get", "namespace/open-cluster-management-agent"],
        &["watch", "nodes"],
        &["watch", "clusterclaims.cluster.open-cluster-management.io"],
        &[
            "create",
            "appliedmanifestworks.work.open-cluster-management.io",
        ],
        &[
            "delete",
            "appliedmanifestworks.work.open-cluster-management.io",
        ],
        &[
            "patch",
            "appliedmanifestworks.work.open-cluster-management.io",
            "--subresource=status",
        ],
        &[
            "get",
            "customresourcedefinitions/appliedmanifestworks.work.open-cluster-management.io",
        ],
        &["create", "customresourcedefinitions"],
        &["create", "subjectaccessreviews.authorization.k8s.io"],
        &["watch", "workpolicies.koinon.dev"],
        &["watch", "clusterroles.rbac.authorization.k8s.io"],
        &["create", "secrets", "-n", NAMESPACE],
        &["delete", "secrets", "-n", NAMESPACE],
        &["update", "configmaps", "-n", NAMESPACE],
        &["get", "/livez"],
    ];
    for what in own {
        let mut args = vec!["auth", "can-i", AGENT];
        args.extend(what);
        let said = kubectl.say(&args, "").await?;
        ensure!(
            said.stdout.trim() == "yes",
            "{what:?}: {}{}",
            said.stdout,
            said.stderr
        );
    }
    let said = kubectl
        .say(
            &[
                "auth",
                "can-i",
                AGENT,
                "create",
                "deployments",
                "-n",
                "default",
            ],
            "",
        )
        .await?;
    ensure!(
        said.stdout.trim() == "no",
        "more than its own: {}",
        said.stdout
    );
    Ok(())
}

async fn another_name_is_refused_unless_it_is_to_replace(
    install: &Install,
    kubectl: &Kubectl,
) -> anyhow::Result<()> {
    ends_with(&install.run("west", &[]).await?, 1, "as cluster east")?;
    let name = [
        "get",
        "secret",
        "bootstrap-hub-token",
        "-n",
        NAMESPACE,
        "-o",
        "go-template={{index .data \"cluster-name\" | base64decode}}",
    ];
    ensure!(kubectl.run(&name).await? == "east");
    ends_with(&install.run("west", &["--replace"]).await?, 0, "applied")?;
    ensure!(kubectl.run(&name).await? == "west");
    ends_with(&install.run("east", &["--replace"]).await?, 0, "applied")
}

async fn definitions_of_others_are_left_alone(
    install: &Install,
    kubectl: &Kubectl,
) -> anyhow::Result<()> {
    let crd = "customresourcedefinition/clusterclaims.cluster.open-cluster-management.io";
    kubectl
        .run(&[
            "label",
            crd,
            "app.kubernetes.io/managed-by=somebody",
            "--overwrite",
        ])
        .await?;
    ends_with(
        &install.run("east", &[]).await?,
        0,
        "clusterclaims.cluster.open-cluster-management.io is there already",
    )
}

async fn a_dry_run_changes_nothing_and_kubectl_can_apply_it(
    install: &Install,
    kubectl: &Kubectl,
) -> anyhow::Result<()> {
    kubectl
        .run(&["delete", "deployment", "klusterlet", "-n", NAMESPACE])
        .await?;
    let said = install.run("east", &["--dry-run"]).await?;
    ends_with(&said, 0, "kind: Deployment")?;
    let there = kubectl
        .say(&["get", "deployment", "klusterlet", "-n", NAMESPACE], "")
        .await?;
    ensure!(there.code != 0, "a dry run made a deployment");
    kubectl
        .run_with_input(
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
            &said.stdout,
        )
        .await?;
    kubectl
        .run(&["get", "deployment", "klusterlet", "-n", NAMESPACE])
        .await?;
    Ok(())
}
