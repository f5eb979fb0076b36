//! What no client sends by mistake, at a real hub over real TLS: no 500, no panic, no growth that stays.
//!
//! The bodies come from a seed, `BAD_INPUT_SEED`; a failure prints what was sent.

mod bad_input {
    pub(crate) mod odd;
}

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use bad_input::odd::{damaged, kinds, odd, spoil, zipped};
use koinon_tests::{Hub, client::install_provider, eventually_within};
use kube::{Client, client::Body, config::Kubeconfig};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Rounds after the first, which is allowed to warm up whatever there is.
const ROUNDS: u64 = 2;
/// What a hub may hold more after the last round than after the first. A round has many times as much in its bodies.
const GROWTH_KIB: u64 = 48 << 10;
/// For memory to be given back: an allocator keeps it for some seconds.
const SETTLING: Duration = Duration::from_secs(90);

struct Sender {
    client: Client,
}

impl Sender {
    async fn send(&self, request: http::Request<Body>, sent: &str) -> anyhow::Result<u16> {
        let answered = tokio::time::timeout(Duration::from_secs(60), async {
            let (head, body) = self.client.send(request).await?.into_parts();
            let bytes = http_body_util::BodyExt::collect(body).await?.to_bytes();
            anyhow::Ok((head.status.as_u16(), bytes))
        });
        let (code, bytes) = answered
            .await
            .with_context(|| format!("no answer: {sent}"))??;
        let short = || String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).into_owned();
        ensure!(code < 500, "{code} {}: {sent}", short());
        ensure!(
            bytes.len() < 4 << 20,
            "{} bytes answer: {sent}",
            bytes.len()
        );
        if code >= 400 {
            let status: Value = serde_json::from_slice(&bytes).with_context(short)?;
            ensure!(
                status["kind"] == "Status" && status["code"] == code,
                "{status}: {sent}"
            );
        }
        Ok(code)
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> anyhow::Result<u16> {
        let text = String::from_utf8_lossy(&body[..body.len().min(800)]).into_owned();
        let sent = format!("{method} {path} {headers:?} {text}");
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body))?, &sent).await
    }
}

/// Every kind by every way in, with objects that are nearly right.
async fn odd_objects(sender: &Sender, random: &mut StdRng) -> anyhow::Result<()> {
    for (path, object) in kinds() {
        let one = format!("{path}/odd");
        for _ in 0..6 {
            let mut body = object.clone();
            for _ in 0..random.random_range(1..3) {
                spoil(random, &mut body);
            }
            let bytes = damaged(random, &body);
            for (method, path, content_type, query) in [
                ("POST", &path, "application/json", "dryRun=All"),
                (
                    "POST",
                    &path,
                    "application/json",
                    "dryRun=All&fieldValidation=Strict",
                ),
                ("POST", &path, "application/yaml", "dryRun=All"),
                (
                    "POST",
                    &path,
                    "application/vnd.kubernetes.protobuf",
                    "dryRun=All",
                ),
                ("PUT", &one, "application/json", "dryRun=All"),
                ("PATCH", &one, "application/merge-patch+json", "dryRun=All"),
                (
                    "PATCH",
                    &one,
                    "application/strategic-merge-patch+json",
                    "dryRun=All",
                ),
                (
                    "PATCH",
                    &one,
                    "application/apply-patch+yaml",
                    "dryRun=All&fieldManager=odd&force=true",
                ),
                ("PATCH", &one, "application/json-patch+json", "dryRun=All"),
            ] {
                let path = format!("{path}?{query}");
                let headers = [("content-type", content_type)];
                sender.ask(method, &path, &headers, bytes.clone()).await?;
            }
            let patch = json!([{ "op": odd_word(random), "path": odd_pointer(random), "from": odd_pointer(random), "value": odd(random) }]);
            let path = format!("{one}?dryRun=All");
            let headers = [("content-type", "application/json-patch+json")];
            sender
                .ask("PATCH", &path, &headers, patch.to_string().into_bytes())
                .await?;
        }
    }
    Ok(())
}

fn odd_word(random: &mut StdRng) -> &'static str {
    [
        "add", "remove", "replace", "move", "copy", "test", "", "Add",
    ][random.random_range(0..8)]
}

fn odd_pointer(random: &mut StdRng) -> &'static str {
    [
        "",
        "/",
        "/metadata/labels",
        "/metadata",
        "/spec/-",
        "/data/k/k/k",
        "/~2",
        "/metadata/managedFields/0",
    ][random.random_range(0..8)]
}

