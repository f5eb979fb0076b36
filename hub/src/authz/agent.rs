//! What an agent's certificate opens (P6): its own cluster and the works in its namespace, read-only.
//!
//! Fixed rules, not objects: nobody can widen them by mistake.

use koinon_api::names::ClusterName;

use super::{Attributes, Rule};

/// Paths below which everybody with a certificate reads.
const OPEN: [&str; 7] = [
    "/api", "/apis", "/openapi", "/version", "/livez", "/readyz", "/healthz",
];

/// Where the cluster of a certificate stands with the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is gone. If there is one of the same name, that is another one.
    Gone,
    /// It is not accepted, or not any more: it has no works.
    Waiting,
    /// It is let in.
    Accepted,
}

/// Decides for the agent of `cluster`.
pub(super) fn may(cluster: &ClusterName, standing: Standing, asked: &Attributes) -> bool {
    is_basic(asked) || is_own(cluster.as_str(), standing, asked)
}

fn is_own(cluster: &str, standing: Standing, asked: &Attributes) -> bool {
    if !matches!(asked.verb.as_str(), "get" | "list" | "watch") {
        return false;
    }
    match (asked.group.as_str(), asked.resource.as_str()) {
        ("cluster.open-cluster-management.io", "managedclusters") => {
            standing != Standing::Gone && asked.name == cluster
        }
        ("work.open-cluster-management.io", "manifestworks") => {
            standing == Standing::Accepted && asked.namespace == cluster
        }
        _ => false,
    }
}

/// Discovery, and the questions about oneself.
fn is_basic(asked: &Attributes) -> bool {
    if asked.is_resource() {
        return asked.verb == "create"
            && asked.subresource.is_empty()
            && matches!(
                (asked.group.as_str(), asked.resource.as_str()),
                ("authentication.k8s.io", "selfsubjectreviews")
                    | (
                        "authorization.k8s.io",
                        "selfsubjectaccessreviews" | "selfsubjectrulesreviews"
                    )
            );
    }
    let path = asked.path.as_str();
    asked.verb == "get"
        && OPEN.iter().any(|root| {
            path.strip_prefix(root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
}

/// The same as rules, for whoever asks what he may do in a namespace.
pub(super) fn rules(cluster: &ClusterName, standing: Standing, namespace: &str) -> Vec<Rule> {
    let read = ["get", "list", "watch"];
    let mut rules = vec![
        Rule::on(
            &["authentication.k8s.io"],
            &["selfsubjectreviews"],
            &["create"],
        ),
        Rule::on(
            &["authorization.k8s.io"],
            &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
            &["create"],
        ),
    ];
    if standing != Standing::Gone {
        let own = ["managedclusters", "managedclusters/status"];
        let own = Rule::on(&["cluster.open-cluster-management.io"], &own, &read);
        rules.push(own.named(&[cluster.as_str()]));
    }
    if standing == Standing::Accepted && namespace == cluster.as_str() {
        let works = ["manifestworks", "manifestworks/status"];
        rules.push(Rule::on(
            &["work.open-cluster-management.io"],
            &works,
            &read,
        ));
    }
    for root in OPEN {
        rules.push(Rule::on_paths(&[root, &format!("{root}/*")], &["get"]));
    }
    rules
}
