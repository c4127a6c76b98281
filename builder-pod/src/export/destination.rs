//! Where a result goes, as `--output` says it.

use std::path::{Path, PathBuf};

/// Where a result goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To the registries of the image's names.
    Registry,
    /// To a directory in the OCI image layout.
    OciLayout(PathBuf),
    /// To a tar archive of an OCI image layout.
    OciArchive(PathBuf),
    /// To a tar archive that `docker load` reads; it is an OCI image layout too.
    DockerArchive(PathBuf),
    /// The image's files, into a directory.
    Directory(PathBuf),
    /// The image's files, as a tar archive.
    Tar(PathBuf),
}

impl Destination {
    /// Reads `--output`: comma-separated `key=value`, or a directory alone for the image's files.
    ///
    /// # Errors
    /// In words, when a key or type is unknown or one is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "-" {
            return Err(wrong(
                text,
                "standard output is not written to; name a file",
            ));
        }
        if !text.is_empty() && !text.contains(['=', ',']) {
            return Ok(Self::Directory(PathBuf::from(text)));
        }
        let (mut kind, mut dest, mut tar) = (None, None, None);
        for member in text.split(',') {
            match member.split_once('=') {
                Some(("type", value)) => kind = Some(value),
                Some(("dest", "" | "-")) => {
                    return Err(wrong(text, "dest= is the path of a file or directory"));
                }
                Some(("dest", value)) => dest = Some(PathBuf::from(value)),
                Some(("tar", "true")) => tar = Some(true),
                Some(("tar", "false")) => tar = Some(false),
                _ => return Err(wrong(text, &format!("unknown member {member:?}"))),
            }
        }
        let kind = kind.ok_or_else(|| wrong(text, "expected type=TYPE[,dest=PATH]"))?;
        if tar.is_some() && kind != "oci" {
            return Err(wrong(text, "tar= belongs to type=oci"));
        }
        match (kind, dest) {
            ("registry", None) => Ok(Self::Registry),
            ("registry", Some(_)) => Err(wrong(text, "type=registry takes no dest")),
            ("oci", Some(dest)) if tar.unwrap_or_else(|| is_tar(&dest)) => {
                Ok(Self::OciArchive(dest))
            }
            ("oci", Some(dest)) => Ok(Self::OciLayout(dest)),
            ("docker", Some(dest)) => Ok(Self::DockerArchive(dest)),
            ("local", Some(dest)) => Ok(Self::Directory(dest)),
            ("tar", Some(dest)) => Ok(Self::Tar(dest)),
            ("oci" | "docker" | "local" | "tar", None) => {
                Err(wrong(text, &format!("type={kind} needs dest=PATH")))
            }
            (other, _) => Err(wrong(
                text,
                &format!("unknown type {other:?}; there are registry, oci, docker, local and tar"),
            )),
        }
    }

    /// The path it writes to.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Registry => None,
            Self::OciLayout(path)
            | Self::OciArchive(path)
            | Self::DockerArchive(path)
            | Self::Directory(path)
            | Self::Tar(path) => Some(path),
        }
    }
}

fn wrong(text: &str, why: &str) -> String {
    format!("--output {text}: {why}")
}

fn is_tar(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("tar"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_read_or_refused_in_words() {
        let path = PathBuf::from;
        for (text, expected) in [
            ("type=registry", Destination::Registry),
            ("type=oci,dest=out", Destination::OciLayout(path("out"))),
            (
                "type=oci,dest=out.tar",
                Destination::OciArchive(path("out.tar")),
            ),
            (
                "type=oci,dest=out.tar,tar=false",
                Destination::OciLayout(path("out.tar")),
            ),
            (
                "dest=out,tar=true,type=oci",
                Destination::OciArchive(path("out")),
            ),
            (
                "type=docker,dest=x.tar",
                Destination::DockerArchive(path("x.tar")),
            ),
            ("type=local,dest=out", Destination::Directory(path("out"))),
            ("out", Destination::Directory(path("out"))),
            ("type=tar,dest=x", Destination::Tar(path("x"))),
        ] {
            assert_eq!(Destination::parse(text), Ok(expected), "{text}");
        }
        for wrong in [
            "type=oci",
            "type=local",
            "type=tar,dest=-",
            "type=tar,dest=",
            "type=docker,dest=x,tar=true",
            "type=image,dest=x",
            "dest=x",
            "type=registry,push=true",
            "type=registry,dest=x",
            "-",
            "",
        ] {
            let error = Destination::parse(wrong).unwrap_err();
            assert!(error.starts_with(&format!("--output {wrong}: ")), "{error}");
        }
    }
}
