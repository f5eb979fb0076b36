//! Discovery: which groups, versions and resources there are, in the old documents and the aggregated ones.
//!
//! All documents are made once, at start: what is served does not change while a hub runs.

mod aggregated;
mod document;
mod legacy;

#[cfg(test)]
mod tests;

pub use document::Document;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use crate::ResourceInfo;

/// All discovery documents.
#[derive(Clone, Debug)]
pub struct Discovery {
    core_versions: Document,
    group_list: Document,
    groups: BTreeMap<String, Document>,
    /// By `group/version`, or the version alone for the core group.
    resources: BTreeMap<String, Document>,
    aggregated: BTreeMap<(Part, Aggregated), Document>,
}

/// Which half of the API an aggregated document covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// `/api`
    Core,
    /// `/apis`
    Groups,
}

/// The versions of the aggregated format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aggregated {
    V2,
    V2Beta1,
}

impl Aggregated {
    /// Reads an `Accept` item such as `application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList`.
    #[must_use]
    pub fn accepted(media_type: &str) -> Option<Self> {
        let mut params = media_type.split(';').map(str::trim);
        if !matches!(
            params.next(),
            Some("application/json" | "*/*" | "application/*")
        ) {
            return None;
        }
        let params: BTreeMap<&str, &str> =
            params.filter_map(|param| param.split_once('=')).collect();
        let is = |name: &str, value: &str| params.get(name) == Some(&value);
        if !is("g", "apidiscovery.k8s.io") || !is("as", "APIGroupDiscoveryList") {
            return None;
        }
        match params.get("v").copied() {
            Some("v2") => Some(Self::V2),
            Some("v2beta1") => Some(Self::V2Beta1),
            _ => None,
        }
    }

    /// The version as it stands in the document and in the media type.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::V2Beta1 => "v2beta1",
        }
    }

    /// The content type of the answer.
    #[must_use]
    pub fn content_type(self) -> String {
        format!(
            "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList",
            self.version()
        )
    }
}

impl Discovery {
    /// Makes the documents. Groups come in the order of their first resource, and so do resources: the order is what
    /// kubectl prefers when a short name is ambiguous.
    #[must_use]
    pub fn new(resources: &[Arc<ResourceInfo>]) -> Self {
        let mut order: Vec<&str> = Vec::new();
        let mut groups: BTreeMap<&str, Vec<&ResourceInfo>> = BTreeMap::new();
        for resource in resources {
            if !order.contains(&resource.group.as_str()) {
                order.push(&resource.group);
            }
            groups.entry(&resource.group).or_default().push(resource);
        }
        let named: Vec<(&str, &[&ResourceInfo])> = order
            .iter()
            .filter(|name| !name.is_empty())
            .filter_map(|name| Some((*name, groups.get(name)?.as_slice())))
            .collect();
        let core: Vec<(&str, &[&ResourceInfo])> = groups
            .get("")
            .map(|resources| vec![("", resources.as_slice())])
            .unwrap_or_default();

        let mut by_version: BTreeMap<String, Vec<&ResourceInfo>> = BTreeMap::new();
        for resource in resources {
            by_version
                .entry(resource.api_version())
                .or_default()
                .push(resource);
        }
        let mut aggregated = BTreeMap::new();
        for version in [Aggregated::V2, Aggregated::V2Beta1] {
            aggregated.insert((Part::Core, version), aggregated::document(&core, version));
            aggregated.insert(
                (Part::Groups, version),
                aggregated::document(&named, version),
            );
        }
        Self {
            core_versions: legacy::core_versions(),
            group_list: legacy::group_list(&named),
            groups: named
                .iter()
                .map(|(name, list)| ((*name).to_owned(), legacy::group(name, list)))
                .collect(),
            resources: by_version
                .iter()
                .map(|(name, list)| (name.clone(), legacy::resources(name, list)))
                .collect(),
            aggregated,
        }
    }

    /// `/api`
    #[must_use]
    pub fn core_versions(&self) -> &Document {
        &self.core_versions
    }

    /// `/apis`
    #[must_use]
    pub fn group_list(&self) -> &Document {
        &self.group_list
    }

    /// `/apis/{group}`
    #[must_use]
    pub fn group(&self, group: &str) -> Option<&Document> {
        self.groups.get(group)
    }

    /// `/apis/{group}/{version}`, or `/api/v1` for the empty group.
    #[must_use]
    pub fn resources(&self, group: &str, version: &str) -> Option<&Document> {
        if group.is_empty() {
            self.resources.get(version)
        } else {
            self.resources.get(&format!("{group}/{version}"))
        }
    }

    /// `/api` or `/apis` in the aggregated format.
    #[must_use]
    pub fn aggregated(&self, part: Part, version: Aggregated) -> &Document {
        &self.aggregated[&(part, version)]
    }

    /// `/version`. kubectl warns when the minor version is far from its own, so we name the API level that we follow.
    #[must_use]
    pub fn version(release: &str) -> Value {
        json!({
            "major": "1",
            "minor": "33",
            "gitVersion": format!("v1.33.0+koinon-{release}"),
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": "rustc",
            "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
        })
    }
}
