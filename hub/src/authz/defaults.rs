//! The roles and bindings that every hub has, and how they are kept up over versions.
//!
//! Names, labels and rules are kube-apiserver's where it has them (`bootstrappolicy/policy.go`), as far as the hub
//! serves what they are about; `koinon:…` are ours.

use koinon_api::labels::well_known;
use koinon_machinery::{LabelSelector, Object};
use serde_json::{Value, json};

use super::{
    Rule,
    aggregate::{Aggregated, aggregate},
    cover,
};
use crate::auth::{ANONYMOUS_GROUP, AUTHENTICATED, MASTERS};

/// An object that is not annotated `false` with it is brought up at each start of a hub.
pub(crate) const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const BOOTSTRAPPING: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");
const API_VERSION: &str = "rbac.authorization.k8s.io/v1";

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
const CHANGE: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const CLUSTER: &str = "cluster.open-cluster-management.io";
const WORK: &str = "work.open-cluster-management.io";
const REGISTER: &str = "register.open-cluster-management.io";
const RBAC: &str = super::RBAC;

/// All of them, in an order in which each finds what it refers to.
pub fn all() -> Vec<Object> {
    let parts = [
        ("system:aggregate-to-view", "view", view()),
        ("system:aggregate-to-edit", "edit", edit()),
        ("system:aggregate-to-admin", "admin", admin()),
    ];
    let mut roles: Vec<Object> = parts
        .into_iter()
        .map(|(name, into, rules)| labelled(role(name, &rules), into))
        .collect();
    for (name, into) in [
        ("view", Some("edit")),
        ("edit", Some("admin")),
        ("admin", None),
    ] {
        let selector = json!({ "matchLabels": { label_of(name): "true" } });
        let mut object = role(name, &[]);
        object.as_map_mut().insert(
            "aggregationRule".to_owned(),
            json!({ "clusterRoleSelectors": [selector] }),
        );
        if let Some(into) = into {
            object = labelled(object, into);
        }
        let rules = aggregated(&object, &roles);
        object.as_map_mut().insert("rules".to_owned(), rules);
        roles.push(object);
    }
    roles.extend(plain().iter().map(|(name, rules)| role(name, rules)));
    let bindings = [
        ("cluster-admin", &[MASTERS][..]),
        ("system:basic-user", &[AUTHENTICATED][..]),
        ("system:discovery", &[AUTHENTICATED][..]),
        (
            "system:public-info-viewer",
            &[AUTHENTICATED, ANONYMOUS_GROUP][..],
        ),
        ("system:monitoring", &["system:monitoring"][..]),
    ];
    roles.extend(bindings.map(|(name, groups)| binding(name, groups)));
    roles
}

fn plain() -> Vec<(&'static str, Vec<Rule>)> {
    let health = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let everything = Rule::on(&["*"], &["*"], &["*"]);
    vec![
        (
            "cluster-admin",
            vec![everything, Rule::on_paths(&["*"], &["*"])],
        ),
        (
            "system:basic-user",
            vec![
                Rule::on(
                    &["authorization.k8s.io"],
                    &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                    &["create"],
                ),
                Rule::on(
                    &["authentication.k8s.io"],
                    &["selfsubjectreviews"],
                    &["create"],
                ),
            ],
        ),
        (
            "system:discovery",
            vec![Rule::on_paths(&discovery, &["get"])],
        ),
        (
            "system:public-info-viewer",
            vec![Rule::on_paths(&health, &["get"])],
        ),
        (
            "system:monitoring",
            vec![Rule::on_paths(
                &[
                    "/healthz",
                    "/healthz/*",
                    "/livez",
                    "/livez/*",
                    "/readyz",
                    "/readyz/*",
                ],
                &["get"],
            )],
        ),
        (
            "koinon:auditor",
            vec![Rule::on_paths(&[koinon_api::audit::PATH], &["get"])],
        ),
        ("koinon:fleet-view", fleet_view()),
        ("koinon:fleet-admin", fleet_admin()),
    ]
}

/// What one may read in a namespace; no secrets, for a secret may be somebody's rights.
fn view() -> Vec<Rule> {
    vec![
        Rule::on(
            &[""],
            &["configmaps", "events", "namespaces", "serviceaccounts"],
            READ,
        ),
        Rule::on(&["coordination.k8s.io"], &["leases"], READ),
        Rule::on(
            &[CLUSTER],
            &[
                "addonplacementscores",
                "addonplacementscores/status",
                "managedclustersetbindings",
                "managedclustersetbindings/status",
                "placementdecisions",
                "placementdecisions/status",
                "placements",
                "placements/status",
            ],
            READ,
        ),
        Rule::on(
            &[WORK],
            &[
                "manifestworkreplicasets",
                "manifestworkreplicasets/status",
                "manifestworks",
                "manifestworks/status",
            ],
            READ,
        ),
    ]
}

