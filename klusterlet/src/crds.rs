//! Definitions that the agent needs in the member, applied at start.

use std::time::Duration;

use koinon_api::{AppliedManifestWork, ClusterClaim, WorkPolicy};
use kube::CustomResourceExt as _;
use serde_json::{Value, json};
use tracing::{debug, info};

use crate::cluster::{
    Cluster, Error, Result,
    known::{CRDS, POLICIES},
};

/// How long an accepted definition may take until it is served.
const PATIENCE: Duration = Duration::from_secs(30);

/// Installs `AppliedManifestWork`, `WorkPolicy` and, if there is none, `ClusterClaim`.
///
/// A definition that is there already and serves what is needed is left alone: OCM's own agent may have put it there. That of
/// policies is the agent's alone, and must know every field: a limit that an older definition drops would be none.
///
/// # Errors
/// Fails when the member refuses them, or does not serve them in time.
pub async fn install(cluster: &Cluster) -> Result<()> {
    for crd in [
        AppliedManifestWork::crd(),
        ClusterClaim::crd(),
        WorkPolicy::crd(),
    ] {
        let name = crd.metadata.name.clone().unwrap_or_default();
        let version = crd
            .spec
            .versions
            .first()
            .map(|v| v.name.clone())
            .unwrap_or_default();
        let mut object =
            serde_json::to_value(&crd).map_err(|e| Error::Unreachable(e.to_string()))?;
        let existing = cluster.get(&CRDS, "", &name).await?;
        let sufficient = |live: &Value| {
            serves(live, &version)
                && (crd.spec.names.kind != POLICIES.kind || knows(live, &object, &version))
        };
        if existing.as_ref().is_some_and(sufficient) {
            debug!(%name, "definition is there");
            continue;
        }
        object["apiVersion"] = "apiextensions.k8s.io/v1".into();
        object["kind"] = "CustomResourceDefinition".into();
        if let Some(map) = object.as_object_mut() {
            map.remove("status");
        }
        object["metadata"]["labels"] = json!({"app.kubernetes.io/managed-by": "koinon-klusterlet"});
        cluster.apply_own(&CRDS, "", &name, &object).await?;
        info!(%name, "installed a definition");
        served(cluster, &name, &version).await?;
    }
    Ok(())
}

async fn served(cluster: &Cluster, name: &str, version: &str) -> Result<()> {
    let wait = async {
        loop {
            if cluster
                .get(&CRDS, "", name)
                .await?
                .is_some_and(|live| serves(&live, version))
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or(Err(Error::Timeout))
}

fn serves(live: &Value, version: &str) -> bool {
    let list = |pointer: &str| {
        live.pointer(pointer)
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default()
    };
    let text = |value: &Value, key: &str| {
        value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let established = list("/status/conditions")
        .iter()
        .any(|c| text(c, "type") == "Established" && text(c, "status") == "True");
    established
        && list("/spec/versions")
            .iter()
            .any(|v| text(v, "name") == version && v.get("served") == Some(&Value::Bool(true)))
}

/// Says whether the schema of a definition has everything that another one's has.
fn knows(live: &Value, wanted: &Value, version: &str) -> bool {
    fn schema<'a>(definition: &'a Value, version: &str) -> Option<&'a Value> {
        let versions = definition.pointer("/spec/versions")?.as_array()?;
        let named = |v: &&Value| v.get("name").and_then(Value::as_str) == Some(version);
        versions.iter().find(named)?.get("schema")
    }
    fn within(wanted: &Value, live: &Value) -> bool {
        match (wanted, live) {
            (Value::Object(wanted), Value::Object(live)) => wanted
                .iter()
                .all(|(key, wanted)| live.get(key).is_some_and(|live| within(wanted, live))),
            (wanted, live) => wanted == live,
        }
    }
    match (schema(wanted, version), schema(live, version)) {
        (Some(wanted), Some(live)) => within(wanted, live),
        (wanted, _) => wanted.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_that_drops_a_limit_is_not_sufficient() {
        let wanted = serde_json::to_value(WorkPolicy::crd()).unwrap();
        let version = wanted["spec"]["versions"][0]["name"].as_str().unwrap();
        assert!(knows(&wanted, &wanted, version));
        let spec = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        let mut older = wanted.clone();
        let fields = older.pointer_mut(spec).unwrap().as_object_mut().unwrap();
        assert!(fields.remove("allowedImages").is_some());
        assert!(!knows(&older, &wanted, version));
        let mut newer = wanted.clone();
        newer.pointer_mut(spec).unwrap()["later"] = json!({"type": "string"});
        assert!(knows(&newer, &wanted, version));
        assert!(!knows(&json!({}), &wanted, version));
    }
}
