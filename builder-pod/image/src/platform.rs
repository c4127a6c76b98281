//! Platforms: `os/architecture[/variant]`, in the normal form that image tools agree on.
//!
//! Invariant: a parsed [`Platform`] is normalised, so that equal platforms are equal values: `x86_64` is `amd64`,
//! `aarch64` and `arm64/v8` are `arm64` (there is no other), `arm` is `arm/v7`, `i386` is `386`.
//! A platform read from JSON is as written; [`Platform::normalised`] and [`Platform::matches`] see to it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What an image runs on (image-spec, "image index", `platform`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, … (`GOARCH`).
    #[serde(default)]
    pub architecture: String,
    /// `linux`, … (`GOOS`).
    #[serde(default)]
    pub os: String,
    /// Version of the operating system, for Windows.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// Features of the operating system, for Windows.
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "crate::json::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// `v7` in `arm/v7`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Architectures that may stand for a Linux platform alone.
const ARCHITECTURES: [&str; 9] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x",
];

/// What is wrong with the text of a platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// It has more than three parts, an empty one, or one that is neither `linux` nor a known architecture.
    #[error(
        "platform `{0}` is malformed; the form is os/architecture[/variant], such as linux/amd64"
    )]
    Form(String),
    /// A part has characters that are none of a name's.
    #[error("`{part}` in platform `{platform}` is not valid: letters, digits, `_`, `.` and `-`")]
    Part {
        /// The whole text.
        platform: String,
        /// The part that is wrong.
        part: String,
    },
}

impl Platform {
    /// A platform in its normal form.
    #[must_use]
    pub fn new(os: &str, architecture: &str, variant: Option<&str>) -> Self {
        Self {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            os_version: None,
            os_features: Vec::new(),
            variant: variant.map(str::to_owned),
        }
        .normalised()
    }

    /// The platform this program was compiled for; images are always Linux images.
    #[must_use]
    pub fn host() -> Self {
        let variant = (std::env::consts::ARCH == "arm").then_some("v7");
        Self::new("linux", std::env::consts::ARCH, variant)
    }

    /// The same platform in its normal form.
    #[must_use]
    pub fn normalised(&self) -> Self {
        let os = self.os.to_lowercase();
        let architecture = self.architecture.to_lowercase();
        let variant = self.variant.as_deref().unwrap_or_default().to_lowercase();
        let numbered = match variant.as_str() {
            "" => String::new(),
            digits if digits.bytes().all(|byte| byte.is_ascii_digit()) => format!("v{digits}"),
            _ => variant,
        };
        let (architecture, variant) = match (architecture.as_str(), numbered.as_str()) {
            ("x86_64" | "x86-64" | "amd64", "v1") | ("x86_64" | "x86-64" | "amd64", "") => {
                ("amd64", "")
            }
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
            ("aarch64" | "arm64", "v8" | "") => ("arm64", ""),
            ("aarch64" | "arm64", variant) => ("arm64", variant),
            ("i386" | "i486" | "i586" | "i686" | "x86" | "386", _) => ("386", ""),
            ("armhf", _) | ("arm", "") => ("arm", "v7"),
            ("armel", _) => ("arm", "v6"),
            ("powerpc64le", variant) => ("ppc64le", variant),
            (architecture, variant) => (architecture, variant),
        };
        Self {
            architecture: architecture.to_owned(),
            os: if os == "macos" {
                "darwin".to_owned()
            } else {
                os
            },
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            variant: Some(variant)
                .filter(|variant| !variant.is_empty())
                .map(str::to_owned),
        }
    }

    /// Whether an image of the platform `candidate` runs on this one.
    #[must_use]
    pub fn matches(&self, candidate: &Self) -> bool {
        self.distance(candidate).is_some()
    }

