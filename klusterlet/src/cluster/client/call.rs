//! One call: behind the fence, in the server's own pace, and not for ever.

use std::{future::Future, time::Duration};

use http::{Method, Request};
use serde_json::Value;
use tokio::time::Instant;

use super::Cluster;
use crate::cluster::{Error, Result};

/// Longest wait for one answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a call is repeated that the API server has no time for, which it says before it looks at it.
const PATIENCE: Duration = Duration::from_secs(60);

impl Cluster {
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        content_type: &'static str,
    ) -> Result<Value> {
        let body = match body {
            Some(body) => {
                serde_json::to_vec(body).map_err(|e| Error::Unreachable(e.to_string()))?
            }
            None => Vec::new(),
        };
        let fence = self.fence.as_ref().filter(|_| method != Method::GET);
        let patience = Instant::now() + PATIENCE;
        loop {
            let _turn = self.turns.acquire().await;
            self.pace.wait().await;
            // Consent is given for now: whoever waits after it has asked too early.
            if let Some(fence) = fence {
                fence.admit().await?;
            }
            let mut request = request(method.clone(), path, body.clone(), content_type)?;
            if let Some(account) = &self.account {
                account.sign(&mut request)?;
            }
            match within(self.client.request::<Value>(request)).await {
                // It was not even looked at.
                Err(error)
                    if error.is_too_many()
                        && self.pace.is_paused()
                        && Instant::now() < patience => {}
                answer => return answer,
            }
        }
    }
}

/// Makes a request.
pub(super) fn request(
    method: Method,
    path: &str,
    body: Vec<u8>,
    content_type: &'static str,
) -> Result<Request<Vec<u8>>> {
    let mut builder = Request::builder().method(method).uri(path);
    if !content_type.is_empty() {
        builder = builder.header(http::header::CONTENT_TYPE, content_type);
    }
    // A name that does not fit into a URL is the object's fault, not the connection's.
    builder.body(body).map_err(|e| Error::Refused {
        code: 400,
        reason: "BadRequest".to_owned(),
        message: e.to_string(),
        object: String::new(),
        causes: Vec::new(),
    })
}

/// Writes a text as the value of a query's parameter: RFC 3986, section 2.
pub(super) fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// Writes a text as a value of a field selector, as Kubernetes' `fields.EscapeValue` does.
pub(super) fn selected(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            matches!(c, '\\' | ',' | '=')
                .then_some('\\')
                .into_iter()
                .chain([c])
        })
        .collect()
}

/// Waits for an answer, but not for ever.
pub(super) async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(Error::from),
        Err(_) => Err(Error::Timeout),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_become_another_parameter() {
        for (text, expected) in [
            ("work-agent", "work-agent"),
            ("a&force=true", "a%26force%3Dtrue"),
            ("a b/ä", "a%20b%2F%C3%A4"),
        ] {
            assert_eq!(escaped(text), expected);
        }
        for (text, expected) in [("a:b-c", "a:b-c"), (r"a,b=c\", r"a\,b\=c\\")] {
            assert_eq!(selected(text), expected);
        }
    }
}
