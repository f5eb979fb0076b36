//! Command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;
use koinon_api::names::is_dns_label;

use crate::{
    config::Config,
    feedback::RawJson,
    hub::HubAddress,
    identity::TokenSource,
    report::Claiming,
    telemetry::LogFormat,
    work::{Allowance, Executing, Rights, Without},
};

/// Joins one Kubernetes cluster to a Koinon hub and keeps it as the hub says.
#[derive(Debug, Parser)]
#[command(name = "koinon-klusterlet", version)]
pub struct Args {
    /// Kubeconfig of the member cluster; in-cluster settings if absent.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// host:port of the hub's agent listener.
    #[arg(long, value_parser = HubAddress::parse)]
    hub_address: HubAddress,
    /// Name of this cluster on the hub; a DNS label.
    #[arg(long, value_parser = label)]
    cluster_name: String,
    /// Name of this agent; part of its certificate.
    #[arg(long, default_value = "klusterlet", value_parser = label)]
    agent_id: String,
    /// File with the join token; read again for each attempt to enrol.
    #[arg(long, conflicts_with = "bootstrap_token")]
    bootstrap_token_file: Option<PathBuf>,
    /// The join token itself. A flag would be readable by everybody on the machine, so it comes by environment.
    #[arg(
        long,
        env = "KOINON_BOOTSTRAP_TOKEN",
        hide = true,
        hide_env_values = true
    )]
    bootstrap_token: Option<String>,
    /// Namespace of the agent in the member cluster; its identity and desired state are kept there.
    #[arg(long, default_value = "open-cluster-management-agent", value_parser = label)]
    namespace: String,
    /// Where /livez, /readyz and /metrics are served.
    #[arg(long, default_value = "127.0.0.1:7481")]
    health_listen: SocketAddr,
    /// Period of the full comparison of each work with the cluster. Drift is seen at once without it, and whatever a watch may
    /// have missed within seven minutes.
    #[arg(long, default_value = "30m", value_parser = duration)]
    resync_period: Duration,
    /// Report lists, maps and floats as JSON in status feedback; otherwise they are errors, as in OCM by default.
    #[arg(long)]
    raw_feedback_json: bool,
    /// Longest JSON text that --raw-feedback-json reports, in bytes; 1 to 1024.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..=1024))]
    max_json_raw_length: u16,
    /// Share of the applied objects, in percent, that the hub may delete within ten minutes; more waits for
    /// `koinon cluster approve-deletion`. 100 lets everything pass.
    #[arg(long, default_value_t = Allowance::default().percent, value_parser = clap::value_parser!(u8).range(0..=100))]
    mass_deletion_percent: u8,
    /// So many objects may be deleted within ten minutes whatever share they are.
    #[arg(long, default_value_t = Allowance::default().objects)]
    mass_deletion_objects: usize,
    /// How long works that the hub does not know, or of an earlier hub, are kept before they are deleted with their objects, as in
    /// OCM; `never` keeps them until an admin of the hub orders otherwise. See `koinon cluster dispose-unmanaged`.
    #[arg(long, default_value = "never", value_parser = grace)]
    appliedmanifestwork_eviction_grace_period: Grace,
    /// Apply works that name an executor as that service account, instead of asking whether it may; the agent needs the
    /// right to impersonate it.
    #[arg(long)]
    impersonate_executor: bool,
    /// Apply no work that names no executor.
    #[arg(long)]
    require_executor: bool,
    /// Most claims with names of the cluster's own choosing that are reported; the first by name.
    #[arg(long, default_value_t = Claiming::default().most_custom, value_parser = clap::value_parser!(u8).range(0..=200))]
    max_custom_cluster_claims: u8,
    /// Claims whose name ends so are reported whatever their number, as the well-known ones are; at most ten, separated
    /// by commas.
    #[arg(long, default_value = "", value_parser = suffixes)]
    reserved_cluster_claim_suffixes: Suffixes,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

impl Args {
    /// Returns the format of the log.
    #[must_use]
    pub const fn log_format(&self) -> LogFormat {
        self.log_format
    }

