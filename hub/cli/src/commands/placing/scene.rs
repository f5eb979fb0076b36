//! Where the objects come from: the hub, or a folder of YAML.

mod rules;

use std::{fs, path::Path, sync::LazyLock};

use jiff::Timestamp;
use koinon_api::{
    AddOnPlacementScore, ManagedCluster, ManagedClusterSet, ManagedClusterSetBinding, Placement,
    PlacementDecision, labels::label,
};
use koinon_machinery::placement::World;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::rules::Rules;
use crate::{
    args::HubArgs,
    client::Server,
    error::{Error, Result},
};

static RULES: LazyLock<Rules> = LazyLock::new(Rules::new);

/// The sets that every hub has.
const DEFAULT_SET: &str = "default";
const GLOBAL_SET: &str = "global";

/// Reads everything that placements depend on from the hub.
pub(super) async fn from_hub(hub: &HubArgs) -> Result<World> {
    let server = Server::hub(hub).await?;
    let mut world = World::default();
    for set in server.list(&server.all::<ManagedClusterSet>()).await? {
        world.put_set(&set);
    }
    for binding in server
        .list(&server.all::<ManagedClusterSetBinding>())
        .await?
    {
        world.put_binding(&binding);
    }
    for cluster in server.list(&server.all::<ManagedCluster>()).await? {
        world.put_cluster(&cluster);
    }
    for scores in server.list(&server.all::<AddOnPlacementScore>()).await? {
        world.put_scores(&scores);
    }
    for placement in server.list(&server.all::<Placement>()).await? {
        world.put_placement(&placement);
    }
    for decision in server.list(&server.all::<PlacementDecision>()).await? {
        world.put_decision(&decision);
    }
    Ok(world)
}

/// Reads all YAML and JSON files of a folder and those below it. The default and the global set need not be there,
/// and clusters that name no set are in the default one, as on a hub.
pub(super) fn from_folder(folder: &Path) -> Result<World> {
    let mut world = World::default();
    let mut files = 0;
    visit(folder, &mut |file| {
        files += 1;
        add_file(&mut world, file).map(drop)
    })?;
    if files == 0 {
        return Err(Error::failed(format!(
            "there is no .yaml, .yml or .json file in {}",
            folder.display()
        )));
    }
    for (name, selector) in [
        (
            DEFAULT_SET,
            json!({ "selectorType": "ExclusiveClusterSetLabel" }),
        ),
        (
            GLOBAL_SET,
            json!({ "selectorType": "LabelSelector", "labelSelector": {} }),
        ),
    ] {
        if !world.has_set(name) {
            let set = json!({
                "apiVersion": "cluster.open-cluster-management.io/v1beta2", "kind": "ManagedClusterSet",
                "metadata": { "name": name }, "spec": { "clusterSelector": selector },
            });
            world.put_set(&read(Path::new("built in"), set)?);
        }
    }
    Ok(world)
}

/// Puts the objects of a file into a world; says how many placements and clusters there were.
pub(super) fn add_file(world: &mut World, file: &Path) -> Result<Added> {
    let text = fs::read_to_string(file)
        .map_err(|error| Error::caused(format!("cannot read {}", file.display()), error))?;
    let documents = documents(&text)
        .map_err(|error| Error::caused(format!("{} is not YAML", file.display()), error))?;
    let mut added = Added::default();
    for document in documents {
        let items = match document.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![document],
        };
        for object in items {
            add(world, file, object, &mut added)?;
        }
    }
    Ok(added)
}

/// Reads the documents of a file. There may be as many as fit into it, for fleets are large; what anchors make of it stays bounded.
fn documents(text: &str) -> Result<Vec<Value>, serde_saphyr::Error> {
    let mut budget = serde_saphyr::Budget::default();
    // An item takes at least a byte, and begins and ends.
    for most in [
        &mut budget.max_documents,
        &mut budget.max_nodes,
        &mut budget.max_events,
        &mut budget.max_total_scalar_bytes,
    ] {
        *most = (*most).max(text.len().saturating_mul(2));
    }
    serde_saphyr::from_multiple_with_options(text, serde_saphyr::options! { budget: Some(budget) })
}

