//! A status between two reports.

use std::sync::Arc;

use koinon_api::work::ManifestWorkStatus;
use koinon_proto::{StatusDigest, status_digest};

use crate::desired::{compress, decompress};

/// Statuses of works with more manifests are kept as they are: few works are that large, and packing takes its time.
const SMALL: usize = 64;

/// A status that is read again only when something happens to its work: until then it takes a tenth of its room.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Kept {
    digest: StatusDigest,
    form: Form,
}

#[derive(Debug, Clone, PartialEq)]
enum Form {
    Plain(Arc<ManifestWorkStatus>),
    /// JSON, compressed.
    Packed(Arc<[u8]>),
}

impl Default for Form {
    fn default() -> Self {
        Self::Plain(Arc::default())
    }
}

impl Kept {
    /// Keeps a status that is to be reported.
    #[must_use]
    pub fn of(status: &Arc<ManifestWorkStatus>) -> Self {
        let json = json(status);
        let small = status.resource_status.manifests.len() <= SMALL;
        let packed = small.then(|| compress(&json).ok()).flatten();
        Self {
            digest: status_digest(&json),
            form: packed.map_or_else(|| Form::Plain(status.clone()), Form::Packed),
        }
    }

    /// Keeps a status that is not reported as it is: it has no digest.
    #[must_use]
    pub fn unreported(status: Arc<ManifestWorkStatus>) -> Self {
        Self {
            digest: StatusDigest::default(),
            form: Form::Plain(status),
        }
    }

    /// The status.
    #[must_use]
    pub fn open(&self) -> Arc<ManifestWorkStatus> {
        match &self.form {
            Form::Plain(status) => status.clone(),
            Form::Packed(_) => Arc::new(serde_json::from_slice(&self.json()).unwrap_or_default()),
        }
    }

    /// The status as it is sent.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        match &self.form {
            Form::Plain(status) => json(status),
            Form::Packed(bytes) => decompress(bytes).unwrap_or_default(),
        }
    }

    /// By what the hub tells whether it has the status.
    #[must_use]
    pub const fn digest(&self) -> StatusDigest {
        self.digest
    }
}

/// As the hub writes it: through a value, so with sorted keys.
fn json(status: &ManifestWorkStatus) -> Vec<u8> {
    let value = serde_json::to_value(status).unwrap_or_default();
    value.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use koinon_api::{
        meta::{Truth, new_condition},
        work::ManifestCondition,
    };

    use super::*;

    fn status(manifests: usize) -> Arc<ManifestWorkStatus> {
        let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
        let mut status = ManifestWorkStatus {
            conditions: vec![new_condition("Applied", Truth::True, "Done", "done", now)],
            ..Default::default()
        };
        let manifest = ManifestCondition {
            conditions: vec![new_condition("Available", Truth::True, "Is", "it is", now)],
            ..Default::default()
        };
        status.resource_status.manifests = vec![manifest; manifests];
        Arc::new(status)
    }

    #[test]
    fn a_status_comes_out_as_it_went_in() {
        for manifests in [0, 1, SMALL, SMALL + 1] {
            let before = status(manifests);
            let kept = Kept::of(&before);
            assert_eq!(kept.open(), before);
            assert_eq!(kept.json(), json(&before));
            assert_eq!(kept, Kept::of(&kept.open()));
            assert_eq!(kept.digest(), status_digest(&kept.json()));
        }
        assert_eq!(Kept::default().open(), Arc::default());
        assert_ne!(Kept::of(&status(1)), Kept::of(&status(2)));
    }

    #[test]
    fn a_small_one_takes_little_room() {
        let kept = Kept::of(&status(5));
        let Form::Packed(bytes) = &kept.form else {
            panic!("{kept:?}");
        };
        assert!(bytes.len() * 4 < kept.json().len(), "{}", bytes.len());
    }
}
