//! `RoleBinding` and `ClusterRoleBinding`.

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleBinding};
use koinon_machinery::{
    ApiError, Cause, Column, Details, Object, Reason, ResourceInfo, Result, ShownAs, are_enough,
    validation::{NameRule, dns_subdomain, path_segment},
};
use serde_json::Value;

use super::Scope;
use crate::{
    authz::{self, Attributes, RBAC, RoleRef},
    registry::{Admission, Generation, Strategy, Unconditional},
};

#[derive(Debug)]
pub(in crate::resources) struct Bindings(pub(in crate::resources) Scope);

impl Strategy for Bindings {
    fn info(&self) -> ResourceInfo {
        let mut info = match self.0 {
            Scope::Namespace => super::super::builtin::<RoleBinding>(false, &[]),
            Scope::Cluster => super::super::builtin::<ClusterRoleBinding>(false, &[]),
        };
        info.columns.insert(
            0,
            Column::text("Role", ".roleRef").shown_as(ShownAs::RoleRef),
        );
        let subjects = [
            ("Users", "User"),
            ("Groups", "Group"),
            ("ServiceAccounts", "ServiceAccount"),
        ];
        info.columns.extend(subjects.map(|(title, kind)| {
            Column::text(title, ".subjects")
                .shown_as(ShownAs::Subjects(kind))
                .wide()
        }));
        info
    }

    fn names(&self) -> NameRule {
        NameRule::PathSegment
    }

    fn generation(&self) -> Generation {
        Generation::Absent
    }

    fn unconditional_update(&self) -> Unconditional {
        Unconditional::Allowed
    }

    fn creates_on_update(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Object, admission: &mut Admission<'_>) -> Result<()> {
        fill(object);
        self.admit(object, admission)
    }

    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        fill(object);
        if super::only_lets_go(object, old) {
            return Ok(());
        }
        self.admit(object, admission)
    }

    fn validate(&self, object: &Object, old: Option<&Object>) -> Vec<Cause> {
        let role = role(object);
        let mut causes = Vec::new();
        if role.api_group != RBAC {
            let group = role.api_group.as_str();
            causes.push(Cause::not_supported("roleRef.apiGroup", group, [RBAC]));
        }
        let kinds: &[&str] = match self.0 {
            Scope::Namespace => &["Role", "ClusterRole"],
            Scope::Cluster => &["ClusterRole"],
        };
        if !kinds.contains(&role.kind.as_str()) {
            let kind = role.kind.as_str();
            let kinds = kinds.iter().copied();
            causes.push(Cause::not_supported("roleRef.kind", kind, kinds));
        }
        if role.name.is_empty() {
            causes.push(Cause::required("roleRef.name", ""));
        }
        causes.extend(
            path_segment(&role.name)
                .iter()
                .map(|fault| Cause::invalid("roleRef.name", role.name.as_str(), fault)),
        );
        let subjects = object.get("subjects").and_then(Value::as_array);
        for (index, subject) in subjects.into_iter().flatten().enumerate() {
            if are_enough(&causes) {
                break;
            }
            causes.extend(self.subject_faults(subject, &format!("subjects[{index}]")));
        }
        if old.is_some_and(|old| old.get("roleRef") != object.get("roleRef")) {
            let value = object.get("roleRef").cloned().unwrap_or_default();
            causes.push(Cause::invalid("roleRef", value, "cannot change roleRef"));
        }
        causes
    }
}

impl Bindings {
    /// Nobody binds a role that gives more than he has, unless he may `bind` it.
    fn admit(&self, object: &Object, admission: &Admission<'_>) -> Result<()> {
        if super::is_master(admission) {
            return Ok(());
        }
        let role = role(object);
        let plural = match role.kind.as_str() {
            "Role" => "roles",
            "ClusterRole" => "clusterroles",
            // Validation says what is wrong.
            _ => return Ok(()),
        };
        let namespace = object.namespace();
        let bind = Attributes::of("bind", &role.api_group, plural)
            .named(&role.name)
            .within(namespace);
        if super::may(admission, &bind) {
            return Ok(());
        }
        let Some(rules) = admission.access.role(&role, namespace) else {
            return Err(missing(plural, &role));
        };
        admission
            .access
            .confirm_grant(admission.user, namespace, &rules)
            .map_err(|why| super::refused(&self.info(), object, &why))
    }

    fn subject_faults(&self, subject: &Value, at: &str) -> Vec<Cause> {
        let text = |field| {
            subject
                .get(field)
                .and_then(Value::as_str)
                .unwrap_or_default()
        };
        let (kind, name, group) = (text("kind"), text("name"), text("apiGroup"));
        let mut causes = Vec::new();
        if name.is_empty() {
            causes.push(Cause::required(format!("{at}.name"), ""));
        }
        let field = format!("{at}.apiGroup");
        match kind {
            "ServiceAccount" => {
                if !name.is_empty() {
                    let faults = dns_subdomain(name);
                    let invalid =
                        |fault: &String| Cause::invalid(format!("{at}.name"), name, fault);
                    causes.extend(faults.iter().map(invalid));
                }
                if !group.is_empty() {
                    causes.push(Cause::not_supported(field, group, [""]));
                }
                if self.0 == Scope::Cluster && text("namespace").is_empty() {
                    causes.push(Cause::required(format!("{at}.namespace"), ""));
                }
            }
            "User" | "Group" => {
                if group != RBAC {
                    causes.push(Cause::not_supported(field, group, [RBAC]));
                }
            }
            _ => {
                let kinds = ["ServiceAccount", "User", "Group"];
                causes.push(Cause::not_supported(format!("{at}.kind"), kind, kinds));
            }
        }
        causes
    }
}

/// Kubernetes' defaults: the one group that roles, users and groups are of.
fn fill(object: &mut Object) {
    let fields = object.as_map_mut();
    let unset = |value: &Value| value.get("apiGroup").is_none_or(|group| group == "");
    if let Some(role) = fields.get_mut("roleRef").filter(|role| role.is_object())
        && unset(role)
    {
        role["apiGroup"] = RBAC.into();
    }
    let subjects = fields.get_mut("subjects").and_then(Value::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        let kind = subject.get("kind").and_then(Value::as_str);
        if matches!(kind, Some("User" | "Group")) && unset(subject) {
            subject["apiGroup"] = RBAC.into();
        }
    }
}

fn role(object: &Object) -> RoleRef {
    let role = object.get("roleRef").cloned().unwrap_or_default();
    serde_json::from_value(role).unwrap_or_default()
}

/// 404 for the role that a binding is to grant.
fn missing(plural: &str, role: &RoleRef) -> ApiError {
    let details = Details {
        name: role.name.clone(),
        group: RBAC.to_owned(),
        kind: plural.to_owned(),
        ..Details::default()
    };
    ApiError::new(Reason::NotFound, authz::no_such_role(plural, &role.name)).with_details(details)
}
