//! Where a list that was given a limit goes on: opaque to clients, self-contained for any replica.

#[cfg(test)]
mod tests;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{ApiError, Result};

/// The state of a list between two pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContinueToken {
    /// The revision that all pages show; -1 goes on with whatever is there, which a client asks for by using the token
    /// that came with a 410.
    pub revision: i64,
    /// The last object of the page before; the next page begins behind it.
    pub namespace: String,
    pub name: String,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: String,
    rv: i64,
    ns: String,
    n: String,
}

const VERSION: &str = "koinon.dev/v1";

impl ContinueToken {
    #[must_use]
    pub fn encode(&self) -> String {
        let wire = Wire {
            v: VERSION.to_owned(),
            rv: self.revision,
            ns: self.namespace.clone(),
            n: self.name.clone(),
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).unwrap_or_default())
    }

    /// Reads a token.
    ///
    /// # Errors
    /// `BadRequest` when it is none of ours.
    pub fn decode(text: &str) -> Result<Self> {
        let refuse =
            |why: String| ApiError::bad_request(format!("continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| refuse(error.to_string()))?;
        let wire: Wire =
            serde_json::from_slice(&bytes).map_err(|error| refuse(error.to_string()))?;
        if wire.v != VERSION {
            return Err(refuse(format!(
                "server does not recognize this encoded version {:?}",
                wire.v
            )));
        }
        if wire.rv < -1 || wire.rv == 0 {
            return Err(refuse("incorrect encoded start resourceVersion".to_owned()));
        }
        Ok(Self {
            revision: wire.rv,
            namespace: wire.ns,
            name: wire.n,
        })
    }
}
