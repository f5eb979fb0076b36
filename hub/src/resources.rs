//! One file per kind: its data and its own rules.
//!
//! Adding a kind is a file here and a line in [`all`]. The kinds know neither HTTP nor the store.

mod binding;
mod cluster;
mod clusterset;
mod configmap;
mod csr;
mod decision;
mod definition;
mod event;
mod lease;
mod manifests;
mod namespace;
mod placement;
mod rbac;
mod score;
mod secret;
mod service_account;
mod token;
mod work;
mod workset;

#[cfg(test)]
mod tests;

use koinon_machinery::{ApiError, Details, Reason, ResourceInfo};
use kube::CustomResourceExt;

pub use namespace::{CLEANUP as NAMESPACE_CLEANUP, DEFAULT as DEFAULT_NAMESPACE};

use crate::registry::{Kinds, Strategy};

/// What the kinds need to know of this hub.
#[derive(Clone, Debug)]
pub struct Settings {
    /// SHA-256 of the hub's CA certificate, which join tokens name.
    pub ca_sha256: [u8; 32],
    /// The largest body of a work.
    pub work_limit: usize,
    /// Whether `Secret`s may be stored: sealed, or in the clear because it was said so.
    pub takes_secrets: bool,
}

/// The cap on a work's size that design §3 sets.
pub const WORK_LIMIT: usize = 16 << 20;

/// All kinds that the hub serves.
pub fn all(settings: &Settings) -> Kinds {
    let strategies: Vec<Box<dyn Strategy>> = vec![
        Box::new(binding::Binding),
        Box::new(cluster::Cluster),
        Box::new(clusterset::ClusterSet),
        Box::new(configmap::ConfigMaps),
        Box::new(csr::Requests),
        Box::new(decision::Decision),
        Box::new(definition::Definitions),
        Box::new(event::Events),
        Box::new(lease::Leases),
        Box::new(namespace::Namespaces),
        Box::new(placement::Placements),
        Box::new(rbac::Bindings(rbac::Scope::Cluster)),
        Box::new(rbac::Bindings(rbac::Scope::Namespace)),
        Box::new(rbac::Roles(rbac::Scope::Cluster)),
        Box::new(rbac::Roles(rbac::Scope::Namespace)),
        Box::new(score::Score),
        Box::new(secret::Secrets {
            are_taken: settings.takes_secrets,
        }),
        Box::new(service_account::ServiceAccounts),
        Box::new(token::Token {
            ca_sha256: settings.ca_sha256,
        }),
        Box::new(work::Work {
            limit: settings.work_limit,
        }),
        Box::new(workset::ReplicaSet {
            limit: settings.work_limit,
        }),
    ];
    Kinds::new(strategies)
}

/// The CRDs of all kinds that are not Kubernetes' own, as YAML documents.
///
/// # Errors
///
/// When a definition does not serialise.
pub fn definitions() -> Result<String, serde_saphyr::ser::Error> {
    let nowhere = Settings {
        ca_sha256: [0; 32],
        work_limit: WORK_LIMIT,
        takes_secrets: true,
    };
    let mut text = String::new();
    for kind in all(&nowhere).iter().filter(|kind| kind.info.is_custom()) {
        text.push_str("---\n");
        text.push_str(&serde_saphyr::to_string(&kind.info.definition())?);
    }
    Ok(text)
}

/// A kind of ours as data.
fn custom<K: CustomResourceExt>() -> ResourceInfo {
    ResourceInfo::from_crd(&K::crd())
        .expect("the definition of a kind of ours is structural, which a test checks")
}

/// One of Kubernetes' own kinds as data.
fn builtin<K>(has_status: bool, short_names: &[&str]) -> ResourceInfo
where
    K: k8s_openapi::Resource + schemars::JsonSchema,
    K::Scope: 'static,
{
    ResourceInfo::from_type::<K>(has_status, short_names)
        .expect("the schema of one of Kubernetes' kinds is structural, which a test checks")
}

/// 403 about a right that is no kind, as OCM words it.
fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> ApiError {
    let details = Details {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: resource.to_owned(),
        ..Details::default()
    };
    let message = format!("{resource}.{group} {name:?} is forbidden: {why}");
    ApiError::new(Reason::Forbidden, message).with_details(details)
}
