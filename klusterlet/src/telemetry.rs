//! Logs.

use std::{error::Error, fmt};

use tracing_subscriber::{
    filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT: &str = "info,kube_client=warn,kube_runtime=error,hyper=warn,tower=warn";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Installs the process's subscriber; `RUST_LOG` overrides the default levels, by target. (Filters by spans and fields would
/// bring regular expressions, which the agent needs for nothing else at rest.)
pub fn install(format: LogFormat) {
    let filter: Targets = std::env::var("RUST_LOG")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| DEFAULT.parse().unwrap_or_default());
    let registry = tracing_subscriber::registry().with(filter);
    let writer = std::io::stderr;
    match format {
        LogFormat::Text => registry
            .with(tracing_subscriber::fmt::layer().with_writer(writer))
            .init(),
        LogFormat::Json => registry
            .with(
                tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_writer(writer),
            )
            .init(),
    }
}

/// Displays an error with all its sources.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut last = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let text = error.to_string();
            // Wrappers often repeat their source word for word.
            if !last.contains(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_default_levels_are_understood() {
        let targets: Targets = DEFAULT.parse().unwrap();
        for (target, level, expected) in [
            ("koinon_klusterlet::boot", Level::INFO, true),
            ("koinon_klusterlet::boot", Level::DEBUG, false),
            ("kube_client::client", Level::INFO, false),
            ("kube_runtime::watcher", Level::WARN, false),
        ] {
            assert_eq!(targets.would_enable(target, &level), expected, "{target}");
        }
    }
}
