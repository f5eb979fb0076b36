//! Macros for what kube-derive leaves open: the root schema of a kind, and kinds without a spec.

/// Implements `JsonSchema` for a kind derived with `schema = "manual"`.
///
/// The derived root would make `status` nullable, could not make `spec` optional and could not default it.
macro_rules! root_schema {
    ($kind:ident, $doc:literal, spec: $spec:ty, required: $required:expr $(, default: $default:expr)? $(, status: $status:ty)?) => {
        impl schemars::JsonSchema for $kind {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($kind).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                #[allow(unused_mut)]
                let mut spec = generator.subschema_for::<$spec>();
                $( spec.insert("default".into(), $default); )?
                #[allow(unused_mut)]
                let mut properties = serde_json::json!({ "spec": spec });
                $( let mut status = generator.subschema_for::<$status>();
                    crate::schema::tidy_status(&mut status);
                    properties["status"] = status.to_value();
                )?
                let required: &[&str] = $required;
                let mut schema = schemars::json_schema!({
                    "type": "object",
                    "description": $doc,
                    "properties": properties,
                });
                if !required.is_empty() {
                    schema.insert("required".into(), required.into());
                }
                crate::schema::tidy(&mut schema);
                schema
            }
        }
    };
}

/// Defines a namespaced kind that has a status but no spec, which kube-derive cannot express.
macro_rules! specless_kind {
    ($(#[$attr:meta])* $kind:ident, $doc:literal, $group:expr, $version:literal, $plural:literal, status: $status:ident) => {
        $(#[$attr])*
        #[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $kind {
            #[serde(default)]
            pub metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
            #[serde(default)]
            pub status: Option<$status>,
        }

        impl serde::Serialize for $kind {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                #[derive(serde::Serialize)]
                #[serde(rename_all = "camelCase")]
                struct Wire<'a> {
                    api_version: &'a str,
                    kind: &'a str,
                    metadata: &'a k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
                    #[serde(skip_serializing_if = "Option::is_none")]
                    status: Option<&'a $status>,
                }
                serde::Serialize::serialize(
                    &Wire {
                        api_version: &<Self as kube::Resource>::api_version(&()),
                        kind: stringify!($kind),
                        metadata: &self.metadata,
                        status: self.status.as_ref(),
                    },
                    serializer,
                )
            }
        }

        impl kube::Resource for $kind {
            type DynamicType = ();
            type Scope = kube::core::NamespaceResourceScope;

            fn kind(_: &()) -> std::borrow::Cow<'_, str> {
                stringify!($kind).into()
            }
            fn group(_: &()) -> std::borrow::Cow<'_, str> {
                $group.into()
            }
            fn version(_: &()) -> std::borrow::Cow<'_, str> {
                $version.into()
            }
            fn plural(_: &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }
            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }
            fn meta_mut(&mut self) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }

        impl kube::CustomResourceExt for $kind {
            fn crd() -> k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition {
                crate::kind::specless_crd::<$status>($group, $version, stringify!($kind), $plural, $doc)
            }
            fn crd_name() -> &'static str {
                concat!($plural, ".cluster.open-cluster-management.io")
            }
            fn api_resource() -> kube::core::ApiResource {
                kube::core::ApiResource::erase::<Self>(&())
            }
            fn shortnames() -> &'static [&'static str] {
                &[]
            }
        }
    };
}

pub(crate) use {root_schema, specless_kind};

/// Builds the definition of a namespaced kind without a spec.
pub(crate) fn specless_crd<S: schemars::JsonSchema>(
    group: &str,
    version: &str,
    kind: &str,
    plural: &str,
    doc: &str,
) -> k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition {
    // No transforms: the standard ones would make every option nullable before `tidy` could say no.
    let mut schema = schemars::generate::SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
            settings.transforms.clear();
        })
        .into_generator()
        .into_root_schema_for::<S>();
    crate::schema::tidy_status(&mut schema);
    let definition = serde_json::json!({
        "metadata": { "name": format!("{plural}.{group}") },
        "spec": {
            "group": group,
            "names": { "kind": kind, "plural": plural, "singular": kind.to_ascii_lowercase() },
            "scope": "Namespaced",
            "versions": [{
                "name": version, "served": true, "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": {
                    "type": "object",
                    "description": doc,
                    "properties": { "status": schema },
                }},
            }],
        },
    });
    serde_json::from_value(definition).expect("a definition built from literals is well-formed")
}
