use std::fmt::Write as _;

use kube::core::ApiResource;

/// A resource as the member serves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// API group, empty for core.
    pub group: String,
    /// API version without the group.
    pub version: String,
    /// Kind of its objects.
    pub kind: String,
    /// Name in URLs.
    pub plural: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
}

impl Resource {
    /// Returns `group/version`, or `version` for core.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Returns the name that the kind's definition has if it has one, which names the kind in any case: `things.example.org`.
    #[must_use]
    pub fn definition(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Returns the URL path of the collection, or of one object.
    #[must_use]
    pub fn path(&self, namespace: &str, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        // Writing to a string cannot fail.
        if self.namespaced && !namespace.is_empty() {
            let _ = write!(path, "/namespaces/{namespace}");
        }
        let _ = write!(path, "/{}", self.plural);
        if let Some(name) = name {
            let _ = write!(path, "/{name}");
        }
        path
    }

    pub(super) fn api_resource(&self) -> ApiResource {
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version: self.api_version(),
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }
}

/// Resources that the agent uses for itself.
pub mod known {
    use std::sync::LazyLock;

    use super::Resource;

    fn resource(
        group: &str,
        version: &str,
        kind: &str,
        plural: &str,
        namespaced: bool,
    ) -> Resource {
        Resource {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
            plural: plural.into(),
            namespaced,
        }
    }

    /// Says whether objects of a resource are Namespaces; OpenShift shows them as projects, too, which can be made and deleted.
    #[must_use]
    pub fn is_namespace(group: &str, plural: &str) -> bool {
        matches!(
            (group, plural),
            ("", "namespaces") | ("project.openshift.io", "projects" | "projectrequests")
        )
    }

    /// Core namespaces.
    pub static NAMESPACES: LazyLock<Resource> =
        LazyLock::new(|| resource("", "v1", "Namespace", "namespaces", false));
    /// Core secrets: identity and desired state are kept in them.
    pub static SECRETS: LazyLock<Resource> =
        LazyLock::new(|| resource("", "v1", "Secret", "secrets", true));
    /// Core config maps.
    pub static CONFIG_MAPS: LazyLock<Resource> =
        LazyLock::new(|| resource("", "v1", "ConfigMap", "configmaps", true));
    /// Leases: one of them says which agent works in the cluster.
    pub static LEASES: LazyLock<Resource> =
        LazyLock::new(|| resource("coordination.k8s.io", "v1", "Lease", "leases", true));
    /// Core nodes.
    pub static NODES: LazyLock<Resource> =
        LazyLock::new(|| resource("", "v1", "Node", "nodes", false));
    /// Custom resource definitions.
    pub static CRDS: LazyLock<Resource> = LazyLock::new(|| {
        resource(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
            false,
        )
    });
    /// Who serves a group in a version.
    pub static API_SERVICES: LazyLock<Resource> = LazyLock::new(|| {
        resource(
            "apiregistration.k8s.io",
            "v1",
            "APIService",
            "apiservices",
            false,
        )
    });
    /// What the agent applied for a work.
    pub static APPLIED_WORKS: LazyLock<Resource> = LazyLock::new(|| {
        resource(
            "work.open-cluster-management.io",
            "v1",
            "AppliedManifestWork",
            "appliedmanifestworks",
            false,
        )
    });
    /// What the cluster allows works to do.
    pub static POLICIES: LazyLock<Resource> = LazyLock::new(|| {
        resource(
            "koinon.dev",
            "v1alpha1",
            "WorkPolicy",
            "workpolicies",
            false,
        )
    });
    /// What decides what executors may do.
    pub static RBAC: LazyLock<[Resource; 4]> = LazyLock::new(|| {
        let rbac = |kind, plural, namespaced| {
            resource("rbac.authorization.k8s.io", "v1", kind, plural, namespaced)
        };
        [
            rbac("Role", "roles", true),
            rbac("RoleBinding", "rolebindings", true),
            rbac("ClusterRole", "clusterroles", false),
            rbac("ClusterRoleBinding", "clusterrolebindings", false),
        ]
    });
    /// The same by the About API of SIG Multicluster; not every cluster serves it.
    pub static PROPERTIES: LazyLock<Resource> = LazyLock::new(|| {
        resource(
            "about.k8s.io",
            "v1alpha1",
            "ClusterProperty",
            "clusterproperties",
            false,
        )
    });
    /// Facts that a cluster states about itself.
    pub static CLAIMS: LazyLock<Resource> = LazyLock::new(|| {
        resource(
            "cluster.open-cluster-management.io",
            "v1alpha1",
            "ClusterClaim",
            "clusterclaims",
            false,
        )
    });
}

#[cfg(test)]
mod tests {
    use super::known::{APPLIED_WORKS, SECRETS};

    #[test]
    fn paths_follow_group_and_scope() {
        assert_eq!(
            SECRETS.path("ns", Some("a")),
            "/api/v1/namespaces/ns/secrets/a"
        );
        assert_eq!(SECRETS.path("", None), "/api/v1/secrets");
        assert_eq!(
            APPLIED_WORKS.path("", Some("x")),
            "/apis/work.open-cluster-management.io/v1/appliedmanifestworks/x"
        );
    }
}
