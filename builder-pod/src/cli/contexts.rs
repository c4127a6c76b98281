//! `--build-context NAME=VALUE`: what stands for a stage or image of that name.

use std::collections::BTreeMap;
use std::path::Path;

use super::build::pairs;
use super::context::path_text;

/// What introduces an OCI layout.
const LAYOUT: &str = "oci-layout://";

/// The named contexts of the flags, with paths from the root of the machine.
pub(super) fn build_contexts(given: &[String]) -> Result<BTreeMap<String, String>, String> {
    let mut contexts = pairs("--build-context", given)?;
    for (name, value) in &mut contexts {
        let failed = |problem: String| format!("--build-context {name}={value}: {problem}");
        if let Some(layout) = value.strip_prefix(LAYOUT) {
            let absolute =
                std::path::absolute(layout).map_err(|error| failed(error.to_string()))?;
            *value = format!("{LAYOUT}{}", path_text(&absolute)?);
        } else if !is_address(value) {
            let found = Path::new(value.as_str()).canonicalize();
            let found = found.map_err(|error| failed(error.to_string()))?;
            if !found.is_dir() {
                return Err(failed("it is not a directory".to_owned()));
            }
            *value = path_text(&found)?;
        }
    }
    Ok(contexts)
}

/// Whether a value is no path. What kind of address it is, and whether there is such a kind, is the planner's business.
fn is_address(value: &str) -> bool {
    value.contains("://") || value.starts_with("git@") || value.starts_with("target:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_an_address_or_a_path_that_is_there() {
        let read = |value: &str| {
            let mut contexts = build_contexts(&[format!("a::linux/arm64={value}")])?;
            Ok::<_, String>(contexts.remove("a::linux/arm64").unwrap())
        };
        for address in [
            "docker-image://alpine",
            "https://example.com/a.git#b",
            "git@example.com:a/b",
            "ftp://example.com",
        ] {
            assert_eq!(read(address).as_deref(), Ok(address));
        }
        let here = std::env::current_dir().unwrap();
        let here = here.to_str().unwrap();
        assert_eq!(read("src/..").as_deref(), Ok(here));
        let layout = read("oci-layout://some/layout:1@sha256:0").unwrap();
        assert_eq!(
            layout,
            format!("oci-layout://{here}/some/layout:1@sha256:0")
        );
        assert!(
            read("missing")
                .unwrap_err()
                .contains("a::linux/arm64=missing: ")
        );
        assert!(read("Cargo.toml").unwrap_err().ends_with("not a directory"));
        assert!(build_contexts(&["a".to_owned()]).is_err());
    }
}
