//! The registry: its database, its authority, its metrics.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use koinon_store::{Authority as Stored, StoreConfig};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::{secrets, shutdown::Groups};
use crate::{
    config::SecretsKey,
    embedded::Postgres,
    health::Check,
    metrics::Metrics,
    pki::{Authority, Material},
    tasks::Policy,
};

/// Name of the hub's authority in the registry.
const AUTHORITY: &str = "koinon-ca";

/// The store, once it is open.
#[derive(Debug, Clone, Default)]
pub(super) struct Store(Arc<std::sync::OnceLock<koinon_store::Store>>);

impl Store {
    pub(super) fn fill(&self, store: koinon_store::Store) {
        // It is filled once; a second store would be a mistake of `boot`, and harmless here.
        let _ = self.0.set(store);
    }
}

/// The check that `/readyz` makes of the registry.
pub(super) fn check(slot: &Store) -> Check {
    let slot = slot.clone();
    let ask = move || -> futures::future::BoxFuture<'static, Result<(), String>> {
        let store = slot.0.get().cloned();
        Box::pin(async move {
            let store = store.ok_or_else(|| "starting".to_owned())?;
            store
                .fresh()
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        })
    };
    ("registry", Box::new(ask))
}

/// Opens the registry: at `url`, or in a private Postgres in `data_dir`.
pub(super) async fn open_store(
    url: Option<SecretString>,
    data_dir: &Path,
    secrets_key: &SecretsKey,
    groups: &Groups,
) -> Result<koinon_store::Store> {
    let sealer = secrets::sealer(secrets_key)?;
    let url = match url {
        Some(url) => url,
        None => {
            std::fs::create_dir_all(data_dir)
                .with_context(|| format!("cannot create {}", data_dir.display()))?;
            let postgres = Postgres::start(data_dir)
                .await
                .with_context(|| format!("cannot run a Postgres in {}", data_dir.display()))?;
            tracing::info!(folder = %data_dir.display(), "embedded Postgres is running");
            let url = postgres.url();
            let stop = groups.base.stop_token();
            groups
                .base
                .spawn("postgres", Policy::Essential, async move {
                    postgres.run(stop).await;
                    Ok(())
                });
            url.into()
        }
    };
    let mut config = StoreConfig::new(url.expose_secret());
    config.sealer = sealer;
    let (store, tasks) = koinon_store::Store::open(config)
        .await
        .context("cannot open the registry")?;
    let stop = groups.store.stop_token();
    groups.store.spawn("store", Policy::Essential, async move {
        Ok(tasks.run(stop).await?)
    });
    tracing::info!(incarnation = %store.incarnation(), revision = store.revision().0, "registry is open");
    Ok(store)
}

/// Loads the hub's authority; the first replica of all makes it.
pub(super) async fn load_authority(store: &koinon_store::Store) -> Result<Authority> {
    let authorities = store.authorities();
    let stored = match authorities
        .load(AUTHORITY)
        .await
        .context("cannot load the authority")?
    {
        Some(stored) => stored,
        None => {
            let made = Material::generate()?;
            let made = Stored {
                certificate_der: made.certificate,
                private_key_pkcs8: made.key.to_vec(),
            };
            authorities
                .load_or_create(AUTHORITY, made)
                .await
                .context("cannot store the authority")?
        }
    };
    let material = Material {
        certificate: stored.certificate_der,
        key: Zeroizing::new(stored.private_key_pkcs8),
    };
    let authority = Authority::load(&material)?;
    tracing::info!(fingerprint = authority.fingerprint(), "authority is loaded");
    Ok(authority)
}

/// Shows the store's counters among the hub's metrics.
pub(super) fn register_metrics(store: &koinon_store::Store, metrics: &Metrics) {
    metrics.collect(StoreMetrics(store.clone()));
}

#[derive(Debug)]
struct StoreMetrics(koinon_store::Store);

impl Collector for StoreMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let now = self.0.metrics();
        let counters = [
            ("store_batches", "Batches committed", now.batches),
            ("store_writes", "Writes acknowledged", now.applied),
            (
                "store_refusals",
                "Writes refused, each by its own outcome",
                now.refused,
            ),
            (
                "store_ambiguous",
                "Writes of which nobody knows whether they happened",
                now.ambiguous,
            ),
            (
                "store_tail_changes",
                "Changes read from the log",
                now.tail_changes,
            ),
            ("store_trimmed", "Changes trimmed from the log", now.trimmed),
            ("store_swept", "Unreferenced bodies removed", now.swept),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            let family = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(family)?;
        }
        let gauges = [
            (
                "store_queue_depth",
                "Writes waiting",
                i64::try_from(now.queue_depth).unwrap_or(i64::MAX),
            ),
            (
                "store_revision",
                "Revision of the watch cache",
                now.revision,
            ),
            (
                "store_revision_lag",
                "Revisions that the watch cache is behind",
                now.revision_lag,
            ),
            (
                "store_reachable",
                "Whether the database answered last",
                i64::from(now.reachable),
            ),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            let family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(family)?;
        }
        let seconds = ConstGauge::new(now.flush_sum.as_secs_f64());
        let family = encoder.encode_descriptor(
            "store_flush_seconds_sum",
            "Time spent in flushes",
            None,
            seconds.metric_type(),
        )?;
        seconds.encode(family)
    }
}
