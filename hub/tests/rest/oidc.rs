//! Tokens of an OpenID Connect issuer that is really there, behind real TLS.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use axum::{Router, routing::get};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use koinon_hub::{
    auth::{Authenticator, Oidc, oidc},
    tls::Https,
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::support::{Caller, Hub};

struct SigningKey {
    id: &'static str,
    signs: EncodingKey,
    public: Value,
    point: Vec<u8>,
}

fn key(id: &'static str) -> SigningKey {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = pair.public_key().as_ref().to_vec();
    let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    SigningKey {
        id,
        signs: EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref()),
        public: json!({ "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": id, "x": part(1..33), "y": part(33..65) }),
        point,
    }
}

struct Issuer {
    url: String,
    keys: Arc<Mutex<Vec<Value>>>,
    asked: Arc<AtomicUsize>,
    /// Held by a test that wants the issuer to be slow.
    slow: Arc<tokio::sync::Mutex<()>>,
    server: JoinHandle<()>,
    ca: tempfile::NamedTempFile,
}

impl Issuer {
    async fn start(keys: &[&SigningKey]) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), certified.cert.pem()).unwrap();
        let private =
            rustls::pki_types::PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certified.cert.der().clone()], private)
            .unwrap();
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "https://localhost:{}",
            listener.local_addr().unwrap().port()
        );
        let keys = Arc::new(Mutex::new(
            keys.iter()
                .map(|key| key.public.clone())
                .collect::<Vec<_>>(),
        ));
        let asked = Arc::new(AtomicUsize::new(0));
        let discovery = json!({ "issuer": url, "jwks_uri": format!("{url}/keys") }).to_string();
        let slow = Arc::new(tokio::sync::Mutex::new(()));
        let (shown, count, held_up) = (Arc::clone(&keys), Arc::clone(&asked), Arc::clone(&slow));
        let set = move || {
            count.fetch_add(1, Ordering::Relaxed);
            // One that nobody knows must not cost the others.
            let mut keys = shown.lock().clone();
            keys.push(json!({ "kty": "FUTURE", "kid": "f" }));
            let held_up = Arc::clone(&held_up);
            async move {
                let _turn = held_up.lock().await;
                json!({ "keys": keys }).to_string()
            }
        };
        let router = Router::new()
            .route(
                "/.well-known/openid-configuration",
                get(|| async move { discovery }),
            )
            .route("/keys", get(set));
        let server = tokio::spawn(async move {
            loop {
                let Ok((tcp, _)) = listener.accept().await else {
                    return;
                };
                let Ok(io) = tls.accept(tcp).await else {
                    continue;
                };
                let service = hyper_util::service::TowerToHyperService::new(router.clone());
                let io = hyper_util::rt::TokioIo::new(io);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .await;
            }
        });
        Self {
            url,
            keys,
            asked,
            slow,
            server,
            ca,
        }
    }

    fn authenticator(&self) -> Authenticator {
        self.asked_every(Duration::ZERO)
    }

    /// Verifies by this issuer, which is asked because of unknown keys no more often than this.
    fn asked_every(&self, least_pause: Duration) -> Authenticator {
        let settings = oidc::Settings {
            issuer: self.url.clone(),
            client_id: "koinon".to_owned(),
            username_claim: "sub".to_owned(),
            username_prefix: Some("id:".to_owned()),
            groups_claim: Some("groups".to_owned()),
            groups_prefix: "id:".to_owned(),
            required_claims: [("hd".to_owned(), "example.com".to_owned())].into(),
            algorithms: vec![Algorithm::ES256],
        };
        let https = Https::new(Some(self.ca.path())).unwrap();
        let oidc = Oidc::new(settings, Arc::new(https), least_pause);
        Authenticator::new(None, Some(oidc))
    }

    fn claims(&self) -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({
            "iss": self.url, "aud": "koinon", "exp": now + 600, "nbf": now - 5, "iat": now, "sub": "ann",
            "groups": ["dev"], "hd": "example.com",
        })
    }
}

fn signed(key: &SigningKey, claims: &Value) -> String {
    let header = Header {
        kid: Some(key.id.to_owned()),
        ..Header::new(Algorithm::ES256)
    };
    encode(&header, claims, &key.signs).unwrap()
}

async fn whoami(caller: &Caller, token: &str) -> (u16, Value) {
    let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body("{}".into())
        .unwrap();
    let response = caller.raw(request).await;
    let code = response.status().as_u16();
    let bytes = http_body_util::BodyExt::collect(response.into_body())
        .await
        .unwrap()
        .to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap())
}

