//! Whether some rules give all that others give: what keeps users from granting more than they have.
//!
//! After `component-helpers/auth/rbac/validation` of Kubernetes; the words of the refusal are kube-apiserver's.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    Rule,
    rule::{has, path_covers},
};

/// Most comparisons of a piece of what is wanted with a rule that is held. Roles of people take some hundreds; beyond this
/// the comparison would be a way to keep the hub busy.
const MOST_COMPARISONS: usize = 1_000_000;

/// What a grant would give and the granter does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing(Vec<Rule>);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: BTreeSet<String> = compact(&self.0).iter().map(described).collect();
        let lines: Vec<String> = lines.into_iter().collect();
        write!(f, "{}", lines.join("\n"))
    }
}

/// What of `wanted` is not in `held`; `None` when all of it is.
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Option<Missing> {
    if pieces_of(wanted).saturating_mul(held.len().max(1)) > MOST_COMPARISONS {
        return Some(Missing(wanted.to_vec()));
    }
    let missing: Vec<Rule> = wanted
        .iter()
        .flat_map(pieces)
        .filter(|piece| !held.iter().any(|rule| covers(rule, piece)))
        .collect();
    (!missing.is_empty()).then_some(Missing(missing))
}

fn pieces_of(rules: &[Rule]) -> usize {
    let size = |rule: &Rule| {
        let resources = rule
            .api_groups
            .len()
            .saturating_mul(rule.resources.len())
            .saturating_mul(rule.resource_names.len().max(1));
        resources
            .saturating_add(rule.non_resource_urls.len())
            .saturating_mul(rule.verbs.len())
    };
    rules.iter().map(size).fold(0, usize::saturating_add)
}

/// A rule as rules of one group, resource, verb and name each.
fn pieces(rule: &Rule) -> Vec<Rule> {
    let one = |text: &String| vec![text.clone()];
    let mut pieces = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let piece = Rule {
                    api_groups: one(group),
                    resources: one(resource),
                    verbs: one(verb),
                    ..Rule::default()
                };
                if rule.resource_names.is_empty() {
                    pieces.push(piece);
                    continue;
                }
                pieces.extend(rule.resource_names.iter().map(|name| Rule {
                    resource_names: one(name),
                    ..piece.clone()
                }));
            }
        }
    }
    for url in &rule.non_resource_urls {
        for verb in &rule.verbs {
            pieces.push(Rule {
                non_resource_urls: one(url),
                verbs: one(verb),
                ..Rule::default()
            });
        }
    }
    pieces
}

/// Whether `rule` gives what `piece`, a rule of one each, gives.
fn covers(rule: &Rule, piece: &Rule) -> bool {
    let all = |held: &[String], wanted: &[String]| wanted.iter().all(|one| has(held, one));
    let names = rule.resource_names.is_empty()
        || (!piece.resource_names.is_empty()
            && piece
                .resource_names
                .iter()
                .all(|name| rule.resource_names.contains(name)));
    let resource = |wanted: &String| {
        has(&rule.resources, wanted)
            || wanted.split_once('/').is_some_and(|(_, subresource)| {
                rule.resources
                    .iter()
                    .any(|held| held.strip_prefix("*/") == Some(subresource))
            })
    };
    let url = |wanted: &String| {
        rule.non_resource_urls
            .iter()
            .any(|held| path_covers(held, wanted))
    };
    names
        && all(&rule.verbs, &piece.verbs)
        && all(&rule.api_groups, &piece.api_groups)
        && piece.resources.iter().all(resource)
        && piece.non_resource_urls.iter().all(url)
}

/// Joins the verbs of pieces that are else the same.
fn compact(rules: &[Rule]) -> Vec<Rule> {
    let mut joined: BTreeMap<Rule, Vec<String>> = BTreeMap::new();
    for rule in rules {
        let head = Rule {
            // Paths stay apart, as in Kubernetes.
            verbs: if rule.non_resource_urls.is_empty() {
                Vec::new()
            } else {
                rule.verbs.clone()
            },
            ..rule.clone()
        };
        let verbs = joined.entry(head).or_default();
        for verb in &rule.verbs {
            if !verbs.contains(verb) {
                verbs.push(verb.clone());
            }
        }
    }
    joined
        .into_iter()
        .map(|(head, verbs)| Rule { verbs, ..head })
        .collect()
}

fn described(rule: &Rule) -> String {
    let parts = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ];
    let texts: Vec<String> = parts
        .iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(name, list)| format!("{name}:{}", quoted(list)))
        .collect();
    format!("{{{}}}", texts.join(", "))
}

/// A list as Go prints it with `%q`.
pub(super) fn quoted(list: &[String]) -> String {
    let texts: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}
