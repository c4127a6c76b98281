//! Image values: digest, reference, platform, descriptor, manifest, config.
