//! Fills etcd behind a kube-apiserver's back: by its API 100,000 objects would take longer than all that is measured.
//!
//! kube-apiserver reads objects that are stored as JSON, for custom resources it stores them so itself.

use std::net::SocketAddr;

use anyhow::ensure;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hyper::Method;
use serde_json::{Value, json};

use super::https::Connection;

/// etcd's limit on the operations of one transaction.
const OPERATIONS: usize = 128;
const CLIENTS: usize = 8;

/// Puts `count` objects; `object` makes each and the key that it has below `/registry/`.
pub(super) async fn put(
    etcd: SocketAddr,
    count: usize,
    object: impl Fn(usize) -> (String, Value),
) -> anyhow::Result<()> {
    let starts: Vec<usize> = (0..count).step_by(OPERATIONS).collect();
    let shares = starts.chunks(starts.len().div_ceil(CLIENTS).max(1));
    let (object, clients) = (&object, shares.map(<[usize]>::to_vec));
    stream::iter(clients.map(async |share| {
        let mut connection = Connection::plain(etcd).await?;
        for start in share {
            let puts: Vec<Value> = (start..count.min(start + OPERATIONS))
                .map(|index| {
                    let (key, mut value) = object(index);
                    settle(&mut value);
                    let (key, value) = (format!("/registry/{key}"), value.to_string());
                    json!({ "requestPut": {
                        "key": BASE64_STANDARD.encode(key), "value": BASE64_STANDARD.encode(value),
                    } })
                })
                .collect();
            let body = Bytes::from(json!({ "success": puts }).to_string());
            let (status, answer) = connection.send(Method::POST, "/v3/kv/txn", body).await?;
            ensure!(
                status.is_success(),
                "etcd: {status}: {}",
                String::from_utf8_lossy(&answer)
            );
        }
        anyhow::Ok(())
    }))
    .buffer_unordered(CLIENTS)
    .try_collect()
    .await
}

/// Gives an object what a server would have given it.
fn settle(object: &mut Value) {
    object["metadata"]["uid"] = uuid::Uuid::new_v4().to_string().into();
    object["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
    object["metadata"]["generation"] = 1.into();
}
