//! Server-side tables (`meta.k8s.io/v1` `Table`): what `kubectl get` prints.

mod age;
mod cell;
mod event;

#[cfg(test)]
mod tests;

pub use age::human_duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    Column, Object, ResourceInfo,
    jsonpath::{self, JsonPath},
};

/// How much of the object a row carries besides its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    None,
    /// What clients need to go on: name, labels, revision.
    #[default]
    Metadata,
    Object,
}

/// The columns of a kind, with their paths parsed once.
#[derive(Clone, Debug)]
pub struct Printer {
    columns: Vec<(Column, JsonPath)>,
}

/// The metadata of a list, as a table carries it.
#[derive(Clone, Debug, Default)]
pub struct ListMeta {
    pub resource_version: String,
    pub continue_token: String,
    pub remaining_item_count: Option<u64>,
}

impl IncludeObject {
    /// Reads the `includeObject` option.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "Metadata" => Some(Self::Metadata),
            "None" => Some(Self::None),
            "Object" => Some(Self::Object),
            _ => None,
        }
    }
}

impl Printer {
    /// Prepares the columns of a resource.
    ///
    /// # Errors
    /// When a column's path does not parse.
    pub fn new(resource: &ResourceInfo) -> Result<Self, jsonpath::Error> {
        let columns = resource.columns.iter();
        let columns: Result<_, _> = columns
            .map(|column| Ok((column.clone(), JsonPath::parse(&column.json_path)?)))
            .collect();
        Ok(Self { columns: columns? })
    }

    /// The definitions of the columns; the first is the name, where that has no place of its own.
    #[must_use]
    pub fn definitions(&self) -> Value {
        let name = json!({
            "name": "Name",
            "type": "string",
            "format": "name",
            "description": "Name must be unique within a namespace.",
            "priority": 0,
        });
        let others = self.columns.iter().map(|(column, _)| {
            json!({
                "name": column.name,
                "type": column.type_,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        });
        let first = self.names_first().then_some(name);
        Value::Array(first.into_iter().chain(others).collect())
    }

    fn names_first(&self) -> bool {
        self.columns.iter().all(|(column, _)| column.name != "Name")
    }

    /// One object as a row; ages are counted to `now`.
    #[must_use]
    pub fn row(&self, object: &Object, now: Timestamp, include: IncludeObject) -> Value {
        let mut cells = Vec::with_capacity(self.columns.len() + 1);
        if self.names_first() {
            cells.push(Value::from(object.name()));
        }
        cells.extend(
            self.columns
                .iter()
                .map(|(column, path)| cell::of(column, path, object, now)),
        );
        let mut row = Map::new();
        row.insert("cells".into(), Value::Array(cells));
        let carried = match include {
            IncludeObject::None => Value::Null,
            IncludeObject::Metadata => partial(object),
            IncludeObject::Object => Value::Object(object.as_map().clone()),
        };
        row.insert("object".into(), carried);
        Value::Object(row)
    }

    /// What is written before and after the rows of a table whose rows are written one by one.
    #[must_use]
    pub fn around_rows(&self, meta: &ListMeta) -> (Vec<u8>, &'static [u8]) {
        const END: &[u8] = b"]}";
        let mut text = self.table(Vec::new(), meta, true).to_string().into_bytes();
        // Fields are sorted, and the rows come last.
        text.truncate(text.len() - END.len());
        (text, END)
    }

    /// A table; a watch sends the definitions with its first event only.
    #[must_use]
    pub fn table(&self, rows: Vec<Value>, meta: &ListMeta, with_definitions: bool) -> Value {
        let mut metadata = json!({ "resourceVersion": meta.resource_version });
        if !meta.continue_token.is_empty() {
            metadata["continue"] = meta.continue_token.as_str().into();
        }
        if let Some(count) = meta.remaining_item_count {
            metadata["remainingItemCount"] = count.into();
        }
        json!({
            "kind": "Table",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "columnDefinitions": if with_definitions { self.definitions() } else { Value::Array(Vec::new()) },
            "rows": rows,
        })
    }
}

/// The object's metadata alone, as `PartialObjectMetadata`.
#[must_use]
pub fn partial(object: &Object) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": object.metadata(),
    })
}
