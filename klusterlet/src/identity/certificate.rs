use std::time::Duration;

use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// When a certificate is good, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub from: i64,
    /// Last second.
    pub until: i64,
}

impl Validity {
    /// Reads the leaf of a chain.
    #[must_use]
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
        let validity = certificate.validity();
        Some(Self {
            from: validity.not_before.timestamp(),
            until: validity.not_after.timestamp(),
        })
    }

    /// Says whether it is over.
    #[must_use]
    pub const fn is_over(&self, now: i64) -> bool {
        now >= self.until
    }

    /// Returns how long to wait before renewing: until two thirds of the life, plus a `share` in `[0, 1]` of the following
    /// tenth, so that agents that enrolled together do not renew together.
    #[must_use]
    pub fn renew_in(&self, now: i64, share: f64) -> Duration {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "lives are far below 2^52 seconds"
        )]
        let at = self.from + ((self.until - self.from) as f64 * (2.0 / 3.0 + share / 10.0)) as i64;
        Duration::from_secs(u64::try_from(at - now).unwrap_or(0))
    }
}

/// Returns the hex SHA-256 of a certificate.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> String {
    Sha256::digest(certificate)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_falls_into_the_tenth_after_two_thirds() {
        let validity = Validity {
            from: 0,
            until: 3000,
        };
        assert_eq!(validity.renew_in(0, 0.0), Duration::from_secs(2000));
        assert_eq!(validity.renew_in(500, 1.0), Duration::from_secs(1800));
        assert_eq!(validity.renew_in(2900, 0.5), Duration::ZERO);
        assert!(validity.is_over(3000) && !validity.is_over(2999));
    }
}
