//! Finds out where in the cluster the object of a manifest is.

use std::{borrow::Cow, sync::Arc, time::Duration};

use koinon_api::work::ManifestResourceMeta;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    super::{
        plan::{self, Manifest, Object},
        prune::Unmapped,
        status::{Feedback, Meta, NotApplied, Outcome, Presence},
    },
    Located, Pass, Slot, Stake, defines, place,
};
use crate::cluster::{MapError, ObjectKey, Resource};

impl Pass<'_> {
    /// Finds the place of a manifest's object, and watches it; returns the manifest's place in the work as well.
    ///
    /// # Errors
    /// With the slot of a manifest that has none: it is no object, or its kind is not known.
    pub(in super::super) async fn locate<'m>(
        &self,
        manifest: &'m Manifest,
    ) -> (usize, Result<Located<'m>, Box<Slot>>) {
        (manifest.ordinal, self.find(manifest).await)
    }

    async fn find<'m>(&self, manifest: &'m Manifest) -> Result<Located<'m>, Box<Slot>> {
        let mut meta = ManifestResourceMeta {
            ordinal: place(manifest.ordinal),
            ..Default::default()
        };
        let object = match &manifest.object {
            Ok(object) => object,
            Err(error) => return Err(incomplete(meta, error.clone(), None)),
        };
        let (group, version) = object
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", &object.api_version));
        (meta.group, meta.version) = (group.to_owned(), version.to_owned());
        (meta.kind, meta.name, meta.namespace) = (
            object.kind.clone(),
            object.name.clone(),
            object.namespace.clone(),
        );
        let resource = match self.resolve(object).await {
            Ok(resource) => resource,
            Err(error) => {
                let unmapped = Unmapped {
                    namespace: meta.namespace.clone(),
                    name: meta.name.clone(),
                };
                return Err(incomplete(meta, error.to_string(), Some(unmapped)));
            }
        };
        let object = placed(object, &resource);
        let key = ObjectKey {
            resource,
            namespace: object.namespace.clone(),
            name: object.name.clone(),
        };
        // Before the object is touched, so that no change after our own can be missed.
        self.shared.watches.add(self.work, self.wake, &key);
        let (configs, option) = (
            &self.spec.manifest_configs,
            self.spec.delete_option.as_ref(),
        );
        let (namespace, name) = (object.namespace.as_str(), object.name.as_str());
        let treatment = plan::treatment(configs, &key.resource, namespace, name);
        let strategy = treatment.strategy.type_;
        let ownership = plan::ownership(option, strategy, &key.resource, namespace, name);
        Ok(Located {
            ordinal: manifest.ordinal,
            object,
            key,
            treatment,
            ownership,
        })
    }

    /// Finds the resource of an object; waits for it if a definition in the same work brings it.
    async fn resolve(&self, object: &Object) -> Result<Arc<Resource>, MapError> {
        loop {
            match self
                .shared
                .mapper
                .resolve(&object.api_version, &object.kind)
                .await
            {
                Err(MapError::NoMatch(_)) if self.awaits(object) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                other => return other,
            }
        }
    }

    /// Says whether it is worth waiting for the object's kind: a definition in this work brings it, was not refused, and the
    /// pass has not waited for too long already.
    pub(super) fn awaits(&self, object: &Object) -> bool {
        let group = object
            .api_version
            .rsplit_once('/')
            .map_or("", |(group, _)| group);
        let kind = (group.to_owned(), object.kind.clone());
        Instant::now() < self.patience
            && !self.undefined.lock().contains(&kind)
            && self
                .manifests
                .iter()
                .filter_map(|m| m.object.as_ref().ok())
                .any(|o| defines(o).as_ref() == Some(&kind))
    }
}

/// The object without a namespace that its kind has no use for.
fn placed<'o>(object: &'o Object, resource: &Resource) -> Cow<'o, Object> {
    if resource.namespaced || object.namespace.is_empty() {
        return Cow::Borrowed(object);
    }
    let mut object = object.clone();
    object.namespace.clear();
    if let Some(metadata) = object
        .value
        .get_mut("metadata")
        .and_then(Value::as_object_mut)
    {
        metadata.remove("namespace");
    }
    Cow::Owned(object)
}

fn incomplete(meta: ManifestResourceMeta, error: String, unmapped: Option<Unmapped>) -> Box<Slot> {
    let outcome = Outcome {
        meta: Meta::Unknown(Box::new(meta)),
        applied: Err(NotApplied::failed(error)),
        presence: Presence::Incomplete,
        feedback: Feedback::default(),
        derived: Vec::new(),
    };
    Box::new(Slot {
        outcome,
        uid: Box::default(),
        unmapped: unmapped.map(Box::new),
        writes: 0,
        created: false,
        completes: false,
        stake: Stake::Own,
        rival: None,
        perhaps_made: false,
        homeless: false,
    })
}
