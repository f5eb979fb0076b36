//! Validated settings.

mod audit;
mod secrets;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use jsonwebtoken::{Algorithm, AlgorithmFamily};
use secrecy::SecretString;

pub use self::{audit::AuditSettings, secrets::SecretsKey};
use crate::{args::Args, auth::oidc, rest::Limits};

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not a DNS name and not an IP address.
    #[error("--advertise-host {0:?} is neither a host name nor an address")]
    Host(String),
    /// Too short to be renewed in time, or longer than the CA lives.
    #[error("--agent-certificate-ttl must be between 1m and 365d")]
    CertificateTtl,
    /// The issuer is not what an issuer can be.
    #[error("--oidc-issuer-url must be an https URL without query and fragment")]
    OidcIssuer,
    /// An issuer issues tokens for many.
    #[error("--oidc-issuer-url needs --oidc-client-id")]
    OidcClient,
    /// Neither RSA, nor an elliptic curve, nor known at all.
    #[error("--oidc-signing-algs does not know {0:?}, or it is not safe here")]
    OidcAlgorithm(String),
    /// Not `claim=value`.
    #[error("--oidc-required-claim wants CLAIM=VALUE, not {0:?}")]
    OidcClaim(String),
    /// The audit policy cannot be read, or makes no sense.
    #[error("--audit-policy-file {0}: {1}")]
    AuditPolicy(PathBuf, String),
    /// Records that nobody could read any more.
    #[error("--audit-retention must be at least 1h")]
    AuditRetention,
    /// A log of nothing.
    #[error("--audit-log and --audit-strict need --audit-level or --audit-policy-file")]
    AuditOfNothing,
    /// A limit that lets nothing through.
    #[error("{0} must not be 0")]
    NoRoom(&'static str),
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
    /// Whose tokens are taken, and the authorities that this issuer is trusted by.
    pub oidc: Option<(oidc::Settings, Option<PathBuf>)>,
    pub limits: Limits,
    /// `None` records nothing.
    pub audit: Option<AuditSettings>,
    pub secrets_key: SecretsKey,
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
            oidc_issuer_url,
            oidc_client_id,
            oidc_username_claim,
            oidc_username_prefix,
            oidc_groups_claim,
            oidc_groups_prefix,
            oidc_required_claim,
            oidc_ca_file,
            oidc_signing_algs,
            max_requests_inflight,
            max_mutating_requests_inflight,
            max_watches,
            max_watches_per_user,
            audit,
            secrets_key_file,
        } = args;
        let audit = AuditSettings::read(audit)?;
        let secrets_key = SecretsKey::new(secrets_key_file, database_url.is_some(), &data_dir);
        let limits = Limits {
            reads: max_requests_inflight,
            changes: max_mutating_requests_inflight,
            watches: max_watches,
            watches_per_user: max_watches_per_user,
            ..Limits::default()
        };
        for (flag, limit) in [
            ("--max-requests-inflight", limits.reads),
            ("--max-mutating-requests-inflight", limits.changes),
            ("--max-watches", limits.watches),
            ("--max-watches-per-user", limits.watches_per_user),
        ] {
            if limit == 0 {
                return Err(Error::NoRoom(flag));
            }
        }
        let oidc = match oidc_issuer_url {
            None => None,
            Some(issuer) => {
                let settings = oidc::Settings {
                    issuer: issuer_url(issuer)?,
                    client_id: oidc_client_id.ok_or(Error::OidcClient)?,
                    username_claim: oidc_username_claim,
                    username_prefix: oidc_username_prefix,
                    groups_claim: oidc_groups_claim,
                    groups_prefix: oidc_groups_prefix,
                    required_claims: required_claims(&oidc_required_claim)?,
                    algorithms: algorithms(&oidc_signing_algs)?,
                };
                Some((settings, oidc_ca_file))
            }
        };
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
            oidc,
            limits,
            audit,
            secrets_key,
        })
    }
}

