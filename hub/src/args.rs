//! Command line of the hub.

mod audit;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use secrecy::SecretString;

pub use self::audit::{AuditArgs, AuditLevel};
use crate::telemetry::LogFormat;

/// The hub of a Koinon league: the Open Cluster Management API on a Postgres registry.
#[derive(Debug, Parser)]
#[command(name = "koinon-hub", version)]
pub struct Args {
    /// What to do instead of being a hub.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Where the Kubernetes API is served (HTTPS).
    #[arg(
        long,
        env = "KOINON_API_LISTEN",
        default_value = "127.0.0.1:7443",
        value_name = "ADDRESS"
    )]
    pub api_listen: SocketAddr,

    /// Where klusterlets connect (gRPC over TLS).
    #[arg(
        long,
        env = "KOINON_AGENT_LISTEN",
        default_value = "127.0.0.1:7444",
        value_name = "ADDRESS"
    )]
    pub agent_listen: SocketAddr,

    /// Where /livez, /readyz, /metrics and /debug/tasks are served (plain HTTP).
    #[arg(
        long,
        env = "KOINON_HEALTH_LISTEN",
        default_value = "127.0.0.1:7480",
        value_name = "ADDRESS"
    )]
    pub health_listen: SocketAddr,

    /// Host name or address under which users and agents reach this hub; the first one goes into the admin kubeconfig.
    #[arg(
        long,
        env = "KOINON_ADVERTISE_HOST",
        value_name = "HOST",
        value_delimiter = ','
    )]
    pub advertise_host: Vec<String>,

    /// Folder for the embedded Postgres and `admin.kubeconfig`.
    #[arg(
        long,
        env = "KOINON_DATA_DIR",
        default_value = "/var/lib/koinon",
        value_name = "FOLDER"
    )]
    pub data_dir: PathBuf,

    /// Registry to use; without it a private Postgres is started in the data folder.
    #[arg(
        long,
        env = "KOINON_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub database_url: Option<SecretString>,

    /// Keys that seal what is secret in the registry; `none` stores it in the clear. With --database-url and without this no Secrets are
    /// taken; without both, `secrets.key` in the data folder is made and used.
    #[arg(long, env = "KOINON_SECRETS_KEY_FILE", value_name = "FILE")]
    pub secrets_key_file: Option<PathBuf>,

    /// Controllers to run: `*` for all, `name` for one, `-name` for all but one.
    #[arg(
        long,
        env = "KOINON_CONTROLLERS",
        default_value = "*",
        value_name = "LIST",
        allow_hyphen_values = true
    )]
    pub controllers: String,

    /// How long an issued agent certificate is valid.
    #[arg(long, default_value = "30d", value_name = "DURATION", value_parser = duration)]
    pub agent_certificate_ttl: Duration,

    /// OpenID Connect issuer whose tokens are taken, `https://…`.
    #[arg(long, env = "KOINON_OIDC_ISSUER_URL", value_name = "URL")]
    pub oidc_issuer_url: Option<String>,

    /// Audience that the issuer's tokens must have.
    #[arg(
        long,
        env = "KOINON_OIDC_CLIENT_ID",
        value_name = "ID",
        requires = "oidc_issuer_url"
    )]
    pub oidc_client_id: Option<String>,

    /// Claim that is the user name.
    #[arg(long, default_value = "sub", value_name = "CLAIM")]
    pub oidc_username_claim: String,

    /// Put before every user name; `-` for nothing [default: the issuer's URL and `#`, nothing for `email`].
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub oidc_username_prefix: Option<String>,

    /// Claim that lists the groups.
    #[arg(long, value_name = "CLAIM")]
    pub oidc_groups_claim: Option<String>,

    /// Put before every group.
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub oidc_groups_prefix: String,

    /// A claim that tokens must have with this value; may be repeated.
    #[arg(long, value_name = "CLAIM=VALUE")]
    pub oidc_required_claim: Vec<String>,

    /// Certificate authorities that the issuer is trusted by, PEM [default: the system's].
    #[arg(long, value_name = "FILE")]
    pub oidc_ca_file: Option<PathBuf>,

    /// Signature algorithms that are taken.
    #[arg(
        long,
        default_value = "RS256",
        value_name = "LIST",
        value_delimiter = ','
    )]
    pub oidc_signing_algs: Vec<String>,

    /// Reads of all users that are under way at once; more wait, and then get 429.
    #[arg(long, default_value_t = 400, value_name = "NUMBER")]
    pub max_requests_inflight: usize,

    /// Changes of all users that are under way at once.
    #[arg(long, default_value_t = 200, value_name = "NUMBER")]
    pub max_mutating_requests_inflight: usize,

    /// Watches of all users at once.
    #[arg(long, default_value_t = 16_384, value_name = "NUMBER")]
    pub max_watches: usize,

    /// Watches of one user at once.
    #[arg(long, default_value_t = 2_048, value_name = "NUMBER")]
    pub max_watches_per_user: usize,

    /// What is recorded.
    #[command(flatten)]
    pub audit: AuditArgs,

    /// How long an orderly shutdown may take.
    #[arg(long, default_value = "25s", value_name = "DURATION", value_parser = duration)]
    pub shutdown_grace: Duration,

    /// How log lines are written.
    #[arg(long, env = "KOINON_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

/// What the program does beside being a hub.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Command {
    /// Prints the CRDs by which a Kubernetes API server would serve the same kinds, as YAML.
    Crds,
}

/// Parses `90s`, `15m`, `12h`, `30d`, `250ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("want a number and one of ms, s, m, h, d".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "want a number before the unit".to_owned())?;
    number
        .checked_mul(millis)
        .map(Duration::from_millis)
        .ok_or_else(|| "too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("25s"), Ok(Duration::from_secs(25)));
        assert_eq!(duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "25", "s", "1w", "-1s", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn controllers_may_begin_with_a_hyphen() {
        let args = Args::parse_from(["koinon-hub", "--controllers", "-lease,*"]);
        assert_eq!(args.controllers, "-lease,*");
    }
}
