//! Who owns which field after a write that is no apply.

use jiff::Timestamp;
use koinon_machinery::{
    Object,
    apply::{self, Manager, Scope, Track},
};

use super::{Kind, Part, Writer};

/// The hub's own name among the managers of an object.
const HUB: &str = "koinon-hub";

/// Whether a write records what it changes, or has settled the owners already, as an apply does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owners {
    Record,
    Settled,
}

/// Records a create. Objects that the hub creates itself are not tracked until somebody applies to them.
pub(super) fn created(kind: &Kind, object: &mut Object, writer: &Writer, now: Timestamp) {
    if writer.manager.is_none() {
        object.metadata_mut().remove("managedFields");
        return;
    }
    let blank = kind.info.empty_object();
    apply::update(
        kind.info.schema.ownership(),
        scope(kind, Part::Main),
        &blank,
        object,
        &manager(writer, Part::Main, now),
        Track::Always,
    );
}

/// Records a change, if the object is tracked. The hub itself brings no managers of its own.
pub(super) fn changed(
    kind: &Kind,
    part: Part,
    old: &Object,
    new: &mut Object,
    writer: &Writer,
    now: Timestamp,
) {
    if writer.manager.is_none() {
        carry(old, new);
    }
    apply::update(
        kind.info.schema.ownership(),
        scope(kind, part),
        old,
        new,
        &manager(writer, part, now),
        Track::IfTracked,
    );
}

/// Gives `to` the managers of `from`.
pub(super) fn carry(from: &Object, to: &mut Object) {
    match from.metadata().get("managedFields") {
        Some(managers) => {
            let managers = managers.clone();
            to.metadata_mut()
                .insert("managedFields".to_owned(), managers);
        }
        None => _ = to.metadata_mut().remove("managedFields"),
    }
}

/// Which fields a write of a part can change.
pub(super) fn scope(kind: &Kind, part: Part) -> Scope {
    match part {
        Part::Status | Part::Approval => Scope::Status,
        Part::Main if kind.info.has_status => Scope::AllButStatus,
        Part::Main | Part::Whole => Scope::Everything,
    }
}

/// The writer as a manager of fields.
pub(super) fn manager(writer: &Writer, part: Part, now: Timestamp) -> Manager<'_> {
    Manager {
        name: writer.manager.as_deref().unwrap_or(HUB),
        subresource: match part {
            Part::Main | Part::Whole => "",
            Part::Status => "status",
            Part::Approval => "approval",
        },
        now,
    }
}
