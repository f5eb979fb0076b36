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
        if let Some(fence) = self.fence.as_ref().filter(|_| method != Method::GET) {
            fence.admit().await?;
        }
        let patience = Instant::now() + PATIENCE;
        loop {
            self.pace.wait().await;
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
    })
}

/// Waits for an answer, but not for ever.
pub(super) async fn within<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map_err(Error::from),
        Err(_) => Err(Error::Timeout),
    }
}
