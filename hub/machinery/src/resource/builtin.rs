//! A resource from one of Kubernetes' own types.

use std::{any::TypeId, sync::Arc};

use k8s_openapi::{NamespaceResourceScope, Resource};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::{Column, ResourceInfo, Verb};
use crate::{Schema, schema};

impl ResourceInfo {
    /// Reads a type of `k8s-openapi`, as `Namespace` or `ConfigMap`; short names and columns are the caller's to add.
    ///
    /// # Errors
    /// When the type's schema is not structural.
    pub fn from_type<K>(has_status: bool, short_names: &[&str]) -> Result<Self, schema::Error>
    where
        K: Resource + JsonSchema,
        K::Scope: 'static,
    {
        let settings = SchemaSettings::openapi3().with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        });
        let mut document = settings
            .into_generator()
            .into_root_schema_for::<K>()
            .to_value();
        // The type always has metadata; Kubernetes asks for none: a review has none.
        if let Some(required) = document.get_mut("required").and_then(Value::as_array_mut) {
            required.retain(|field| field != "metadata");
        }
        Ok(Self {
            group: K::GROUP.to_owned(),
            version: K::VERSION.to_owned(),
            kind: K::KIND.to_owned(),
            plural: K::URL_PATH_SEGMENT.to_owned(),
            singular: K::KIND.to_lowercase(),
            short_names: short_names.iter().map(|&name| name.to_owned()).collect(),
            categories: Vec::new(),
            namespaced: TypeId::of::<K::Scope>() == TypeId::of::<NamespaceResourceScope>(),
            has_status,
            schema: Arc::new(Schema::parse(document)?),
            columns: vec![Column::age()],
            verbs: Verb::ALL.to_vec(),
            selectable_fields: Vec::new(),
            blank: serde_json::Map::new(),
            subresources: Vec::new(),
        })
    }
}
