//! A resource from the CRD that describes it.

use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition,
};

use super::{Column, ResourceInfo, ShownAs, Verb};
use crate::{Schema, schema};

impl ResourceInfo {
    /// Reads a CRD with one served version, as kube-derive makes it.
    ///
    /// # Errors
    /// When there is no served version or its schema is not structural.
    pub fn from_crd(crd: &CustomResourceDefinition) -> Result<Self, schema::Error> {
        let spec = &crd.spec;
        let version = spec
            .versions
            .iter()
            .find(|version| version.served)
            .ok_or(schema::Error::NoServedVersion)?;
        let document = version
            .schema
            .as_ref()
            .and_then(|schema| schema.open_api_v3_schema.as_ref());
        let document = serde_json::to_value(document).map_err(schema::Error::NotJson)?;
        let columns: Vec<Column> = version
            .additional_printer_columns
            .iter()
            .flatten()
            .map(Column::from)
            .collect();
        let subresources = version.subresources.as_ref();
        let names = &spec.names;
        Ok(Self {
            group: spec.group.clone(),
            version: version.name.clone(),
            kind: names.kind.clone(),
            plural: names.plural.clone(),
            singular: names
                .singular
                .clone()
                .unwrap_or_else(|| names.kind.to_lowercase()),
            short_names: names.short_names.clone().unwrap_or_default(),
            categories: names.categories.clone().unwrap_or_default(),
            namespaced: spec.scope == "Namespaced",
            has_status: subresources.is_some_and(|subresources| subresources.status.is_some()),
            schema: Arc::new(Schema::parse(document)?),
            columns: if columns.is_empty() {
                vec![Column::date("Age", ".metadata.creationTimestamp")]
            } else {
                columns
            },
            verbs: Verb::ALL.to_vec(),
            selectable_fields: version
                .selectable_fields
                .iter()
                .flatten()
                .map(|field| field.json_path.trim_start_matches('.').to_owned())
                .collect(),
            blank: serde_json::Map::new(),
            subresources: Vec::new(),
        })
    }
}

impl From<&CustomResourceColumnDefinition> for Column {
    fn from(column: &CustomResourceColumnDefinition) -> Self {
        Self {
            name: column.name.clone(),
            type_: column.type_.clone(),
            format: column.format.clone().unwrap_or_default(),
            description: column.description.clone().unwrap_or_default(),
            priority: column.priority.unwrap_or_default(),
            json_path: column.json_path.clone(),
            shown_as: ShownAs::Value,
        }
    }
}
