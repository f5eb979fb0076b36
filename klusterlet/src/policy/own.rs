//! What the agent itself is made of. No work may touch it, whatever the policies say: a hub that could would be held by none
//! of them.

use serde_json::Value;

use super::judge::{Refusal, name};
use crate::cluster::{
    Resource,
    known::{APPLIED_WORKS, CLAIMS, POLICIES, is_namespace},
};

/// Prefix of the agent's cluster roles and their bindings.
const ROLES: &str = "koinon:klusterlet";

/// What is the agent's own.
#[derive(Debug)]
pub(super) struct Own {
    /// Where its identity, the desired state and its position are.
    namespace: String,
}

impl Own {
    pub(super) fn new(namespace: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
        }
    }

    /// Says whether a work may touch an object, or look at it, as far as the agent itself is concerned.
    pub(super) fn spares(&self, resource: &Resource, object: &Value) -> Result<(), Refusal> {
        let name = name(object);
        let namespace = object.pointer("/metadata/namespace");
        let namespace = namespace.and_then(Value::as_str).unwrap_or_default();
        let of = |known: &Resource| {
            (resource.group.as_str(), resource.plural.as_str())
                == (known.group.as_str(), known.plural.as_str())
        };
        let definition = resource.group == "apiextensions.k8s.io";
        let defines =
            |known: &Resource| definition && name == format!("{}.{}", known.plural, known.group);
        // Whoever serves a group decides what its objects are.
        let serves = |known: &Resource| {
            resource.group == "apiregistration.k8s.io"
                && name.ends_with(&format!(".{}", known.group))
        };
        let refuse = |what: &str| Err(Refusal::own(what));
        if of(&POLICIES) || defines(&POLICIES) || serves(&POLICIES) {
            return refuse("the policies of the cluster");
        }
        if of(&APPLIED_WORKS) || defines(&APPLIED_WORKS) || serves(&APPLIED_WORKS) {
            return refuse("the records of works");
        }
        if defines(&CLAIMS) {
            return refuse("the definitions of the agent");
        }
        let is_namespace = is_namespace(&resource.group, &resource.plural);
        if namespace == self.namespace || (is_namespace && name == self.namespace) {
            return refuse("the namespace of the agent");
        }
        let is_role = matches!(
            resource.group.as_str(),
            "rbac.authorization.k8s.io" | "authorization.openshift.io"
        );
        if is_role && namespace.is_empty() && name.starts_with(ROLES) {
            return refuse("the rights of the agent");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_agent_is_made_of_is_out_of_reach() {
        let own = Own::new("agent");
        for (group, plural, namespace, name, expected) in [
            ("koinon.dev", "workpolicies", "", "any", "policies"),
            (
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                "",
                "workpolicies.koinon.dev",
                "policies",
            ),
            (
                "apiregistration.k8s.io",
                "apiservices",
                "",
                "v1alpha1.koinon.dev",
                "policies",
            ),
            (
                "work.open-cluster-management.io",
                "appliedmanifestworks",
                "",
                "any",
                "records",
            ),
            (
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                "",
                "appliedmanifestworks.work.open-cluster-management.io",
                "records",
            ),
            (
                "apiregistration.k8s.io",
                "apiservices",
                "",
                "v1.work.open-cluster-management.io",
                "records",
            ),
            (
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                "",
                "clusterclaims.cluster.open-cluster-management.io",
                "definitions",
            ),
            ("", "secrets", "agent", "any", "namespace"),
            ("apps", "deployments", "agent", "klusterlet", "namespace"),
            ("", "namespaces", "", "agent", "namespace"),
            ("project.openshift.io", "projects", "", "agent", "namespace"),
            (
                "rbac.authorization.k8s.io",
                "clusterrolebindings",
                "",
                "koinon:klusterlet:works",
                "rights",
            ),
            (
                "rbac.authorization.k8s.io",
                "clusterroles",
                "",
                "koinon:klusterlet",
                "rights",
            ),
            ("", "namespaces", "", "agents", ""),
            ("", "secrets", "agents", "any", ""),
            (
                "apiextensions.k8s.io",
                "customresourcedefinitions",
                "",
                "things.koinon.dev.example",
                "",
            ),
            (
                "apiregistration.k8s.io",
                "apiservices",
                "",
                "v1.metrics.k8s.io",
                "",
            ),
            ("rbac.authorization.k8s.io", "clusterroles", "", "other", ""),
            (
                "cluster.open-cluster-management.io",
                "clusterclaims",
                "",
                "zone",
                "",
            ),
        ] {
            let resource = Resource {
                group: group.into(),
                version: "v1".into(),
                kind: String::new(),
                plural: plural.into(),
                namespaced: !namespace.is_empty(),
            };
            let object = json!({"metadata": {"name": name, "namespace": namespace}});
            let words = own.spares(&resource, &object).err();
            let words = words.map(|refusal| refusal.to_string()).unwrap_or_default();
            assert_eq!(
                words.is_empty(),
                expected.is_empty(),
                "{plural} {name}: {words}"
            );
            assert!(words.contains(expected), "{plural} {name}: {words}");
        }
    }
}
