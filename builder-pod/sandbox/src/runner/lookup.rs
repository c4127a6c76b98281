//! Finds the program of a step in its `PATH`, as execvp(3) does.

use std::ffi::CString;

use rustix::fs::{Access, FileType};

/// Where programs are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The path to execute, or in words why there is none.
pub(super) fn find(
    program: &str,
    environment: &[String],
    directory: &str,
) -> Result<CString, String> {
    let as_path = |text: String| {
        CString::new(text).map_err(|_| format!("exec {program:?}: the name has a zero byte"))
    };
    if program.is_empty() {
        return Err("exec: the command is empty".to_owned());
    }
    if program.contains('/') {
        return as_path(program.to_owned());
    }
    let value = environment
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="));
    let path = value.unwrap_or(DEFAULT_PATH);
    let mut forbidden = None;
    for folder in path.split(':') {
        let folder = match folder {
            "" => directory.to_owned(),
            absolute if absolute.starts_with('/') => absolute.to_owned(),
            relative => format!("{directory}/{relative}"),
        };
        let candidate = as_path(format!("{folder}/{program}"))?;
        let is_file = rustix::fs::stat(&candidate)
            .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile);
        if is_file && rustix::fs::access(&candidate, Access::EXEC_OK).is_ok() {
            return Ok(candidate);
        }
        if is_file {
            forbidden.get_or_insert(candidate);
        }
    }
    match forbidden {
        Some(path) => Err(format!(
            "exec {}: permission denied",
            path.to_string_lossy()
        )),
        None => Err(format!("exec {program}: not found in PATH ({path})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_path_counts_and_what_is_missing_is_named() {
        let environment = ["PATH=/nowhere".to_owned(), "PATH=/none:/bin".to_owned()];
        let found = find("sh", &environment, "/").unwrap();
        assert_eq!(found.to_str(), Ok("/bin/sh"));
        let missing = find("no-such-program", &environment, "/").unwrap_err();
        assert_eq!(
            missing,
            "exec no-such-program: not found in PATH (/none:/bin)"
        );
        assert_eq!(find("./x", &environment, "/").unwrap().to_str(), Ok("./x"));
        assert_eq!(
            find("", &environment, "/"),
            Err("exec: the command is empty".to_owned())
        );
    }
}
