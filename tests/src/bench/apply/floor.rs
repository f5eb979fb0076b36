//! What the machine takes for the writes that any agent waits for, one after the other: nothing is applied before it is recorded, and
//! nothing is said before it is done. The difference to the agent's time is the agent, and the way between the two.

use std::time::{Duration, Instant};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::Method;
use serde_json::{Value, json};

use super::super::{
    https::{Connection, MERGE_PATCH, Target},
    objects,
};

const RECORDS: &str = "/apis/work.open-cluster-management.io/v1/appliedmanifestworks";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const SECRETS: &str = "/api/v1/namespaces/default/secrets";
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
        let begin = Instant::now();
        let made = connection
            .json(Method::POST, RECORDS, &record(&name))
            .await?;
        let object = owned(&name, &made);
        connection.json(Method::POST, MAPS, &object).await?;
        times.push(begin.elapsed());
    }
    Ok(times)
}

/// The same for an agent that can go on without its hub: what is desired is stored before anything is applied, at the same time as the
/// record is made.
pub(super) async fn kept(target: &Target, count: usize) -> anyhow::Result<Vec<Duration>> {
    let (mut one, mut other) = (target.connect().await?, target.connect().await?);
    let mut times = Vec::new();
    for index in 0..count {
        let name = format!("kept-{index}");
        let (record, secret) = (record(&name), secret(&name));
        let begin = Instant::now();
        let (made, stored) = tokio::join!(
            one.json(Method::POST, RECORDS, &record),
            other.json(Method::POST, SECRETS, &secret)
        );
        stored?;
        let object = owned(&name, &made?);
        one.json(Method::POST, MAPS, &object).await?;
        times.push(begin.elapsed());
    }
    Ok(times)
}

/// Makes works on the hub, their records and objects in the member, and gives the works their statuses, by so many clients at once; returns
/// how long all of it takes. The namespace must be there. What is desired is left out: of a burst it is stored together, in a few writes.
pub(super) async fn burst(
    hub: &Target,
    member: &Target,
    count: usize,
    clients: usize,
) -> anyhow::Result<Duration> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push((hub.connect().await?, member.connect().await?));
    }
    let begin = Instant::now();
    let parts = connections.into_iter().enumerate();
    let parts = parts.map(async |(part, (mut hub, mut member))| {
        for index in (part..count).step_by(clients) {
            let name = format!("burst-{index}");
            hub.json(Method::POST, WORKS, &objects::work(&name)).await?;
            let made = member.json(Method::POST, RECORDS, &record(&name)).await?;
            member
                .json(Method::POST, MAPS, &owned(&name, &made))
                .await?;
            report(&mut hub, &name, index).await?;
        }
        anyhow::Ok(())
    });
    futures::future::try_join_all(parts).await?;
    Ok(begin.elapsed())
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
        let begin = Instant::now();
        connection
            .json(Method::POST, WORKS, &objects::work(&name))
            .await?;
        report(connection, &name, index).await?;
        times.push(begin.elapsed() + member);
    }
    Ok(times)
}

/// Gives a work a status.
async fn report(hub: &mut Connection, work: &str, count: usize) -> anyhow::Result<()> {
    let status = serde_json::to_vec(&objects::status(count))?;
    let path = format!("{WORKS}/{work}/status");
    let (code, _) = hub
        .send_as(Method::PATCH, &path, MERGE_PATCH, status.into())
        .await?;
    anyhow::ensure!(code.is_success(), "{path}: {code}");
    Ok(())
}

/// The object of a work, owned by its record.
fn owned(name: &str, record: &Value) -> Value {
    let mut object = objects::config_map(name);
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "AppliedManifestWork",
        "name": name, "uid": record["metadata"]["uid"],
    }]);
    object
}

/// What is desired, in a Secret of the size that the agent makes.
fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "labels": { "koinon.dev/held-work": "head" } },
        "data": {
            "work.json": BASE64_STANDARD.encode("w".repeat(400)), "body.gz": BASE64_STANDARD.encode("b".repeat(250)),
        },
    })
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
