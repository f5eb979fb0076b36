//! What a hub would refuse is refused here as well: by the same schemas and rules, with the same defaults.

use std::collections::BTreeMap;

use koinon_api::{
    AddOnPlacementScore, ManagedCluster, ManagedClusterSet, ManagedClusterSetBinding, Placement,
    PlacementDecision,
};
use koinon_machinery::{
    ApiError, Cause, Object, ResourceInfo, decode,
    placement::admit,
    validation::{NameRule, metadata_create},
};
use kube::CustomResourceExt as _;
use serde_json::{Value, json};

/// kubectl's default for an object that names no namespace.
const NAMESPACE: &str = "default";

/// The kinds that placements depend on, as data.
pub(super) struct Rules(BTreeMap<String, ResourceInfo>);

impl Rules {
    pub(super) fn new() -> Self {
        let kinds = [
            ManagedCluster::crd(),
            ManagedClusterSet::crd(),
            ManagedClusterSetBinding::crd(),
            AddOnPlacementScore::crd(),
            Placement::crd(),
            PlacementDecision::crd(),
        ];
        let named = |info: ResourceInfo| (info.kind.clone(), info);
        let read = kinds.iter().map(|crd| {
            ResourceInfo::from_crd(crd)
                .expect("the definition of a kind of ours is structural, which a test checks")
        });
        Self(read.map(named).collect())
    }

    /// Whether placements depend on objects of this kind.
    pub(super) fn know(&self, kind: &str) -> bool {
        self.0.contains_key(kind)
    }

    /// Fills in what a hub would fill in.
    ///
    /// # Errors
    /// What a hub says to an object that it refuses.
    pub(super) fn admit(&self, object: Value) -> Result<Value, ApiError> {
        let mut object = Object::from_value(object)?;
        let Some(info) = self.0.get(object.kind()) else {
            return Ok(object.into_value());
        };
        if object.api_version() != info.api_version() {
            return Err(ApiError::bad_request(format!(
                "no matches for kind {:?} in version {:?}",
                info.kind,
                object.api_version()
            )));
        }
        if info.namespaced && object.namespace().is_empty() {
            let metadata = object.metadata_mut();
            metadata.insert("namespace".to_owned(), json!(NAMESPACE));
        }
        let unknown = info.schema.normalize(&mut object);
        if let Some(error) = decode::strict(&unknown, &[]) {
            return Err(error);
        }
        let names = match info.kind.as_str() {
            "ManagedCluster" => NameRule::DnsLabel,
            _ => NameRule::DnsSubdomain,
        };
        let mut causes = metadata_create(&object, info, names);
        causes.extend(info.schema.validate(&object, None));
        if causes.is_empty() {
            causes = own(&object)?;
        }
        if causes.is_empty() {
            return Ok(object.into_value());
        }
        Err(ApiError::invalid(info, object.name(), causes))
    }
}

/// The rules of a kind that its schema cannot say.
fn own(object: &Object) -> Result<Vec<Cause>, ApiError> {
    match object.kind() {
        "Placement" => Ok(admit::placement(object)),
        "ManagedClusterSet" => Ok(admit::set(object)),
        "ManagedClusterSetBinding" => match admit::binding(object) {
            Some(refusal) => Err(ApiError::bad_request(refusal)),
            None => Ok(Vec::new()),
        },
        _ => Ok(Vec::new()),
    }
}
