//! Builds everything, starts it, and ends it in order.

mod authentication;
mod registry;
mod secrets;
mod shutdown;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use sha2::Digest as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    agents::{self, Agents},
    audit::{Audit, Sinks},
    config::{AuditSettings, Config},
    controllers::{self, Controllers, Selection},
    health::{self, Health},
    leader, listen,
    metrics::Metrics,
    pki::{Lifetimes, kubeconfig},
    registry::{Client, Registry},
    resources, rest,
    tasks::Policy,
    tls::{self, Acceptor, ServerCertificate},
};

use self::{
    registry::{Store, open_store},
    shutdown::{Groups, signals},
};

/// Heartbeats are collected this long before they are flushed.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// Open files that agents leave to everything else.
const OTHER_FILES: u64 = 16_384;

/// Runs the hub until it is told to stop.
///
/// # Errors
///
/// If it cannot start, or an essential part of it ends early.
pub async fn run(config: Config) -> Result<()> {
    let Config {
        api_listen,
        agent_listen,
        health_listen,
        advertise_hosts,
        data_dir,
        database_url,
        controllers,
        agent_certificate_ttl,
        shutdown_grace,
        oidc,
        limits,
        audit,
        secrets_key,
    } = config;
    let files = raise_open_files();
    // Whoever waits for a port knows at once whether it is to be had.
    let api_listener = bind(api_listen, "Kubernetes API").await?;
    let agent_listener = bind(agent_listen, "agents").await?;
    let health_listener = bind(health_listen, "health and metrics").await?;
    let selection = Selection::parse(&controllers, &controllers::names())?;

    let stop = signals()?;
    let failed = CancellationToken::new();
    let groups = Groups::new(&failed);
    let metrics = Metrics::default();
    let store_slot = Store::default();
    let controllers = Controllers::new(selection, &metrics);
    groups.base.spawn("health", Policy::Essential, {
        let health = Health {
            checks: vec![registry::check(&store_slot)],
            metrics: metrics.clone(),
            tasks: groups.named(),
            controllers: controllers.reports(),
            stopping: stop.clone(),
        };
        health::serve(health_listener, health, groups.base.stop_token())
    });

    let start = async {
        let store = open_store(database_url, &data_dir, &secrets_key, &groups).await?;
        registry::register_metrics(&store, &metrics);
        let authority = Arc::new(registry::load_authority(&store).await?);
        let lifetimes = Lifetimes {
            agent: agent_certificate_ttl,
            ..Lifetimes::default()
        };

        let kinds = resources::all(&resources::Settings {
            ca_sha256: sha2::Sha256::digest(authority.certificate()).into(),
            work_limit: resources::WORK_LIMIT,
            takes_secrets: secrets_key.takes_secrets(),
        });
        let registry = Registry::new(store.clone(), kinds);
        registry
            .seed()
            .await
            .map_err(|error| anyhow::anyhow!("cannot seed the registry: {}", error.message))?;
        let client = Client::new(registry.clone());

        let hosts = certificate_hosts(&advertise_hosts, [api_listen, agent_listen]);
        let certificate = ServerCertificate::issue(&authority, &hosts, lifetimes.server)?;
        let api_tls = tls::server_config(
            authority.certificate(),
            certificate.clone(),
            &["h2", "http/1.1"],
        )?;
        let agent_tls = tls::server_config(authority.certificate(), certificate.clone(), &["h2"])?;
        groups
            .work
            .spawn("certificate-renewal", Policy::Essential, {
                let renewal = tls::renew(
                    certificate,
                    authority.clone(),
                    hosts,
                    lifetimes.server,
                    groups.work.stop_token(),
                );
                async move {
                    renewal.await;
                    Ok(())
                }
            });

        let server = format!(
            "https://{}",
            address(&advertise_hosts, api_listener.local_addr()?)
        );
        write_kubeconfig(&data_dir, &authority, &server, lifetimes.admin)?;

        let authenticator =
            authentication::open(&store, &authority.fingerprint(), oidc, &groups).await?;
        let audit = audit.map(|settings| record(settings, &registry, &groups));
        let settings = agents::Settings {
            certificate_ttl: lifetimes.agent,
            flush_interval: FLUSH_INTERVAL,
            audit: audit.clone(),
        };
        let (agents, agent_work) = Agents::new(client.clone(), authority, settings, &metrics);
        groups.work.spawn("agents", Policy::Essential, {
            let work = agent_work.run(groups.work.stop_token());
            async move {
                work.await;
                Ok(())
            }
        });
        groups.work.spawn("leader", Policy::Essential, {
            let election = store.election(format!("koinon-hub/{}", std::process::id()));
            leader::lead(
                election,
                client,
                controllers.recorded(audit.clone()),
                groups.work.stop_token(),
            )
        });

        let front = groups.front.stop_token();
        let settings = rest::Settings {
            authenticator,
            limits,
            audit,
        };
        let router = rest::router(rest::Api::with(registry, front.clone(), settings));
        groups.front.spawn("api", Policy::Essential, {
            let acceptor = Acceptor::new(
                api_listener,
                api_tls,
                listen::MOST_CONNECTIONS + listen::CLOSING,
                front.clone(),
            );
            let most = listen::MOST_CONNECTIONS;
            let serving = listen::serve(acceptor, router, most, front.clone());
            async move {
                serving.await;
                Ok(())
            }
        });
        groups.front.spawn("agent-port", Policy::Essential, {
            let acceptor =
                Acceptor::new(agent_listener, agent_tls, most_agents(files), front.clone());
            agents::serve(acceptor, agents.clone(), front)
        });
        store_slot.fill(store);
        tracing::info!(server, "hub is ready");
        Ok(agents)
    };
    let started: Result<Option<Agents>> = tokio::select! {
        started = start => started.map(Some),
        () = stop.cancelled() => Ok(None),
        () = failed.cancelled() => Ok(None),
    };
    if let Ok(Some(_)) = &started {
        tokio::select! {
            () = stop.cancelled() => tracing::info!("stopping"),
            () = failed.cancelled() => tracing::error!("an essential task ended; stopping"),
        }
    }
    stop.cancel();
    if let Ok(Some(agents)) = &started {
        agents.drain("the hub is going down");
    }
    groups.finish(shutdown_grace).await;
    started?;
    anyhow::ensure!(!groups.broken(), "an essential task ended early");
    Ok(())
}

