//! Whether a live object does what it is for, told without any rule.
//!
//! OCM's agent says `Available` of everything that exists and `Progressing` of nothing. A rollout that waits for that
//! goes on to the next cluster while the first one fails, so the usual kinds are understood here: what
//! `kubectl rollout status` waits for, and the conditions `Ready`, `Available`, `Reconciling`, `Progressing`, `Stalled`,
//! `Degraded` and `Failed` of every other kind. Pure.

mod kinds;

use koinon_api::{
    labels::{
        condition,
        reason::{manifest, readiness as reason},
    },
    meta::Truth,
};
use serde_json::Value;

use super::Derived;

/// One statement about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it holds.
    pub truth: Truth,
    /// For people.
    pub message: String,
}

/// What an object says of itself; `None` where its kind says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// It does what it is for.
    pub available: Option<Finding>,
    /// It is on its way to what its spec says.
    pub progressing: Option<Finding>,
    /// It will not get there, or is not well.
    pub degraded: Option<Finding>,
}

impl Readiness {
    /// Returns what is said as conditions of a manifest.
    #[must_use]
    pub fn conditions(self) -> Vec<Derived> {
        let Self {
            available,
            progressing,
            degraded,
        } = self;
        let mut derived = Vec::new();
        if let Some(Finding { truth, message }) = available {
            // What is fine has OCM's words, so that a status does not change with every replica.
            let (reason, message) = match truth {
                Truth::True => (manifest::AVAILABLE, "Resource is available".to_owned()),
                Truth::False => (
                    manifest::NOT_AVAILABLE,
                    format!("Resource is not available: {message}"),
                ),
                Truth::Unknown => (reason::STATUS_UNKNOWN, message),
            };
            derived.push(Derived {
                kind: condition::AVAILABLE.to_owned(),
                truth,
                reason,
                message,
            });
        }
        for (kind, finding, holds, holds_not) in [
            (
                condition::PROGRESSING,
                progressing,
                reason::PROGRESSING,
                reason::SETTLED,
            ),
            (
                condition::DEGRADED,
                degraded,
                reason::DEGRADED,
                reason::WELL,
            ),
        ] {
            derived.extend(finding.map(|Finding { truth, message }| Derived {
                kind: kind.to_owned(),
                truth,
                reason: match truth {
                    Truth::True => holds,
                    Truth::False => holds_not,
                    Truth::Unknown => reason::STATUS_UNKNOWN,
                },
                message,
            }));
        }
        derived
    }
}

