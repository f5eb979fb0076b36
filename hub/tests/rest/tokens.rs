//! Service tokens at the door: signed by the hub's own key and wrong in one thing each.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::StreamExt as _;
use http::{Request, header};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use koinon_hub::auth::{Authenticator, Tokens};
use serde_json::{Value, json};

use crate::support::{CONFIG_MAPS, Caller, Hub, PATIENCE, RBAC};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

/// A hub that issues tokens, an account, and a good token of it.
struct Setting {
    hub: Hub,
    caller: Caller,
    key: EncodingKey,
    key_id: String,
    token: String,
}

impl Setting {
    async fn new() -> Self {
        let hub = Hub::start().await;
        let tokens = Tokens::new(hub.registry.store().clone(), "fingerprint");
        tokens.keys().refresh().await.unwrap();
        let stored = hub.registry.store().token_keys().list().await.unwrap();
        let caller = hub.with(Authenticator::new(Some(tokens), None));
        hub.create(ACCOUNTS, &json!({ "metadata": { "name": "robot" } }))
            .await
            .ok();
        let asked = caller_of(&hub, &caller)
            .create(&format!("{ACCOUNTS}/robot/token"), &json!({}))
            .await
            .ok();
        Self {
            key: EncodingKey::from_ec_der(&stored[0].private_key_pkcs8),
            key_id: stored[0].id.clone(),
            token: asked["status"]["token"].as_str().unwrap().to_owned(),
            hub,
            caller,
        }
    }

    /// The claims of the good token, changed, signed as the hub signs.
    fn with(&self, change: impl FnOnce(&mut Value)) -> String {
        let payload = self.token.split('.').nth(1).unwrap();
        let payload = URL_SAFE_NO_PAD.decode(payload).unwrap();
        let mut claims: Value = serde_json::from_slice(&payload).unwrap();
        change(&mut claims);
        self.signed(&claims)
    }

    fn signed(&self, claims: &Value) -> String {
        let header = Header {
            kid: Some(self.key_id.clone()),
            ..Header::new(Algorithm::ES256)
        };
        encode(&header, claims, &self.key).unwrap()
    }

    async fn code(&self, token: &str) -> u16 {
        self.ask("POST", WHO, token).await
    }

    async fn ask(&self, method: &str, path: &str, token: &str) -> u16 {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {token}"))
            .body("{}".into())
            .unwrap();
        self.caller.raw(request).await.status().as_u16()
    }
}

/// The API with tokens, asked by an admin.
fn caller_of(hub: &Hub, caller: &Caller) -> Caller {
    caller.as_whom(&hub.admin())
}

#[tokio::test]
async fn a_token_with_any_one_claim_wrong_is_nobodys() {
    let setting = Setting::new().await;
    assert_eq!(setting.code(&setting.token).await, 201);
    assert_eq!(
        setting.code(&setting.with(|_| {})).await,
        201,
        "signed here, it is as good as the hub's"
    );
    let now = jiff::Timestamp::now().as_second();
    type Change = fn(&mut Value, i64);
    let changes: [(&str, Change); 17] = [
        ("another hub's", |c, _| {
            c["iss"] = "https://koinon.dev/hub/other".into()
        }),
        ("no issuer", |c, _| {
            _ = c.as_object_mut().unwrap().remove("iss")
        }),
        ("for another audience", |c, _| c["aud"] = json!(["vault"])),
        ("for nobody", |c, _| c["aud"] = json!([])),
        ("an audience that is no list", |c, _| {
            c["aud"] = json!({ "a": 1 })
        }),
        ("over", |c, now| c["exp"] = (now - 1).into()),
        ("without an end", |c, _| {
            _ = c.as_object_mut().unwrap().remove("exp")
        }),
        ("an end that is no number", |c, _| c["exp"] = "never".into()),
        ("not valid yet", |c, now| c["nbf"] = (now + 3600).into()),
        ("issued tomorrow", |c, now| c["iat"] = (now + 86_400).into()),
        ("another's name", |c, _| {
            c["sub"] = "system:serviceaccount:default:admin".into();
        }),
        ("a user's name", |c, _| c["sub"] = "koinon-admin".into()),
        ("another namespace", |c, _| {
            c["kubernetes.io"]["namespace"] = "kube".into()
        }),
        ("another account", |c, _| {
            c["kubernetes.io"]["serviceaccount"]["name"] = "x".into()
        }),
        ("a former account", |c, _| {
            c["kubernetes.io"]["serviceaccount"]["uid"] =
                "00000000-0000-4000-8000-000000000000".into();
        }),
        ("bound to what is not there", |c, _| {
            c["kubernetes.io"]["secret"] = json!({ "name": "gone", "uid": "u" });
        }),
        ("of no account", |c, _| {
            _ = c.as_object_mut().unwrap().remove("kubernetes.io")
        }),
    ];
    for (name, change) in changes {
        let token = setting.with(|claims| change(claims, now));
        assert_eq!(setting.code(&token).await, 401, "{name}");
    }
}

