//! `ManagedCluster`: a member cluster as the hub knows it.

use koinon_api::{
    ManagedCluster,
    labels::{label, taint, well_known},
};
use koinon_machinery::{
    ApiError, Cause, Object, ResourceInfo, Result, object, validation::NameRule,
};
use serde_json::{Map, Value, json};

use crate::{
    authz::Attributes,
    registry::{Admission, Strategy},
};

const GROUP: &str = "cluster.open-cluster-management.io";
/// Store key of cluster sets.
const SETS: &str = "managedclustersets.cluster.open-cluster-management.io";

#[derive(Debug)]
pub(super) struct Cluster;

impl Strategy for Cluster {
    fn info(&self) -> ResourceInfo {
        super::custom::<ManagedCluster>()
    }

    /// A cluster has a namespace of its name.
    fn names(&self) -> NameRule {
        NameRule::DnsLabel
    }

    fn prepare_create(&self, object: &mut Object, admission: &mut Admission<'_>) -> Result<()> {
        default_set(object);
        taint_unreachable(object);
        let now = Value::from(object::timestamp(admission.now));
        for taint in taints(object) {
            taint.insert("timeAdded".to_owned(), now.clone());
        }
        admit_set(object, None, admission)?;
        admit_labels(object, None, admission)?;
        admit_acceptance(object, None, admission)
    }

    fn prepare_update(
        &self,
        object: &mut Object,
        old: &Object,
        admission: &mut Admission<'_>,
    ) -> Result<()> {
        default_set(object);
        time_taints(object, old, &object::timestamp(admission.now))?;
        admit_set(object, Some(old), admission)?;
        admit_labels(object, Some(old), admission)?;
        admit_acceptance(object, Some(old), admission)
    }

    fn validate(&self, object: &Object, _: Option<&Object>) -> Vec<Cause> {
        let configs = object
            .at(&["spec", "managedClusterClientConfigs"])
            .and_then(Value::as_array);
        let urls = configs.into_iter().flatten().map(|config| {
            config
                .get("url")
                .and_then(Value::as_str)
                .unwrap_or_default()
        });
        urls.enumerate()
            .filter(|(_, url)| !is_https(url))
            .map(|(index, url)| {
                let field = format!("spec.managedClusterClientConfigs[{index}].url");
                Cause::invalid(field, url, "must be a URL with the scheme https and a host")
            })
            .collect()
    }
}

/// A cluster without a set is in the default one.
fn default_set(object: &mut Object) {
    if object
        .label(label::CLUSTER_SET)
        .unwrap_or_default()
        .is_empty()
    {
        object.set_label(label::CLUSTER_SET, well_known::DEFAULT_SET);
    }
}

/// Nobody has heard of a new cluster: it is unreachable until its agent reports. OCM's controller, and ours, taint it
/// for that, but a moment after it is there, and placements would choose it in that moment.
fn taint_unreachable(object: &mut Object) {
    let ours = |one: &Value| {
        let text = |field: &str| one.get(field).and_then(Value::as_str).unwrap_or_default();
        (text("key"), text("value"), text("effect")) == (taint::UNREACHABLE, "", "NoSelect")
    };
    // Without a spec, or with one that is none, it is refused by the schema.
    let spec = object
        .as_map_mut()
        .get_mut("spec")
        .and_then(Value::as_object_mut);
    let list = spec.map(|spec| spec.entry("taints").or_insert_with(|| json!([])));
    if let Some(taints) = list.and_then(Value::as_array_mut)
        && !taints.iter().any(ours)
    {
        taints.push(json!({ "key": taint::UNREACHABLE, "effect": "NoSelect" }));
    }
}