/// Queries of lists, watches and deletions.
async fn odd_queries(sender: &Sender, random: &mut StdRng) -> anyhow::Result<()> {
    const NAMES: [&str; 14] = [
        "limit",
        "continue",
        "labelSelector",
        "fieldSelector",
        "resourceVersionMatch",
        "timeoutSeconds",
        "dryRun",
        "fieldManager",
        "propagationPolicy",
        "gracePeriodSeconds",
        "allowWatchBookmarks",
        "sendInitialEvents",
        "pretty",
        "fieldValidation",
    ];
    const VALUES: [&str; 16] = [
        "",
        "-1",
        "0",
        "1e9",
        "99999999999999999999",
        "true",
        "%00",
        "%ff%fe",
        "a%20in%20(",
        "a%3Db%2C%2C",
        "!",
        "metadata.name%3D%3D%3D",
        "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiIn0",
        "%F0%9F%92%A3",
        "Exact",
        "((((((((((",
    ];
    for (path, _) in kinds().into_iter().take(13) {
        for watch in ["", "watch=1&timeoutSeconds=0&"] {
            for _ in 0..8 {
                let mut query = watch.to_owned();
                for _ in 0..random.random_range(1..4) {
                    let (name, value) = (
                        NAMES[random.random_range(0..NAMES.len())],
                        VALUES[random.random_range(0..VALUES.len())],
                    );
                    query += &format!("{name}={value}&");
                }
                // Of a watch that is allowed the head is enough: its end may be far.
                let method = if random.random_bool(0.2) {
                    "DELETE"
                } else {
                    "GET"
                };
                let sent = format!("{method} {path}?{query}");
                let path = if method == "DELETE" {
                    format!("{path}?dryRun=All&{query}")
                } else {
                    format!("{path}?{query}")
                };
                let request = http::Request::builder().method(method).uri(&path);
                let answer = sender.client.send(request.body(Body::empty())?);
                let answer = tokio::time::timeout(Duration::from_secs(60), answer).await;
                let code = answer
                    .with_context(|| format!("no answer: {sent}"))??
                    .status();
                ensure!(code.as_u16() < 500, "{code}: {sent}");
            }
        }
    }
    Ok(())
}

/// Bodies that are large for their size.
async fn large_bodies(sender: &Sender) -> anyhow::Result<()> {
    let (lists, maps) = (
        format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000)),
    );
    let twice = "\"k\":\"v\",".repeat(200_000);
    let bodies = [
        lists.into_bytes(),
        maps.into_bytes(),
        format!(r#"{{"metadata":{{"name":"odd"}},"data":{{{twice}"k":"v"}}}}"#).into_bytes(),
        b"{\"metadata\":{\"name\":\"\xff\xfe\"}}".to_vec(),
        vec![b'['; 3 << 20],
        format!("[{}0]", "0,".repeat(1_400_000)).into_bytes(),
    ];
    // Questions and options are refused by their size.
    let large = [
        "configmaps",
        "secrets",
        "placements",
        "manifestworks",
        "roles",
    ];
    for (path, _) in kinds() {
        if !large.iter().any(|plural| path.ends_with(plural)) {
            continue;
        }
        for body in &bodies {
            let path = format!("{path}?dryRun=All");
            for content_type in ["application/json", "application/yaml"] {
                // As YAML what is larger takes long, and is bounded as this is.
                if content_type == "application/yaml" && body.len() > 1 << 20 {
                    continue;
                }
                let headers = [("content-type", content_type)];
                sender.ask("POST", &path, &headers, body.clone()).await?;
            }
        }
    }
    // A thousand times its size when somebody unpacks it; nobody should.
    let bomb = zipped(&vec![b' '; 48 << 20])?;
    for (path, object) in kinds() {
        let honest = zipped(object.to_string().as_bytes())?;
        for encoding in ["gzip", "deflate", "br", "gzip, gzip", "odd"] {
            let headers = [
                ("content-type", "application/json"),
                ("content-encoding", encoding),
            ];
            let path = format!("{path}?dryRun=All");
            for body in [&bomb, &honest] {
                let code = sender.ask("POST", &path, &headers, body.clone()).await?;
                ensure!(code == 400 || code == 415, "{code}: {encoding} {path}");
            }
        }
    }
    Ok(())
}

/// Credentials that are none; they go to whoever shows no certificate.
async fn odd_credentials(nobody: &Sender, random: &mut StdRng) -> anyhow::Result<()> {
    for n in 0..60 {
        let mut part = || -> String {
            let length = random.random_range(0..80);
            let letters = b"abcXYZ019-_=+/. ";
            (0..length)
                .map(|_| char::from(letters[random.random_range(0..letters.len())]))
                .collect()
        };
        let token = match n % 4 {
            0 => format!("Bearer {}.{}.{}", part(), part(), part()),
            1 => format!("Bearer eyJhbGciOiJub25lIn0.{}.", part()),
            2 => format!("Basic {}", part()),
            _ => part(),
        };
        let headers = [("authorization", token.as_str())];
        let code = nobody
            .ask("GET", "/api/v1/namespaces", &headers, Vec::new())
            .await?;
        ensure!(matches!(code, 400 | 401 | 403), "{code}: {token:?}");
    }
    for (name, value) in [
        ("impersonate-user", "system:admin"),
        ("impersonate-group", "system:masters"),
        ("impersonate-uid", "x"),
        ("impersonate-extra-%zz", "x"),
    ] {
        let code = nobody
            .ask("GET", "/api/v1/namespaces", &[(name, value)], Vec::new())
            .await?;
        ensure!(matches!(code, 400 | 401 | 403), "{code}: {name}");
    }
    Ok(())
}

