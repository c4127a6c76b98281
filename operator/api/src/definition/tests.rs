//! What holds for the whole schema.

use super::*;

/// Visits a schema with its path.
fn visit(schema: &JSONSchemaProps, path: &str, see: &mut dyn FnMut(&str, &JSONSchemaProps)) {
    see(path, schema);
    for (name, property) in schema.properties.iter().flatten() {
        visit(property, &format!("{path}.{name}"), see);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        visit(items, &format!("{path}[]"), see);
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &schema.additional_properties {
        visit(values, &format!("{path}.*"), see);
    }
}

fn schema() -> JSONSchemaProps {
    let definition = custom_resource_definition();
    let version = definition.spec.versions.into_iter().next().unwrap();
    version.schema.unwrap().open_api_v3_schema.unwrap()
}

#[test]
fn every_field_is_explained_in_a_sentence() {
    let mut silent = Vec::new();
    visit(&schema(), "", &mut |path, schema| {
        let named = path.starts_with(".s") && !path.ends_with("[]") && !path.ends_with(".*");
        let explained = schema.description.as_deref().is_some_and(|text| {
            text.len() > 10 && !text.contains("Auto-generated") && text.contains(' ')
        });
        if named && !explained {
            silent.push(path.to_owned());
        }
    });
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn every_list_string_and_map_of_the_spec_is_bounded() {
    let mut unbounded = Vec::new();
    visit(&schema(), "", &mut |path, schema| {
        // Tolerations are checked by the apiserver when the pod is made, and no rule reads them.
        if !path.starts_with(".spec") || path.starts_with(".spec.pod.tolerations[]") {
            return;
        }
        let bounded = match schema.type_.as_deref() {
            Some("array") => schema.max_items.is_some(),
            Some("string") => {
                schema.max_length.is_some() || schema.enum_.is_some() || path.ends_with(".*")
            }
            Some("object") => {
                schema.additional_properties.is_none() || schema.max_properties.is_some()
            }
            Some("integer") => schema.minimum.is_some() && schema.maximum.is_some(),
            _ => true,
        };
        if !bounded {
            unbounded.push(path.to_owned());
        }
    });
    assert_eq!(unbounded, Vec::<String>::new());
}

#[test]
fn only_the_status_has_a_default_and_nothing_is_nullable_or_unsigned() {
    visit(&schema(), "", &mut |path, schema| {
        assert_eq!(schema.default.is_some(), path == ".status", "{path}");
        assert_eq!(schema.nullable, None, "{path}");
        let format = schema.format.as_deref().unwrap_or_default();
        assert!(!format.starts_with("uint"), "{path}: {format}");
        let nulls = schema
            .enum_
            .iter()
            .flatten()
            .filter(|value| value.0.is_null());
        assert_eq!(nulls.count(), 0, "{path}");
    });
}

#[test]
fn every_rule_has_a_message() {
    let mut rules = 0;
    visit(&schema(), "", &mut |path, schema| {
        for rule in schema.x_kubernetes_validations.iter().flatten() {
            rules += 1;
            assert!(rule.message.is_some(), "{path}: {}", rule.rule);
        }
    });
    assert!(rules > 20, "only {rules} rules");
}

#[test]
fn the_definition_stays_small_enough_to_be_applied_by_kubectl() {
    let json = serde_json::to_string(&custom_resource_definition()).unwrap();
    assert!(json.len() < 256 * 1024, "{} bytes", json.len());
}
