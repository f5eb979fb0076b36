//! The API on real connections, as hostile clients use them: slow, silent, many.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use koinon_hub::{
    listen,
    pki::{Authority, Material},
    rest::Limits,
    tls::{self, Acceptor, ServerCertificate},
};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::support::{CONFIG_MAPS, Hub, PATIENCE, config_map};

const QUESTIONS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
/// Streams that a client may have on one connection.
const STREAMS: usize = 250;

/// A hub's API on a port.
struct Front {
    address: SocketAddr,
    ca: Material,
}

impl Front {
    /// Serves `hub` on at most `most` connections, until the hub stops.
    async fn open(hub: &Hub, most: usize) -> Self {
        let _ = tls::install_provider();
        let ca = Material::generate().unwrap();
        let authority = Authority::load(&ca).unwrap();
        let hosts = ["localhost".to_owned()];
        let certificate = ServerCertificate::issue(&authority, &hosts, Duration::from_secs(3600));
        let config =
            tls::server_config(authority.certificate(), certificate.unwrap(), &["h2"]).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = Acceptor::new(listener, config, most + 16, hub.stop.clone());
        let router = hub.router();
        tokio::spawn(listen::serve(acceptor, router, most, hub.stop.clone()));
        Self { address, ca }
    }

    fn config(&self, user: Option<&str>) -> ClientConfig {
        let ca = CertificateDer::from(self.ca.certificate.clone());
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match user {
            None => builder.with_no_client_auth(),
            Some(user) => {
                let issuer = KeyPair::try_from(self.ca.key.as_slice()).unwrap();
                let issuer = Issuer::from_ca_cert_der(&ca, issuer).unwrap();
                let key = KeyPair::generate().unwrap();
                let mut params = CertificateParams::default();
                params.distinguished_name.push(DnType::CommonName, user);
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                let certificate = params.signed_by(&key, &issuer).unwrap();
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
                builder
                    .with_client_auth_cert(vec![certificate.der().clone()], key)
                    .unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    async fn shake_hands(&self, config: ClientConfig) -> TokioIo<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let tls = tokio::time::timeout(PATIENCE, connector.connect(name, tcp));
        TokioIo::new(tls.await.expect("the hub answers").unwrap())
    }

    /// A connection that speaks HTTP/1.1, of a user or of nobody.
    async fn connect_in_old_words(&self, user: Option<&str>) -> BufReader<TlsStream<TcpStream>> {
        let mut config = self.config(user);
        config.alpn_protocols.clear();
        BufReader::new(self.shake_hands(config).await.into_inner())
    }

    /// An HTTP/2 connection with small windows, of a user or of nobody.
    async fn connect(&self, user: Option<&str>) -> SendRequest<Body> {
        let io = self.shake_hands(self.config(user)).await;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .initial_stream_window_size(16 << 10)
            .initial_connection_window_size(1 << 20);
        let (sender, connection) = builder.handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender
    }
}

fn request(method: Method, path: &str, body: Body) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(format!("https://localhost{path}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .unwrap()
}

async fn send(
    sender: &mut SendRequest<Body>,
    method: Method,
    path: &str,
    body: Body,
) -> StatusCode {
    sender.ready().await.expect("the connection is open");
    let answer = sender.send_request(request(method, path, body));
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    let answer = answer.expect("the hub answers").unwrap();
    let status = answer.status();
    answer.into_body().collect().await.unwrap();
    status
}

/// A body that is announced and does not come.
fn never(announced: usize) -> (Body, String) {
    let start = stream::once(async { Ok::<_, std::convert::Infallible>(Bytes::from_static(b"{")) });
    let body = Body::from_stream(start.chain(stream::pending()));
    (body, announced.to_string())
}

fn map(name: &str) -> Body {
    Body::from(config_map(name, &json!({ "k": "v" })).to_string())
}

/// Sends a body of `length` bytes to its end, as the simplest clients do, and only then reads the answer.
async fn send_then_read(
    io: &mut BufReader<TlsStream<TcpStream>>,
    path: &str,
    length: usize,
) -> (String, Value) {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    io.write_all(head.as_bytes()).await.unwrap();
    io.write_all(&vec![b' '; length]).await.unwrap();
    io.flush().await.unwrap();
    let (mut status, mut announced) = (String::new(), 0);
    io.read_line(&mut status).await.unwrap();
    loop {
        let mut line = String::new();
        io.read_line(&mut line).await.unwrap();
        match line.trim_end().split_once(": ") {
            Some(("content-length", value)) => announced = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; announced];
    io.read_exact(&mut body).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

/// Who is refused while he still sends reads why, and goes on with the same connection: what he sends is not met by a reset.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_refused_early_reads_why() {
    let hub = Hub::start().await;
    let front = Front::open(&hub, 64).await;
    for user in [None, Some("nobody-special")] {
        let mut io = front.connect_in_old_words(user).await;
        for path in [CONFIG_MAPS, "/apis/nothing/v1/things", QUESTIONS] {
            // More than the buffers of a connection hold.
            let heard = tokio::time::timeout(PATIENCE, send_then_read(&mut io, path, 8 << 20));
            let (status, said) = heard.await.expect("the hub answers");
            assert!(status.starts_with("HTTP/1.1 4"), "{path}: {status}");
            assert_eq!(said["kind"], "Status", "{path}");
        }
    }
}

/// Requests whose bodies never come take no places: everybody else reads and writes as if nothing were.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_do_not_come_hold_nobody_up() {
    let hub = Hub::start().await;
    for user in ["mallory", "ann"] {
        hub.bind(user, "edit", "default").await;
    }
    let front = Front::open(&hub, 64).await;
    let mut attacks = Vec::new();
    for path in [QUESTIONS, CONFIG_MAPS] {
        let mut mallory = front.connect(Some("mallory")).await;
        let mut stalled = Vec::new();
        for _ in 0..STREAMS - 1 {
            let (body, length) = never(100);
            let mut request = request(Method::POST, path, body);
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_LENGTH, length.parse().unwrap());
            mallory.ready().await.unwrap();
            stalled.push(mallory.send_request(request));
        }
        // Streams begin in order: when this one is answered the others are under way.
        let status = send(&mut mallory, Method::GET, "/version", Body::empty()).await;
        assert_eq!(status, StatusCode::OK);
        attacks.push((mallory, stalled));
    }
    let mut ann = front.connect(Some("ann")).await;
    for n in 0..20 {
        let path = CONFIG_MAPS;
        let status = send(&mut ann, Method::POST, path, map(&format!("m{n}"))).await;
        assert_eq!(status, StatusCode::CREATED);
    }
    // Not even herself: she has a share of the room for bodies, and has hardly used it.
    let mut again = front.connect(Some("mallory")).await;
    let status = send(&mut again, Method::POST, CONFIG_MAPS, map("hers")).await;
    assert_eq!(status, StatusCode::CREATED);
    drop(attacks);
}

/// A list that is not read holds its reader's place, and only that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_not_read_holds_its_readers_place_and_nobody_elses() {
    let limits = Limits {
        reads: 2,
        queue: 0,
        ..Limits::default()
    };
    let hub = Hub::start().await.with_limits(limits);
    for user in ["mallory", "ann"] {
        hub.bind(user, "view", "default").await;
    }
    for n in 0..8 {
        let data = json!({ "k": "x".repeat(256 << 10) });
        hub.create(CONFIG_MAPS, &config_map(&format!("m{n}"), &data))
            .await
            .ok();
    }
    let front = Front::open(&hub, 64).await;
    let (mut mallory, mut ann) = (
        front.connect(Some("mallory")).await,
        front.connect(Some("ann")).await,
    );
    let list = || request(Method::GET, CONFIG_MAPS, Body::empty());
    mallory.ready().await.unwrap();
    let unread = mallory.send_request(list()).await.unwrap();
    assert_eq!(unread.status(), StatusCode::OK);
    let second = mallory.send_request(list()).await.unwrap();
    assert_eq!(second.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(second.headers().contains_key(header::RETRY_AFTER));
    let status = send(&mut ann, Method::GET, CONFIG_MAPS, Body::empty()).await;
    assert_eq!(status, StatusCode::OK);
    let whole = unread.into_body().collect().await.unwrap().to_bytes();
    let list: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), 8);
    // The place comes back when the end of the answer has left, which the client may see first.
    loop {
        match send(&mut mallory, Method::GET, CONFIG_MAPS, Body::empty()).await {
            StatusCode::OK => break,
            status => assert_eq!(status, StatusCode::TOO_MANY_REQUESTS),
        }
    }
}

