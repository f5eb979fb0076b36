//! What can go wrong, said so that a person knows what to do next.

use std::{error::Error as StdError, fmt::Write as _};

/// The result of a command.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed command.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The command was right and did not succeed.
    #[error("{what}")]
    Failed {
        what: String,
        next: Option<String>,
        #[source]
        source: Option<Box<dyn StdError + Send + Sync>>,
    },
}

impl Error {
    /// Says what failed.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Error::Failed {
            what: what.into(),
            next: None,
            source: None,
        }
    }

    /// Says what failed, and why.
    pub(crate) fn caused(
        what: impl Into<String>,
        source: impl StdError + Send + Sync + 'static,
    ) -> Self {
        Error::Failed {
            what: what.into(),
            next: None,
            source: Some(Box::new(source)),
        }
    }

    /// Adds what to do next.
    pub(crate) fn next(self, hint: impl Into<String>) -> Self {
        match self {
            Error::Failed { what, source, .. } => Error::Failed {
                what,
                source,
                next: Some(hint.into()),
            },
            usage @ Error::Usage(_) => usage,
        }
    }

    /// Returns the process's exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => super::USAGE,
            Error::Failed { .. } => 1,
        }
    }

    /// Writes the error, its causes and the next step, for the terminal.
    pub(crate) fn report(&self) -> String {
        let mut text = format!("error: {self}");
        let mut source = StdError::source(self);
        let mut last = self.to_string();
        while let Some(cause) = source {
            let words = cause.to_string();
            // Many errors repeat their cause's words.
            if !last.contains(&words) {
                _ = write!(text, ": {words}");
            }
            last = words;
            source = cause.source();
        }
        text.push('\n');
        if let Error::Failed {
            next: Some(next), ..
        } = self
        {
            for line in next.lines() {
                _ = writeln!(text, "  {line}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_the_causes_and_the_next_step() {
        let cause = std::io::Error::other("no such file");
        let report = Error::caused("cannot read the kubeconfig", cause)
            .next("name another with --kubeconfig")
            .report();
        assert_eq!(
            report,
            "error: cannot read the kubeconfig: no such file\n  name another with --kubeconfig\n"
        );
    }

    #[test]
    fn scripts_can_tell_a_wrong_command_line_from_a_failure() {
        assert_eq!(Error::Usage("x".into()).exit_code(), 64);
        assert_eq!(Error::failed("x").exit_code(), 1);
    }
}