/// What one may change in a namespace.
fn edit() -> Vec<Rule> {
    vec![
        Rule::on(&[""], &["secrets"], READ),
        Rule::on(
            &[""],
            &["configmaps", "events", "secrets", "serviceaccounts"],
            WRITE,
        ),
        Rule::on(&[""], &["serviceaccounts"], &["impersonate"]),
        Rule::on(&[""], &["serviceaccounts/token"], &["create"]),
        // What the writer's own controllers elect their leaders with. Heartbeats are not written here.
        Rule::on(&["coordination.k8s.io"], &["leases"], WRITE),
        // A binding also needs `bind` on its set.
        Rule::on(
            &[CLUSTER],
            &[
                "addonplacementscores",
                "managedclustersetbindings",
                "placements",
            ],
            WRITE,
        ),
        Rule::on(
            &[WORK],
            &["manifestworkreplicasets", "manifestworks"],
            WRITE,
        ),
    ]
}

/// What the owner of a namespace may do beyond that: share it.
fn admin() -> Vec<Rule> {
    vec![
        Rule::on(&[RBAC], &["rolebindings", "roles"], CHANGE),
        Rule::on(
            &["authorization.k8s.io"],
            &["localsubjectaccessreviews"],
            &["create"],
        ),
    ]
}

fn fleet_view() -> Vec<Rule> {
    vec![
        Rule::on(
            &[CLUSTER],
            &[
                "managedclusters",
                "managedclusters/status",
                "managedclustersets",
                "managedclustersets/status",
            ],
            READ,
        ),
        Rule::on(&[""], &["namespaces"], READ),
        Rule::on(
            &["apiextensions.k8s.io"],
            &["customresourcedefinitions"],
            READ,
        ),
        Rule::on(
            &["certificates.k8s.io"],
            &["certificatesigningrequests"],
            READ,
        ),
    ]
}

fn fleet_admin() -> Vec<Rule> {
    let mut rules = fleet_view();
    rules.extend([
        Rule::on(
            &[CLUSTER],
            &["managedclusters", "managedclustersets"],
            WRITE,
        ),
        Rule::on(
            &[CLUSTER],
            &["managedclustersets/bind", "managedclustersets/join"],
            &["create"],
        ),
        // What the roles of sets are made of, so that they can be given on.
        Rule::on(&[CLUSTER], &[super::SET_CLUSTERS], CHANGE),
        Rule::on(&[WORK], &[super::SET_WORKS], CHANGE),
        Rule::on(&[REGISTER], &[super::SET_ACCEPT], &["update"]),
        Rule::on(&[REGISTER], &["managedclusters/accept"], &["update"]),
        Rule::on(&["koinon.dev"], &["jointokens"], CHANGE),
        Rule::on(
            &["certificates.k8s.io"],
            &[
                "certificatesigningrequests",
                "certificatesigningrequests/approval",
            ],
            &["delete", "get", "list", "patch", "update", "watch"],
        ),
        Rule::on(&["certificates.k8s.io"], &["signers"], &["approve"])
            .named(&[well_known::CLIENT_SIGNER]),
        Rule::on(
            &[WORK],
            &["manifestworkreplicasets", "manifestworks"],
            CHANGE,
        ),
        Rule::on(&[""], &["namespaces"], WRITE),
    ]);
    rules
}

