//! A kube-rs client from a kubeconfig file.

use std::path::Path;

use anyhow::Context;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;

/// Reads a kubeconfig and makes a client that fails at once instead of retrying.
///
/// # Errors
/// When the file is missing or names no usable cluster.
pub async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    install_provider();
    let file = Kubeconfig::read_from(kubeconfig)
        .with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// Makes aws-lc-rs the process's TLS provider; a second call changes nothing.
pub fn install_provider() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Gets a path as JSON.
///
/// # Errors
/// When the server refuses or does not answer.
pub async fn get(client: &Client, path: &str) -> anyhow::Result<Value> {
    let request = http::Request::get(path).body(Vec::new())?;
    Ok(client.request(request).await?)
}
