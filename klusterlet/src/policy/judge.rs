//! Judges by one policy. Pure.

use koinon_api::policy::{Permission, PolicyVerb, WorkPolicySpec};
use serde_json::Value;

use super::{images::images, signed::signed};
use crate::cluster::{Resource, known::is_namespace};

/// Why the member does not allow something; for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(String);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Refusal {
    pub(super) fn own(what: &str) -> Self {
        Self(format!("works may not touch {what}"))
    }

    fn by(policy: &str, what: &str) -> Self {
        Self(format!(
            "WorkPolicy {policy:?} of the cluster does not allow {what}"
        ))
    }

    pub(super) fn unknown() -> Self {
        Self(
            "the policies of the cluster (workpolicies.koinon.dev) cannot be read, so nothing is applied or deleted"
                .to_owned(),
        )
    }

    pub(super) fn unreadable(policy: &str) -> Self {
        Self(format!(
            "WorkPolicy {policy:?} of the cluster cannot be read, so nothing is applied or deleted"
        ))
    }
}

/// Judges by one policy; `verb` is `None` for a look.
pub(super) fn one(
    policy: &str,
    spec: &WorkPolicySpec,
    resource: &Resource,
    object: &Value,
    verb: Option<PolicyVerb>,
) -> Result<(), Refusal> {
    let WorkPolicySpec {
        allowed_namespaces,
        denied_namespaces,
        allowed_resources,
        denied_resources,
        cluster_scoped,
        allowed_verbs,
        allowed_images,
        allowed_signers,
    } = spec;
    let refuse = |what: String| Err(Refusal::by(policy, &what));
    let is_namespace = is_namespace(&resource.group, &resource.plural);
    let namespace = if is_namespace {
        name(object)
    } else {
        object
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if namespace.is_empty() {
        if *cluster_scoped == Some(Permission::Deny) {
            return refuse("objects outside of namespaces".to_owned());
        }
    } else {
        let any = |patterns: &[String]| patterns.iter().any(|p| matches(p, namespace));
        if any(denied_namespaces) || allowed_namespaces.as_ref().is_some_and(|a| !any(a)) {
            return refuse(format!("namespace {namespace:?}"));
        }
    }
    let own = (resource.group.as_str(), resource.plural.as_str());
    // OpenShift's projects, roles and bindings are views of the usual ones.
    let usual = match own {
        (
            "authorization.openshift.io",
            "roles" | "rolebindings" | "clusterroles" | "clusterrolebindings",
        ) => ("rbac.authorization.k8s.io", own.1),
        _ if is_namespace => ("", "namespaces"),
        own => own,
    };
    let any = |patterns: &[koinon_api::policy::PolicyResource]| {
        let names = |p: &koinon_api::policy::PolicyResource, (group, plural): (&str, &str)| {
            matches(&p.group, group) && matches(&p.resource, plural)
        };
        patterns.iter().any(|p| names(p, own) || names(p, usual))
    };
    if any(denied_resources) || allowed_resources.as_ref().is_some_and(|a| !any(a)) {
        let dot = if resource.group.is_empty() { "" } else { "." };
        return refuse(format!("{}{dot}{}", resource.plural, resource.group));
    }
    if let (Some(verb), Some(allowed)) = (verb, allowed_verbs)
        && !allowed.contains(&verb)
    {
        return refuse(format!("works to {}", format!("{verb:?}").to_lowercase()));
    }
    let brings = matches!(verb, Some(PolicyVerb::Create | PolicyVerb::Update));
    if brings && (allowed_images.is_some() || allowed_signers.is_some()) {
        let images = images(resource, object);
        if let Some(allowed) = allowed_images {
            let any = |image: &&str| allowed.iter().any(|pattern| matches(pattern, image));
            if let Some(image) = images.iter().find(|image| !any(image)) {
                return refuse(format!("image {image:?}"));
            }
        }
        if let Some(keys) = allowed_signers {
            signed(keys, &images, object).or_else(|unsigned| refuse(unsigned.to_string()))?;
        }
    }
    Ok(())
}

pub(super) fn name(object: &Value) -> &str {
    object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Matches a text against a pattern in which `*` stands for any characters, also none.
fn matches(pattern: &str, text: &str) -> bool {
    crate::work::matches(pattern, text)
}

#[cfg(test)]
mod tests {
    use koinon_api::policy::PolicyResource;
    use serde_json::json;

    use super::*;

    fn resource(group: &str, plural: &str) -> Resource {
        Resource {
            group: group.into(),
            version: "v1".into(),
            kind: String::new(),
            plural: plural.into(),
            namespaced: true,
        }
    }

    fn refused(
        spec: &Value,
        resource: &Resource,
        object: &Value,
        verb: Option<PolicyVerb>,
    ) -> String {
        let spec: WorkPolicySpec = serde_json::from_value(spec.clone()).unwrap();
        one("p", &spec, resource, object, verb)
            .err()
            .map(|refusal| refusal.to_string())
            .unwrap_or_default()
    }

    #[test]
    fn what_a_policy_does_not_mention_it_allows() {
        use PolicyVerb::{Create, Delete, Update};
        let map = |namespace: &str| json!({"metadata": {"name": "a", "namespace": namespace}});
        let pod = |image: &str| json!({"metadata": {"name": "a", "namespace": "shop"}, "spec": {"template": {"spec": {"initContainers": [{"image": "ok.io/a"}], "containers": [{"image": image}]}}}});
        let (maps, deployments, roles) = (
            resource("", "configmaps"),
            resource("apps", "deployments"),
            resource("rbac.authorization.k8s.io", "clusterroles"),
        );
        let bare = json!({"metadata": {"name": "shop-2"}});
        for (spec, resource, object, verb, expected) in [
            (json!({}), &maps, map("kube-system"), Some(Create), ""),
            (
                json!({"allowedNamespaces": ["shop", "shop-*"]}),
                &maps,
                map("shop-1"),
                Some(Create),
                "",
            ),
            (
                json!({"allowedNamespaces": ["shop-*"]}),
                &maps,
                map("shop"),
                Some(Create),
                r#"namespace "shop""#,
            ),
            (
                json!({"allowedNamespaces": ["*"], "deniedNamespaces": ["kube-*"]}),
                &maps,
                map("kube-system"),
                None,
                "kube-system",
            ),
            (
                json!({"allowedNamespaces": ["shop-*"]}),
                &resource("", "namespaces"),
                bare.clone(),
                Some(Create),
                "",
            ),
            (
                json!({"allowedNamespaces": ["team"]}),
                &resource("", "namespaces"),
                bare.clone(),
                Some(Create),
                "shop-2",
            ),
            (
                json!({"allowedNamespaces": []}),
                &roles,
                bare.clone(),
                Some(Create),
                "",
            ),
            (
                json!({"clusterScoped": "Deny"}),
                &roles,
                bare.clone(),
                Some(Create),
                "outside of namespaces",
            ),
            (
                json!({"clusterScoped": "Deny"}),
                &resource("", "namespaces"),
                bare,
                Some(Create),
                "",
            ),
            (
                json!({"allowedResources": [{"group": "apps", "resource": "*"}]}),
                &deployments,
                map("a"),
                Some(Create),
                "",
            ),
            (
                json!({"allowedResources": [{"group": "apps", "resource": "*"}]}),
                &maps,
                map("a"),
                Some(Create),
                "configmaps",
            ),
            (
                json!({"deniedResources": [{"group": "*.k8s.io", "resource": "*"}]}),
                &roles,
                map("a"),
                Some(Create),
                "clusterroles.rbac",
            ),
            (
                json!({"deniedResources": [{"group": "rbac.authorization.k8s.io", "resource": "*"}]}),
                &resource("authorization.openshift.io", "rolebindings"),
                map("a"),
                Some(Create),
                "rolebindings.authorization.openshift.io",
            ),
            (
                json!({"deniedNamespaces": ["kube-*"]}),
                &resource("project.openshift.io", "projects"),
                json!({"metadata": {"name": "kube-system"}}),
                Some(Create),
                "kube-system",
            ),
            (
                json!({"allowedVerbs": ["Create"]}),
                &maps,
                map("a"),
                Some(Create),
                "",
            ),
            (
                json!({"allowedVerbs": ["Create"]}),
                &maps,
                map("a"),
                Some(Update),
                "to update",
            ),
            (
                json!({"allowedVerbs": ["Create", "Update"]}),
                &maps,
                map("a"),
                Some(Delete),
                "to delete",
            ),
            (json!({"allowedVerbs": []}), &maps, map("a"), None, ""),
            (
                json!({"allowedImages": ["ok.io/*"]}),
                &deployments,
                pod("ok.io/web:1"),
                Some(Update),
                "",
            ),
            (
                json!({"allowedImages": ["ok.io/*"]}),
                &deployments,
                pod("evil.io/web:1"),
                Some(Create),
                r#"image "evil.io/web:1""#,
            ),
            (
                json!({"allowedImages": []}),
                &deployments,
                pod("ok.io/web:1"),
                Some(Delete),
                "",
            ),
        ] {
            let words = refused(&spec, resource, &object, verb);
            assert_eq!(
                words.is_empty(),
                expected.is_empty(),
                "{spec} {object} {words}"
            );
            assert!(words.contains(expected), "{spec} {object} {words}");
        }
        assert_eq!(PolicyResource::default().group, "");
    }
}
