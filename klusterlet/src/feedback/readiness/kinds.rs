//! What single kinds say of themselves. The rules for workloads are those of `kubectl rollout status`.

use koinon_api::meta::Truth;
use serde_json::Value;

use super::{Finding, Readiness, Seen, UNSEEN, found};

const SETTLED: &str = "as its spec says";
const WELL: &str = "no failure is reported";

/// Builds the readiness of a workload: why it is not available, why it is not settled, what is wrong with it.
fn workload(
    available: Result<String, String>,
    unsettled: Option<String>,
    failure: Option<String>,
) -> Readiness {
    Readiness {
        available: match available {
            Ok(message) => found(true, message),
            Err(message) => found(false, message),
        },
        progressing: settled(unsettled),
        degraded: failure.map_or_else(|| found(false, WELL), |message| found(true, message)),
    }
}

fn settled(unsettled: Option<String>) -> Option<Finding> {
    unsettled.map_or_else(|| found(false, SETTLED), |message| found(true, message))
}

/// `have` of `want` replicas are in a state.
fn of(have: i64, want: i64, state: &str) -> String {
    format!("{have} of {want} replicas are {state}")
}

fn enough(have: i64, want: i64) -> Result<String, String> {
    let message = of(have, want, "available");
    if have >= want {
        Ok(message)
    } else {
        Err(message)
    }
}

pub(super) fn deployment(object: Seen<'_>) -> Readiness {
    let want = object.number("/spec/replicas").unwrap_or(1);
    let (total, updated, ready) = (
        object.count("replicas"),
        object.count("updatedReplicas"),
        object.count("availableReplicas"),
    );
    let unsettled = if object.is_unseen() {
        Some(UNSEEN.to_owned())
    } else if updated < want {
        Some(of(updated, want, "updated"))
    } else if total > updated {
        Some(format!(
            "{} old replicas are pending termination",
            total - updated
        ))
    } else if ready < updated {
        Some(of(ready, updated, "available"))
    } else {
        None
    };
    // Its own condition knows about maxUnavailable.
    let available = match object.truth("Available") {
        Some(Truth::True) => Ok(of(ready, want, "available")),
        Some(_) => Err(of(ready, want, "available")),
        None => enough(ready, want),
    };
    let stuck = object
        .condition("Progressing")
        .is_some_and(|c| c.text("/reason") == "ProgressDeadlineExceeded");
    let failure = if object.holds("ReplicaFailure") {
        Some(object.words("ReplicaFailure"))
    } else {
        stuck.then(|| object.words("Progressing"))
    };
    workload(available, unsettled, failure)
}

pub(super) fn stateful_set(object: Seen<'_>) -> Readiness {
    let want = object.number("/spec/replicas").unwrap_or(1);
    let ready = object
        .number("/status/availableReplicas")
        .unwrap_or_else(|| object.count("readyReplicas"));
    let updated = object.count("updatedReplicas");
    let rolling = object.text("/spec/updateStrategy/type") != "OnDelete";
    let partition = object
        .number("/spec/updateStrategy/rollingUpdate/partition")
        .unwrap_or(0);
    let unsettled = if object.is_unseen() {
        Some(UNSEEN.to_owned())
    } else if ready < want {
        Some(of(ready, want, "available"))
    } else if object.count("replicas") > want {
        Some(format!(
            "{} replicas are pending termination",
            object.count("replicas") - want
        ))
    } else if rolling && partition > 0 {
        (updated < want - partition).then(|| of(updated, want - partition, "updated"))
    } else if rolling
        && object.text("/status/updateRevision") != object.text("/status/currentRevision")
    {
        Some(of(updated, want, "updated"))
    } else {
        None
    };
    workload(enough(ready, want), unsettled, None)
}

pub(super) fn daemon_set(object: Seen<'_>) -> Readiness {
    let want = object.count("desiredNumberScheduled");
    let (updated, ready) = (
        object.count("updatedNumberScheduled"),
        object.count("numberAvailable"),
    );
    let rolling = object.text("/spec/updateStrategy/type") != "OnDelete";
    let unseen = object.is_unseen();
    let unsettled = if unseen {
        Some(UNSEEN.to_owned())
    } else if rolling && updated < want {
        Some(of(updated, want, "updated"))
    } else if ready < want {
        Some(of(ready, want, "available"))
    } else {
        None
    };
    // Nobody has counted the nodes yet.
    let available = if unseen && want == 0 {
        Err(UNSEEN.to_owned())
    } else {
        enough(ready, want)
    };
    workload(available, unsettled, None)
}

