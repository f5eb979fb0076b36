//! What is recorded, and where.

use std::{path::PathBuf, time::Duration};

use super::duration;

/// How much is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum AuditLevel {
    /// Nothing.
    #[default]
    None,
    /// Every change, and who reads secrets or the audit log.
    Metadata,
    /// And with what bodies, secrets apart.
    Request,
}

/// Flags of the audit log.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// What is recorded in the audit log: nothing, every change and who reads secrets, or that with the bodies of requests.
    #[arg(
        long,
        env = "KOINON_AUDIT_LEVEL",
        default_value = "none",
        value_name = "LEVEL",
        conflicts_with = "audit_policy_file"
    )]
    pub audit_level: AuditLevel,

    /// The same in detail: a `Policy` of `audit.k8s.io/v1`.
    #[arg(long, env = "KOINON_AUDIT_POLICY_FILE", value_name = "FILE")]
    pub audit_policy_file: Option<PathBuf>,

    /// Also write audit records as JSON lines to this file; `-` for standard output.
    #[arg(
        long,
        env = "KOINON_AUDIT_LOG",
        value_name = "FILE",
        allow_hyphen_values = true
    )]
    pub audit_log: Option<PathBuf>,

    /// How long the registry keeps audit records.
    #[arg(long, default_value = "90d", value_name = "DURATION", value_parser = duration)]
    pub audit_retention: Duration,

    /// Refuse changes that cannot be recorded, instead of counting them.
    #[arg(long, env = "KOINON_AUDIT_STRICT")]
    pub audit_strict: bool,
}
