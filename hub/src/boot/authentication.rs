//! Who is known: service tokens, and an OpenID Connect issuer if there is one.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use koinon_store::Store;

use super::shutdown::Groups;
use crate::{
    auth::{Authenticator, Oidc, Tokens, oidc},
    tasks::Policy,
    tls::Https,
};

/// Builds the authenticator and starts what keeps its keys up.
pub(super) async fn open(
    store: &Store,
    fingerprint: &str,
    oidc: Option<(oidc::Settings, Option<PathBuf>)>,
    groups: &Groups,
) -> Result<Authenticator> {
    let tokens = Tokens::new(store.clone(), fingerprint);
    tokens
        .keys()
        .refresh()
        .await
        .context("cannot load the keys of service tokens")?;
    let keys = tokens.keys().clone();
    let stop = groups.work.stop_token();
    groups
        .work
        .spawn("token-keys", Policy::Essential, async move {
            keys.run(stop).await;
            Ok(())
        });
    let oidc = match oidc {
        None => None,
        Some((settings, ca_file)) => {
            let https = Https::new(ca_file.as_deref())
                .context("cannot reach the OIDC issuer with these authorities")?;
            tracing::info!(
                issuer = settings.issuer,
                "tokens of an OIDC issuer are taken"
            );
            let oidc = Oidc::new(settings, Arc::new(https), oidc::LEAST_PAUSE);
            let (keeps, stop) = (oidc.clone(), groups.work.stop_token());
            groups
                .work
                .spawn("oidc-keys", Policy::Essential, async move {
                    keeps.run(stop).await;
                    Ok(())
                });
            Some(oidc)
        }
    };
    Ok(Authenticator::new(Some(tokens), oidc))
}
