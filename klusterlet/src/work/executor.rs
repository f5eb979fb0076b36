//! Executors: works that are applied on behalf of a service account of the member.
//!
//! By default the agent applies with its own rights what the account would be allowed to (OCM): it asks the member's
//! authorizer for exactly the verbs that a strategy needs. What the API server judges by more than verbs, RBAC kinds with
//! `escalate` and `bind`, it applies *as* the account: a judgement of anything but the very call that is made would be one of
//! something else. With [`Rights::Account`] it does so with everything, and the member's audit log names who did it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt as _;
use koinon_api::work::{
    ExecutorSubjectType, ManifestWorkExecutor, ManifestWorkExecutorSubject, UpdateStrategyType,
};
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::debug;

use super::plan::{Object, Ownership};
use crate::{
    cluster::{Account, Cluster, Error, Resource, known::RBAC},
    tasks::{Policy, Tasks},
};

/// How works with an executor are applied, and those without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Executing {
    /// With whose rights.
    pub rights: Rights,
    /// Whether a work may do without an executor.
    pub without: Without,
}

/// With whose rights a work with an executor is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rights {
    /// With the agent's, after asking whether the account may. OCM's way.
    #[default]
    Agent,
    /// With the account's own.
    Account,
}

/// What becomes of a work without an executor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Without {
    /// It is applied with the agent's rights.
    #[default]
    Allowed,
    /// It is not applied.
    Refused,
}

/// How long a yes and a no are good although no RBAC object changed: there are other authorizers.
const GOOD_FOR: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(60));

/// So long after a change the authorizer may still answer by what was before: it has eyes of its own.
const LAG: Duration = Duration::from_secs(5);

/// Answers that are remembered; past this all are asked for again.
const MOST_ANSWERS: usize = 20_000;

/// A question to the member's authorizer.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    account: Account,
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    namespace: String,
    name: String,
}

/// Why an executor may not do something.
#[derive(Debug)]
pub(super) enum Denial {
    /// For people. It may look.
    Denied(String),
    /// The same; it may not even look.
    Hidden(String),
    /// Nobody knows: the member did not answer.
    Unknown(Error),
}

/// Asks whether executors may do what works want, and remembers the answers until RBAC changes.
#[derive(Debug, Clone)]
pub(super) struct Executors {
    cluster: Cluster,
    tasks: Tasks,
    answers: Arc<Mutex<HashMap<Question, (bool, Instant)>>>,
    /// Counts changes of RBAC; watching begins with the first question.
    changes: watch::Sender<u64>,
    watching: Arc<std::sync::Once>,
}

/// Returns the account that a work is applied on behalf of; none if the work names none.
pub(super) fn account(executor: Option<&ManifestWorkExecutor>) -> Result<Option<Account>, String> {
    let Some(subject) = executor.and_then(|executor| executor.subject.as_ref()) else {
        return Ok(None);
    };
    let ManifestWorkExecutorSubject {
        type_: ExecutorSubjectType::ServiceAccount,
        service_account,
    } = subject;
    service_account
        .as_ref()
        .filter(|account| !account.namespace.is_empty() && !account.name.is_empty())
        .map(|account| {
            Some(Account {
                namespace: account.namespace.clone(),
                name: account.name.clone(),
            })
        })
        .ok_or_else(|| "the executor names no service account".to_owned())
}

/// The verbs that a strategy needs, `get` first: without it nothing is told of an object. OCM asks for create, update, patch and get whatever the strategy.
fn verbs(strategy: UpdateStrategyType, ownership: Ownership) -> Vec<&'static str> {
    let mut verbs = match strategy {
        UpdateStrategyType::ReadOnly => return vec!["get"],
        UpdateStrategyType::Update => vec!["get", "create", "update"],
        // The owner is added to an object that is there.
        UpdateStrategyType::CreateOnly => vec!["get", "create", "patch"],
        UpdateStrategyType::ServerSideApply => vec!["get", "create", "patch"],
    };
    if ownership == Ownership::Owned {
        verbs.push("delete");
    }
    verbs
}

/// Says whether the API server judges writes of a resource by what they say, and not by their verb alone: rights may only be
/// given by who has them.
pub(super) fn is_judged_by_content(resource: &Resource) -> bool {
    matches!(
        resource.group.as_str(),
        // OpenShift's kinds are views of the RBAC ones, written in the name of whoever asks.
        "rbac.authorization.k8s.io" | "authorization.openshift.io"
    )
}

/// Returns the client that deletes what a work no longer wants: in the name of its executor where works are applied so, or an
/// object that somebody else made could be taken over and dropped without the right to delete it.
///
/// # Errors
/// When the work names an executor that is none, or none where works are applied by executors alone: by leaving it out a work
/// would delete with the agent's rights what its executor may not.
pub(super) fn deleter(
    cluster: &Cluster,
    executing: Executing,
    executor: Option<&ManifestWorkExecutor>,
) -> Result<Cluster, String> {
    Ok(match account(executor)? {
        Some(account) if executing.rights == Rights::Account => cluster.acting_as(&account),
        None if (executing.rights, executing.without) == (Rights::Account, Without::Refused) => {
            return Err("this cluster deletes nothing for a work without an executor".to_owned());
        }
        _ => cluster.clone(),
    })
}

