//! What is known of one manifest after a look at its object.

use koinon_api::{applied::AppliedManifestResourceMeta, work::UpdateStrategyType};

use super::super::{
    content::Container,
    plan::{Ownership, Treatment},
    prune::Unmapped,
    rival::Rival,
    status::{Meta, Outcome},
};
use crate::cluster::ObjectKey;

/// What is known of one manifest.
#[derive(Debug)]
pub(in super::super) struct Slot {
    pub(in super::super) outcome: Outcome,
    /// The object's uid; empty if it could not be read.
    pub(in super::super) uid: Box<str>,
    /// Set if the kind is not known.
    pub(in super::super) unmapped: Option<Box<Unmapped>>,
    pub(in super::super) writes: u32,
    /// It was not there before.
    pub(in super::super) created: bool,
    /// The work has a rule that says when it is complete.
    pub(in super::super) completes: bool,
    pub(in super::super) stake: Stake,
    /// Whose change was undone; of an object that is only looked at, another work that owns it.
    pub(in super::super) rival: Option<Rival>,
    /// The work may own the object by now: it is there, or something was asked for that may have been done.
    pub(in super::super) perhaps_made: bool,
    /// There is no Namespace for the object, or its kind is not served.
    pub(in super::super) homeless: bool,
}

impl Slot {
    /// The object waits for this Namespace or definition, which another work may have brought; for any, if it is not said which.
    pub(in super::super) fn waits_for(&self, made: Option<&ObjectKey>) -> bool {
        if !self.homeless && self.unmapped.is_none() {
            return false;
        }
        let Some(made) = made else { return true };
        match Container::of(&made.resource.group, &made.resource.plural) {
            Some(Container::Namespace) => {
                let key = self.key();
                key.is_some_and(|key| key.namespace == made.name)
            }
            Some(Container::Definition) => {
                // Of a kind that is not known the plural is not either.
                let group = match &self.outcome.meta {
                    Meta::Known(_, key) => &key.resource.group,
                    Meta::Unknown(meta) => &meta.group,
                };
                let made = made.name.split_once('.').map(|(_, group)| group);
                made == Some(group.as_str())
            }
            None => false,
        }
    }

    /// The object's place, once its kind is known.
    pub(in super::super) fn key(&self) -> Option<&ObjectKey> {
        self.outcome.meta.key()
    }

    /// The object has others in it: a Namespace, or a definition.
    pub(in super::super) fn contains_others(&self) -> bool {
        let resource = self.key().map(|key| &key.resource);
        resource.is_some_and(|r| Container::of(&r.group, &r.plural).is_some())
    }

    /// The object as it is recorded, once its kind is known.
    pub(in super::super) fn applied(&self) -> Option<AppliedManifestResourceMeta> {
        let key = self.key()?;
        Some(AppliedManifestResourceMeta {
            group: key.resource.group.clone(),
            version: key.resource.version.clone(),
            resource: key.resource.plural.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: self.uid.to_string(),
        })
    }
}

/// What a work is to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Stake {
    /// Its owner, or an owner.
    Own,
    /// It applies it, and leaves it there when it goes.
    Keep,
    /// It only looks.
    Look,
}

impl Stake {
    pub(super) fn of(treatment: &Treatment, ownership: Ownership) -> Self {
        match (treatment.strategy.type_, ownership) {
            (UpdateStrategyType::ReadOnly, _) => Self::Look,
            (_, Ownership::Orphaned) => Self::Keep,
            (_, Ownership::Owned) => Self::Own,
        }
    }
}
