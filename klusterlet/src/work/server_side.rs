//! The strategy `ServerSideApply`: the API server merges what the manifest declares, and knows who owns which field.

use koinon_api::{
    labels::{annotation::CONFIG_SPEC_HASH, well_known},
    work::ServerSideApplyConfig,
};
use serde_json::{Value, json};

use super::{
    apply::{Applied, Applier, is_terminating, terminating, version},
    diff::{self, Zero},
    ignore::{Ignored, owned_fields, owns_only},
    managed::handed_over,
    plan::{Object, Ownership},
    rival::rival,
    update::{Known, references},
};
use crate::cluster::{Force, Resource, Result};

impl Applier<'_> {
    pub(super) async fn server_side(
        &self,
        object: &Object,
        resource: &Resource,
        (config, ignored): (&ServerSideApplyConfig, &Ignored),
        ownership: Ownership,
        known: Option<&Known>,
    ) -> Result<Applied> {
        let selective = !config.ignore_fields.is_empty();
        // An object that is there may have fields that are to be left alone: only then must it be looked for first.
        let unlimited = self.may.create.is_ok() && self.may.update.is_ok();
        let live = if self.fresh && !selective && unlimited {
            None
        } else {
            self.cluster
                .get(resource, &object.namespace, &object.name)
                .await?
        };
        if live.as_ref().is_some_and(is_terminating) {
            return Err(terminating(object));
        }
        let manager = config
            .field_manager
            .as_deref()
            .unwrap_or(well_known::WORK_AGENT);
        let (live, moves) = match live {
            Some(live) => {
                let (live, moves) = self.hand_over(object, resource, live, manager).await?;
                (Some(live), moves)
            }
            None => (None, 0),
        };
        let hash = selective.then(|| diff::digest(&ignored.renewed(&object.value)));
        let renewed = hash
            .as_deref()
            .is_some_and(|hash| live.as_ref().and_then(spec_hash) != Some(hash));
        let mut desired = match &live {
            None => object.value.clone(),
            Some(_) if renewed => ignored.renewed(&object.value),
            Some(_) => ignored.lasting(&object.value),
        };
        if let Some(live) = &live {
            ignored.keep_owned(&mut desired, &object.value, live, manager);
        }
        // The owner is a merge patch of its own, as in OCM: all works apply under one manager, and an apply takes away what its
        // manager owns and no longer names, the references of other works among it.
        if let Some(metadata) = desired.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("ownerReferences");
            let kept = live.as_ref().map(|live| owned_references(live, manager));
            if let Some(kept) = kept.filter(|kept| !kept.is_empty()) {
                metadata.insert("ownerReferences".to_owned(), kept.into());
            }
        }
        if let Some(hash) = hash {
            desired["metadata"]["annotations"][CONFIG_SPEC_HASH] = hash.into();
        }
        if let Some(live) = &live
            && is_applied(&desired, live, manager, known, &object.value)
        {
            return self
                .settle_owner(object, resource, ownership, live.clone(), moves)
                .await;
        }
        match &live {
            Some(_) => self.may.update()?,
            None => self.may.create()?,
        }
        let rival = live.as_ref().and_then(|live| {
            let own = [manager];
            rival(&desired, live, &own, self.owner)
        });
        let is_named = live
            .as_ref()
            .is_some_and(|live| self.owner.is_named_by(live));
        if ownership == Ownership::Owned && !is_named {
            self.owner.await_by(&mut desired);
        }
        let force = if config.force { Force::Yes } else { Force::No };
        let before = live.as_ref().map(version);
        let created = before.is_none();
        let live = self
            .cluster
            .apply(
                resource,
                &object.namespace,
                &object.name,
                &desired,
                manager,
                force,
            )
            .await?;
        // The server may find that nothing changes; that undoes nobody's work.
        let writes = moves + u32::from(before != Some(version(&live)));
        let applied = self
            .settle_owner(object, resource, ownership, live, writes)
            .await?;
        Ok(Applied {
            rival,
            sent: true,
            created,
            ..applied
        })
    }

    /// Moves what this work wrote with `Update` to the manager that applies from now on. Returns the object, and the number of writes.
    async fn hand_over(
        &self,
        object: &Object,
        resource: &Resource,
        live: Value,
        manager: &str,
    ) -> Result<(Value, u32)> {
        let entries = match &self.may.update {
            Ok(()) => handed_over(&live, self.owner, manager),
            // It is refused when there is something to apply.
            Err(_) => None,
        };
        let Some(entries) = entries else {
            return Ok((live, 0));
        };
        let patch =
            json!({"metadata": {"managedFields": entries, "resourceVersion": version(&live)}});
        let moved = self
            .cluster
            .merge(resource, &object.namespace, &object.name, None, &patch)
            .await;
        match moved {
            Ok(moved) => {
                let writes = u32::from(version(&moved) != version(&live));
                Ok((moved, writes))
            }
            // It can be applied all the same; if it cannot, what the server says of that tells more.
            Err(error) if error.is_invalid() || error.may_be_admission() => Ok((live, 0)),
            Err(error) => Err(error),
        }
    }
}

/// Says whether applying would change nothing: all is as desired, and the manager owns nothing besides.
fn is_applied(
    desired: &Value,
    live: &Value,
    manager: &str,
    known: Option<&Known>,
    manifest: &Value,
) -> bool {
    let content = diff::is_satisfied(desired, live, Zero::Missing)
        || known.is_some_and(|known| {
            known.content == diff::declared_fingerprint(manifest, live)
                && known.required == diff::fingerprint(manifest)
        });
    let metadata = ["/metadata/labels", "/metadata/annotations"]
        .iter()
        .all(|pointer| {
            let live = live.pointer(pointer).unwrap_or(&Value::Null);
            // What the manifest says nothing about is not ours to compare, and there are no empty maps of these.
            desired
                .pointer(pointer)
                .and_then(Value::as_object)
                .is_none_or(|declared| {
                    let mut declared = declared.iter();
                    declared.all(|(key, value)| live.get(key) == Some(value))
                })
        });
    content
        && metadata
        && owned_fields(live, manager).is_some_and(|fields| owns_only(fields, desired))
}

/// The references that `manager` applied; earlier agents applied them with the object.
fn owned_references(live: &Value, manager: &str) -> Vec<Value> {
    let owned = owned_fields(live, manager)
        .and_then(|fields| fields.pointer("/f:metadata/f:ownerReferences"))
        .and_then(Value::as_object);
    references(live)
        .iter()
        .filter(|reference| {
            let key = json!({"uid": reference.get("uid")}).to_string();
            owned.is_some_and(|owned| owned.contains_key(&format!("k:{key}")))
        })
        .cloned()
        .collect()
}

fn spec_hash(live: &Value) -> Option<&str> {
    live.get("metadata")?
        .get("annotations")?
        .get(CONFIG_SPEC_HASH)?
        .as_str()
}