    /// How far `candidate` is from this platform: 0 for the same, more for what runs here too, none for what does not.
    /// The order is that of containerd: earlier variants of `arm`, `amd64` and `arm64`, then the 32-bit architecture
    /// that `amd64` and `arm64` machines can have.
    #[must_use]
    pub fn distance(&self, candidate: &Self) -> Option<u32> {
        let (wanted, candidate) = (self.normalised(), candidate.normalised());
        if wanted.os != candidate.os {
            return None;
        }
        let variant = candidate.variant.as_deref().unwrap_or_default();
        let found = wanted.runs().iter().position(|runs| {
            (runs.0, runs.1.as_str()) == (candidate.architecture.as_str(), variant)
        });
        found.and_then(|found| u32::try_from(found).ok())
    }

    /// Architectures and variants that a platform in its normal form runs, the nearest first.
    fn runs(&self) -> Vec<(&str, String)> {
        let variant = self.variant.as_deref().unwrap_or_default();
        let mut runs = Vec::new();
        match self.architecture.as_str() {
            "amd64" => {
                runs.push(("amd64", variant.to_owned()));
                let levels = (2..number(variant)).rev().map(|level| format!("v{level}"));
                runs.extend(levels.map(|level| ("amd64", level)));
                if number(variant) > 1 {
                    runs.push(("amd64", String::new()));
                }
                runs.push(("386", String::new()));
            }
            "arm" => runs.extend(arm(variant).map(|variant| ("arm", variant))),
            "arm64" => {
                runs.push(("arm64", variant.to_owned()));
                runs.extend(arm64(variant).map(|variant| ("arm64", variant)));
                runs.extend(arm("v8").map(|variant| ("arm", variant)));
            }
            other => runs.push((other, variant.to_owned())),
        }
        runs
    }
}

/// The number of a variant, without what stands behind a dot; 0 where it has none, or one that no variant will have.
fn number(variant: &str) -> u32 {
    let number = variant.strip_prefix('v').unwrap_or_default();
    let major = number.split('.').next().unwrap_or_default();
    small(major)
}

fn small(digits: &str) -> u32 {
    const LARGEST: u32 = 99;
    let number = digits.parse().ok();
    number.filter(|number| *number <= LARGEST).unwrap_or(0)
}

/// A variant of `arm` with those before it, the fifth being the first one.
fn arm(variant: &str) -> impl Iterator<Item = String> + use<> {
    let earlier = (5..number(variant))
        .rev()
        .map(|number| format!("v{number}"));
    std::iter::once(variant.to_owned()).chain(earlier)
}

