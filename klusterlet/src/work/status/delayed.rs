//! Why a deletion waits.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use koinon_api::{
    applied::AppliedManifestResourceMeta,
    labels::{annotation, condition as kind, reason::deletion_held as held},
    meta::{self, Truth, new_condition, set_condition},
    work::ManifestWorkStatus,
};

use crate::cluster::Error;

/// Why a deletion waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::work) struct Delayed {
    reason: &'static str,
    message: String,
}

impl Delayed {
    /// Too much of what is applied would go at once.
    pub(in crate::work) fn mass(message: String) -> Self {
        Self {
            reason: held::MASS,
            message,
        }
    }

    /// The cluster does not allow it.
    pub(in crate::work) fn policy(message: String) -> Self {
        Self {
            reason: held::POLICY,
            message,
        }
    }

    /// Things of others would go with an object.
    pub(in crate::work) fn content(message: String) -> Self {
        Self {
            reason: held::CONTENT,
            message,
        }
    }

    /// Another work is to have the object, and could not take it over yet.
    pub(in crate::work) fn wanted(object: &AppliedManifestResourceMeta, by: &str) -> Self {
        let place = [object.namespace.as_str(), object.name.as_str()];
        let place = place
            .map(str::to_owned)
            .into_iter()
            .filter(|part| !part.is_empty());
        let place = place.collect::<Vec<_>>().join("/");
        Self {
            reason: held::WANTED,
            message: format!(
                "{} {place} stays until work {by:?}, which wants it too, has taken it over",
                object.resource
            ),
        }
    }

    /// Nobody serves its kind, and that need not be its end.
    pub(in crate::work) fn unserved(object: &AppliedManifestResourceMeta, kind: &str) -> Self {
        Self {
            reason: held::UNSERVED,
            message: format!(
                "the cluster does not serve {kind} just now, so it is not known whether {:?} is gone; if the kind is gone for good, annotate the work with {}={kind}",
                object.name,
                annotation::APPROVE_DELETION
            ),
        }
    }

    /// It was planned, and the agent may not look whether it was made.
    pub(in crate::work) fn unseen(
        object: &AppliedManifestResourceMeta,
        kind: &str,
        error: &Error,
    ) -> Self {
        Self {
            reason: held::FAILED,
            message: format!(
                "it is not known whether {:?} was made: {error}; let the agent look, or, if there is no such object of this work, annotate the work with {}={kind}",
                object.name,
                annotation::APPROVE_DELETION
            ),
        }
    }

    /// It was asked for, and somebody's finalizer keeps the object.
    pub(in crate::work) fn lingers(message: String) -> Self {
        Self {
            reason: held::FINALIZERS,
            message,
        }
    }

    /// It could not be done; the API server says why.
    pub(in crate::work) fn failed(message: String) -> Self {
        Self {
            reason: held::FAILED,
            message,
        }
    }

    /// With what else waits, and for whom.
    pub(in crate::work) fn and(mut self, other: &Self) -> Self {
        self.message = format!("{}; besides: {}", self.message, other.message);
        self
    }

    /// Why, for people.
    pub(in crate::work) fn message(&self) -> String {
        self.message.clone()
    }

    /// Nothing is asked of anybody here.
    pub(in crate::work) fn is_going(&self) -> bool {
        self.reason == held::FINALIZERS
    }

    /// Only an approval, or time, helps.
    pub(in crate::work) fn is_mass(&self) -> bool {
        self.reason == held::MASS
    }
}

/// Says in a status that a deletion waits, or no longer does.
pub(in crate::work) fn delay(
    status: &mut ManifestWorkStatus,
    delayed: Option<&Delayed>,
    now: &Time,
) {
    match delayed {
        Some(Delayed { reason, message }) => {
            let condition = new_condition(
                kind::DELETION_HELD,
                Truth::True,
                reason,
                message.as_str(),
                now.0,
            );
            set_condition(&mut status.conditions, condition);
        }
        None => _ = meta::remove_condition(&mut status.conditions, kind::DELETION_HELD),
    }
}