fn taints(object: &mut Object) -> impl Iterator<Item = &mut Map<String, Value>> {
    let spec = object.as_map_mut().get_mut("spec");
    let list = spec
        .and_then(|spec| spec.get_mut("taints"))
        .and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

/// The hub alone says when a taint was added: now, if it is new or changed.
///
/// OCM also refuses an unchanged taint without its time, so that re-applying the same YAML fails there; here the time
/// is put back.
fn time_taints(object: &mut Object, old: &Object, now: &str) -> Result<()> {
    let text = |taint: &Map<String, Value>, field: &str| {
        taint
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let before: Vec<Map<String, Value>> = taints(&mut old.clone())
        .map(|taint| taint.clone())
        .collect();
    let mut refused = Vec::new();
    for taint in taints(object) {
        let key = text(taint, "key");
        let known = before.iter().find(|old| text(old, "key") == key);
        let unchanged = known.filter(|old| {
            ["value", "effect"]
                .iter()
                .all(|field| text(old, field) == text(taint, field))
        });
        let time = unchanged.map_or_else(|| now.to_owned(), |old| text(old, "timeAdded"));
        let sent = text(taint, "timeAdded");
        let fits = sent.is_empty() || unchanged.is_some() && same_time(&sent, &time);
        if !fits {
            refused.push(key);
        } else if !time.is_empty() {
            taint.insert("timeAdded".to_owned(), time.into());
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let keys = refused.join(",");
    Err(ApiError::bad_request(format!(
        "It is not allowed to set TimeAdded of Taint \"{keys}\"."
    )))
}

fn same_time(one: &str, other: &str) -> bool {
    let read = |text: &str| {
        text.parse::<jiff::Timestamp>()
            .map(jiff::Timestamp::as_second)
            .ok()
    };
    one == other || read(one).is_some() && read(one) == read(other)
}

/// Whoever moves a cluster between sets needs the right to `join` both: OCM's webhook.
fn admit_set(object: &Object, old: Option<&Object>, admission: &Admission<'_>) -> Result<()> {
    let set = |object: &Object| {
        object
            .label(label::CLUSTER_SET)
            .unwrap_or_default()
            .to_owned()
    };
    let (new, old) = (set(object), old.map(set).unwrap_or_default());
    if new == old {
        return Ok(());
    }
    for set in [old, new].iter().filter(|set| !set.is_empty()) {
        demand_join(set, admission)?;
    }
    Ok(())
}

/// Whoever labels a cluster into a set that selects by labels needs the right to `join` that one.
///
/// OCM asks for nothing here. But placements of that set send works to the cluster then, with the Secrets in them. A set that
/// selects clusters without labels as well, like the global one, is not entered by a label.
fn admit_labels(object: &Object, old: Option<&Object>, admission: &Admission<'_>) -> Result<()> {
    let before = old.map(Object::labels_owned).unwrap_or_default();
    let after = object.labels_owned();
    if before == after {
        return Ok(());
    }
    for set in admission.objects.all(SETS) {
        let entered = super::clusterset::selector(&set)
            .is_some_and(|selector| selector.matches(&after) && !selector.matches(&before));
        if entered {
            demand_join(set.name(), admission)?;
        }
    }
    Ok(())
}

fn demand_join(set: &str, admission: &Admission<'_>) -> Result<()> {
    let join = Attributes::of("create", GROUP, "managedclustersets/join").named(set);
    if admission.access.allows(admission.user, &join) {
        return Ok(());
    }
    let why = format!(
        "user {:?} cannot add/remove a ManagedCluster to/from ManagedClusterSet {set:?}",
        admission.user.name
    );
    Err(super::forbidden(
        GROUP,
        "managedclustersets/join",
        set,
        &why,
    ))
}

/// A cluster is accepted by those who may accept, and not while what its name held before is still being cleared away.
fn admit_acceptance(
    object: &Object,
    old: Option<&Object>,
    admission: &Admission<'_>,
) -> Result<()> {
    let accepted =
        |object: &Object| object.at(&["spec", "hubAcceptsClient"]) == Some(&Value::Bool(true));
    if !accepted(object) || old.is_some_and(accepted) {
        return Ok(());
    }
    let namespace = admission.objects.find("namespaces", "", object.name());
    if namespace.is_some_and(|namespace| namespace.is_deleting()) {
        let info = super::custom::<ManagedCluster>();
        let why = format!(
            "unable to set hubAcceptsClient to true because the namespace {:?} is terminating",
            object.name()
        );
        return Err(ApiError::forbidden(&info, object.name(), &why));
    }
    let accept = Attributes::of(
        "update",
        "register.open-cluster-management.io",
        "managedclusters/accept",
    );
    if !admission
        .access
        .allows(admission.user, &accept.named(object.name()))
    {
        let why = format!(
            "user {:?} cannot update the HubAcceptsClient field",
            admission.user.name
        );
        let name = object.name();
        return Err(super::forbidden(
            GROUP,
            "managedclusters/accept",
            name,
            &why,
        ));
    }
    Ok(())
}

fn is_https(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("https://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    !host.is_empty()
        && !host.starts_with(':')
        && !url.chars().any(|c| c.is_whitespace() || c.is_control())
}
