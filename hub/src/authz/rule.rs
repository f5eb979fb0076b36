//! One rule of a role, and what it matches: `pkg/apis/rbac/v1/evaluation_helpers.go` of Kubernetes.

use serde::{Deserialize, Serialize};

use super::Attributes;

const ALL: &str = "*";

/// A `PolicyRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// `*`, or group names; the core group is empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Paths, with `*` at the end or alone.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
    /// Empty for any name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Plurals, `plural/subresource`, `*/subresource` or `*`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// `*`, or verbs.
    pub verbs: Vec<String>,
}

impl Rule {
    /// A rule on resources.
    pub fn on(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Self {
        Self {
            api_groups: texts(groups),
            resources: texts(resources),
            verbs: texts(verbs),
            ..Self::default()
        }
    }

    /// A rule on paths.
    pub fn on_paths(paths: &[&str], verbs: &[&str]) -> Self {
        Self {
            non_resource_urls: texts(paths),
            verbs: texts(verbs),
            ..Self::default()
        }
    }

    /// The same for some names only.
    #[must_use]
    pub fn named(mut self, names: &[&str]) -> Self {
        self.resource_names = texts(names);
        self
    }

    /// Whether the rule allows what is asked for.
    pub fn allows(&self, asked: &Attributes) -> bool {
        if !has(&self.verbs, &asked.verb) {
            return false;
        }
        if !asked.is_resource() {
            return self
                .non_resource_urls
                .iter()
                .any(|url| path_covers(url, &asked.path));
        }
        has(&self.api_groups, &asked.group)
            && self.matches_resource(asked)
            && (self.resource_names.is_empty() || self.resource_names.contains(&asked.name))
    }

    fn matches_resource(&self, asked: &Attributes) -> bool {
        self.resources.iter().any(|resource| {
            if resource == ALL {
                return true;
            }
            match resource.split_once('/') {
                None => asked.subresource.is_empty() && *resource == asked.resource,
                Some((_, "")) => false,
                Some((of, subresource)) => {
                    subresource == asked.subresource && (of == ALL || of == asked.resource)
                }
            }
        })
    }
}

/// Whether a path, perhaps with `*` at its end, holds another.
pub(super) fn path_covers(owner: &str, path: &str) -> bool {
    owner == path
        || owner
            .strip_suffix('*')
            .is_some_and(|prefix| path.starts_with(prefix.trim_end_matches('*')))
}

/// Whether a list names something, or everything.
pub(super) fn has(list: &[String], one: &str) -> bool {
    list.iter().any(|held| held == ALL || held == one)
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|&text| text.to_owned()).collect()
}
