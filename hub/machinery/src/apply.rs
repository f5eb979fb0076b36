//! Server-side apply: who owns which field of an object, and what that means for a write.
//!
//! ```text
//!   update, patch ──► compare(old, new) ──► what changed is the writer's, and nobody else's any more
//!   apply ──► check ──► merge(old, configuration) ──► prune what it applied before ──► compare ──► conflicts?
//! ```
//!
//! The semantics are those of [KEP-555](https://github.com/kubernetes/enhancements/tree/master/keps/sig-api-machinery/555-server-side-apply)
//! as `sigs.k8s.io/structured-merge-diff` and apimachinery's `managedfields` implement them; each file names the part that it
//! answers to. All of it is pure: a schema, objects and a time in, an object out.
//!
//! An object whose `managedFields` are empty is not tracked until somebody applies to it, as in Kubernetes; that is how the
//! hub keeps the objects of its own controllers small (`docs/decisions`).

mod check;
mod compare;
mod conflict;
mod fields;
mod fields_v1;
mod items;
mod last_applied;
mod managers;
mod merge;
mod remove;
mod set;
mod types;
mod updater;

#[cfg(test)]
mod tests;

pub use fields_v1::Malformed;
pub use managers::Operation;
pub use set::FieldSet;
pub use types::Type;

use std::borrow::Cow;

use serde_json::{Map, Value};

use self::{
    managers::{Identity, Managers},
    updater::Write,
};
use crate::{ApiError, Object, Result, object::Timestamp, object::timestamp};

/// The longest name of a manager, in bytes.
pub const MANAGER_LIMIT: usize = 128;

/// Whose write it is.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    pub name: &'a str,
    /// The subresource that is written, or empty.
    pub subresource: &'a str,
    pub now: Timestamp,
}

/// Which fields a write can change at all; others stay as they are whatever it says, so it does not own them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Everything,
    /// Kinds with a status: everything but that.
    AllButStatus,
    Status,
}

impl Scope {
    fn covers(self, step: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::AllButStatus => step != "f:status",
            Self::Status => step == "f:status",
        }
    }
}

/// Whether an object that has no managers yet gets one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Track {
    /// It does.
    Always,
    /// It does not; what has managers keeps them up to date.
    IfTracked,
}

/// Records a write that is no apply in the `managedFields` of `new`. `old` is what it changes: the object that was,
/// or a kind's empty object for a create.
///
/// A write may bring `managedFields` of its own, except through a subresource; `[{}]` takes them all away.
pub fn update(
    kind: &Type,
    scope: Scope,
    old: &Object,
    new: &mut Object,
    writer: &Manager<'_>,
    track: Track,
) {
    let sent = new.metadata_mut().remove("managedFields");
    let sent = if writer.subresource.is_empty() {
        sent
    } else {
        None
    };
    let live = old.metadata().get("managedFields");
    if live.is_none() && sent.is_none() && track == Track::IfTracked {
        return;
    }
    let mut managers = Managers::of_write(live, sent.as_ref());
    if managers.is_empty() && track == Track::IfTracked {
        return;
    }
    let api_version = new.api_version().to_owned();
    let write = Write {
        kind,
        scope,
        api_version: &api_version,
    };
    let name = if writer.name.is_empty() {
        "unknown"
    } else {
        writer.name
    };
    let identity = Identity::new(name, Operation::Update, writer.subresource, &api_version);
    write.update(
        old.as_map(),
        new.as_map(),
        &mut managers,
        &identity,
        &timestamp(writer.now),
    );
    managers.cap();
    set_managers(new, managers);
}

