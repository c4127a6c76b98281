//! What the flags of RUN, COPY and ADD say.
//!
//! Invariant: every flag that the parser lets through is in one of these types, so that whoever carries an
//! instruction out sees all of it.
//! It must not know which flags are carried out: see [`crate::support`].

use crate::ast::{Flag, Spanned};
use crate::csv;
use crate::diagnostic::{Code, Diagnostic};
use crate::go_values;
use crate::mount::MountFlag;
use crate::suggest::nearest;

/// The flags of `COPY` and `ADD`. What only one of them has is never set in the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// `--from` (COPY): a stage, an image or a named context, not expanded.
    pub from: Option<Spanned<String>>,
    /// `--chown`, not expanded.
    pub chown: Option<Spanned<String>>,
    /// `--chmod`, not expanded.
    pub chmod: Option<Spanned<String>>,
    /// `--link`.
    pub link: bool,
    /// `--parents` (COPY).
    pub parents: bool,
    /// `--exclude`, as often as it is there; never expanded.
    pub exclude: Vec<Spanned<String>>,
    /// `--checksum` (ADD), not expanded.
    pub checksum: Option<Spanned<String>>,
    /// `--keep-git-dir` (ADD).
    pub keep_git_directory: Option<bool>,
    /// `--unpack` (ADD); what is done without it depends on the source.
    pub unpack: Option<bool>,
}

/// The flags of `RUN`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOptions {
    /// `--mount`, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network`.
    pub network: Network,
    /// `--security`.
    pub security: Security,
    /// `--device`, in order.
    pub devices: Vec<Device>,
}

/// The network that a `RUN` sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Network {
    /// That of the build.
    #[default]
    Default,
    /// None.
    None,
    /// That of the machine.
    Host,
}

/// What a `RUN` may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Security {
    /// What every `RUN` may.
    #[default]
    Sandbox,
    /// Everything that root of the machine may.
    Insecure,
}

/// A device of the machine, by its name in the Container Device Interface.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Device {
    /// `vendor.com/class=device`; empty where nothing was said.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
}

impl CopyOptions {
    pub(crate) fn new(flags: &[Flag]) -> Self {
        let mut options = Self::default();
        for flag in flags {
            let value = Spanned {
                value: flag.value.clone().unwrap_or_default(),
                span: flag.span,
            };
            let is_on = !value.value.eq_ignore_ascii_case("false");
            match flag.name.as_str() {
                "from" => options.from = Some(value).filter(|from| !from.value.is_empty()),
                "chown" => options.chown = Some(value),
                "chmod" => options.chmod = Some(value),
                "link" => options.link = is_on,
                "parents" => options.parents = is_on,
                "exclude" => options.exclude.push(value),
                "checksum" => options.checksum = Some(value),
                "keep-git-dir" => options.keep_git_directory = Some(is_on),
                "unpack" => options.unpack = Some(is_on),
                _ => {}
            }
        }
        options
    }
}

impl RunOptions {
    /// `mount` reads the value of a `--mount`, which knows the places of its fields.
    pub(crate) fn new(
        flags: &[Flag],
        diagnostics: &mut Vec<Diagnostic>,
        mut mount: impl FnMut(&Flag, &mut Vec<Diagnostic>) -> Option<MountFlag>,
    ) -> Self {
        let mut options = Self::default();
        for flag in flags {
            let value = flag.value.as_deref().unwrap_or_default();
            match flag.name.as_str() {
                "mount" => options.mounts.extend(mount(flag, diagnostics)),
                "network" => match value {
                    "default" => options.network = Network::Default,
                    "none" => options.network = Network::None,
                    "host" => options.network = Network::Host,
                    _ => diagnostics.push(none_of(flag, &["default", "none", "host"])),
                },
                "security" => match value {
                    "sandbox" => options.security = Security::Sandbox,
                    "insecure" => options.security = Security::Insecure,
                    _ => diagnostics.push(none_of(flag, &["sandbox", "insecure"])),
                },
                "device" => match device(value) {
                    Ok(device) => options.devices.push(device),
                    Err(problem) => diagnostics.push(
                        Diagnostic::error(Code::BadFlag, flag.span, problem)
                            .help("it is a name, or name=…,required: --device=vendor.com/class=name for example"),
                    ),
                },
                _ => {}
            }
        }
        options
    }
}

fn none_of(flag: &Flag, known: &[&str]) -> Diagnostic {
    let value = flag.value.as_deref().unwrap_or_default();
    let message = format!("--{} cannot be {value:?}", flag.name);
    let help = match nearest(value, known.iter().copied()) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("it is one of {}", known.join(", ")),
    };
    Diagnostic::error(Code::BadFlag, flag.span, message).help(help)
}

/// The first field that is no known key is the name, even with a `=` in it: names of devices have one.
fn device(value: &str) -> Result<Device, String> {
    let fields = csv::fields(value)
        .map_err(|problem| format!("--device={value} cannot be read: {problem}"))?;
    let mut name = String::new();
    let mut required = false;
    for field in fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", None) => required = true,
            ("required", Some(value)) => {
                required = go_values::boolean(value)
                    .ok_or_else(|| format!("required is true or false, not {value:?}"))?;
            }
            ("name", Some(_)) if !name.is_empty() => {
                return Err(format!("the device has a name already: {name}"));
            }
            ("name", Some(value)) => value.clone_into(&mut name),
            _ if name.is_empty() => name = field,
            _ => return Err(format!("a device has no key {key}")),
        }
    }
    Ok(Device { name, required })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_a_name_and_may_be_required() {
        let is = |name: &str, required| {
            Ok(Device {
                name: name.to_owned(),
                required,
            })
        };
        for (value, expected) in [
            ("vendor.com/class=gpu", is("vendor.com/class=gpu", false)),
            ("vendor.com/class", is("vendor.com/class", false)),
            (
                "vendor.com/class=gpu,required",
                is("vendor.com/class=gpu", true),
            ),
            ("required=0,name=a/b=c", is("a/b=c", false)),
            ("REQUIRED,Name=a", is("a", true)),
        ] {
            assert_eq!(device(value), expected, "{value}");
        }
        for wrong in ["", "a,name=b", "a,b", "a,b=c", "a,required=yes", "\"a"] {
            assert!(device(wrong).is_err(), "{wrong}");
        }
    }
}
