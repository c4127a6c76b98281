//! The ConfigMap that the engine reads its request from.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use stagecraft_protocol::request::BuildRequest;

use super::{Attempt, metadata};

/// Key of the request.
pub(super) const REQUEST_KEY: &str = "request.json";

/// The request of an attempt, and beside it the certificates that the administrator configured.
pub(super) fn config_map(attempt: &Attempt<'_>) -> ConfigMap {
    let request = BuildRequest {
        runners: attempt.runners,
        pins: attempt.pins.clone(),
        ..attempt.valid.request.clone()
    };
    // A request is made of texts, numbers and maps of texts: nothing that JSON cannot hold.
    let json = serde_json::to_string_pretty(&request).unwrap_or_default();
    let mut data = BTreeMap::from([(REQUEST_KEY.to_owned(), json)]);
    data.extend(attempt.valid.mounts.configured_authorities.clone());
    ConfigMap {
        metadata: metadata(attempt),
        data: Some(data),
        immutable: Some(true),
        ..ConfigMap::default()
    }
}