    /// Returns the settings.
    #[must_use]
    pub fn config(self) -> Config {
        let Self {
            kubeconfig,
            hub_address,
            cluster_name,
            agent_id,
            bootstrap_token_file,
            bootstrap_token,
            namespace,
            health_listen,
            resync_period,
            raw_feedback_json,
            max_json_raw_length,
            mass_deletion_percent,
            mass_deletion_objects,
            appliedmanifestwork_eviction_grace_period: Grace(eviction_grace),
            impersonate_executor,
            require_executor,
            max_custom_cluster_claims,
            reserved_cluster_claim_suffixes,
            log_format: _,
        } = self;
        let token = bootstrap_token_file
            .map(TokenSource::File)
            .or_else(|| bootstrap_token.map(|token| TokenSource::Value(token.into())));
        Config {
            kubeconfig,
            hub_address,
            cluster_name,
            agent_id,
            token,
            namespace,
            health_listen: Some(health_listen),
            resync_period,
            raw_json: if raw_feedback_json {
                RawJson::UpTo(max_json_raw_length.into())
            } else {
                RawJson::Refused
            },
            allowance: Allowance {
                percent: mass_deletion_percent,
                objects: mass_deletion_objects,
            },
            eviction_grace,
            claiming: Claiming {
                most_custom: max_custom_cluster_claims,
                reserved_suffixes: reserved_cluster_claim_suffixes.0,
            },
            executing: Executing {
                rights: if impersonate_executor {
                    Rights::Account
                } else {
                    Rights::Agent
                },
                without: if require_executor {
                    Without::Refused
                } else {
                    Without::Allowed
                },
            },
        }
    }
}

fn label(text: &str) -> Result<String, String> {
    if is_dns_label(text) {
        Ok(text.to_owned())
    } else {
        Err(
            "must be a DNS label: lower case letters, digits and '-', at most 63 characters"
                .to_owned(),
        )
    }
}

/// Ends of the names of claims.
#[derive(Clone, Debug)]
struct Suffixes(Vec<String>);

/// Reads them within the bounds of OCM's Klusterlet.
fn suffixes(text: &str) -> Result<Suffixes, String> {
    let all: Vec<String> = match text {
        "" => Vec::new(),
        _ => text.split(',').map(str::to_owned).collect(),
    };
    if all.len() > 10 {
        return Err("must be at most ten".to_owned());
    }
    if all.iter().any(|one| !(1..=64).contains(&one.len())) {
        return Err("each must have 1 to 64 characters".to_owned());
    }
    Ok(Suffixes(all))
}

/// A time after which something is evicted, if ever.
#[derive(Clone, Copy, Debug)]
struct Grace(Option<Duration>);

/// OCM takes a hundred years for ever.
fn grace(text: &str) -> Result<Grace, String> {
    const FOR_EVER: Duration = Duration::from_secs(876_000 * 3600);
    if text == "never" {
        return Ok(Grace(None));
    }
    let grace = duration(text).map_err(|error| format!("{error}, and not `never`"))?;
    Ok(Grace(Some(grace).filter(|grace| *grace < FOR_EVER)))
}

/// Reads `90s`, `5m`, `1h30m`.
fn duration(text: &str) -> Result<Duration, String> {
    let (mut total, mut number) = (Duration::ZERO, String::new());
    let bad = || format!("{text:?} is not a duration such as 30s, 5m or 1h30m");
    for c in text.chars() {
        if c.is_ascii_digit() {
            number.push(c);
            continue;
        }
        let amount: u64 = number.parse().map_err(|_| bad())?;
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            _ => return Err(bad()),
        };
        total += Duration::from_secs(amount.checked_mul(unit).ok_or_else(bad)?);
        number.clear();
    }
    if !number.is_empty() || total < Duration::from_secs(1) {
        return Err(bad());
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, seconds) in [("30s", 30), ("5m", 300), ("1h30m", 5400)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "5", "m", "5x", "0s", "-5m", "99999999999999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bad_settings_are_refused_before_anything_starts() {
        let base = [
            "koinon-klusterlet",
            "--hub-address=hub:7444",
            "--cluster-name=east",
        ];
        let args = Args::try_parse_from(base).unwrap();
        assert_eq!(args.config().claiming, Claiming::default());
        for (text, seconds) in [("60m", Some(3600)), ("never", None), ("876000h", None)] {
            let flag = format!("--appliedmanifestwork-eviction-grace-period={text}");
            let args = base.into_iter().map(str::to_owned).chain([flag]);
            let grace = Args::try_parse_from(args).unwrap().config().eviction_grace;
            assert_eq!(grace.map(|grace| grace.as_secs()), seconds, "{text}");
        }
        let flag = "--reserved-cluster-claim-suffixes=.a.io,.b.io";
        let args = Args::try_parse_from(base.into_iter().chain([flag])).unwrap();
        assert_eq!(args.config().claiming.reserved_suffixes, [".a.io", ".b.io"]);
        for bad in [
            "--max-custom-cluster-claims=201",
            "--reserved-cluster-claim-suffixes=.a.io,",
            "--reserved-cluster-claim-suffixes=1,2,3,4,5,6,7,8,9,10,11",
            "--cluster-name=East",
            "--hub-address=hub",
            "--resync-period=0s",
            "--appliedmanifestwork-eviction-grace-period=soon",
            "--namespace=a/b",
            "--agent-id=a.b",
        ] {
            let args: Vec<_> = base
                .iter()
                .copied()
                .filter(|a| a.split('=').next() != bad.split('=').next())
                .chain([bad])
                .collect();
            assert!(Args::try_parse_from(args).is_err(), "{bad}");
        }
    }
}
