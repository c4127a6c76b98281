//! The CustomResourceDefinition.
//!
//! Invariant: the schema has no nullable field, no unsigned format and no default but that of the status, which makes
//! an object that the operator has not seen yet count as in progress.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use crate::v1alpha1::ImageBuild;

/// The definition that is applied to a cluster.
#[must_use]
pub fn custom_resource_definition() -> CustomResourceDefinition {
    let mut definition = ImageBuild::crd();
    for version in &mut definition.spec.versions {
        let schema = version
            .schema
            .as_mut()
            .and_then(|schema| schema.open_api_v3_schema.as_mut());
        if let Some(schema) = schema {
            tidy(schema);
            let status = schema
                .properties
                .as_mut()
                .and_then(|properties| properties.get_mut("status"));
            if let Some(status) = status {
                status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
            }
        }
    }
    definition
}

/// Removes what the derive writes and the apiserver or kubectl make bad use of.
fn tidy(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some(values) = &mut schema.enum_ {
        values.retain(|value| !value.0.is_null());
    }
    match schema.format.as_deref() {
        Some("uint8" | "uint16" | "uint32") => schema.format = Some("int32".to_owned()),
        Some("uint64" | "uint") => schema.format = Some("int64".to_owned()),
        _ => {}
    }
    if let Some(description) = &mut schema.description {
        *description = on_one_line(description);
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|map| map.values_mut())
    {
        tidy(property);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        tidy(items);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        tidy(values);
    }
}

/// Paragraphs stay; the line breaks within one, which are those of the source file, go.
fn on_one_line(description: &str) -> String {
    let paragraphs = description.split("\n\n");
    let paragraphs = paragraphs.map(|paragraph| paragraph.replace('\n', " "));
    paragraphs.collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests;
