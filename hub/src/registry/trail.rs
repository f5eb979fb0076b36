//! What controllers write is recorded here: no request asks for it, so nobody else could.

use koinon_store::{Applied, Change, Unavailable, WriteError, Written};

use super::{Kind, Registry, Writer};
use crate::{
    audit::{Audit, Happened, Level, Recording},
    authz::Attributes,
    clock,
};

/// What is done to an object, in the words of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Create,
    Update,
    UpdateStatus,
    /// It goes, or begins to.
    Delete,
}

impl Registry {
    /// Writes a change, with a record if the writer has any kept.
    pub(super) async fn put(
        &self,
        kind: &Kind,
        deed: Deed,
        change: Change,
        writer: &Writer,
    ) -> Result<Written, WriteError> {
        let Some(audit) = &writer.audit else {
            return self.store.write(writer.mutation(change)).await;
        };
        let recording = begin(audit, kind, deed, &change, writer)?;
        let written = self.store.write(writer.mutation(change)).await;
        match &written {
            Ok(_) if deed == Deed::Create => recording.end(201, Some("allow")),
            Ok(_) => recording.end(200, Some("allow")),
            // It may have happened.
            Err(WriteError::Unavailable(error)) if error.applied == Applied::Maybe => {
                drop(recording);
            }
            // A lost race is no deed.
            Err(_) => drop(recording.forget()),
        }
        written
    }
}

fn begin(
    audit: &Audit,
    kind: &Kind,
    deed: Deed,
    change: &Change,
    writer: &Writer,
) -> Result<Recording, WriteError> {
    let asked = asked(kind, deed, change);
    let level = audit.policy().level(&writer.user, &asked);
    if level == Level::None {
        return Ok(Recording::default());
    }
    let happened = Happened {
        level: Level::Metadata,
        at: clock::now(),
        from: None,
        uri: asked.path.clone(),
        agent: "koinon-hub".to_owned(),
        user: writer.user.clone(),
        acting_as: None,
        asked,
        body: None,
        unrecorded: None,
    };
    audit.begin(happened, true).map_err(|_| {
        let reason = "the audit log takes no records at the moment".to_owned();
        WriteError::Unavailable(Unavailable {
            reason,
            applied: Applied::No,
        })
    })
}

fn asked(kind: &Kind, deed: Deed, change: &Change) -> Attributes {
    let (info, key) = (&kind.info, change.key());
    let (verb, subresource) = match deed {
        Deed::Create => ("create", ""),
        Deed::Update => ("update", ""),
        Deed::UpdateStatus => ("update", "status"),
        Deed::Delete => ("delete", ""),
    };
    let mut path = match info.group.as_str() {
        "" => format!("/api/{}", info.version),
        group => format!("/apis/{group}/{}", info.version),
    };
    if info.namespaced {
        path.push_str(&format!("/namespaces/{}", key.namespace));
    }
    path.push_str(&format!("/{}/{}", info.plural, key.name));
    if !subresource.is_empty() {
        path.push_str(&format!("/{subresource}"));
    }
    let mut asked = Attributes::of(verb, &info.group, &info.plural)
        .within(&key.namespace)
        .named(&key.name);
    asked.version.clone_from(&info.version);
    subresource.clone_into(&mut asked.subresource);
    asked.path = path;
    asked
}
