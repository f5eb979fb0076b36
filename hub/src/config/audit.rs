//! What the audit log holds and where it goes.

use std::{path::PathBuf, time::Duration};

use super::Error;
use crate::{
    args::{AuditArgs, AuditLevel},
    audit::{Level, Policy, WhenFull},
};

/// Shortest time for which records are kept: less, and nobody could read them.
const SHORTEST: Duration = Duration::from_secs(3600);

/// What the audit log holds and where it goes.
#[derive(Debug)]
pub struct AuditSettings {
    /// How much is recorded of what.
    pub policy: Policy,
    /// JSON lines: a file, or `-`.
    pub lines: Option<PathBuf>,
    /// How long the table keeps records.
    pub retention: Duration,
    /// What becomes of changes that cannot be recorded.
    pub when_full: WhenFull,
}

impl AuditSettings {
    /// Settings that make sense; `None` when nothing is to be recorded.
    pub(super) fn read(args: AuditArgs) -> Result<Option<Self>, Error> {
        let AuditArgs {
            audit_level,
            audit_policy_file,
            audit_log,
            audit_retention,
            audit_strict,
        } = args;
        if audit_retention < SHORTEST {
            return Err(Error::AuditRetention);
        }
        let policy = match (audit_policy_file, audit_level) {
            (Some(path), _) => {
                let text = std::fs::read_to_string(&path).map_err(|error| error.to_string());
                text.and_then(|text| Policy::parse(&text))
                    .map_err(|why| Error::AuditPolicy(path, why))?
            }
            (None, AuditLevel::Metadata) => Policy::standard(Level::Metadata),
            (None, AuditLevel::Request) => Policy::standard(Level::Request),
            (None, AuditLevel::None) if audit_log.is_some() || audit_strict => {
                return Err(Error::AuditOfNothing);
            }
            (None, AuditLevel::None) => return Ok(None),
        };
        Ok(Some(Self {
            policy,
            lines: audit_log,
            retention: audit_retention,
            when_full: if audit_strict {
                WhenFull::Refuse
            } else {
                WhenFull::Count
            },
        }))
    }
}
