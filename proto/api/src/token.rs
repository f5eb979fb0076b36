//! `JoinToken`, the object, and the token's text, the secret that a new agent shows.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    kind::root_schema,
    names::{self, TokenName},
};

/// Who may join with the token, how often and until when.
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "koinon.dev",
    version = "v1alpha1",
    kind = "JoinToken",
    status = "JoinTokenStatus",
    derive = "PartialEq",
    schema = "manual",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterName"),
    printcolumn(name = "Uses Left", type_ = "integer", json_path = ".status.usesLeft"),
    printcolumn(
        name = "Auto Accept",
        type_ = "boolean",
        json_path = ".spec.autoAccept"
    ),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
pub struct JoinTokenSpec {
    /// The only cluster name that may be joined with the token. Absent means any name that is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub cluster_name: Option<String>,
    /// Until when the token is good.
    pub expires_at: Time,
    /// How many clusters may join with it.
    #[serde(default = "one_use")]
    #[schemars(range(min = 1, max = 10000))]
    pub uses: u32,
    /// Whether a cluster that joins with it is accepted at once.
    #[serde(default)]
    pub auto_accept: bool,
    /// What the token is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
}

root_schema!(JoinToken, "Lets clusters join. The hub keeps only a hash of its secret; the token's text is shown once, in the answer to its creation.", spec: JoinTokenSpec, required: &["spec"], status: JoinTokenStatus);

fn one_use() -> u32 {
    1
}

/// What became of a token; only the hub writes it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct JoinTokenStatus {
    /// SHA-256 of the token's secret, in hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub token_hash: String,
    /// The token's text. It is in the answer to the creation only and is never stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// How many clusters may still join with it.
    #[serde(default)]
    pub uses_left: u32,
    /// Who joined with it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub consumed_by: Vec<TokenUse>,
}

/// One use of a token.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TokenUse {
    /// Name of the cluster that joined.
    pub cluster_name: String,
    /// UID of its kube-system namespace.
    #[serde(rename = "clusterUID")]
    pub cluster_uid: String,
    /// SHA-256 of the public key that it asked a certificate for, in hexadecimal.
    #[serde(rename = "publicKeySHA256")]
    pub public_key_sha256: String,
    /// UID of the ManagedCluster that it joined as. The use is good for that object only.
    #[serde(rename = "managedClusterUID", default)]
    pub managed_cluster_uid: String,
    /// When it joined.
    pub at: Time,
}

/// A token's text, taken apart: `koinon.<name>.<secret>.<fingerprint of the hub's CA>`.
///
/// The fingerprint lets a new agent know the hub before it trusts it with the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText {
    /// Name of the `JoinToken` object.
    pub name: TokenName,
    secret: [u8; 32],
    /// SHA-256 of the hub's CA certificate, DER.
    pub ca_sha256: [u8; 32],
}

/// Why a text is not a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("not a join token: expected koinon.<name>.<secret>.<fingerprint>")]
    Shape,
    #[error("join token is damaged: {0}")]
    Name(#[from] names::Error),
    #[error("join token is damaged: its secret is not 32 bytes of base64url")]
    Secret,
    #[error("join token is damaged: its CA fingerprint is not 64 hexadecimal digits")]
    Fingerprint,
}

impl TokenText {
    /// Puts a token together.
    pub fn new(name: TokenName, secret: [u8; 32], ca_sha256: [u8; 32]) -> Self {
        Self {
            name,
            secret,
            ca_sha256,
        }
    }

    /// Computes what the hub stores of the secret: SHA-256 of its 32 bytes, in hexadecimal.
    pub fn secret_hash(&self) -> String {
        hex(&Sha256::digest(self.secret))
    }

    /// Writes the text out, secret and all.
    pub fn expose(&self) -> String {
        format!(
            "koinon.{}.{}.{}",
            self.name,
            BASE64_URL_SAFE_NO_PAD.encode(self.secret),
            hex(&self.ca_sha256)
        )
    }
}

impl FromStr for TokenText {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let parts: Vec<&str> = text.trim().split('.').collect();
        let ["koinon", name, secret, fingerprint] = parts.as_slice() else {
            return Err(TokenError::Shape);
        };
        let secret = BASE64_URL_SAFE_NO_PAD
            .decode(secret)
            .map_err(|_| TokenError::Secret)?;
        Ok(Self {
            name: TokenName::parse(*name)?,
            secret: secret.try_into().map_err(|_| TokenError::Secret)?,
            ca_sha256: unhex(fingerprint).ok_or(TokenError::Fingerprint)?,
        })
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenText")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> TokenText {
        TokenText::new(TokenName::parse("east-x7k2p").unwrap(), [7; 32], [0xab; 32])
    }

    #[test]
    fn a_token_survives_its_text() {
        let text = token().expose();
        assert_eq!(text.split('.').count(), 4);
        assert_eq!(format!("  {text}\n").parse::<TokenText>().unwrap(), token());
    }

    #[test]
    fn a_token_does_not_show_its_secret_when_debugged() {
        assert_eq!(
            format!("{:?}", token()),
            r#"TokenText { name: TokenName("east-x7k2p"), .. }"#
        );
    }

    #[test]
    fn a_damaged_token_says_which_part_is_damaged() {
        let good = token().expose();
        let parse = |text: &str| text.parse::<TokenText>().unwrap_err();
        assert_eq!(parse("hello"), TokenError::Shape);
        assert_eq!(parse(&good.replace("koinon.", "other.")), TokenError::Shape);
        assert_eq!(parse(&format!("{good}.more")), TokenError::Shape);
        assert_eq!(
            parse(&good.replace("abab", "xyxy")),
            TokenError::Fingerprint
        );
        assert_eq!(parse(&good[..good.len() - 1]), TokenError::Fingerprint);
        assert_eq!(parse("koinon.a.AAAA.00"), TokenError::Secret);
        assert!(matches!(
            parse(&good.replace("east", "EAST")),
            TokenError::Name(_)
        ));
    }

    #[test]
    fn the_stored_hash_is_of_the_secret_alone() {
        let other_ca = TokenText::new(TokenName::parse("b").unwrap(), [7; 32], [1; 32]);
        assert_eq!(token().secret_hash(), other_ca.secret_hash());
        assert_eq!(token().secret_hash().len(), 64);
    }
}
