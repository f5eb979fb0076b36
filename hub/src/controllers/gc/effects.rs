//! What is done about one object: each time to exactly the state that was judged, or not at all.

use std::{collections::BTreeSet, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use koinon_machinery::{ApiError, Object, Reason};
use koinon_store::{Key, Stored};

use super::{
    super::{Context, decode},
    Below, FOREGROUND, ORPHAN,
    judge::{Owner, Verdict, Why, judge},
};
use crate::registry::{DeleteOptions, Kind, Options, Part, Preconditions, Propagation, object_of};

/// Deletes a dependent that has no owner left, or takes references to lost owners off.
///
/// What is judged is what is written: the very state that was read, or nothing. One that was replaced or adopted
/// meanwhile is a `Conflict`.
pub(super) async fn collect(key: &Key, below: Below, context: &Context) -> Result<(), ApiError> {
    let Some((kind, stored)) = find(key, context) else {
        return Ok(());
    };
    let meta = decode::Meta::of(&stored);
    let owners = &meta.owner_references;
    let states: Vec<Owner> = owners
        .iter()
        .map(|owner| state(key, owner, context))
        .collect();
    match judge(&states) {
        Verdict::Keep => Ok(()),
        Verdict::Delete(_) if meta.deleting() => Ok(()),
        Verdict::Delete(Why::Lost) => delete(&kind, &stored, own_choice(&meta), context).await,
        // Who waits for this one waits for what is below it, too.
        Verdict::Delete(Why::Awaited) => match below {
            Below::Nothing => delete(&kind, &stored, own_choice(&meta), context).await,
            Below::Dependents => delete(&kind, &stored, Propagation::Foreground, context).await,
            Below::Waiting => {
                // Two that wait for each other would wait for ever: this one blocks nobody any more, and goes when its change is seen.
                if unblock(&kind, &stored, context).await? {
                    return Err(ApiError::conflict(&kind.info, &key.name));
                }
                delete(&kind, &stored, Propagation::Foreground, context).await
            }
        },
        Verdict::Strip(lost) => {
            let lost: BTreeSet<&str> = lost
                .iter()
                .map(|index| owners[*index].uid.as_str())
                .collect();
            strip(&kind, &stored, &lost, context).await
        }
    }
}

/// How an object is deleted for which nobody waits: as it asked to be itself.
fn own_choice(meta: &decode::Meta) -> Propagation {
    if meta.has_finalizer(ORPHAN) {
        Propagation::Orphan
    } else if meta.has_finalizer(FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    }
}

/// Lets no owner wait for this object; says whether any would have.
async fn unblock(kind: &Kind, stored: &Stored, context: &Context) -> Result<bool, ApiError> {
    let mut any = false;
    change(kind, stored, context, |object| {
        let mut owners = object.owner_references();
        for owner in &mut owners {
            any |= owner.block_owner_deletion == Some(true);
            owner.block_owner_deletion = owner.block_owner_deletion.map(|_| false);
        }
        object.set_owner_references(&owners);
        any
    })
    .await?;
    Ok(any)
}

/// How an owner stands. Nobody can tell of one whose kind is not served here, or that would have to be in a namespace
/// when its dependent is in none.
fn state(dependent: &Key, owner: &OwnerReference, context: &Context) -> Owner {
    let (group, version) = owner
        .api_version
        .split_once('/')
        .unwrap_or(("", &owner.api_version));
    let kinds = context.client.registry().kinds();
    let kind = kinds.iter().find(|kind| {
        kind.info.kind == owner.kind
            && kind.info.group == group
            && (version.is_empty() || kind.info.version == version)
    });
    let Some(kind) = kind else {
        return Owner::Unknown;
    };
    if kind.info.namespaced && dependent.namespace.is_empty()
        // What is shown and not stored cannot be looked up.
        || kind.is_view(&owner.name)
    {
        return Owner::Unknown;
    }
    let namespace = if kind.info.namespaced {
        Arc::clone(&dependent.namespace)
    } else {
        "".into()
    };
    let key = Key {
        resource: Arc::clone(&kind.key),
        namespace,
        name: owner.name.as_str().into(),
    };
    match context
        .client
        .store()
        .get(&key)
        .filter(|stored| stored.uid.to_string() == owner.uid)
    {
        None => Owner::Absent,
        Some(stored) => {
            let meta = decode::Meta::of(&stored);
            if meta.deleting() && meta.has_finalizer(FOREGROUND) {
                Owner::Waiting
            } else {
                Owner::Present
            }
        }
    }
}

/// Serves an owner on its way out, and lets it go once nothing holds it.
pub(super) async fn part(
    key: &Key,
    uid: &str,
    how: Propagation,
    dependents: &[(Key, Below)],
    context: &Context,
) -> Result<(), ApiError> {
    let finalizer = if how == Propagation::Orphan {
        ORPHAN
    } else {
        FOREGROUND
    };
    let mut moved = None;
    for (dependent, below) in dependents {
        let done = if how == Propagation::Orphan {
            match find(dependent, context) {
                Some((kind, stored)) => {
                    strip(&kind, &stored, &BTreeSet::from([uid]), context).await
                }
                None => Ok(()),
            }
        } else {
            collect(dependent, *below, context).await
        };
        match done {
            Err(error) if error.reason == Reason::NotFound => {}
            // The others need not wait for the one that changed under our hands.
            Err(error) if error.reason == Reason::Conflict => moved = Some(error),
            done => done?,
        }
    }
    if let Some(error) = moved {
        return Err(error);
    }
    if how != Propagation::Orphan
        && dependents
            .iter()
            .any(|(dependent, _)| blocks(dependent, key, uid, context))
    {
        return Ok(());
    }
    let Some((kind, stored)) =
        find(key, context).filter(|(_, stored)| stored.uid.to_string() == uid)
    else {
        return Ok(());
    };
    change(&kind, &stored, context, |object| {
        object.remove_finalizer(finalizer)
    })
    .await
}

/// Whether an owner has to wait for this dependent.
fn blocks(dependent: &Key, owner: &Key, uid: &str, context: &Context) -> bool {
    // What is in no namespace, or in another, was never this owner's to take along.
    let within = owner.namespace.is_empty() || owner.namespace == dependent.namespace;
    let names = |stored: &Arc<Stored>| {
        decode::Meta::of(stored)
            .owner_references
            .iter()
            .any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
    };
    within
        && context
            .client
            .store()
            .get(dependent)
            .as_ref()
            .is_some_and(names)
}

async fn strip(
    kind: &Kind,
    stored: &Stored,
    lost: &BTreeSet<&str>,
    context: &Context,
) -> Result<(), ApiError> {
    change(kind, stored, context, |object| {
        let mut owners = object.owner_references();
        let before = owners.len();
        owners.retain(|owner| !lost.contains(owner.uid.as_str()));
        object.set_owner_references(&owners);
        owners.len() < before
    })
    .await
}

/// Deletes exactly this state of an object.
async fn delete(
    kind: &Kind,
    stored: &Stored,
    how: Propagation,
    context: &Context,
) -> Result<(), ApiError> {
    let preconditions = Preconditions {
        uid: Some(stored.uid.to_string()),
        resource_version: Some(stored.revision.to_string()),
    };
    let options = DeleteOptions {
        preconditions,
        propagation: Some(how),
        ..DeleteOptions::default()
    };
    let registry = context.client.registry();
    registry
        .delete(kind, &stored.key, &options, &context.writer)
        .await
        .map(drop)
}

/// Changes exactly this state of an object.
async fn change(
    kind: &Kind,
    stored: &Stored,
    context: &Context,
    change: impl FnOnce(&mut Object) -> bool,
) -> Result<(), ApiError> {
    let mut object = object_of(kind, stored);
    if !change(&mut object) {
        return Ok(());
    }
    let registry = context.client.registry();
    registry
        .update(
            kind,
            &stored.key,
            object,
            Part::Main,
            Options::default(),
            &context.writer,
        )
        .await
        .map(drop)
}

fn find(key: &Key, context: &Context) -> Option<(Arc<Kind>, Arc<Stored>)> {
    let kind = context.client.registry().kinds().by_key(&key.resource)?;
    Some((Arc::clone(kind), context.client.store().get(key)?))
}
