//! `Role` and `ClusterRole`.

use k8s_openapi::{
    api::rbac::v1::{ClusterRole, Role},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use koinon_machinery::{
    Cause, Column, Object, ResourceInfo, Result, are_enough,
    selector::validate_label_selector,
    validation::{FieldPath, NameRule},
};
use serde_json::Value;

use super::Scope;
use crate::{
    authz::{Attributes, RBAC, Rule, rules_of},
    registry::{Admission, Generation, Strategy, Unconditional},
};

#[derive(Debug)]
pub(in crate::resources) struct Roles(pub(in crate::resources) Scope);

impl Strategy for Roles {
    fn info(&self) -> ResourceInfo {
        let mut info = match self.0 {
            Scope::Namespace => super::super::builtin::<Role>(false, &[]),
            Scope::Cluster => super::super::builtin::<ClusterRole>(false, &[]),
        };
        // As kube-apiserver prints them.
        info.columns[0] = Column::text("Created At", ".metadata.creationTimestamp");
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
        self.admit(object, None, admission)
    }

    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        if super::only_lets_go(object, old) {
            return Ok(());
        }
        self.admit(object, Some(old), admission)
    }

    fn validate(&self, object: &Object, _: Option<&Object>) -> Vec<Cause> {
        let mut causes = Vec::new();
        for (index, rule) in rules(object).iter().enumerate() {
            if are_enough(&causes) {
                break;
            }
            causes.extend(self.faults(rule, &format!("rules[{index}]")));
        }
        if let Some(selectors) = selectors(object) {
            let path = FieldPath::new("aggregationRule").child("clusterRoleSelectors");
            if selectors.is_empty() {
                causes.push(Cause::required(
                    &path,
                    "at least one clusterRoleSelector required if aggregationRule is non-nil",
                ));
            }
            for (index, selector) in selectors.iter().enumerate() {
                if are_enough(&causes) {
                    break;
                }
                if let Ok(selector) = serde_json::from_value::<LabelSelector>(selector.clone()) {
                    causes.extend(validate_label_selector(&selector, &path.index(index)));
                }
            }
        }
        causes
    }
}

impl Roles {
    /// Nobody makes a role that gives more than he has, unless he may `escalate` it.
    fn admit(
        &self,
        object: &Object,
        old: Option<&Object>,
        admission: &Admission<'_>,
    ) -> Result<()> {
        // As in Kubernetes a create is asked for without a name.
        let name = old.map_or("", Object::name);
        let info = self.info();
        let escalate = Attributes::of("escalate", RBAC, &info.plural)
            .named(name)
            .within(object.namespace());
        if super::is_master(admission) || super::may(admission, &escalate) {
            return Ok(());
        }
        let aggregates = selectors(object).is_some() || old.and_then(selectors).is_some();
        if aggregates && !admission.access.is_almighty(admission.user) {
            let why = "must have cluster-admin privileges to use an aggregationRule";
            return Err(super::refused(&info, object, why));
        }
        admission
            .access
            .confirm_grant(admission.user, object.namespace(), &rules(object))
            .map_err(|why| super::refused(&info, object, &why))
    }

    fn faults(&self, rule: &Rule, at: &str) -> Vec<Cause> {
        let mut causes = Vec::new();
        if rule.verbs.is_empty() {
            causes.push(Cause::required(
                format!("{at}.verbs"),
                "verbs must contain at least one value",
            ));
        }
        if !rule.non_resource_urls.is_empty() {
            let mut refuse = |why| {
                let urls = Value::from(rule.non_resource_urls.clone());
                causes.push(Cause::invalid(format!("{at}.nonResourceURLs"), urls, why));
            };
            if self.0 == Scope::Namespace {
                refuse("namespaced rules cannot apply to non-resource URLs");
            }
            if !(rule.api_groups.is_empty()
                && rule.resources.is_empty()
                && rule.resource_names.is_empty())
            {
                refuse("rules cannot apply to both regular resources and non-resource URLs");
            }
            return causes;
        }
        if rule.api_groups.is_empty() {
            causes.push(Cause::required(
                format!("{at}.apiGroups"),
                "resource rules must supply at least one api group",
            ));
        }
        if rule.resources.is_empty() {
            causes.push(Cause::required(
                format!("{at}.resources"),
                "resource rules must supply at least one resource",
            ));
        }
        causes
    }
}

fn rules(object: &Object) -> Vec<Rule> {
    let rules = object.get("rules").and_then(Value::as_array);
    rules_of(rules.map_or(&[], Vec::as_slice))
}

/// The selectors of an aggregated role; `None` for an ordinary one.
fn selectors(object: &Object) -> Option<Vec<Value>> {
    let rule = object.get("aggregationRule")?;
    let selectors = rule.get("clusterRoleSelectors").and_then(Value::as_array);
    Some(selectors.cloned().unwrap_or_default())
}