/// Applies a configuration to an object; `live` is a kind's empty object for a create.
///
/// # Errors
/// `BadRequest` for a configuration that is of another version, brings `managedFields` or does not fit the schema;
/// `Conflict` for fields that others own, unless `force` takes them.
pub fn apply(
    kind: &Type,
    scope: Scope,
    live: &Object,
    config: &Object,
    writer: &Manager<'_>,
    force: bool,
) -> Result<Object> {
    let api_version = live.api_version();
    if config.api_version() != api_version {
        return Err(ApiError::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {api_version}",
            config.api_version(),
        )));
    }
    if config.metadata().contains_key("managedFields") {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let applied = Value::Object(config.as_map().clone());
    if let Some(fault) = check::first_fault(kind, &applied) {
        return Err(ApiError::bad_request(format!(
            "failed to create typed patch object ({}/{}; {api_version}, Kind={}): {fault}",
            config.namespace(),
            config.name(),
            config.kind(),
        )));
    }
    let write = Write {
        kind,
        scope,
        api_version,
    };
    let now = timestamp(writer.now);
    let mut bare = live.clone();
    let recorded = bare.metadata_mut().remove("managedFields");
    let mut managers = Managers::read(recorded.as_ref()).unwrap_or_default();
    if managers.is_empty() && !live.uid().is_empty() {
        managers = updater::before_first_apply(&write, bare.as_map(), writer.subresource, &now);
    }
    let identity = Identity::new(
        writer.name,
        Operation::Apply,
        writer.subresource,
        api_version,
    );
    let before = managers.clone();
    let live_value = bare.clone().into_value();
    let outcome = write
        .apply(&live_value, &applied, managers.clone(), &identity, force)
        .or_else(|conflicts| {
            let rest = conflicts.without(&last_applied::yields(kind, &bare, writer));
            if rest.is_empty() {
                write.apply(&live_value, &applied, managers, &identity, true)
            } else {
                Err(rest)
            }
        })
        .map_err(conflict::Conflicts::into_error)?;
    let changed = outcome.object.is_some() || outcome.managers != before;
    let mut object = match outcome.object {
        Some(fields) => Object::from_map(fields)?,
        None => bare,
    };
    let mut managers = outcome.managers;
    if changed && let Some(owned) = managers.0.get_mut(&identity) {
        owned.time = Some(now);
    }
    last_applied::refresh(&mut object, config, writer);
    set_managers(&mut object, managers);
    Ok(object)
}

/// Who writes, where a client does not say: what its `User-Agent` begins with, as kube-apiserver has it.
#[must_use]
pub fn manager_or_user_agent<'a>(manager: &'a str, user_agent: &'a str) -> Cow<'a, str> {
    if !manager.is_empty() {
        return manager.into();
    }
    let prefix = user_agent.split('/').next().unwrap_or_default();
    if prefix.len() <= MANAGER_LIMIT && prefix.chars().all(is_printable) {
        return prefix.into();
    }
    let mut name = String::new();
    for c in prefix.chars().filter(|c| is_printable(*c)) {
        if name.len() + c.len_utf8() > MANAGER_LIMIT {
            break;
        }
        name.push(c);
    }
    name.into()
}

/// What is wrong with the name of a manager, if anything.
#[must_use]
pub fn check_manager(name: &str) -> Vec<crate::Cause> {
    let mut causes = Vec::new();
    if name.len() > MANAGER_LIMIT {
        causes.push(crate::Cause::too_long("fieldManager", MANAGER_LIMIT));
    }
    if let Some((at, c)) = name.char_indices().find(|(_, c)| !is_printable(*c)) {
        let detail = format!(
            "invalid character U+{:04X} (at position {at})",
            u32::from(c)
        );
        causes.push(crate::Cause::invalid("fieldManager", name, &detail));
    }
    causes
}

/// Go's `unicode.IsPrint`, as near as the standard library comes: no control characters, of white space only the space.
fn is_printable(c: char) -> bool {
    c == ' ' || !(c.is_control() || c.is_whitespace())
}

fn set_managers(object: &mut Object, managers: Managers) {
    let metadata: &mut Map<String, Value> = object.metadata_mut();
    match managers.write() {
        Some(entries) => metadata.insert("managedFields".to_owned(), entries),
        None => metadata.remove("managedFields"),
    };
}