/// Reads the readiness of a live object.
#[must_use]
pub fn assess(object: &Value) -> Readiness {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let group = text("apiVersion")
        .rsplit_once('/')
        .map_or("", |(group, _)| group);
    let object = Seen(object);
    match (group, text("kind")) {
        ("apps", "Deployment") => kinds::deployment(object),
        ("apps", "StatefulSet") => kinds::stateful_set(object),
        ("apps", "DaemonSet") => kinds::daemon_set(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => kinds::replicas(object),
        ("batch", "Job") => kinds::job(object),
        ("", "Pod") => kinds::pod(object),
        ("", "PersistentVolumeClaim") => kinds::claim(object),
        ("", "Service") => kinds::service(object),
        ("networking.k8s.io", "Ingress") => kinds::ingress(object),
        ("", "Namespace") => kinds::namespace(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => kinds::definition(object),
        _ => generic(object),
    }
}

fn found(truth: impl Into<Truth>, message: impl Into<String>) -> Option<Finding> {
    Some(Finding {
        truth: truth.into(),
        message: message.into(),
    })
}

/// Access to the fields that objects have in common.
#[derive(Debug, Clone, Copy)]
struct Seen<'a>(&'a Value);

impl<'a> Seen<'a> {
    fn number(self, pointer: &str) -> Option<i64> {
        self.0.pointer(pointer).and_then(Value::as_i64)
    }

    /// A count in the status; servers leave out zeros.
    fn count(self, name: &str) -> i64 {
        self.number(&format!("/status/{name}")).unwrap_or(0)
    }

    fn text(self, pointer: &str) -> &'a str {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn list(self, pointer: &str) -> &'a [Value] {
        self.0
            .pointer(pointer)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn condition(self, kind: &str) -> Option<Seen<'a>> {
        self.list("/status/conditions")
            .iter()
            .find(|c| c.get("type").and_then(Value::as_str) == Some(kind))
            .map(Seen)
    }

    fn truth(self, kind: &str) -> Option<Truth> {
        Some(match self.condition(kind)?.text("/status") {
            "True" => Truth::True,
            "False" => Truth::False,
            _ => Truth::Unknown,
        })
    }

    fn holds(self, kind: &str) -> bool {
        self.truth(kind) == Some(Truth::True)
    }

    /// Reason and message of a condition.
    fn words(self, kind: &str) -> String {
        let Some(condition) = self.condition(kind) else {
            return String::new();
        };
        match (condition.text("/reason"), condition.text("/message")) {
            ("", "") => format!("{kind} is {}", condition.text("/status")),
            (reason, "") => reason.to_owned(),
            ("", message) => message.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }

    /// The status speaks of an earlier spec.
    fn is_stale(self) -> bool {
        self.is_earlier(self.number("/status/observedGeneration"))
    }

    /// A condition speaks of an earlier spec: many kinds say in each of them which spec it is about, and nowhere else.
    fn was(self, kind: &str) -> bool {
        let condition = self.condition(kind);
        self.is_earlier(condition.and_then(|c| c.number("/observedGeneration")))
    }

    fn is_earlier(self, observed: Option<i64>) -> bool {
        let generation = self.number("/metadata/generation");
        matches!((generation, observed), (Some(generation), Some(observed)) if observed < generation)
    }

    /// The status of a built-in workload is of an earlier spec, or not written yet.
    fn is_unseen(self) -> bool {
        self.is_stale() || self.number("/status/observedGeneration").is_none()
    }
}

const UNSEEN: &str = "the controller has not seen the latest spec yet";

/// Any kind, by the conditions that Kubernetes' API conventions and kstatus name.
fn generic(object: Seen<'_>) -> Readiness {
    let first = |kinds: &[&'static str]| {
        kinds
            .iter()
            .copied()
            .find(|k| object.condition(k).is_some())
    };
    let ready = first(&["Ready", "Available"]);
    let stale = object.is_stale() || ready.is_some_and(|kind| object.was(kind));
    let available = ready.and_then(|kind| {
        let truth = object.truth(kind).unwrap_or(Truth::Unknown);
        found(truth, object.words(kind))
    });
    let holding = |kinds: &[&'static str]| {
        let mut kinds = kinds.iter().copied();
        kinds.find(|k| object.holds(k) && !object.was(k))
    };
    // As a Deployment's condition, which stays true when all is done.
    let reason = |kind: &str| object.condition(kind).map(|c| c.text("/reason"));
    let arrived = matches!(
        reason("Progressing"),
        Some("NewReplicaSetAvailable" | "NewReplicationControllerAvailable")
    );
    let stuck =
        reason("Progressing") == Some("ProgressDeadlineExceeded") && !object.was("Progressing");
    let moving =
        holding(&["Reconciling", "Progressing"]).filter(|kind| *kind != "Progressing" || !arrived);
    let unwell = holding(&["Stalled", "Degraded", "Failed"]).or(stuck.then_some("Progressing"));
    let progressing = match (stale, moving, &available) {
        (true, ..) => found(true, UNSEEN),
        (_, Some(kind), _) => found(true, object.words(kind)),
        (_, None, Some(finding)) if finding.truth == Truth::True => {
            found(false, "as its spec says")
        }
        (_, None, Some(finding)) => found(true, finding.message.clone()),
        (_, None, None) => {
            first(&["Reconciling", "Progressing"]).and_then(|kind| found(false, object.words(kind)))
        }
    };
    let degraded = match unwell {
        Some(kind) => found(true, object.words(kind)),
        None => first(&["Stalled", "Degraded", "Failed"])
            .and_then(|kind| found(false, object.words(kind))),
    };
    Readiness {
        available,
        progressing,
        degraded,
    }
}

#[cfg(test)]
mod tests;