/// Starts what writes the audit log. It ends after the last request and before the store.
fn record(settings: AuditSettings, registry: &Registry, groups: &Groups) -> Audit {
    let AuditSettings {
        policy,
        lines,
        retention,
        when_full,
    } = settings;
    let sinks = Sinks {
        table: Some((registry.store().audit(), retention)),
        lines,
    };
    let (audit, writer) = Audit::new(policy, when_full, sinks);
    let writing = writer.run(groups.work.stop_token());
    groups.work.spawn("audit", Policy::Essential, writing);
    audit
}

async fn bind(address: SocketAddr, purpose: &'static str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address} for {purpose}"))?;
    tracing::info!(address = %listener.local_addr()?, purpose, "listening");
    Ok(listener)
}

fn write_kubeconfig(
    data_dir: &Path,
    authority: &crate::pki::Authority,
    server: &str,
    lifetime: Duration,
) -> Result<()> {
    std::fs::create_dir_all(data_dir)
        .with_context(|| format!("cannot create {}", data_dir.display()))?;
    let path = data_dir.join("admin.kubeconfig");
    let outcome = kubeconfig::ensure(&path, authority, server, lifetime)
        .with_context(|| format!("cannot provide {}", path.display()))?;
    tracing::info!(path = %path.display(), written = outcome == kubeconfig::Outcome::Written, "admin kubeconfig");
    Ok(())
}

/// Every name under which a client on this machine or outside may come.
fn certificate_hosts(advertised: &[String], listens: [SocketAddr; 2]) -> Vec<String> {
    let bound = listens
        .into_iter()
        .map(|address| address.ip())
        .filter(|ip| !ip.is_unspecified());
    let mut hosts: Vec<String> = advertised.to_vec();
    hosts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    hosts.extend(bound.map(|ip| ip.to_string()));
    let mut seen = std::collections::BTreeSet::new();
    hosts.retain(|host| seen.insert(host.clone()));
    hosts
}

/// Where the API is reached: the first advertised host, else where it listens.
fn address(advertised: &[String], listening: SocketAddr) -> SocketAddrText {
    let host = match advertised.first() {
        Some(host) => host.clone(),
        None if listening.ip().is_unspecified() => "127.0.0.1".to_owned(),
        None => listening.ip().to_string(),
    };
    SocketAddrText {
        host,
        port: listening.port(),
    }
}

struct SocketAddrText {
    host: String,
    port: u16,
}

impl std::fmt::Display for SocketAddrText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.host.parse::<std::net::Ipv6Addr>() {
            Ok(address) => write!(f, "[{address}]:{}", self.port),
            Err(_) => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Raises the limit of open files as far as it goes: an agent is a connection. Returns what it is then.
fn raise_open_files() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

fn most_agents(files: u64) -> usize {
    let agents = if files > 2 * OTHER_FILES {
        files - OTHER_FILES
    } else {
        files / 2
    };
    // Semaphores have a limit of their own, far above what one process serves.
    usize::try_from(agents.min(1_000_000)).unwrap_or(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_the_first_advertised_host_or_where_the_api_listens() {
        let on = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert_eq!(
            address(&["hub.example".to_owned()], on("0.0.0.0:7443")).to_string(),
            "hub.example:7443"
        );
        assert_eq!(
            address(&["2001:db8::1".to_owned()], on("[::]:7443")).to_string(),
            "[2001:db8::1]:7443"
        );
        assert_eq!(
            address(&[], on("0.0.0.0:7443")).to_string(),
            "127.0.0.1:7443"
        );
        assert_eq!(address(&[], on("10.0.0.5:1")).to_string(), "10.0.0.5:1");
    }

    #[test]
    fn the_certificate_names_each_host_once() {
        let listens = ["127.0.0.1:1".parse().unwrap(), "0.0.0.0:2".parse().unwrap()];
        let hosts = certificate_hosts(&["hub".to_owned(), "localhost".to_owned()], listens);
        assert_eq!(hosts, ["hub", "localhost", "127.0.0.1", "::1"]);
    }
}