/// What a file held.
#[derive(Debug, Default)]
pub(super) struct Added {
    pub(super) clusters: usize,
    pub(super) placements: usize,
}

fn add(world: &mut World, file: &Path, mut object: Value, added: &mut Added) -> Result<()> {
    let kind = object.get("kind").and_then(Value::as_str);
    let kind = kind.unwrap_or_default().to_owned();
    // Other kinds may lie beside them.
    if !RULES.know(&kind) {
        return Ok(());
    }
    if kind == "ManagedCluster" {
        join_default_set(&mut object);
    }
    let object = admitted(file, object)?;
    match kind.as_str() {
        "ManagedCluster" => {
            added.clusters += 1;
            let cluster = read::<ManagedCluster>(file, object.clone())?;
            // Expressions see what is written there, as on a hub.
            world.put_cluster_as(&cluster, object);
        }
        "ManagedClusterSet" => world.put_set(&read::<ManagedClusterSet>(file, object)?),
        "ManagedClusterSetBinding" => {
            world.put_binding(&read::<ManagedClusterSetBinding>(file, object)?);
        }
        "AddOnPlacementScore" => world.put_scores(&read::<AddOnPlacementScore>(file, object)?),
        "Placement" => {
            added.placements += 1;
            world.put_placement(&read::<Placement>(file, object)?);
        }
        _ => world.put_decision(&read::<PlacementDecision>(file, object)?),
    }
    Ok(())
}

/// As a hub does with a cluster that names no set. What an agent would say of itself need not be there.
fn join_default_set(cluster: &mut Value) {
    let Some(cluster) = cluster.as_object_mut() else {
        return;
    };
    cluster
        .entry("spec")
        .or_insert_with(|| json!({ "hubAcceptsClient": true }));
    let metadata = cluster.entry("metadata").or_insert_with(|| json!({}));
    let labels = metadata
        .as_object_mut()
        .map(|metadata| metadata.entry("labels").or_insert_with(|| json!({})));
    if let Some(labels) = labels.and_then(Value::as_object_mut) {
        labels
            .entry(label::CLUSTER_SET)
            .or_insert_with(|| DEFAULT_SET.into());
    }
}

fn name_of(object: &Value) -> String {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

fn admitted(file: &Path, object: Value) -> Result<Value> {
    let name = name_of(&object);
    let refused = |error| {
        let what = format!("a hub refuses {name:?} in {}", file.display());
        Error::caused(what, error)
    };
    RULES.admit(object).map_err(refused)
}

fn read<K: DeserializeOwned>(file: &Path, object: Value) -> Result<K> {
    let name = name_of(&object);
    serde_json::from_value(object).map_err(|error| {
        Error::caused(
            format!("{name:?} in {} cannot be read", file.display()),
            error,
        )
    })
}

fn visit(folder: &Path, each: &mut impl FnMut(&Path) -> Result<()>) -> Result<()> {
    let unreadable = |error| Error::caused(format!("cannot read {}", folder.display()), error);
    let mut entries: Vec<_> = fs::read_dir(folder)
        .map_err(unreadable)?
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    entries.sort_by_key(fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        // Links are not followed: they may lead round in a circle.
        if entry.file_type().map_err(unreadable)?.is_dir() {
            visit(&path, each)?;
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) {
            each(&path)?;
        }
    }
    Ok(())
}

/// The world of a command: a folder if one is named, else the hub.
pub(super) async fn world(hub: &HubArgs, folder: Option<&Path>) -> Result<World> {
    match folder {
        Some(folder) => from_folder(folder),
        None => from_hub(hub).await,
    }
}

pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests;
