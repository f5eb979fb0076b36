use serde_json::json;

use super::*;

const NOW: i64 = 1_000_000;

fn settings() -> Settings {
    Settings {
        issuer: "https://id.example".to_owned(),
        client_id: "koinon".to_owned(),
        username_claim: "sub".to_owned(),
        username_prefix: Some("oidc:".to_owned()),
        groups_claim: Some("groups".to_owned()),
        groups_prefix: "oidc:".to_owned(),
        required_claims: [("hd".to_owned(), "example.com".to_owned())].into(),
        algorithms: vec![Algorithm::RS256],
    }
}

fn good() -> Value {
    json!({
        "iss": "https://id.example", "aud": ["other", "koinon"], "exp": NOW + 60, "nbf": NOW, "iat": NOW,
        "sub": "ann", "groups": ["dev", "ops"], "hd": "example.com",
    })
}

fn judge(settings: &Settings, claims: &Value) -> Result<Identity, Refusal> {
    settings.judge(
        claims.as_object().unwrap(),
        Timestamp::from_second(NOW).unwrap(),
    )
}

#[test]
fn a_good_token_names_a_user_and_groups_with_their_prefixes() {
    let identity = judge(&settings(), &good()).unwrap();
    assert_eq!(identity.name, "oidc:ann");
    assert_eq!(identity.groups, ["oidc:dev", "oidc:ops"]);
}

/// Every claim that counts, broken in turn.
#[test]
fn every_broken_claim_refuses_the_token() {
    let claim = |name: &str| Refusal::Claim(name.to_owned());
    let broken = [
        ("iss", json!("https://id.example/"), Refusal::Issuer),
        ("iss", json!(["https://id.example"]), Refusal::Issuer),
        ("iss", Value::Null, Refusal::Issuer),
        ("aud", json!("other"), Refusal::Audience),
        ("aud", json!([]), Refusal::Audience),
        ("aud", json!(7), Refusal::Audience),
        ("aud", Value::Null, Refusal::Audience),
        ("exp", json!(NOW), Refusal::Expired),
        ("exp", json!(NOW - 1), Refusal::Expired),
        ("exp", json!("never"), claim("exp")),
        ("exp", json!(1e300), claim("exp")),
        ("nbf", json!(NOW + SKEW + 1), Refusal::NotYet),
        ("nbf", json!("now"), claim("nbf")),
        ("sub", json!(""), claim("sub")),
        ("sub", json!(7), claim("sub")),
        ("sub", Value::Null, claim("sub")),
        ("groups", json!(7), claim("groups")),
        ("groups", json!(["dev", 7]), claim("groups")),
        (
            "hd",
            json!("evil.example"),
            Refusal::Required("hd".to_owned()),
        ),
        (
            "hd",
            json!(["example.com"]),
            Refusal::Required("hd".to_owned()),
        ),
    ];
    for (name, value, refusal) in broken {
        let mut claims = good();
        claims[name] = value.clone();
        assert_eq!(judge(&settings(), &claims), Err(refusal), "{name}: {value}");
    }
    for missing in ["iss", "aud", "exp", "sub", "hd"] {
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(missing);
        assert!(judge(&settings(), &claims).is_err(), "{missing}");
    }
}

#[test]
fn an_issuer_names_none_of_ours() {
    let bare = Settings {
        username_prefix: Some("-".to_owned()),
        groups_prefix: String::new(),
        ..settings()
    };
    for (name, value) in [
        ("sub", json!("system:serviceaccount:ns:robot")),
        ("groups", json!(["dev", "system:masters"])),
    ] {
        let mut claims = good();
        claims[name] = value;
        assert!(
            matches!(judge(&bare, &claims), Err(Refusal::Reserved(_))),
            "{name}"
        );
        assert!(
            judge(&settings(), &claims).is_ok(),
            "a prefix keeps them apart"
        );
    }
}

#[test]
fn an_address_is_a_name_only_when_it_is_verified() {
    let by_mail = Settings {
        username_claim: "email".to_owned(),
        username_prefix: None,
        ..settings()
    };
    let mut claims = good();
    claims["email"] = "ann@example.com".into();
    assert_eq!(judge(&by_mail, &claims).unwrap().name, "ann@example.com");
    for (verified, fine) in [
        (json!(true), true),
        (json!(false), false),
        (json!("true"), false),
    ] {
        claims["email_verified"] = verified;
        assert_eq!(judge(&by_mail, &claims).is_ok(), fine);
    }
    let by_subject = Settings {
        username_prefix: None,
        ..settings()
    };
    assert_eq!(
        judge(&by_subject, &good()).unwrap().name,
        "https://id.example#ann"
    );
}
