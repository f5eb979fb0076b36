//! Enrolments as certificate requests: seen and decided with `kubectl`.

use anyhow::{Context, ensure};
use koinon_tests::{Join, Klusterlet, League, Member, eventually, process::tail};
use serde_json::{Value, json};

const CLUSTER: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters/east";
const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

#[tokio::test]
async fn kubectl_shows_and_decides_enrolments() -> anyhow::Result<()> {
    let mut league = League::start().clusters([]).await?;
    let east = Member::start("east", &league.dir().join("east")).await?;
    let kubectl = league.kubectl();

    // Denied: this key gets nothing, and it is seen.
    let mut agent = join(&league, &east, "first").await?;
    let first = waiting(&league, None).await?;
    let shown = kubectl.run(&["get", "csr", &first, "--no-headers"]).await?;
    for word in [
        "kubernetes.io/kube-apiserver-client",
        "system:bootstrap:",
        "30d",
        "Pending",
    ] {
        ensure!(shown.contains(word), "{word}: {shown}");
    }
    let request: Value = kubectl.json(&["get", "csr", &first]).await?;
    let label = &request["metadata"]["labels"]["open-cluster-management.io/cluster-name"];
    ensure!(label == "east" && first.starts_with("east-"), "{request}");
    kubectl.run(&["certificate", "deny", &first]).await?;
    let shown = kubectl.run(&["get", "csr", &first]).await?;
    ensure!(shown.contains("Denied"), "{shown}");
    let log = agent.log().to_owned();
    eventually("the agent is told", async || {
        let said = tail(&log, 40);
        Ok(said.contains("was denied by an admin").then_some(()))
    })
    .await?;
    let approve = kubectl
        .refused(&["certificate", "approve", &first], "")
        .await?;
    ensure!(approve.contains("Denied"), "{approve}");
    let cluster = league.get(CLUSTER).await?;
    ensure!(cluster["spec"]["hubAcceptsClient"] != true, "{cluster}");
    agent.kill();

    // With a new key it asks anew, and approving lets it in: one step, where OCM takes two.
    let forget = [
        "-n",
        "open-cluster-management-agent",
        "delete",
        "secret",
        "hub-identity",
    ];
    east.kubectl().run(&forget).await?;
    let _agent = join(&league, &east, "second").await?;
    let second = waiting(&league, Some(&first)).await?;
    who_may_not_approve_does_not(&league, &second).await?;
    kubectl.run(&["certificate", "approve", &second]).await?;
    league.available("east", "True").await?;
    let shown = kubectl.run(&["get", "csr", &second]).await?;
    ensure!(shown.contains("Approved,Issued"), "{shown}");

    // What is issued is an agent's certificate, whatever anybody writes: nobody else's request is taken.
    let issued: Value = kubectl.json(&["get", "csr", &second]).await?;
    ensure!(issued["status"]["certificate"].is_string(), "{issued}");
    let masters = rcgen_request("system:masters")?;
    let forged = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
        "metadata": { "name": "east-forged", "labels": { "open-cluster-management.io/cluster-name": "east" } },
        "spec": {
            "request": masters, "signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"],
        },
    })
    .to_string();
    for flags in [
        &["create", "-f", "-"][..],
        &["apply", "--server-side", "-f", "-"],
    ] {
        let words = kubectl.refused(flags, &forged).await?;
        ensure!(words.contains("does not allow this method"), "{words}");
    }
    let patch = json!({ "spec": { "request": masters } }).to_string();
    let patch = ["patch", "csr", &second, "--type=merge", "-p", &patch];
    kubectl.run(&patch).await?;
    let after: Value = kubectl.json(&["get", "csr", &second]).await?;
    ensure!(
        after["spec"] == issued["spec"],
        "what was asked for was changed"
    );
    league.finish();
    Ok(())
}

/// It takes the right to approve for the signer, and to accept the cluster.
async fn who_may_not_approve_does_not(league: &League, name: &str) -> anyhow::Result<()> {
    let kubectl = league.kubectl();
    let rules = json!([
        { "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests", "certificatesigningrequests/approval"],
          "verbs": ["get", "list", "update"] },
    ]);
    let mut role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": "decider" }, "rules": rules,
    });
    kubectl.apply(&role.to_string()).await?;
    let bind = [
        "create",
        "clusterrolebinding",
        "decider",
        "--clusterrole=decider",
        "--user=dee",
    ];
    kubectl.run(&bind).await?;
    let approve = ["certificate", "approve", name, "--as=dee"];
    let words = kubectl.refused(&approve, "").await?;
    ensure!(
        words.contains("user not permitted to approve requests with signerName"),
        "{words}"
    );
    let more = json!({
        "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "verbs": ["approve"],
        "resourceNames": ["kubernetes.io/kube-apiserver-client"],
    });
    role["rules"].as_array_mut().context("rules")?.push(more);
    kubectl.apply(&role.to_string()).await?;
    let words = kubectl.refused(&approve, "").await?;
    ensure!(words.contains("cannot accept the cluster"), "{words}");
    Ok(())
}

/// The request that waits, once there is one.
async fn waiting(league: &League, but: Option<&str>) -> anyhow::Result<String> {
    eventually("the agent's request is there", async || {
        let list = league.get(REQUESTS).await?;
        let items = list["items"].as_array().context("no list")?;
        let names = items
            .iter()
            .filter_map(|item| item["metadata"]["name"].as_str());
        Ok(names
            .filter(|name| Some(*name) != but)
            .map(str::to_owned)
            .next())
    })
    .await
}

async fn join(league: &League, member: &Member, dir: &str) -> anyhow::Result<Klusterlet> {
    let create = ["token", "create", "--cluster", "east"];
    let token = league.koinon().run(&create).await?;
    Klusterlet::start(Join {
        cluster: "east",
        kubeconfig: &member.kubeconfig(),
        hub: league.hub.agent_address(),
        token: Some(token.trim()),
        dir: &league.dir().join(dir),
        flags: &[],
    })
}

/// A certificate request for membership in a group, as a manifest holds it.
fn rcgen_request(group: &str) -> anyhow::Result<String> {
    use base64::Engine as _;
    let mut params = rcgen::CertificateParams::default();
    let name = &mut params.distinguished_name;
    name.push(rcgen::DnType::OrganizationName, group);
    name.push(rcgen::DnType::CommonName, "eve");
    let pem = params
        .serialize_request(&rcgen::KeyPair::generate()?)?
        .pem()?;
    Ok(base64::engine::general_purpose::STANDARD.encode(pem))
}
