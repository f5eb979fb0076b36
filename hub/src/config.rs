//! Validated settings.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use secrecy::SecretString;

use crate::args::Args;

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a DNS name and not an IP address.
    #[error("--advertise-host {0:?} is neither a host name nor an address")]
    Host(String),
    /// Too short to be renewed in time, or longer than the CA lives.
    #[error("--agent-certificate-ttl must be between 1m and 365d")]
    CertificateTtl,
    /// Two listeners on one port.
    #[error("{0} and {1} cannot both listen on {2}")]
    SameAddress(&'static str, &'static str, SocketAddr),
}

/// Settings that were checked.
#[derive(Debug)]
pub struct Config {
    pub api_listen: SocketAddr,
    pub agent_listen: SocketAddr,
    pub health_listen: SocketAddr,
    /// Names that the server certificate holds beside `localhost` and the loopback addresses.
    pub advertise_hosts: Vec<String>,
    pub data_dir: PathBuf,
    pub database_url: Option<SecretString>,
    pub controllers: String,
    pub agent_certificate_ttl: Duration,
    pub shutdown_grace: Duration,
}

impl TryFrom<Args> for Config {
    type Error = Error;

    fn try_from(args: Args) -> Result<Self, Error> {
        let Args {
            api_listen,
            agent_listen,
            health_listen,
            advertise_host,
            data_dir,
            database_url,
            controllers,
            agent_certificate_ttl,
            shutdown_grace,
            log_format: _,
            command: _,
        } = args;
        let addresses = [
            ("--api-listen", api_listen),
            ("--agent-listen", agent_listen),
            ("--health-listen", health_listen),
        ];
        for (i, (one, address)) in addresses.iter().enumerate() {
            for (two, other) in &addresses[i + 1..] {
                if address == other && address.port() != 0 {
                    return Err(Error::SameAddress(one, two, *address));
                }
            }
        }
        if let Some(bad) = advertise_host.iter().find(|host| !is_host(host)) {
            return Err(Error::Host(bad.clone()));
        }
        if !(Duration::from_secs(60)..=Duration::from_secs(365 * 86_400))
            .contains(&agent_certificate_ttl)
        {
            return Err(Error::CertificateTtl);
        }
        Ok(Self {
            api_listen,
            agent_listen,
            health_listen,
            advertise_hosts: advertise_host,
            data_dir,
            database_url,
            controllers,
            agent_certificate_ttl,
            shutdown_grace,
        })
    }
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.parse::<std::net::IpAddr>().is_ok() || (host.len() <= 253 && host.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn config(flags: &[&str]) -> Result<Config, Error> {
        Args::parse_from([&["koinon-hub"], flags].concat()).try_into()
    }

    #[test]
    fn defaults_are_valid() {
        assert!(config(&[]).is_ok());
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        let config = config(&[
            "--advertise-host",
            "hub.example.com,10.1.2.3",
            "--advertise-host",
            "::1",
        ])
        .unwrap();
        assert_eq!(
            config.advertise_hosts,
            ["hub.example.com", "10.1.2.3", "::1"]
        );
        for bad in ["https://hub", "hub:7443", "", "-hub", "a b"] {
            assert!(
                matches!(
                    super::Config::try_from(Args::parse_from([
                        "koinon-hub",
                        &format!("--advertise-host={bad}")
                    ])),
                    Err(Error::Host(_))
                ),
                "{bad}"
            );
        }
    }

    #[test]
    fn listeners_must_differ_unless_the_port_is_chosen_by_the_system() {
        assert!(matches!(
            config(&["--api-listen", "127.0.0.1:7444"]),
            Err(Error::SameAddress(..))
        ));
        assert!(
            config(&[
                "--api-listen",
                "127.0.0.1:0",
                "--agent-listen",
                "127.0.0.1:0"
            ])
            .is_ok()
        );
    }
}
