//! Platforms: `os/architecture[/variant]`, with the names that people use made one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// Processor architecture as Go names it.
    pub architecture: String,
    /// Operating system as Go names it.
    pub os: String,
    /// Version of the operating system (Windows).
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Variant of the processor, `v7` for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// A text is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a platform; expected os/architecture or os/architecture/variant, linux/amd64 for example"
)]
pub struct PlatformParseError(String);

impl Platform {
    /// A platform of this system and architecture, under their usual names.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        let (architecture, implied) = match architecture.to_ascii_lowercase().as_str() {
            "x86_64" | "x86-64" => ("amd64".to_owned(), None),
            "aarch64" => ("arm64".to_owned(), None),
            "armhf" => ("arm".to_owned(), Some("v7")),
            "armel" => ("arm".to_owned(), Some("v6")),
            "i386" | "i686" => ("386".to_owned(), None),
            other => (other.to_owned(), None),
        };
        let os = match os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let variant = variant.or(implied).map(str::to_ascii_lowercase);
        // 64-bit ARM is v8 unless said otherwise, so that is not said; 32-bit ARM is v7.
        let variant = match (architecture.as_str(), variant.as_deref()) {
            ("arm64", Some("v8" | "8")) | ("amd64", Some("v1")) => None,
            ("arm", None) => Some("v7".to_owned()),
            ("arm", Some(number)) if !number.starts_with('v') => Some(format!("v{number}")),
            _ => variant,
        };
        Self {
            architecture,
            os,
            os_version: None,
            variant,
        }
    }

    /// That of the machine this was compiled for.
    #[must_use]
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, None)
    }

    /// Whether an image of platform `offered` is one for `self`.
    #[must_use]
    pub fn accepts(&self, offered: &Self) -> bool {
        let offered = Self::new(
            &offered.os,
            &offered.architecture,
            offered.variant.as_deref(),
        );
        self.os == offered.os
            && self.architecture == offered.architecture
            && self.variant == offered.variant
    }
}

impl FromStr for Platform {
    type Err = PlatformParseError;

    fn from_str(text: &str) -> Result<Self, PlatformParseError> {
        let wrong = || PlatformParseError(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |part: &&str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        if !parts.iter().all(plain) {
            return Err(wrong());
        }
        match parts.as_slice() {
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        self.variant
            .as_ref()
            .map_or(Ok(()), |variant| write!(formatter, "/{variant}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_use_become_one() {
        for (text, expected) in [
            ("linux/x86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("Linux/arm/6", "linux/arm/v6"),
        ] {
            assert_eq!(text.parse::<Platform>().unwrap().to_string(), expected);
        }
        for wrong in ["", "linux", "a/b/c/d", "linux/", "li nux/x"] {
            assert!(wrong.parse::<Platform>().is_err(), "{wrong}");
        }
    }
}
