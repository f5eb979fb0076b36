//! What the member allows works to do (`WorkPolicy`). The hub cannot change it, and nothing is done while it is not known.

mod images;
mod judge;
mod own;
mod signed;

use std::sync::Arc;

use futures::StreamExt as _;
use koinon_api::policy::{PolicyVerb, WorkPolicySpec};
use kube::runtime::watcher::Event;
use serde_json::Value;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    cluster::{Cluster, Resource, known::POLICIES},
    tasks::{Policy, Tasks},
    telemetry::Chain,
};

pub use judge::Refusal;
use own::Own;

/// How long the first look at an object waits for the policies.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);

/// The policies by name; one that cannot be read is `None`, and allows nothing.
pub(crate) type Known = std::collections::BTreeMap<String, Option<WorkPolicySpec>>;

/// The policies of the member, kept up to date.
#[derive(Debug, Clone)]
pub struct Policies {
    known: watch::Receiver<Option<Arc<Known>>>,
    own: Arc<Own>,
}

impl Policies {
    /// Begins to watch; `namespace` is the agent's own, which no work may touch.
    #[must_use]
    pub fn watch(cluster: &Cluster, tasks: &Tasks, namespace: &str) -> Self {
        let (sender, receiver) = watch::channel(None);
        tasks.spawn(
            "policies",
            Policy::Optional,
            follow(cluster.clone(), tasks.clone(), sender),
        );
        Self {
            known: receiver,
            own: Arc::new(Own::new(namespace)),
        }
    }

    /// Tells when policies changed.
    pub(crate) fn changes(&self) -> watch::Receiver<Option<Arc<Known>>> {
        self.known.clone()
    }

    /// Returns what is known, and waits a while for it at first.
    pub(crate) async fn known(&self) -> Judge {
        let mut receiver = self.known.clone();
        let waited = tokio::time::timeout(PATIENCE, receiver.wait_for(Option::is_some)).await;
        Judge {
            known: match waited {
                Ok(Ok(known)) => known.clone(),
                _ => None,
            },
            own: self.own.clone(),
        }
    }
}

/// The policies at one moment.
#[derive(Debug, Clone)]
pub(crate) struct Judge {
    known: Option<Arc<Known>>,
    own: Arc<Own>,
}

impl Judge {
    /// Judges what a work wants to do with an object; without a verb, whether it may be looked at.
    ///
    /// # Errors
    /// Says which policy refuses, or that they cannot be read.
    pub(crate) fn allows(
        &self,
        resource: &Resource,
        object: &Value,
        verb: Option<PolicyVerb>,
    ) -> Result<(), Refusal> {
        self.own.spares(resource, object)?;
        for (name, spec) in self.known.as_deref().ok_or_else(Refusal::unknown)? {
            match spec {
                Some(spec) => judge::one(name, spec, resource, object, verb)?,
                None => return Err(Refusal::unreadable(name)),
            }
        }
        Ok(())
    }
}

/// Keeps the policies; what was known stays while the watch is interrupted.
async fn follow(cluster: Cluster, tasks: Tasks, sender: watch::Sender<Option<Arc<Known>>>) {
    let mut events = std::pin::pin!(cluster.watch_objects(&POLICIES));
    let (mut known, mut listed) = (Known::new(), Known::new());
    loop {
        let event = tokio::select! {
            () = tasks.stop().cancelled() => return,
            event = events.next() => event,
        };
        let read = |object: kube::core::DynamicObject| {
            let name = object.metadata.name.unwrap_or_default();
            let spec = object.data.get("spec").cloned().unwrap_or_default();
            let spec = serde_json::from_value(spec)
                .map_err(|error| warn!(%name, %error, "a WorkPolicy cannot be read; nothing is applied until it can"));
            (name, spec.ok())
        };
        match event {
            Some(Ok(Event::Init)) => listed.clear(),
            Some(Ok(Event::InitApply(object))) => {
                listed.extend([read(object)]);
                continue;
            }
            Some(Ok(Event::InitDone)) => known = std::mem::take(&mut listed),
            Some(Ok(Event::Apply(object))) => known.extend([read(object)]),
            Some(Ok(Event::Delete(object))) => {
                known.remove(&object.metadata.name.unwrap_or_default());
            }
            Some(Err(error)) => {
                warn!(error = %Chain(&error), "the policies of this cluster are not watched just now");
                continue;
            }
            None => return,
        }
        if sender.borrow().as_deref() != Some(&known) {
            info!(
                policies = known.len(),
                "the policies of this cluster are known"
            );
            sender.send_replace(Some(Arc::new(known.clone())));
        }
    }
}
