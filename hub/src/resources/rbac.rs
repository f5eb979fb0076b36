//! `Role`, `ClusterRole`, `RoleBinding`, `ClusterRoleBinding`: who may do what.
//!
//! Defaults, validation and the check against escalation are kube-apiserver's (`pkg/apis/rbac`,
//! `pkg/registry/rbac/*/policybased`), in its words.

mod binding;
mod role;

use koinon_machinery::{ApiError, Object, ResourceInfo};

pub(super) use self::{binding::Bindings, role::Roles};
use crate::{auth::MASTERS, authz::Attributes, registry::Admission};

/// Whether a kind is about one namespace or about all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Namespace,
    Cluster,
}

/// Whether nothing changes but what the garbage collector needs to delete the object.
fn only_lets_go(object: &Object, old: &Object) -> bool {
    let bare = |object: &Object| {
        let mut object = object.clone();
        for field in [
            "ownerReferences",
            "finalizers",
            "managedFields",
            "resourceVersion",
        ] {
            object.metadata_mut().remove(field);
        }
        object
    };
    bare(object) == bare(old)
}

fn is_master(admission: &Admission<'_>) -> bool {
    admission.user.in_group(MASTERS) && admission.user.cluster.is_none()
}

fn may(admission: &Admission<'_>, asked: &Attributes) -> bool {
    admission.access.allows(admission.user, asked)
}

/// 403 in kube-apiserver's form.
fn refused(info: &ResourceInfo, object: &Object, why: &str) -> ApiError {
    ApiError::forbidden(info, object.name(), why)
}
