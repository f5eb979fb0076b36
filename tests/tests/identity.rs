//! P6: a certificate is of one cluster, not of a name, at every door of a running hub and after its restart.

use std::sync::Arc;

use anyhow::{Context, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use koinon_klusterlet::{
    HubAddress,
    hub::{dial, session_config},
    identity::Identity,
};
use koinon_proto::v1::{
    AgentMessage, Hello, PullRequest, RenewRequest, WorkRef, agent_message,
    session_client::SessionClient,
};
use koinon_tests::{Join, Klusterlet, Kubectl, League, Member, Said, condition, eventually, storm};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tonic::{Code, Status, transport::Channel};

const CLUSTERS: &str = "/apis/cluster.open-cluster-management.io/v1/managedclusters";
const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/east/manifestworks";

/// What somebody has who copied an agent's Secret.
struct Stolen {
    identity: Identity,
    secret: Value,
}

#[tokio::test]
async fn a_former_clusters_certificate_opens_nothing_at_any_door() -> anyhow::Result<()> {
    let mut league = League::start().clusters(["east"]).await?;
    let stolen = steal(&league).await?;
    let uid = |cluster: &Value| cluster["metadata"]["uid"].as_str().map(str::to_owned);
    let first = uid(&league.get(&format!("{CLUSTERS}/east")).await?);
    let kubectl = league.kubectl();
    ensure!(
        read(&league, &stolen).await?.code == 0,
        "the certificate is good as long as its cluster is there"
    );

    kubectl
        .run(&["delete", "managedcluster", "east", "--timeout=90s"])
        .await?;
    league.site("east").agent.kill();
    // Another cluster takes the name.
    let second = Member::start("second", &league.dir().join("second")).await?;
    let create = ["token", "create", "--cluster", "east", "--auto-accept"];
    let token = league.koinon().run(&create).await?;
    let join = Join {
        cluster: "east",
        kubeconfig: &second.kubeconfig(),
        hub: league.hub.agent_address(),
        token: Some(token.trim()),
        dir: &league.dir().join("second-agent"),
        flags: &[],
    };
    let _agent = Klusterlet::start(join)?;
    league.available("east", "True").await?;
    let cluster = league.get(&format!("{CLUSTERS}/east")).await?;
    ensure!(uid(&cluster) != first, "it is another cluster");
    storm::prepare(&second).await?;
    let work = storm::work("east", "w", 1).to_string();
    league.kubectl().apply(&work).await?;
    eventually("the second cluster works", async || {
        let work = league.get(&format!("{WORKS}/w")).await?;
        Ok((condition(&work, "Applied") == "True").then_some(()))
    })
    .await?;

    every_door_is_shut(&league, &stolen).await?;
    league.hub.kill();
    league.hub.restart().await?;
    every_door_is_shut(&league, &stolen).await?;
    // The present one's goes on over the restart.
    league.available("east", "True").await?;
    league.finish();
    Ok(())
}

async fn every_door_is_shut(league: &League, stolen: &Stolen) -> anyhow::Result<()> {
    let said = read(league, stolen).await?;
    ensure!(
        said.code != 0 && said.stderr.contains("cannot list resource"),
        "REST: {said:?}"
    );
    let denied = |door: &str, status: Option<Status>| {
        let code = status.as_ref().map(Status::code);
        ensure!(code == Some(Code::PermissionDenied), "{door}: {status:?}");
        Ok(())
    };
    let mut calls = SessionClient::new(connect(league, stolen).await?);
    // The thief knows what an eavesdropper on the hub could know, and lies about the rest.
    let work = league.get(&format!("{WORKS}/w")).await?;
    let cluster_uid = "whatever".to_owned();
    let hello = AgentMessage {
        body: Some(agent_message::Body::Hello(Hello {
            cluster_uid,
            ..Hello::default()
        })),
    };
    let attached = calls.attach(futures::stream::iter([hello])).await;
    let attached = match attached {
        Ok(stream) => stream.into_inner().message().await.map(drop),
        Err(status) => Err(status),
    };
    denied("attach", attached.err())?;
    let wanted = WorkRef {
        name: "w".to_owned(),
        uid: work["metadata"]["uid"]
            .as_str()
            .context("no uid")?
            .to_owned(),
        digest: vec![0; 32].into(),
    };
    let works = vec![wanted];
    denied("pull", calls.pull(PullRequest { works }).await.err())?;
    let key = rcgen::KeyPair::generate()?;
    let request = rcgen::CertificateParams::default().serialize_request(&key)?;
    let csr_der = request.der().to_vec().into();
    denied("renew", calls.renew(RenewRequest { csr_der }).await.err())
}

/// Lists works over the API with the stolen certificate.
async fn read(league: &League, stolen: &Stolen) -> anyhow::Result<Said> {
    let text = |key: &str| {
        stolen.secret["data"][key]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        "clusters": [{ "name": "c", "cluster": {
            "server": format!("https://{}", league.hub.api_address()), "certificate-authority-data": text("ca.crt"),
        } }],
        "users": [{ "name": "u", "user": {
            "client-certificate-data": text("tls.crt"), "client-key-data": text("tls.key"),
        } }],
    });
    let path = league.dir().join("stolen.kubeconfig");
    std::fs::write(&path, config.to_string())?;
    Kubectl::new(&path, league.dir())
        .say(&["get", "manifestworks", "-n", "east"], "")
        .await
}

async fn steal(league: &League) -> anyhow::Result<Stolen> {
    let get = [
        "-n",
        "open-cluster-management-agent",
        "get",
        "secret",
        "hub-identity",
    ];
    let secret: Value = league.member_kubectl("east").json(&get).await?;
    let pem = |key: &str| -> anyhow::Result<Vec<u8>> {
        let text = secret["data"][key]
            .as_str()
            .context("the Secret lacks a part")?;
        Ok(STANDARD.decode(text)?)
    };
    let certificates = |key: &str| -> anyhow::Result<Vec<CertificateDer<'static>>> {
        Ok(CertificateDer::pem_slice_iter(&pem(key)?).collect::<Result<_, _>>()?)
    };
    let PrivateKeyDer::Pkcs8(key) = PrivateKeyDer::from_pem_slice(&pem("tls.key")?)? else {
        anyhow::bail!("the key is not PKCS#8");
    };
    let identity = Identity {
        key,
        chain: certificates("tls.crt")?,
        trust: certificates("ca.crt")?,
        hub_hash: String::new(),
    };
    Ok(Stolen { identity, secret })
}

async fn connect(league: &League, stolen: &Stolen) -> anyhow::Result<Channel> {
    let address = league.hub.agent_address().to_string();
    let address = HubAddress::parse(&address).map_err(anyhow::Error::msg)?;
    Ok(dial(&address, Arc::new(session_config(&stolen.identity)?)).await?)
}