/// The roles of one cluster set, by the word that their names end with: `koinon:clusterset:<set>:<word>`.
pub(crate) fn of_set(set: &str) -> [(&'static str, Vec<Rule>); 3] {
    let on = |group: &str, resources: &[&str], verbs: &[&str]| {
        Rule::on(&[group], resources, verbs).named(&[set])
    };
    let view = vec![
        on(
            CLUSTER,
            &["managedclustersets", "managedclustersets/status"],
            READ,
        ),
        on(CLUSTER, &[super::SET_CLUSTERS], READ),
        on(WORK, &[super::SET_WORKS], READ),
    ];
    let mut edit = view.clone();
    edit.extend([
        on(CLUSTER, &["managedclustersets/bind"], &["create"]),
        on(WORK, &[super::SET_WORKS], WRITE),
    ]);
    // Not the set itself: who changes what it selects takes clusters from others.
    let mut admin = edit.clone();
    admin.extend([
        on(CLUSTER, &["managedclustersets/join"], &["create"]),
        on(
            CLUSTER,
            &[super::SET_CLUSTERS],
            &["delete", "patch", "update"],
        ),
        on(REGISTER, &[super::SET_ACCEPT], &["update"]),
    ]);
    [("view", view), ("edit", edit), ("admin", admin)]
}

/// Whether an object with this annotation [`AUTO_UPDATE`] is the hub's to keep up.
pub(crate) fn is_kept_up(annotation: Option<impl AsRef<str>>) -> bool {
    annotation.is_none_or(|value| value.as_ref() != "false")
}

/// What the object must become so that it has all that `wanted` has; `None` when it has, or when its owner has said to
/// leave it alone. Nothing is ever taken from it.
pub fn brought_up(old: &Object, wanted: &Object) -> Option<Object> {
    if !is_kept_up(old.annotation(AUTO_UPDATE)) {
        return None;
    }
    if old.get("roleRef") != wanted.get("roleRef") {
        // Somebody's own binding that is called like one of ours: our subjects do not belong into it.
        let (kind, name) = (old.kind(), old.name());
        tracing::warn!(
            kind,
            name,
            "left alone: it has the name of a default and refers to another role"
        );
        return None;
    }
    let mut new = old.clone();
    for (key, value) in wanted.labels() {
        new.set_label(key, value);
    }
    for (key, value) in wanted.annotations() {
        new.set_annotation(key, value);
    }
    let is_aggregated = wanted.get("aggregationRule").is_some();
    for field in ["rules", "subjects"] {
        // An aggregated role's rules are the controller's.
        if is_aggregated || wanted.get(field).is_none() {
            continue;
        }
        let (mut have, want) = (list(old, field), list(wanted, field));
        let lacking = want.into_iter().filter(|one| match field {
            "rules" => cover::missing(&rules(&have), &rules(std::slice::from_ref(one))).is_some(),
            _ => !have.contains(one),
        });
        let lacking: Vec<Value> = lacking.collect();
        if !lacking.is_empty() {
            have.extend(lacking);
            new.as_map_mut().insert(field.to_owned(), have.into());
        }
    }
    if is_aggregated && old.get("aggregationRule").is_none() {
        let rule = wanted.get("aggregationRule").cloned().unwrap_or_default();
        new.as_map_mut().insert("aggregationRule".to_owned(), rule);
    }
    (new != *old).then_some(new)
}

fn list(object: &Object, field: &str) -> Vec<Value> {
    let list = object.get(field).and_then(Value::as_array);
    list.cloned().unwrap_or_default()
}

/// Rules as they stand in an object; what does not read as one grants nothing.
pub(crate) fn rules(values: &[Value]) -> Vec<Rule> {
    let read = |value: &Value| serde_json::from_value(value.clone()).ok();
    values.iter().filter_map(read).collect()
}

fn aggregated(object: &Object, roles: &[Object]) -> Value {
    let roles: Vec<Aggregated> = roles
        .iter()
        .map(|role| Aggregated {
            name: role.name().to_owned(),
            labels: role.labels_owned(),
            rules: rules(&list(role, "rules")),
        })
        .collect();
    let selector =
        LabelSelector::parse(&format!("{}=true", label_of(object.name()))).unwrap_or_default();
    json!(aggregate(object.name(), &[selector], roles.iter()))
}

fn label_of(role: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{role}")
}

fn labelled(mut object: Object, into: &str) -> Object {
    object.set_label(&label_of(into), "true");
    object
}

fn role(name: &str, rules: &[Rule]) -> Object {
    let mut object = begun("ClusterRole", name);
    object.as_map_mut().insert("rules".to_owned(), json!(rules));
    object
}

fn binding(role: &str, groups: &[&str]) -> Object {
    let mut object = begun("ClusterRoleBinding", role);
    let subjects: Vec<Value> = groups
        .iter()
        .map(|group| json!({ "kind": "Group", "apiGroup": RBAC, "name": group }))
        .collect();
    let fields = object.as_map_mut();
    fields.insert("subjects".to_owned(), subjects.into());
    fields.insert(
        "roleRef".to_owned(),
        json!({ "apiGroup": RBAC, "kind": "ClusterRole", "name": role }),
    );
    object
}

fn begun(kind: &str, name: &str) -> Object {
    let mut object = Object::new(API_VERSION, kind);
    object.set_name(name);
    object.set_label(BOOTSTRAPPING.0, BOOTSTRAPPING.1);
    object.set_annotation(AUTO_UPDATE, "true");
    object
}