/// Idle connections make way, those on which something goes on stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_make_way_for_new_ones() {
    let hub = Hub::start().await;
    hub.bind("ann", "edit", "default").await;
    let front = Front::open(&hub, 8).await;
    let mut ann = front.connect(Some("ann")).await;
    let watch = request(
        Method::GET,
        &format!("{CONFIG_MAPS}?watch=1"),
        Body::empty(),
    );
    let watch = ann.send_request(watch).await.unwrap();
    assert_eq!(watch.status(), StatusCode::OK);
    let mut crowd = Vec::new();
    for _ in 0..40 {
        let mut nobody = front.connect(None).await;
        let status = send(&mut nobody, Method::GET, "/livez", Body::empty()).await;
        assert_eq!(status, StatusCode::OK);
        crowd.push(nobody);
    }
    let mut eve = front.connect(Some("ann")).await;
    let status = send(&mut eve, Method::POST, CONFIG_MAPS, map("new")).await;
    assert_eq!(status, StatusCode::CREATED);
    let mut body = watch.into_body();
    let event = tokio::time::timeout(PATIENCE, body.frame()).await;
    let event = event.expect("the watch lasts").unwrap().unwrap();
    let event = event.into_data().unwrap();
    assert!(event.starts_with(b"{\"type\":\"ADDED\""), "{event:?}");
    assert!(crowd[0].ready().await.is_err(), "the first one had to go");
}

/// Connecting and saying nothing costs a peer nothing, and holds nobody up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_open_connections_keep_nobody_out() {
    let hub = Hub::start().await;
    let front = Front::open(&hub, 64).await;
    let mut hello = Vec::new();
    let config = Arc::new(front.config(None));
    rustls::ClientConnection::new(config, ServerName::try_from("localhost").unwrap())
        .unwrap()
        .write_tls(&mut hello)
        .unwrap();
    let mut held = Vec::new();
    for n in 0..crate::support::many_files(5000) {
        let tcp = TcpStream::connect(front.address).await.unwrap();
        // Some begin a handshake and leave it at that.
        if n % 8 == 0 {
            tcp.writable().await.unwrap();
            let _ = tcp.try_write(&hello);
        }
        held.push(tcp);
    }
    for _ in 0..3 {
        let mut nobody = front.connect(None).await;
        let status = send(&mut nobody, Method::GET, "/livez", Body::empty()).await;
        assert_eq!(status, StatusCode::OK);
    }
}
