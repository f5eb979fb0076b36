//! The hub, and a kube-apiserver on etcd, measured the same way in one run.

use std::{path::PathBuf, time::Duration};

use super::https::Target;
use crate::{hub::Hub, member::Member};

/// A server under measurement.
pub(super) enum Side {
    Ours(Box<Hub>),
    Beside(Box<Member>),
}

/// Which kinds the kube-apiserver is to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kinds {
    BuiltIn,
    /// Also those of the hub, by the CRDs that it prints.
    Ours,
}

impl Side {
    pub(super) fn admin(&self) -> anyhow::Result<Target> {
        let (kubeconfig, address) = self.place();
        Target::read(&kubeconfig, address)
    }

    pub(super) fn holder(&self, token: &str) -> anyhow::Result<Target> {
        let (kubeconfig, address) = self.place();
        Target::with_token(&kubeconfig, address, token)
    }

    fn place(&self) -> (PathBuf, std::net::SocketAddr) {
        match self {
            Self::Ours(hub) => (hub.kubeconfig(), hub.api_address()),
            Self::Beside(member) => (member.kubeconfig(), member.api_address()),
        }
    }
}

/// Measures the hub, then a kube-apiserver: side by side means the same machine, not the same moment. What stands beside
/// us is absent if it cannot be started or measured; why is printed.
pub(super) async fn both<T>(
    kinds: Kinds,
    measure: impl AsyncFn(&mut Side) -> anyhow::Result<T>,
) -> anyhow::Result<(T, Option<T>)> {
    let dir = super::folder()?;
    let ours = {
        let hub = Hub::start(&dir.path().join("hub")).await?;
        measure(&mut Side::Ours(Box::new(hub))).await?
    };
    let beside = async {
        let member = Member::reference("beside", &dir.path().join("beside")).await?;
        if kinds == Kinds::Ours {
            member.install_crds().await?;
        }
        measure(&mut Side::Beside(Box::new(member))).await
    };
    let beside = beside.await;
    if let Err(error) = &beside {
        eprintln!("bench:   nothing to compare with: {error:#}");
    }
    Ok((ours, beside.ok()))
}

/// The column of what stands beside us.
pub(super) fn kube(shown: Option<impl std::fmt::Display>) -> String {
    shown.map_or_else(String::new, |shown| {
        format!("kube-apiserver + etcd: {shown}")
    })
}

/// How long a part waits for anything.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);
