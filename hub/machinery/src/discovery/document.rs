//! A document that is made once and served many times.

use bytes::Bytes;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// JSON, or another form of it, rendered, with the hash of its content.
#[derive(Clone, Debug)]
pub struct Document {
    pub body: Bytes,
    /// Upper-case hex, as Kubernetes writes its hashes; quoted, it is the `ETag`.
    pub hash: String,
}

impl Document {
    #[must_use]
    pub fn new(value: &Value) -> Self {
        Self::of(Bytes::from(value.to_string()))
    }

    /// A document in another form than JSON.
    #[must_use]
    pub fn of(body: Bytes) -> Self {
        let hash = Sha256::digest(&body)
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect();
        Self { body, hash }
    }

    /// The value of the `ETag` header.
    #[must_use]
    pub fn etag(&self) -> String {
        format!("\"{}\"", self.hash)
    }
}