/// What is no HTTP, or hardly, over TLS; and what is no TLS.
async fn odd_bytes(hub: &Hub, random: &mut StdRng) -> anyhow::Result<()> {
    let file = Kubeconfig::read_from(hub.kubeconfig())?;
    let cluster = file
        .clusters
        .first()
        .and_then(|named| named.cluster.clone());
    let data = cluster
        .and_then(|cluster| cluster.certificate_authority_data)
        .context("the kubeconfig has the CA")?;
    let pem = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, data)?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem)?)?;
    let mut config = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut noise = vec![0; 4096];
    for protocol in ["http/1.1", "h2"] {
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config.clone()));
        rand::Rng::fill_bytes(random, &mut noise);
        let head = format!(
            "GET /livez HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
            "y".repeat(1 << 20)
        );
        let many = format!(
            "GET /livez HTTP/1.1\r\nhost: x\r\n{}\r\n",
            "a: b\r\n".repeat(10_000)
        );
        let pieces: [&[u8]; 9] = [
            &noise,
            b"GET / HTTP/9.9\r\n\r\n",
            b"\r\n\r\n\r\n\r\n",
            head.as_bytes(),
            many.as_bytes(),
            b"POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
            b"POST /api/v1/namespaces HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551615\r\n\r\n{",
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
        ];
        for piece in pieces {
            let tcp = TcpStream::connect(hub.api_address()).await?;
            let name = ServerName::try_from("127.0.0.1")?;
            let mut tls = connector.connect(name, tcp).await?;
            // The hub may hang up before it has read it all, and need not say why.
            let _ = tls.write_all(piece).await;
            let mut said = vec![0; 4096];
            let read = tokio::time::timeout(Duration::from_millis(100), tls.read(&mut said)).await;
            if let Ok(Ok(length)) = read {
                let said = String::from_utf8_lossy(&said[..length]);
                ensure!(!said.starts_with("HTTP/1.1 5"), "{said}");
            }
        }
    }
    for address in [hub.api_address(), hub.agent_address()] {
        for _ in 0..200 {
            let mut tcp = TcpStream::connect(address).await?;
            rand::Rng::fill_bytes(random, &mut noise);
            let length = random.random_range(0..noise.len());
            let _ = tcp.write_all(&noise[..length]).await;
        }
    }
    Ok(())
}

fn resident_kib(pid: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("a process has memory")?.parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_sent_breaks_a_hub_or_stays_in_it() -> anyhow::Result<()> {
    install_provider();
    let seed = std::env::var("BAD_INPUT_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let mut random = StdRng::seed_from_u64(seed.unwrap_or(1));
    let dir = tempfile::tempdir()?;
    let hub = Hub::start(dir.path()).await?;
    let pid = hub.pid().context("it runs")?;
    let admin = Sender {
        client: hub.client().await?,
    };
    let nobody = dir.path().join("nobody.kubeconfig");
    let mut file = Kubeconfig::read_from(hub.kubeconfig())?;
    for user in &mut file.auth_infos {
        user.auth_info = None;
    }
    std::fs::write(&nobody, serde_json::to_vec(&file)?)?;
    let nobody = Sender {
        client: koinon_tests::client::client(&nobody).await?,
    };
    for (path, object) in kinds().into_iter().take(13) {
        let headers = [("content-type", "application/json")];
        let code = admin
            .ask("POST", &path, &headers, object.to_string().into_bytes())
            .await?;
        ensure!(code == 201, "{code}: {object}");
    }

    let mut after_first = 0;
    for round in 0..=ROUNDS {
        odd_objects(&admin, &mut random).await?;
        odd_queries(&admin, &mut random).await?;
        large_bodies(&admin).await?;
        odd_credentials(&nobody, &mut random).await?;
        odd_bytes(&hub, &mut random).await?;
        let log = std::fs::read_to_string(hub.log())?;
        ensure!(!log.contains("panic"), "{log}");
        if round == 0 {
            after_first = resident_kib(pid)?;
        }
    }
    eventually_within(
        SETTLING,
        "memory and connections are given back",
        async || {
            let (now, files) = (
                resident_kib(pid)?,
                hub.metric("koinon_process_open_files").await?,
            );
            ensure!(
                now < after_first + GROWTH_KIB,
                "{now} KiB, after the first round {after_first} KiB"
            );
            ensure!(files < 300.0, "{files} open files");
            Ok(Some(()))
        },
    )
    .await?;
    println!(
        "{after_first} KiB after the first round, {} KiB in the end",
        resident_kib(pid)?
    );
    let code = admin
        .ask("GET", "/api/v1/namespaces", &[], Vec::new())
        .await?;
    ensure!(code == 200, "it still serves: {code}");
    Ok(())
}
