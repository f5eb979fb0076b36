//! The hub's metrics registry.
//!
//! There is no global: each area registers its families when it is built.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::text::encode,
    metrics::gauge::ConstGauge,
    registry::{Metric, Registry},
};

/// Collects metric families and writes them in the OpenMetrics text format.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("koinon");
        registry.register_collector(Box::new(Process));
        Self(Arc::new(Mutex::new(registry)))
    }
}

impl Metrics {
    /// Registers a family and hands it back.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.0.lock().register(name, help, metric.clone());
        metric
    }

    /// Adds a source that is read whenever the metrics are.
    pub fn collect(&self, collector: impl Collector) {
        self.0.lock().register_collector(Box::new(collector));
    }

    /// Writes everything.
    ///
    /// # Errors
    ///
    /// If a collector cannot write its metric.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::with_capacity(16 * 1024);
        encode(&mut text, &self.0.lock())?;
        Ok(text)
    }
}

/// A label set with one label; most families need no more.
pub type Label = [(&'static str, &'static str); 1];

/// Memory and open files of this process, read when asked.
#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(
        &self,
        mut encoder: prometheus_client::encoding::DescriptorEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        use prometheus_client::encoding::EncodeMetric as _;
        let resident = ConstGauge::new(resident_bytes().unwrap_or(0));
        let family = encoder.encode_descriptor(
            "process_resident_memory_bytes",
            "Resident memory",
            None,
            resident.metric_type(),
        )?;
        resident.encode(family)?;
        let files = ConstGauge::new(
            std::fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() as i64),
        );
        let family = encoder.encode_descriptor(
            "process_open_files",
            "Open file descriptors",
            None,
            files.metric_type(),
        )?;
        files.encode(family)
    }
}

fn resident_bytes() -> Option<i64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<i64>()
        .ok()
        .map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::{counter::Counter, family::Family};

    use super::*;

    #[test]
    fn families_and_process_metrics_are_rendered() {
        let metrics = Metrics::default();
        let family = metrics.register("things", "Things", Family::<Label, Counter>::default());
        family.get_or_create(&[("kind", "odd")]).inc();
        let text = metrics.render().unwrap();
        assert!(
            text.contains("koinon_things_total{kind=\"odd\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("koinon_process_resident_memory_bytes"),
            "{text}"
        );
    }
}
