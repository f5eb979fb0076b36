//! Tells apart what stays, what waits and what is to be deleted.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream::FuturesOrdered};
use koinon_api::{applied::AppliedManifestResourceMeta as Applied, policy::PolicyVerb};
use serde_json::{Value, json};

use super::{
    super::{
        claims::Name,
        content::Container,
        plan,
        planned::place,
        remove::{self, Verdict},
        status::Delayed,
    },
    Leaving, Progress, TOGETHER, is_approved, is_unseen,
    linger::Going,
};
use crate::cluster::{Error, Resource, Result};

/// An object that is to be deleted.
pub(super) struct Doomed {
    pub(super) recorded: Applied,
    pub(super) resource: Resource,
    pub(super) live: Value,
    pub(super) uid: String,
    pub(super) container: Option<Container>,
}

impl Doomed {
    pub(super) fn name(&self) -> Name {
        let kind = self.live.get("kind").and_then(Value::as_str);
        Name {
            group: self.recorded.group.clone(),
            kind: kind.unwrap_or_default().to_owned(),
            namespace: self.recorded.namespace.clone(),
            name: self.recorded.name.clone(),
        }
    }
}

/// Finds out what stays, and what is to be deleted and may be as far as the cluster's policies go.
pub(super) async fn sort_out(
    objects: Vec<Applied>,
    leaving: &Leaving<'_>,
    progress: &mut Progress,
) -> (Vec<Applied>, Vec<Doomed>) {
    let (mut stays, mut doomed) = (Vec::new(), Vec::new());
    let mut objects = objects.into_iter();
    let mut looks = FuturesOrdered::new();
    loop {
        while looks.len() < TOGETHER
            && let Some(recorded) = objects.next()
        {
            looks.push_back(first(recorded, leaving));
        }
        let Some((recorded, judged)) = looks.next().await else {
            break;
        };
        match judged {
            Ok(First::Done) => progress.gone.push(recorded),
            Ok(First::Stay) => stays.push(recorded),
            Ok(First::Wait(going)) => {
                progress.going.push(going);
                progress.pending.push(recorded);
            }
            Ok(First::Held(why)) => progress.hold(recorded, why),
            Ok(First::Delete(resource, live)) => doomed.push(Doomed {
                container: Container::of(&recorded.group, &recorded.resource),
                uid: uid(&live).to_owned(),
                recorded,
                resource,
                live,
            }),
            Err(error) => progress.fail(recorded, error),
        }
    }
    (stays, doomed)
}

/// What a first look at an object leads to.
pub(super) enum First {
    Done,
    /// To be let go of.
    Stay,
    Wait(Going),
    Held(Delayed),
    Delete(Resource, Value),
}

async fn first(recorded: Applied, leaving: &Leaving<'_>) -> (Applied, Result<First>) {
    let judged = judge(&recorded, leaving).await;
    (recorded, judged)
}

async fn judge(recorded: &Applied, leaving: &Leaving<'_>) -> Result<First> {
    let by = leaving.planned.served(&place(recorded));
    let (resource, live) = match remove::read(leaving.cluster, recorded, by).await {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(First::Done),
        Err(error) if error.is_not_found() => return Ok(unserved(recorded, leaving.directives)),
        Err(error) if is_unseen(recorded, &error) => {
            let is_unmade = leaving.unmade.has(&place(recorded));
            return Ok(unseen(recorded, is_unmade, leaving.directives, &error));
        }
        Err(error) => return Err(error),
    };
    let fate = plan::fate(leaving.spec, recorded);
    Ok(match remove::judge(&live, leaving.owner, fate) {
        Verdict::Leave => First::Done,
        Verdict::Wait => First::Wait(Going::of(recorded, &live)),
        Verdict::Disown => First::Stay,
        Verdict::Delete => {
            let verb = Some(PolicyVerb::Delete);
            match leaving.policies.allows(&resource, &live, verb) {
                Ok(()) => First::Delete(resource, slim(live)),
                Err(refusal) => First::Held(Delayed::policy(refusal.to_string())),
            }
        }
    })
}

/// What becomes of an object whose kind nobody serves: it may well be there, in the store of a server that is away.
fn unserved(recorded: &Applied, directives: &BTreeMap<String, String>) -> First {
    let kind = plan::resource_of(recorded).definition();
    if is_approved(directives, &kind) {
        First::Done
    } else {
        First::Held(Delayed::unserved(recorded, &kind))
    }
}

/// What becomes of an object that was planned where the agent may not look. It is there or it is not, and only who was there when it was
/// to be made, or somebody who may look, can tell.
pub(super) fn unseen(
    recorded: &Applied,
    is_unmade: bool,
    directives: &BTreeMap<String, String>,
    error: &Error,
) -> First {
    let kind = plan::resource_of(recorded).definition();
    if is_unmade || is_approved(directives, &kind) {
        First::Done
    } else {
        First::Held(Delayed::unseen(recorded, &kind, error))
    }
}

pub(super) fn uid(live: &Value) -> &str {
    let uid = live.pointer("/metadata/uid").and_then(Value::as_str);
    uid.unwrap_or_default()
}

/// What is needed of an object that is to go: there may be ten thousand.
fn slim(live: Value) -> Value {
    if live.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinition") {
        return live;
    }
    let top = |key: &str| live.get(key).cloned().unwrap_or_default();
    let metadata = |key: &str| {
        let value = live.get("metadata").and_then(|m| m.get(key));
        value.cloned().unwrap_or_default()
    };
    json!({"apiVersion": top("apiVersion"), "kind": top("kind"), "metadata": {
        "namespace": metadata("namespace"), "name": metadata("name"), "uid": metadata("uid"),
        "resourceVersion": metadata("resourceVersion"),
    }})
}
