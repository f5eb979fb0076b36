//! A kind as data: its names, its verbs, its schema and its columns.

mod builtin;
mod custom;
mod definition;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{Object, Schema};

/// Everything the generic code needs to know of a kind.
#[derive(Clone, Debug)]
pub struct ResourceInfo {
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    pub kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// Whether `/status` is served and guarded against ordinary writes.
    pub has_status: bool,
    pub schema: Arc<Schema>,
    pub columns: Vec<Column>,
    pub verbs: Vec<Verb>,
    /// Paths that a field selector may name beside `metadata.name` and `metadata.namespace`, as `spec.clusterSet`.
    pub selectable_fields: Vec<String>,
    /// What an object has before anybody has written anything: the fields that Kubernetes' own type always writes.
    pub blank: Map<String, Value>,
    /// What else is served below an object, beside its status.
    pub subresources: Vec<Subresource>,
}

/// A subresource with a kind of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    pub name: String,
    pub group: String,
    pub version: String,
    pub kind: String,
    pub verbs: Vec<Verb>,
}

/// A column of the printed table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub type_: String,
    pub format: String,
    pub description: String,
    /// Zero for the standard view, more for `-o wide`.
    pub priority: i32,
    /// In kubectl's dialect, as `.status.conditions[?(@.type=="Available")].status`.
    pub json_path: String,
    /// What is shown of what the path finds, where that is not the value itself.
    pub shown_as: ShownAs,
}

/// How a value of one of Kubernetes' own kinds is shown, where kube-apiserver computes the cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ShownAs {
    /// As it is.
    #[default]
    Value,
    /// The status of a certificate request: `Pending`, `Approved,Issued`, `Denied`.
    RequestStatus,
    /// A number of seconds, as `30d`.
    Seconds,
    /// The role that a binding refers to, as `ClusterRole/admin`.
    RoleRef,
    /// The names of those subjects of a binding that are of this kind; service accounts with their namespace.
    Subjects(&'static str),
    /// A time, as its age. The columns of custom kinds say `date`, those of Kubernetes' own are texts.
    Age,
    /// Something of an event; the path counts for nothing.
    Event(EventCell),
    /// How many entries these fields of the object have together; the path counts for nothing.
    Entries(&'static [&'static str]),
}

/// What a cell says of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventCell {
    /// The age of the last time that it happened.
    LastSeen,
    /// The age of the first.
    FirstSeen,
    /// What it is about, as `placement/web`.
    Object,
    /// Who says so, and where: `controller, host`.
    Source,
    /// The message without the space around it.
    Message,
    /// The text at a path; empty where there is none.
    Text(&'static [&'static str]),
    /// How often it happened.
    Count,
}

/// What may be done with a resource, as discovery lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// In the order in which Kubernetes lists them.
    pub const ALL: [Self; 8] = [
        Self::Create,
        Self::Delete,
        Self::DeleteCollection,
        Self::Get,
        Self::List,
        Self::Patch,
        Self::Update,
        Self::Watch,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
            Self::Get => "get",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Update => "update",
            Self::Watch => "watch",
        }
    }
}

impl ResourceInfo {
    /// `group/version`, or the version alone for the core group.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `plural.group`, or the plural alone for the core group: how the store and error messages name the resource.
    #[must_use]
    pub fn key(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `Kind.group`, or the kind alone for the core group.
    #[must_use]
    pub fn group_kind(&self) -> String {
        if self.group.is_empty() {
            self.kind.clone()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    /// Whether a cluster has the kind by a CRD: it is none of Kubernetes' own.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        self.group.contains('.') && !self.group.ends_with(".k8s.io")
    }

    /// An object of this kind with nothing in it.
    #[must_use]
    pub fn empty_object(&self) -> Object {
        let mut object = Object::new(&self.api_version(), &self.kind);
        object.as_map_mut().extend(self.blank.clone());
        object
    }

    /// Says what an object has before anybody has written anything, a JSON object.
    #[must_use]
    pub fn with_blank(mut self, blank: Value) -> Self {
        if let Value::Object(blank) = blank {
            self.blank = blank;
        }
        self
    }

    #[must_use]
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    #[must_use]
    pub fn allows(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// Adds columns, for what OCM leaves to `-o wide` or does not print at all.
    #[must_use]
    pub fn with_columns(mut self, columns: impl IntoIterator<Item = Column>) -> Self {
        self.columns.extend(columns);
        self
    }

    #[must_use]
    pub fn with_subresource(mut self, subresource: Subresource) -> Self {
        self.subresources.push(subresource);
        self
    }

    #[must_use]
    pub fn has_subresource(&self, name: &str) -> bool {
        self.subresources.iter().any(|one| one.name == name)
    }

    /// Narrows the verbs, for views that are not written through the API.
    #[must_use]
    pub fn with_verbs(mut self, verbs: impl IntoIterator<Item = Verb>) -> Self {
        self.verbs = verbs.into_iter().collect();
        self
    }

    #[must_use]
    pub fn with_selectable_fields<'a>(mut self, fields: impl IntoIterator<Item = &'a str>) -> Self {
        self.selectable_fields
            .extend(fields.into_iter().map(str::to_owned));
        self
    }
}

impl Column {
    /// A text column of the standard view.
    #[must_use]
    pub fn text(name: &str, json_path: &str) -> Self {
        Self {
            name: name.to_owned(),
            type_: "string".to_owned(),
            format: String::new(),
            description: String::new(),
            priority: 0,
            json_path: json_path.to_owned(),
            shown_as: ShownAs::Value,
        }
    }

    /// Shows it in another way.
    #[must_use]
    pub fn shown_as(mut self, shown_as: ShownAs) -> Self {
        self.shown_as = shown_as;
        self
    }

    /// The age of an object of one of Kubernetes' own kinds.
    #[must_use]
    pub fn age() -> Self {
        Self::text("Age", ".metadata.creationTimestamp").shown_as(ShownAs::Age)
    }

    /// How many entries the fields have together.
    #[must_use]
    pub fn entries(name: &str, fields: &'static [&'static str]) -> Self {
        Self::text(name, ".metadata").shown_as(ShownAs::Entries(fields))
    }

    /// A time, printed as an age.
    #[must_use]
    pub fn date(name: &str, json_path: &str) -> Self {
        Self {
            type_: "date".to_owned(),
            ..Self::text(name, json_path)
        }
    }

    /// Moves the column to `-o wide`.
    #[must_use]
    pub fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }

    #[must_use]
    pub fn described(mut self, description: &str) -> Self {
        description.clone_into(&mut self.description);
        self
    }
}
