//! `--secret`: where a secret's value is taken from.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::secrets::{SecretSource, Secrets};

/// The secrets that the flags name.
pub(super) fn parse(flags: &[String]) -> Result<Secrets, String> {
    let mut secrets = Secrets::default();
    for flag in flags {
        let (id, source) = secret(flag)?;
        if !secrets.add(id.clone(), source) {
            return Err(format!("--secret {flag}: there is another secret {id}"));
        }
    }
    Ok(secrets)
}

fn secret(flag: &str) -> Result<(String, SecretSource), String> {
    let wrong = |what: &str| Err(format!("--secret {flag}: {what}"));
    let (mut kind, mut id, mut file, mut variable) = (None, None, None, None);
    for field in flag.split(',') {
        let Some((key, value)) = field.split_once('=') else {
            return wrong("expected id=NAME, then src=FILE or env=VARIABLE");
        };
        let slot = match key.trim().to_lowercase().as_str() {
            "type" => &mut kind,
            "id" => &mut id,
            "src" | "source" => &mut file,
            "env" => &mut variable,
            other => {
                return wrong(&format!(
                    "there is no {other}; it has id, src, env and type"
                ));
            }
        };
        *slot = Some(value.to_owned());
    }
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return wrong("it has no name: add id=NAME");
    };
    match kind.as_deref() {
        // With this type src is a variable.
        Some("env") => variable = variable.or(file.take()).or_else(|| Some(id.clone())),
        Some("file") => file = file.or_else(|| Some(id.clone())),
        None => {}
        Some(other) => return wrong(&format!("a secret is of type file or env, not {other}")),
    }
    let source = match (file, variable) {
        (Some(_), Some(_)) => return wrong("it has both a file and a variable"),
        (Some(file), None) => readable(flag, PathBuf::from(file))?,
        (None, Some(variable)) => match std::env::var_os(&variable) {
            Some(value) => SecretSource::Value(value.into_vec()),
            None => return wrong(&format!("the environment has no variable {variable}")),
        },
        (None, None) => match std::env::var_os(&id) {
            Some(value) => SecretSource::Value(value.into_vec()),
            None => readable(flag, PathBuf::from(&id))?,
        },
    };
    Ok((id, source))
}

/// A file that is not there is a mistake of the command line, whether the build needs it or not.
fn readable(flag: &str, file: PathBuf) -> Result<SecretSource, String> {
    match std::fs::metadata(&file) {
        Ok(found) if found.is_dir() => Err(format!(
            "--secret {flag}: {} is a directory",
            file.display()
        )),
        Ok(_) => Ok(SecretSource::File(file)),
        Err(error) => Err(format!("--secret {flag}: {}: {error}", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_file_or_a_variable() {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let file = |flag: String| match secret(&flag).unwrap() {
            (id, SecretSource::File(path)) => (id, path),
            other => panic!("{other:?}"),
        };
        for key in ["src", "source", "type=file,src"] {
            let found = file(format!("id=a,{key}={manifest}"));
            assert_eq!(found, ("a".to_owned(), PathBuf::from(manifest)));
        }
        for flag in [
            "id=PATH",
            "id=x,env=PATH",
            "type=env,id=x,src=PATH",
            "type=env,id=PATH",
        ] {
            let (_, source) = secret(flag).unwrap();
            let path = std::env::var_os("PATH").unwrap().into_vec();
            assert!(source == SecretSource::Value(path), "{flag}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_before_anything_is_built() {
        for (flag, words) in [
            ("token", "expected id=NAME"),
            ("src=x", "add id=NAME"),
            ("id=a,src=/no/such/file", "No such file"),
            ("id=a,src=/", "is a directory"),
            ("id=a,env=NO_SUCH_VARIABLE_HERE", "no variable NO_SUCH"),
            ("id=a,env=PATH,src=x", "both"),
            ("id=a,type=vault", "file or env, not vault"),
            ("id=a,file=x", "there is no file"),
        ] {
            let message = secret(flag).unwrap_err();
            assert!(message.contains(words), "{flag}: {message}");
        }
        let twice = ["id=PATH".to_owned(), "id=PATH".to_owned()];
        assert!(parse(&twice).unwrap_err().contains("another secret PATH"));
    }
}