impl Executors {
    pub(super) fn new(cluster: Cluster, tasks: Tasks) -> Self {
        Self {
            cluster,
            tasks,
            answers: Arc::default(),
            changes: watch::Sender::new(0),
            watching: Arc::new(std::sync::Once::new()),
        }
    }

    /// Tells when answers may have changed.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Checks that the account may do with an object what its strategy needs.
    pub(super) async fn check(
        &self,
        account: &Account,
        object: &Object,
        resource: &Resource,
        strategy: UpdateStrategyType,
        ownership: Ownership,
    ) -> Result<(), Denial> {
        self.watching.call_once(|| {
            for resource in RBAC.iter() {
                let watch = self.clone().watch(resource.clone());
                self.tasks.spawn("executors", Policy::Optional, watch);
            }
        });
        for verb in verbs(strategy, ownership) {
            let question = Question {
                account: account.clone(),
                verb,
                group: resource.group.clone(),
                version: resource.version.clone(),
                resource: resource.plural.clone(),
                namespace: object.namespace.clone(),
                name: object.name.clone(),
            };
            if !self.ask(question).await.map_err(Denial::Unknown)? {
                let message = format!(
                    "{} is not allowed to apply the resource {} {}, {} {}: it may not {verb} it",
                    account.user(),
                    resource.group,
                    resource.plural,
                    object.namespace,
                    object.name
                );
                return Err(match verb {
                    "get" => Denial::Hidden(message),
                    _ => Denial::Denied(message),
                });
            }
        }
        Ok(())
    }

    async fn ask(&self, question: Question) -> Result<bool, Error> {
        let now = Instant::now();
        if let Some((allowed, at)) = self.answers.lock().get(&question).copied() {
            let good_for = if allowed { GOOD_FOR.0 } else { GOOD_FOR.1 };
            if now.duration_since(at) < good_for {
                return Ok(allowed);
            }
        }
        let before = *self.changes.borrow();
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {
                "user": question.account.user(), "groups": question.account.groups(),
                "resourceAttributes": {
                    "verb": question.verb, "group": question.group, "version": question.version, "resource": question.resource,
                    "namespace": question.namespace, "name": question.name,
                },
            },
        });
        let answer = self
            .cluster
            .review(
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                &review,
            )
            .await?;
        let allowed = answer.pointer("/status/allowed") == Some(&Value::Bool(true));
        let mut answers = self.answers.lock();
        if answers.len() >= MOST_ANSWERS {
            answers.clear();
        }
        // An answer from before a change is not remembered, nor a no of an authorizer that could not find out.
        let error = answer.pointer("/status/evaluationError");
        let sure = allowed || error.and_then(Value::as_str).is_none_or(str::is_empty);
        if sure && *self.changes.borrow() == before {
            answers.insert(question, (allowed, now));
        }
        Ok(allowed)
    }

    fn forget(&self) {
        self.answers.lock().clear();
        self.changes.send_modify(|changes| *changes += 1);
    }

    /// Forgets all answers when a role or a binding changes, and once more when everybody has seen it.
    async fn watch(self, resource: Resource) {
        let mut events = std::pin::pin!(self.cluster.watch_metadata(&resource, None, None));
        let mut seen_by_all = None;
        loop {
            let later = async {
                match seen_by_all {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let event = tokio::select! {
                () = self.tasks.stop().cancelled() => return,
                event = events.next() => event,
                () = later => {
                    seen_by_all = None;
                    self.forget();
                    continue;
                }
            };
            match event {
                Some(Ok(Event::Apply(_) | Event::Delete(_) | Event::InitDone)) => {
                    self.forget();
                    seen_by_all = Some(Instant::now() + LAG);
                }
                Some(Ok(_)) => {}
                // Deaf: what is remembered may be wrong by now.
                Some(Err(error)) => {
                    debug!(resource = %resource.plural, %error, "RBAC is not watched just now");
                    self.answers.lock().clear();
                }
                None => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use koinon_api::work::ManifestWorkSubjectServiceAccount;

    use super::*;

    #[test]
    fn only_a_whole_service_account_is_an_executor() {
        let executor = |account: Option<(&str, &str)>| ManifestWorkExecutor {
            subject: Some(ManifestWorkExecutorSubject {
                type_: ExecutorSubjectType::ServiceAccount,
                service_account: account.map(|(namespace, name)| {
                    ManifestWorkSubjectServiceAccount {
                        namespace: namespace.into(),
                        name: name.into(),
                    }
                }),
            }),
        };
        assert_eq!(account(None), Ok(None));
        assert_eq!(account(Some(&ManifestWorkExecutor::default())), Ok(None));
        assert!(account(Some(&executor(None))).is_err());
        assert!(account(Some(&executor(Some(("n", ""))))).is_err());
        let good = account(Some(&executor(Some(("n", "a"))))).unwrap().unwrap();
        assert_eq!(good.user(), "system:serviceaccount:n:a");
    }

    #[test]
    fn verbs_are_those_that_the_strategy_needs() {
        use UpdateStrategyType::{CreateOnly, ReadOnly, ServerSideApply, Update};
        for (strategy, expected) in [
            (Update, "get create update delete"),
            (CreateOnly, "get create patch delete"),
            (ServerSideApply, "get create patch delete"),
            (ReadOnly, "get"),
        ] {
            assert_eq!(verbs(strategy, Ownership::Owned).join(" "), expected);
        }
        assert!(!verbs(Update, Ownership::Orphaned).contains(&"delete"));
    }
}
