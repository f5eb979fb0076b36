//! Applies the agent's manifests to a member cluster, one after the other.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use koinon_api::{
    labels::{
        label,
        well_known::{AGENT_NAMESPACE, BOOTSTRAP_SECRET},
    },
    names::ClusterName,
};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams},
};
use serde_json::Value;

use crate::{
    client::{Server, found},
    error::{Error, Result},
    output,
};

/// Whether an agent with another name may be overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replace {
    Yes,
    No,
}

/// Applies the manifests with server-side apply, so that doing it again is harmless.
///
/// # Errors
///
/// The cluster cannot be reached, is no Kubernetes cluster, has joined under another name, or refuses a manifest.
pub(super) async fn install(
    member: &Server,
    cluster: &ClusterName,
    manifests: &[Value],
    replace: Replace,
) -> Result<()> {
    let version = member.version().await?;
    let system = async { found(member.all::<Namespace>().get("kube-system").await) };
    let system = member
        .call("cannot read namespace kube-system", system)
        .await?
        .ok_or_else(|| {
            Error::failed(format!(
                "{} has no namespace kube-system, so it is no Kubernetes cluster",
                member.name()
            ))
            .next("--member-kubeconfig is for the cluster that is to join, not for the hub")
        })?;
    eprintln!(
        "{} runs Kubernetes {}, UID {}",
        member.name(),
        version.git_version,
        system.metadata.uid.as_deref().unwrap_or("unknown")
    );
    if replace == Replace::No {
        refuse_another_name(member, cluster).await?;
    }
    for manifest in manifests {
        apply(member, manifest).await?;
    }
    Ok(())
}

async fn refuse_another_name(member: &Server, cluster: &ClusterName) -> Result<()> {
    let api = member.namespaced::<Secret>(AGENT_NAMESPACE);
    let secret = async { found(api.get(BOOTSTRAP_SECRET).await) };
    let secret = member
        .call("cannot look for an earlier agent", secret)
        .await?;
    let name = secret
        .and_then(|secret| secret.data?.remove("cluster-name"))
        .and_then(|name| String::from_utf8(name.0).ok());
    match name {
        Some(name) if name != cluster.as_str() => Err(Error::failed(format!(
            "an agent is installed there already, as cluster {name}"
        ))
        .next(format!(
            "join as {name}, or overwrite its settings with --replace"
        ))),
        _ => Ok(()),
    }
}

async fn apply(member: &Server, manifest: &Value) -> Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&manifest["kind"]), text(&manifest["metadata"]["name"]));
    let (group, version) = match manifest["apiVersion"].as_str().unwrap_or_default() {
        full if full.contains('/') => full.split_once('/').unwrap_or_default(),
        core => ("", core),
    };
    // True of every kind that is installed.
    let plural = format!("{}s", kind.to_lowercase());
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, &kind), &plural);
    let api: Api<DynamicObject> = match manifest["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(member.client(), namespace, &resource),
        None => Api::all_with(member.client(), &resource),
    };
    let what = format!("cannot apply {} {name}", kind.to_lowercase());
    if kind == "CustomResourceDefinition" {
        let live = async { found(api.get(&name).await) };
        if member
            .call(&what, live)
            .await?
            .is_some_and(|live| !is_ours(&live))
        {
            // OCM's own agent, perhaps, and it may need more of the definition than we do.
            return output::line(&format!(
                "{}/{name} is there already; left as it is",
                kind.to_lowercase()
            ));
        }
    }
    let params = PatchParams::apply("koinon").force();
    member
        .call(&what, api.patch(&name, &params, &Patch::Apply(manifest)))
        .await?;
    output::line(&format!("{}/{name} applied", kind.to_lowercase()))
}

/// Says whether an object was installed by this command or by the agent.
fn is_ours(live: &DynamicObject) -> bool {
    live.labels()
        .get(label::MANAGED_BY)
        .is_some_and(|by| by.starts_with("koinon"))
}