#[tokio::test]
async fn a_token_that_is_not_signed_by_the_hub_is_nobodys() {
    let setting = Setting::new().await;
    let parts: Vec<&str> = setting.token.split('.').collect();
    let header = |fields: Value| URL_SAFE_NO_PAD.encode(fields.to_string());
    let of = |head: &str, signature: &str| format!("{head}.{}.{signature}", parts[1]);
    let foreign = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let foreign = EncodingKey::from_ec_der(&foreign.serialize_der());
    let known = Header {
        kid: Some(setting.key_id.clone()),
        ..Header::new(Algorithm::ES256)
    };
    let payload = URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let kid = &setting.key_id;
    for (name, token) in [
        (
            "not at all",
            of(&header(json!({ "alg": "none", "kid": kid })), ""),
        ),
        (
            "by an HMAC",
            of(&header(json!({ "alg": "HS256", "kid": kid })), parts[2]),
        ),
        (
            "by another key of this name",
            encode(&known, &claims, &foreign).unwrap(),
        ),
        (
            "by an unknown key",
            encode(
                &Header {
                    kid: Some("x".to_owned()),
                    ..known.clone()
                },
                &claims,
                &foreign,
            )
            .unwrap(),
        ),
        (
            "by no key",
            encode(&Header { kid: None, ..known }, &claims, &foreign).unwrap(),
        ),
        ("cut", of(parts[0], &parts[2][..parts[2].len() - 4])),
        ("in two parts", format!("{}.{}", parts[0], parts[1])),
        ("in four parts", format!("{}.x", setting.token)),
        ("as text", "koinon".to_owned()),
        ("as nothing", String::new()),
        (
            "endlessly",
            format!("{}{}", setting.token, "A".repeat(1 << 16)),
        ),
    ] {
        assert_eq!(setting.code(&token).await, 401, "{name}");
    }
}

/// Neither what a token may nor that it is one outlasts what it rests on.
#[tokio::test]
async fn what_a_token_rests_on_is_asked_with_every_request() {
    let setting = Setting::new().await;
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let binding = json!({
        "metadata": { "name": "robot" }, "roleRef": { "kind": "ClusterRole", "name": "view" },
        "subjects": [{ "kind": "ServiceAccount", "name": "robot", "namespace": "default" }],
    });
    let ask = async || setting.ask("GET", CONFIG_MAPS, &setting.token).await;
    assert_eq!(ask().await, 403);
    for _ in 0..3 {
        setting.hub.create(&bindings, &binding).await.ok();
        assert_eq!(ask().await, 200, "the next request may");
        setting.hub.delete(&format!("{bindings}/robot")).await.ok();
        assert_eq!(ask().await, 403, "the next request may not");
    }
    setting.hub.delete(&format!("{ACCOUNTS}/robot")).await.ok();
    assert_eq!(setting.code(&setting.token).await, 401);
    let again = json!({ "metadata": { "name": "robot" } });
    setting.hub.create(ACCOUNTS, &again).await.ok();
    assert_eq!(setting.code(&setting.token).await, 401, "another account");
}