fn issuer_url(issuer: String) -> Result<String, Error> {
    let uri: Option<http::Uri> = issuer.parse().ok();
    let fits = uri.is_some_and(|uri| {
        uri.scheme_str() == Some("https") && uri.host().is_some() && uri.query().is_none()
    });
    if fits && !issuer.contains('#') {
        Ok(issuer)
    } else {
        Err(Error::OidcIssuer)
    }
}

fn required_claims(list: &[String]) -> Result<BTreeMap<String, String>, Error> {
    let pair = |text: &String| {
        let (claim, value) = text
            .split_once('=')
            .filter(|(claim, _)| !claim.is_empty())?;
        Some((claim.to_owned(), value.to_owned()))
    };
    list.iter()
        .map(|text| pair(text).ok_or_else(|| Error::OidcClaim(text.clone())))
        .collect()
}

/// Signatures that only the issuer can make: an HMAC is made with what verifies it.
fn algorithms(list: &[String]) -> Result<Vec<Algorithm>, Error> {
    let known = |text: &String| {
        let algorithm: Algorithm = text.parse().ok()?;
        (algorithm.family() != AlgorithmFamily::Hmac).then_some(algorithm)
    };
    list.iter()
        .map(|text| known(text).ok_or_else(|| Error::OidcAlgorithm(text.clone())))
        .collect()
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
    fn a_database_of_ones_own_takes_no_secrets_without_a_word_on_them() {
        let url = "--database-url=postgres://db";
        let key = |flags: &[&str]| config(flags).unwrap().secrets_key;
        assert_eq!(key(&[url]), SecretsKey::Missing);
        assert!(!key(&[url]).takes_secrets());
        assert_eq!(key(&[url, "--secrets-key-file=none"]), SecretsKey::Clear);
        assert_eq!(
            key(&[url, "--secrets-key-file=/k"]),
            SecretsKey::File("/k".into())
        );
        assert_eq!(
            key(&["--data-dir=/d"]),
            SecretsKey::Own("/d/secrets.key".into())
        );
    }

    #[test]
    fn nothing_is_recorded_unless_it_is_said_what() {
        assert!(config(&[]).unwrap().audit.is_none());
        assert!(config(&["--audit-level=request"]).unwrap().audit.is_some());
        assert!(matches!(
            config(&["--audit-log=-"]),
            Err(Error::AuditOfNothing)
        ));
        assert!(matches!(
            config(&["--audit-policy-file=/nowhere"]),
            Err(Error::AuditPolicy(..))
        ));
        assert!(matches!(
            config(&["--audit-retention=1s"]),
            Err(Error::AuditRetention)
        ));
    }

    #[test]
    fn an_issuer_is_an_https_url_with_a_client_and_safe_signatures() {
        let issuer = [
            "--oidc-issuer-url=https://id.example",
            "--oidc-client-id=koinon",
        ];
        let with = |more: &[&str]| config(&[&issuer[..], more].concat());
        assert!(
            with(&[
                "--oidc-required-claim=hd=example.com",
                "--oidc-signing-algs=ES256,RS256"
            ])
            .is_ok()
        );
        assert!(matches!(config(&issuer[..1]), Err(Error::OidcClient)));
        for bad in ["http://id.example", "id.example", "https://id.example?x=1"] {
            let flag = format!("--oidc-issuer-url={bad}");
            assert!(
                matches!(config(&[&flag, issuer[1]]), Err(Error::OidcIssuer)),
                "{bad}"
            );
        }
        for bad in ["HS256", "none", "rs256"] {
            let flag = format!("--oidc-signing-algs={bad}");
            assert!(
                matches!(with(&[&flag]), Err(Error::OidcAlgorithm(_))),
                "{bad}"
            );
        }
        assert!(matches!(
            with(&["--oidc-required-claim=hd"]),
            Err(Error::OidcClaim(_))
        ));
        assert!(matches!(
            config(&["--max-watches=0"]),
            Err(Error::NoRoom(_))
        ));
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
