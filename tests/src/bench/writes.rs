//! Writes per second through the HTTPS API with fsync on, beside kube-apiserver on etcd: creates by an admin, creates by an
//! account whose rights come from RBAC and whose requests take turns, and writes of statuses.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use super::{
    Settings,
    beside::{self, Kinds, Side},
    https::{Connection, JSON, MERGE_PATCH, Target},
    load::{Ask, Load, fill, load},
    objects,
    table::Table,
};
use crate::hub::Hub;

/// What the design asks for, by the number of clients.
const BARS: [(usize, &str); 3] = [(1, "> 2,000/s"), (32, "> 10,000/s"), (256, "> 12,000/s")];
/// Clients of the account, and of the statuses: where both servers are busy.
const MANY: usize = 32;
/// The first writes after a start fill caches and allocate; they are nobody's usual.
const WARMING: Duration = Duration::from_secs(1);
const WORKS: &str = "/apis/work.open-cluster-management.io/v1/namespaces/bench/manifestworks";

pub(super) async fn run(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let (ours, beside) =
        beside::both(Kinds::BuiltIn, async |side| creates(side, settings).await).await?;
    let beside = beside.unwrap_or_default();
    let names = settings.clients.iter().map(|clients| {
        let bar = BARS.iter().find(|(of, _)| of == clients);
        let name = format!("API creates of 1 KB, {clients} clients");
        (name, bar.map_or("", |(_, bar)| *bar))
    });
    let account = (
        format!("the same by an account with a role, {MANY} clients"),
        "",
    );
    for (index, (name, bar)) in names.chain([account]).enumerate() {
        let shown = ours
            .get(index)
            .map_or_else(String::new, ToString::to_string);
        table.row(&name, &shown, &beside::kube(beside.get(index)), bar);
    }
    table.row(
        &format!("API creates of 1 KB, {MANY} clients, all recorded in the audit log"),
        &audited(settings.load).await?.to_string(),
        "",
        "",
    );
    Ok(())
}

/// Creates by an admin on a hub that records who changes what.
async fn audited(how_long: Duration) -> anyhow::Result<Load> {
    let dir = super::folder()?;
    let flags = ["--audit-level=metadata"];
    let hub = Hub::start_with(&dir.path().join("hub"), &flags).await?;
    let side = Side::Ours(Box::new(hub));
    let target = side.admin()?;
    namespace(&mut target.connect().await?).await?;
    create(&target, 8, WARMING, "warm").await?;
    create(&target, MANY, how_long, "audited").await
}

/// Statuses of works, as agents that use the API write them: a merge patch of `/status`, each client of its own work.
pub(super) async fn statuses(settings: &Settings, table: &mut Table) -> anyhow::Result<()> {
    let (ours, beside) = beside::both(Kinds::Ours, async |side| {
        let target = side.admin()?;
        namespace(&mut target.connect().await?).await?;
        fill(&target, MANY, |index| {
            ask(
                Method::POST,
                WORKS.to_owned(),
                JSON,
                &objects::work(&format!("w-{index}")),
            )
        })
        .await?;
        load(&target, MANY, settings.load, |client, count| {
            let path = format!("{WORKS}/w-{client}/status");
            ask(Method::PATCH, path, MERGE_PATCH, &objects::status(count))
        })
        .await
    })
    .await?;
    table.row(
        &format!("status updates of works over the API, {MANY} clients"),
        &ours.to_string(),
        &beside::kube(beside),
        "> 10,000/s",
    );
    Ok(())
}

async fn creates(side: &Side, settings: &Settings) -> anyhow::Result<Vec<Load>> {
    let target = side.admin()?;
    let mut api = target.connect().await?;
    namespace(&mut api).await?;
    let account = side.holder(&account(&mut api).await?)?;
    create(&target, 8, WARMING, "warm").await?;
    let mut loads = Vec::new();
    for clients in &settings.clients {
        loads.push(create(&target, *clients, settings.load, &format!("c{clients}")).await?);
    }
    loads.push(create(&account, MANY, settings.load, "account").await?);
    Ok(loads)
}

async fn create(
    target: &Target,
    clients: usize,
    how_long: Duration,
    prefix: &str,
) -> anyhow::Result<Load> {
    let prefix = prefix.to_owned();
    load(target, clients, how_long, move |client, count| {
        let object = objects::config_map(&format!("{prefix}-{client}-{count}"));
        ask(Method::POST, objects::CONFIG_MAPS.to_owned(), JSON, &object)
    })
    .await
}

pub(super) fn ask(
    method: Method,
    path: String,
    content_type: &'static str,
    body: &Value,
) -> anyhow::Result<Ask> {
    Ok(Ask {
        method,
        path,
        content_type,
        body: Bytes::from(serde_json::to_vec(body)?),
    })
}

/// The namespace that everything of a part is in.
pub(super) async fn namespace(api: &mut Connection) -> anyhow::Result<()> {
    let namespace =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "bench" } });
    api.json(Method::POST, "/api/v1/namespaces", &namespace)
        .await?;
    Ok(())
}

/// A token of an account that may create config maps in the namespace and nothing else.
async fn account(api: &mut Connection) -> anyhow::Result<String> {
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/bench";
    let accounts = "/api/v1/namespaces/bench/serviceaccounts";
    let objects = [
        (
            accounts.to_owned(),
            json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "writer" } }),
        ),
        (
            format!("{rbac}/roles"),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "writer" },
                "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"] }],
            }),
        ),
        (
            format!("{rbac}/rolebindings"),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "writer" },
                "subjects": [{ "kind": "ServiceAccount", "namespace": "bench", "name": "writer" }],
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer" },
            }),
        ),
    ];
    for (path, object) in &objects {
        api.json(Method::POST, path, object).await?;
    }
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": [] },
    });
    let made = api
        .json(Method::POST, &format!("{accounts}/writer/token"), &request)
        .await?;
    Ok(made["status"]["token"]
        .as_str()
        .context("the answer has no token")?
        .to_owned())
}