pub(super) fn replicas(object: Seen<'_>) -> Readiness {
    let want = object.number("/spec/replicas").unwrap_or(1);
    let (total, ready) = (object.count("replicas"), object.count("availableReplicas"));
    let unsettled = if object.is_unseen() {
        Some(UNSEEN.to_owned())
    } else if total > want {
        Some(format!("{} replicas are pending termination", total - want))
    } else {
        (ready < want).then(|| of(ready, want, "available"))
    };
    let failure = object
        .holds("ReplicaFailure")
        .then(|| object.words("ReplicaFailure"));
    workload(enough(ready, want), unsettled, failure)
}

/// A Job is available while it does its work or has done it.
pub(super) fn job(object: Seen<'_>) -> Readiness {
    if object.holds("Failed") {
        let why = object.words("Failed");
        return workload(Err(why.clone()), None, Some(why));
    }
    if object.holds("Complete") {
        return workload(Ok("the job is complete".to_owned()), None, None);
    }
    if object.0.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
        return workload(Ok("the job is suspended".to_owned()), None, None);
    }
    let message = format!(
        "{} of {} completions, {} failed",
        object.count("succeeded"),
        object.number("/spec/completions").unwrap_or(1),
        object.count("failed")
    );
    workload(Ok(message.clone()), Some(message), None)
}

pub(super) fn pod(object: Seen<'_>) -> Readiness {
    let phase = object.text("/status/phase");
    // Why containers do not run; one that is broken tells more than one that is being made.
    let waiting: Vec<&str> = ["/status/initContainerStatuses", "/status/containerStatuses"]
        .iter()
        .flat_map(|list| object.list(list))
        .filter_map(|c| c.pointer("/state/waiting/reason").and_then(Value::as_str))
        .collect();
    let broken = waiting.iter().copied().find(|reason| {
        matches!(
            *reason,
            "CrashLoopBackOff"
                | "ImagePullBackOff"
                | "ErrImagePull"
                | "InvalidImageName"
                | "CreateContainerConfigError"
                | "CreateContainerError"
                | "RunContainerError"
        )
    });
    let waiting = broken.or_else(|| waiting.first().copied());
    match phase {
        "Succeeded" => workload(Ok("the pod has succeeded".to_owned()), None, None),
        "Failed" => {
            let why = match object.text("/status/message") {
                "" => "the pod has failed".to_owned(),
                message => message.to_owned(),
            };
            workload(Err(why.clone()), None, Some(why))
        }
        "Running" if object.holds("Ready") => {
            workload(Ok("the pod is ready".to_owned()), None, None)
        }
        _ => {
            let why = match (waiting, phase) {
                (Some(reason), _) => format!("a container waits: {reason}"),
                (None, "") => "the pod has no phase yet".to_owned(),
                (None, phase) => format!("the pod is {phase} and not ready"),
            };
            workload(Err(why.clone()), Some(why), broken.map(str::to_owned))
        }
    }
}

pub(super) fn claim(object: Seen<'_>) -> Readiness {
    match object.text("/status/phase") {
        "Bound" => workload(Ok("the claim is bound".to_owned()), None, None),
        "Lost" => {
            let why = "the volume of the claim is lost".to_owned();
            workload(Err(why.clone()), None, Some(why))
        }
        _ => {
            let why = "the claim is not bound yet".to_owned();
            workload(Err(why.clone()), Some(why), None)
        }
    }
}

/// Only a load balancer has to come; every other Service works as soon as it exists.
pub(super) fn service(object: Seen<'_>) -> Readiness {
    let awaited = object.text("/spec/type") == "LoadBalancer"
        && object.list("/status/loadBalancer/ingress").is_empty();
    let why = || "the load balancer has no address yet".to_owned();
    Readiness {
        available: if awaited {
            found(false, why())
        } else {
            found(true, "the service is there")
        },
        progressing: settled(awaited.then(why)),
        degraded: None,
    }
}

pub(super) fn ingress(object: Seen<'_>) -> Readiness {
    let awaited = object.list("/status/loadBalancer/ingress").is_empty();
    let why = || "the ingress has no address yet".to_owned();
    Readiness {
        available: if awaited {
            found(false, why())
        } else {
            found(true, "the ingress has an address")
        },
        progressing: settled(awaited.then(why)),
        degraded: None,
    }
}

pub(super) fn namespace(object: Seen<'_>) -> Readiness {
    let going = object.text("/status/phase") == "Terminating";
    Readiness {
        available: if going {
            found(false, "the namespace is being deleted")
        } else {
            found(true, "the namespace is there")
        },
        ..Readiness::default()
    }
}

pub(super) fn definition(object: Seen<'_>) -> Readiness {
    let established = object.holds("Established");
    let refused = object.truth("NamesAccepted") == Some(Truth::False);
    let why = || "the definition is not established yet".to_owned();
    Readiness {
        available: if established {
            found(true, "the definition is established")
        } else {
            found(false, why())
        },
        progressing: settled((!established && !refused).then(why)),
        degraded: if refused {
            found(true, object.words("NamesAccepted"))
        } else {
            found(false, WELL)
        },
    }
}