/// What is of the wrong type is not taken for absent: that would be a token for more than was asked.
#[tokio::test]
async fn a_token_is_not_issued_for_less_than_was_said() {
    let setting = Setting::new().await;
    let admin = caller_of(&setting.hub, &setting.caller);
    let path = format!("{ACCOUNTS}/robot/token");
    for wrong in [
        json!([]),
        json!({ "spec": "x" }),
        json!({ "spec": [] }),
        json!({ "spec": { "audiences": "vault" } }),
        json!({ "spec": { "audiences": [1] } }),
        json!({ "spec": { "audiences": {} } }),
        json!({ "spec": { "boundObjectRef": "s" } }),
        json!({ "spec": { "boundObjectRef": { "kind": "Secret", "name": 1 } } }),
        json!({ "spec": { "expirationSeconds": "600" } }),
        json!({ "spec": { "expirationSeconds": 600.5 } }),
        json!({ "kind": "TokenReview" }),
        json!({ "apiVersion": "authentication.k8s.io/v1beta1" }),
    ] {
        let code = admin.create(&path, &wrong).await.code;
        assert_eq!(code, 400, "{wrong}");
    }
    // As client-go sends it.
    let plain = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": { "creationTimestamp": null },
        "spec": { "audiences": null, "expirationSeconds": 600, "boundObjectRef": null },
        "status": { "token": "", "expirationTimestamp": null },
    });
    let asked = admin.create(&path, &plain).await;
    assert!(asked.warnings().is_empty());
    assert_eq!(asked.ok()["spec"]["expirationSeconds"], 600);
    let long = json!({ "spec": { "expirationSeconds": 365 * 86_400 } });
    let asked = admin.create(&path, &long).await;
    let words = "requested expiration of 31536000 seconds shortened to 7776000 seconds";
    assert!(
        asked.warnings()[0].contains(words),
        "{:?}",
        asked.warnings()
    );
    assert_eq!(asked.ok()["spec"]["expirationSeconds"], 7_776_000);
}

/// A watch that somebody opened, until it says why it ends.
async fn refused(stream: &mut axum::body::BodyDataStream) -> u64 {
    loop {
        let piece = tokio::time::timeout(PATIENCE, stream.next()).await;
        let piece = piece
            .expect("the watch ends")
            .expect("it says why")
            .unwrap();
        for line in piece
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let event: Value = serde_json::from_slice(line).unwrap();
            if event["type"] == "ERROR" {
                return event["object"]["code"].as_u64().unwrap();
            }
        }
    }
}

/// What a request rests on, a watch rests on for as long as it goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_with_what_it_rests_on() {
    let setting = Setting::new().await;
    let (hub, admin) = (&setting.hub, caller_of(&setting.hub, &setting.caller));
    let secret = json!({ "metadata": { "name": "anchor" } });
    hub.create("/api/v1/namespaces/default/secrets", &secret)
        .await
        .ok();
    let bindings = format!("{RBAC}/namespaces/default/rolebindings");
    let binding = json!({
        "metadata": { "name": "robot" }, "roleRef": { "kind": "ClusterRole", "name": "view" },
        "subjects": [
            { "kind": "ServiceAccount", "name": "robot", "namespace": "default" }, { "kind": "User", "name": "bob" },
        ],
    });
    hub.create(&bindings, &binding).await.ok();
    let bound = json!({ "spec": { "boundObjectRef": { "kind": "Secret", "apiVersion": "v1", "name": "anchor" } } });
    let bound = admin
        .create(&format!("{ACCOUNTS}/robot/token"), &bound)
        .await
        .ok();
    let bound = bound["status"]["token"].as_str().unwrap().to_owned();
    // Its account goes on, and so do all rights: it is over in a moment.
    let short =
        setting.with(|claims| claims["exp"] = (jiff::Timestamp::now().as_second() + 3).into());
    let open = async |caller: &Caller, name: &str, value: &str| {
        let watch = format!("{CONFIG_MAPS}?watch=1");
        let request = Request::get(watch)
            .header(name, value)
            .body("".into())
            .unwrap();
        let response = caller.raw(request).await;
        assert_eq!(response.status(), 200);
        response.into_body().into_data_stream()
    };
    let mut over = open(&setting.caller, "authorization", &format!("Bearer {short}")).await;
    let mut unbound = open(&setting.caller, "authorization", &format!("Bearer {bound}")).await;

    let may = json!({
        "metadata": { "name": "as-bob" },
        "rules": [{ "apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"], "verbs": ["impersonate"] }],
    });
    hub.create(&format!("{RBAC}/clusterroles"), &may).await.ok();
    hub.bind("ann", "as-bob", "").await;
    let ann = setting.caller.as_whom(&hub.user("ann", "staff"));
    let mut acting = open(&ann, "impersonate-user", "bob").await;

    hub.delete("/api/v1/namespaces/default/secrets/anchor")
        .await
        .ok();
    hub.delete(&format!("{RBAC}/clusterroles/as-bob"))
        .await
        .ok();
    assert_eq!(refused(&mut unbound).await, 401);
    assert_eq!(refused(&mut acting).await, 403);
    assert_eq!(refused(&mut over).await, 401);
}
