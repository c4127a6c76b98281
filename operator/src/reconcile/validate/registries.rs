//! How registries are reached: the administrator's settings, then the object's over them.

use stagecraft_api::v1alpha1::ImageBuildSpec;
use stagecraft_protocol::request::RegistrySettings;

use super::{Authority, CA_PATH, Mounts, REQUEST_PATH};
use crate::config::Config;

/// The settings for the request; certificates are added to the mounts.
pub(super) fn registries(
    spec: &ImageBuildSpec,
    config: &Config,
    mounts: &mut Mounts,
) -> Vec<RegistrySettings> {
    let mut settings = Vec::new();
    for (index, registry) in config.registries.iter().enumerate() {
        if spec.registries.iter().any(|own| own.host == registry.host) {
            continue;
        }
        let ca_file = registry.ca_bundle.as_ref().map(|certificates| {
            let file = format!("ca-{index}.pem");
            let path = format!("{REQUEST_PATH}/{file}");
            mounts
                .configured_authorities
                .insert(file, certificates.clone());
            path
        });
        settings.push(RegistrySettings {
            host: registry.host.clone(),
            mirrors: registry.mirrors.clone(),
            plain_http: registry.plain_http,
            ca_file,
        });
    }
    for registry in &spec.registries {
        let bundle = registry.ca_bundle.clone().unwrap_or_default();
        let authority = match (bundle.config_map_key_ref, bundle.secret_key_ref) {
            (Some(reference), _) => Some((reference.key.clone(), Authority::ConfigMap(reference))),
            (None, Some(reference)) => Some((reference.key.clone(), Authority::Secret(reference))),
            (None, None) => None,
        };
        let ca_file = authority.map(|(key, authority)| {
            let index = mounts.authorities.len();
            mounts.authorities.push((index, authority));
            format!("{CA_PATH}/{index}/{key}")
        });
        settings.push(RegistrySettings {
            host: registry.host.clone(),
            mirrors: registry.mirrors.clone(),
            plain_http: registry.plain_http.unwrap_or_default(),
            ca_file,
        });
    }
    settings
}