#[tokio::test]
async fn a_token_is_taken_with_every_claim_right_and_refused_with_any_one_wrong() {
    let (one, foreign) = (key("one"), key("one"));
    let issuer = Issuer::start(&[&one]).await;
    let hub = Hub::start().await;
    let caller = hub.with(issuer.authenticator());
    let (code, answer) = whoami(&caller, &signed(&one, &issuer.claims())).await;
    assert_eq!(code, 201, "{answer}");
    let user = &answer["status"]["userInfo"];
    assert_eq!(user["username"], "id:ann");
    assert_eq!(user["groups"], json!(["id:dev", "system:authenticated"]));

    let now = jiff::Timestamp::now().as_second();
    for (claim, value) in [
        ("iss", json!("https://localhost:1")),
        ("aud", json!("other")),
        ("aud", Value::Null),
        ("exp", json!(now - 1)),
        ("exp", Value::Null),
        ("exp", json!("soon")),
        ("nbf", json!(now + 3600)),
        ("sub", json!("")),
        ("sub", json!(["ann"])),
        ("groups", json!({ "dev": true })),
        ("hd", json!("evil.example")),
    ] {
        let mut claims = issuer.claims();
        claims[claim] = value.clone();
        let (code, answer) = whoami(&caller, &signed(&one, &claims)).await;
        assert_eq!(code, 401, "{claim}: {value}: {answer}");
        assert_eq!(
            answer["message"], "Unauthorized",
            "the refusal tells nothing"
        );
    }
    let good = signed(&one, &issuer.claims());
    let (head, rest) = good.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"one"}"#);
    let hmac = Header {
        kid: Some("one".to_owned()),
        ..Header::new(Algorithm::HS256)
    };
    // The public key as the secret of an HMAC: the oldest trick.
    let confused = encode(
        &hmac,
        &issuer.claims(),
        &EncodingKey::from_secret(&one.point),
    )
    .unwrap();
    let other_payload = URL_SAFE_NO_PAD.encode(issuer.claims().to_string().replace("ann", "eve"));
    for (what, token) in [
        (
            "another key of the same id",
            signed(&foreign, &issuer.claims()),
        ),
        ("no signature", format!("{none}.{payload}.")),
        (
            "none with a signature",
            format!("{none}.{payload}.{signature}"),
        ),
        ("a cut signature", good[..good.len() - 4].to_owned()),
        (
            "another payload",
            format!("{head}.{other_payload}.{signature}"),
        ),
        ("an HMAC of the public key", confused),
        ("no token", "x".to_owned()),
        ("dots", "..".to_owned()),
        ("far too long", "x".repeat(100_000)),
    ] {
        assert_eq!(whoami(&caller, &token).await.0, 401, "{what}");
    }
}

#[tokio::test]
async fn keys_are_rotated_and_an_issuer_that_is_away_costs_nothing() {
    let (one, two, never) = (key("one"), key("two"), key("never"));
    let issuer = Issuer::start(&[&one]).await;
    let hub = Hub::start().await;
    let caller = hub.with(issuer.authenticator());
    assert_eq!(
        whoami(&caller, &signed(&one, &issuer.claims())).await.0,
        201
    );
    let asked = issuer.asked.load(Ordering::Relaxed);
    for _ in 0..20 {
        assert_eq!(
            whoami(&caller, &signed(&one, &issuer.claims())).await.0,
            201
        );
    }
    assert_eq!(
        issuer.asked.load(Ordering::Relaxed),
        asked,
        "known keys are not asked for"
    );
    *issuer.keys.lock() = vec![two.public.clone()];
    assert_eq!(
        whoami(&caller, &signed(&two, &issuer.claims())).await.0,
        201
    );
    assert_eq!(
        whoami(&caller, &signed(&one, &issuer.claims())).await.0,
        401,
        "a key that was taken back"
    );
    issuer.server.abort();
    assert_eq!(
        whoami(&caller, &signed(&never, &issuer.claims())).await.0,
        401
    );
    assert_eq!(
        whoami(&caller, &signed(&two, &issuer.claims())).await.0,
        201,
        "what is known goes on"
    );
}

/// Anybody can make up tokens with unknown keys, and an issuer may be slow: it is asked once for all of them, and none waits
/// for more than that.
#[tokio::test]
async fn made_up_keys_ask_a_slow_issuer_once() {
    let (one, never) = (key("one"), key("never"));
    let issuer = Issuer::start(&[&one]).await;
    let hub = Hub::start().await;
    let caller = hub.with(issuer.asked_every(Duration::from_secs(3600)));
    let slow = issuer.slow.lock().await;
    let token = signed(&never, &issuer.claims());
    let mut storm: Vec<_> = (0..1000)
        .map(|_| Box::pin(whoami(&caller, &token)))
        .collect();
    // All but a bounded number are refused while the issuer thinks.
    let mut refused = 0;
    while storm.len() > 128 {
        let ((code, _), _, rest) = futures::future::select_all(storm).await;
        assert_eq!(code, 401);
        refused += 1;
        storm = rest;
    }
    assert_eq!(refused, 1000 - 128);
    drop(slow);
    for (code, _) in futures::future::join_all(storm).await {
        assert_eq!(code, 401);
    }
    assert_eq!(issuer.asked.load(Ordering::Relaxed), 1);
    let good = signed(&one, &issuer.claims());
    assert_eq!(whoami(&caller, &good).await.0, 201);
}
