//! One event as `audit.k8s.io/v1` has it. Pure.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Level;
use crate::{auth::User, authz::Attributes};

/// Longest text taken from what a client sends.
const MOST_TEXT: usize = 512;
/// Most groups of a user that are recorded.
const MOST_GROUPS: usize = 64;

/// What is known before the request is carried out.
#[derive(Clone, Debug)]
pub struct Happened {
    /// How much is recorded.
    pub level: Level,
    /// When it came.
    pub at: Timestamp,
    /// From where.
    pub from: Option<SocketAddr>,
    /// Path and query.
    pub uri: String,
    /// What the client calls itself.
    pub agent: String,
    /// Who asks, as authenticated.
    pub user: User,
    /// In whose name, if in another's.
    pub acting_as: Option<User>,
    /// For what.
    pub asked: Attributes,
    /// The body, at level `Request`, secrets hidden.
    pub body: Option<Value>,
    /// Why there is none although there should be.
    pub unrecorded: Option<&'static str>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The HTTP status; `None` when nobody waited for it: the client went away, and what it asked for may have happened.
    pub code: Option<u16>,
    /// `allow` or `forbid`, if it came to that question.
    pub decision: Option<&'static str>,
    /// When that was known.
    pub at: Timestamp,
}

impl Happened {
    /// The event. A watch and a session are recorded when they begin, everything else when it has ended.
    pub fn event(self, outcome: &Outcome) -> Value {
        let Self {
            level,
            at,
            from,
            uri,
            agent,
            user,
            acting_as,
            asked,
            body,
            unrecorded,
        } = self;
        let stage = match outcome.code {
            None => "RequestReceived",
            Some(_) if is_long_running(&asked) => "ResponseStarted",
            Some(_) => "ResponseComplete",
        };
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1",
            "level": if level >= Level::Request { "Request" } else { "Metadata" },
            "auditID": Uuid::new_v4().to_string(),
            "stage": stage,
            "requestURI": cut(&uri),
            "verb": cut(&asked.verb),
            "user": shown(&user),
            "sourceIPs": from.map(|from| vec![from.ip().to_string()]).unwrap_or_default(),
            "userAgent": cut(&agent),
            "requestReceivedTimestamp": micros(at),
            "stageTimestamp": micros(outcome.at),
        });
        match outcome.code {
            Some(code) => event["responseStatus"] = json!({ "metadata": {}, "code": code }),
            None => {
                event["annotations"]["koinon.dev/outcome"] =
                    "not known: nobody waited for it".into()
            }
        }
        if let Some(decision) = outcome.decision {
            event["annotations"]["authorization.k8s.io/decision"] = decision.into();
        }
        if let Some(why) = unrecorded {
            event["annotations"]["koinon.dev/body"] = why.into();
        }
        if let Some(other) = acting_as {
            event["impersonatedUser"] = shown(&other);
        }
        if asked.is_resource() {
            event["objectRef"] = reference(&asked);
        }
        if let Some(body) = body {
            event["requestObject"] = body;
        }
        event
    }
}

/// A watch, or the session of an agent: it is recorded when it begins.
fn is_long_running(asked: &Attributes) -> bool {
    asked.verb == "watch" || asked.full_resource() == "managedclusters/session"
}

fn shown(user: &User) -> Value {
    let groups: Vec<String> = user
        .groups
        .iter()
        .take(MOST_GROUPS)
        .map(|text| cut(text))
        .collect();
    let mut shown = json!({ "username": cut(&user.name), "groups": groups });
    if !user.uid.is_empty() {
        shown["uid"] = cut(&user.uid).into();
    }
    let extra = user.extra.iter().take(MOST_GROUPS);
    for (key, values) in extra {
        let values: Vec<String> = values
            .iter()
            .take(MOST_GROUPS)
            .map(|text| cut(text))
            .collect();
        shown["extra"][cut(key)] = values.into();
    }
    shown
}

fn reference(asked: &Attributes) -> Value {
    let mut reference =
        json!({ "resource": cut(&asked.resource), "apiVersion": cut(&asked.version) });
    for (field, text) in [
        ("namespace", &asked.namespace),
        ("name", &asked.name),
        ("apiGroup", &asked.group),
        ("subresource", &asked.subresource),
    ] {
        if !text.is_empty() {
            reference[field] = cut(text).into();
        }
    }
    reference
}

fn cut(text: &str) -> String {
    text.chars().take(MOST_TEXT).collect()
}

fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