/// The variants of `arm64` before one: `v9.N` has everything of `v8.(N+5)`, of which there are ten. The eighth has no
/// number in the normal form.
fn arm64(variant: &str) -> impl Iterator<Item = String> + use<> {
    const LAST_OF_THE_EIGHTH: u32 = 9;
    let minor = variant.split_once('.').map_or("0", |(_, minor)| minor);
    let minor = small(minor);
    let is_ninth = number(variant) == 9;
    let ninth = if is_ninth { minor } else { 0 };
    let eighth = match number(variant) {
        9 => (minor + 6).min(LAST_OF_THE_EIGHTH + 1),
        8 => minor,
        _ => 0,
    };
    let name = |major: u32, minor: u32| match (major, minor) {
        (8, 0) => String::new(),
        (major, 0) => format!("v{major}"),
        (major, minor) => format!("v{major}.{minor}"),
    };
    let ninth = (0..ninth).rev().map(move |minor| name(9, minor));
    ninth.chain((0..eighth).rev().map(move |minor| name(8, minor)))
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || PlatformError::Form(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(form());
        }
        for part in &parts {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
            if !part.bytes().all(is_name) {
                return Err(PlatformError::Part {
                    platform: text.to_owned(),
                    part: (*part).to_owned(),
                });
            }
        }
        match parts[..] {
            // As containerd reads it: the other half is that of the machine, and images are Linux images.
            [os] if os.eq_ignore_ascii_case("linux") => Ok(Self::host()),
            [one]
                if ARCHITECTURES.contains(&Self::new("linux", one, None).architecture.as_str()) =>
            {
                Ok(Self::new("linux", one, None))
            }
            [os, architecture] => Ok(Self::new(os, architecture, None)),
            [os, architecture, variant] => Ok(Self::new(os, architecture, Some(variant))),
            _ => Err(form()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_normalised() {
        let cases = [
            ("linux/amd64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/amd64/2", "linux/amd64/v2"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/v9", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/i386", "linux/386"),
            ("linux/s390x", "linux/s390x"),
            ("macos/arm64", "darwin/arm64"),
            ("arm64", "linux/arm64"),
            ("x86_64", "linux/amd64"),
            ("armel", "linux/arm/v6"),
        ];
        for (text, normal) in cases {
            assert_eq!(
                text.parse::<Platform>().unwrap().to_string(),
                normal,
                "{text}"
            );
        }
        assert_eq!("linux".parse::<Platform>(), Ok(Platform::host()));
    }

    #[test]
    fn malformed_platforms_are_refused() {
        for text in [
            "",
            "sparc",
            "windows",
            "linux/",
            "/amd64",
            "linux/arm/v7/x",
            "linux//v7",
        ] {
            assert_eq!(
                text.parse::<Platform>(),
                Err(PlatformError::Form(text.into())),
                "{text}"
            );
        }
        let error = "linux/amd 64".parse::<Platform>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`amd 64` in platform `linux/amd 64` is not valid: letters, digits, `_`, `.` and `-`"
        );
    }

    #[test]
    fn an_older_variant_runs_on_a_newer_platform_but_not_the_other_way_round() {
        let cases = [
            ("linux/amd64", "linux/amd64", Some(0)),
            ("linux/arm64", "linux/arm64/v8", Some(0)),
            ("linux/arm/v7", "linux/arm/v6", Some(1)),
            ("linux/arm/v6", "linux/arm/v7", None),
            ("linux/arm/v7", "linux/arm/v5", Some(2)),
            ("linux/arm/v7", "linux/arm/v4", None),
            ("linux/amd64/v3", "linux/amd64/v2", Some(1)),
            ("linux/amd64/v3", "linux/amd64", Some(2)),
            ("linux/amd64/v3", "linux/386", Some(3)),
            ("linux/amd64", "linux/amd64/v2", None),
            ("linux/amd64", "linux/386", Some(1)),
            ("linux/386", "linux/amd64", None),
            ("linux/amd64", "windows/amd64", None),
            ("linux/arm64", "linux/arm64/v9", None),
            ("linux/arm64", "linux/arm/v8", Some(1)),
            ("linux/arm64", "linux/arm/v6", Some(3)),
            ("linux/arm64/v9", "linux/arm64", Some(6)),
            ("linux/arm64/v9.1", "linux/arm64/v9", Some(1)),
            ("linux/arm64/v9.1", "linux/arm64/v8.6", Some(2)),
            ("linux/arm64/v9.7", "linux/arm64/v8.9", Some(8)),
            ("linux/arm64/v8.2", "linux/arm64/v8.1", Some(1)),
            ("linux/arm64/v8.2", "linux/arm64", Some(2)),
            ("linux/arm/v7", "linux/arm64", None),
            ("linux/s390x", "linux/s390x", Some(0)),
            ("linux/arm/v4000000000", "linux/arm/v7", None),
            ("linux/arm64/v9.4000000000", "linux/arm64/v9", None),
        ];
        for (here, candidate, distance) in cases {
            let (here, candidate): (Platform, Platform) =
                (here.parse().unwrap(), candidate.parse().unwrap());
            assert_eq!(here.distance(&candidate), distance, "{candidate} on {here}");
        }
    }

    #[test]
    fn a_platform_from_json_matches_whatever_its_form() {
        let json = r#"{"architecture":"arm64","os":"linux","variant":"v8"}"#;
        let platform: Platform = serde_json::from_str(json).unwrap();
        assert!(
            "linux/aarch64"
                .parse::<Platform>()
                .unwrap()
                .matches(&platform)
        );
        assert_eq!(serde_json::to_string(&platform).unwrap(), json);
    }
}
