//! What the machine takes for the writes that any agent waits for, one after the other: nothing is applied before it is recorded, and
//! nothing is said before it is done. The difference to the agent's time is the agent, and the way between the two.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};

use super::super::{
    https::{Connection, MERGE_PATCH},
    objects,
};

const RECORDS: &str = "/apis/work.open-cluster-management.io/v1/appliedmanifestworks";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const NAMESPACES: &str = "/api/v1/namespaces";
/// A namespace without an agent.
const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/floor/manifestworks";

/// Makes records and their objects in the member; returns how long each pair took.
pub(super) async fn member(
    connection: &mut Connection,
    count: usize,
) -> anyhow::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for index in 0..count {
        let name = format!("floor-{index}");
        let mut object = objects::config_map(&name);
        let begin = Instant::now();
        let record = connection
            .json(Method::POST, RECORDS, &record(&name))
            .await?;
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork",
            "name": name, "uid": record["metadata"]["uid"],
        }]);
        connection.json(Method::POST, MAPS, &object).await?;
        times.push(begin.elapsed());
    }
    Ok(times)
}

/// Makes works on the hub and gives each a status; returns how long that takes together with `member`.
pub(super) async fn all(
    connection: &mut Connection,
    count: usize,
    member: Vec<Duration>,
) -> anyhow::Result<Vec<Duration>> {
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "floor" } });
    connection
        .json(Method::POST, NAMESPACES, &namespace)
        .await?;
    let mut times = Vec::new();
    for (index, member) in (0..count).zip(member) {
        let name = format!("floor-{index}");
        let status = serde_json::to_vec(&objects::status(index))?;
        let begin = Instant::now();
        connection
            .json(Method::POST, WORKS, &objects::work(&name))
            .await?;
        let path = format!("{WORKS}/{name}/status");
        let (code, _) = connection
            .send_as(Method::PATCH, &path, MERGE_PATCH, status.into())
            .await?;
        anyhow::ensure!(code.is_success(), "{path}: {code}");
        times.push(begin.elapsed() + member);
    }
    Ok(times)
}

/// A record of the size that the agent makes.
fn record(name: &str) -> Value {
    json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork",
        "metadata": {
            "name": name,
            "annotations": { "koinon.dev/planned": format!("/v1/configmaps/default/{name}") },
        },
        "spec": { "hubHash": "0".repeat(64), "agentID": "floor", "manifestWorkName": name },
    })
}
