//! The shape of source files: header, length, name.
//!
//! Functions are measured by clippy (`too_many_lines`, threshold in clippy.toml).

use super::Finding;
use super::rust;
use super::tree::Tree;

/// Most lines of a file's code part.
const FILE_LINES: usize = 600;

/// Files that are one flat table, and why.
const LONG_TABLES: &[(&str, &str)] = &[];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 10] = [
    "utils", "util", "common", "helpers", "helper", "manager", "misc", "shared", "base", "types",
];

/// Checks every Rust file.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (file, code) in tree.rust_files() {
        if !file.text.starts_with("//! ") && !is_test_module(&file.path) {
            let message =
                "begins with no `//!` header: what it does, its invariants, what it must not know";
            findings.push(Finding::new(&file.path, 1, message));
        }
        let lines = rust::code_lines(code);
        let is_table = LONG_TABLES.iter().any(|(path, _)| *path == file.path);
        if lines > FILE_LINES && !file.is_test() && !is_table {
            let message =
                format!("{lines} lines of code, more than {FILE_LINES}: split it by what it does");
            findings.push(Finding::new(&file.path, 0, message));
        }
        for part in file.path.split('/') {
            let name = part.strip_suffix(".rs").unwrap_or(part);
            if EMPTY_NAMES.contains(&name) {
                let message = format!("`{name}` says nothing about what is inside");
                findings.push(Finding::new(&file.path, 0, message));
            }
        }
        for (number, line) in code.lines().enumerate() {
            if line.trim_start().starts_with("#[ignore") {
                let message = "a test that does not run is none: mend it or delete it";
                findings.push(Finding::new(&file.path, number + 1, message));
            }
        }
    }
    findings
}

/// Whether the file is the test module of another, which says what is under test.
fn is_test_module(path: &str) -> bool {
    path.ends_with("/tests.rs")
        || path
            .split_once("/src/")
            .is_some_and(|(_, rest)| rest.contains("/tests/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_length_name_and_ignored_tests_are_found() {
        let long = format!("//! A.\n{}", "x\n".repeat(FILE_LINES));
        let long_tests = format!(
            "//! A.\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "x\n".repeat(FILE_LINES)
        );
        let cases = [
            ("a/src/b.rs", "//! A.\nfn f() {}\n", 0),
            ("a/src/b.rs", "fn f() {}\n", 1),
            ("a/src/b.rs", long.as_str(), 1),
            ("a/src/b/tests.rs", long.as_str(), 0),
            ("a/src/b/tests.rs", "fn f() {}\n", 0),
            ("a/src/b/tests/c.rs", "fn f() {}\n", 0),
            ("a/tests/c.rs", "fn f() {}\n", 1),
            ("a/src/b.rs", long_tests.as_str(), 0),
            ("a/src/utils.rs", "//! A.\n", 1),
            ("a/common/b.rs", "//! A.\n", 1),
            ("a/src/b.rs", "//! A.\n#[ignore]\nfn f() {}\n", 1),
            ("a/README.md", "no header\n", 0),
        ];
        for (path, text, expected) in cases {
            let findings = check(&Tree::of(&[(path, text)]));
            assert_eq!(findings.len(), expected, "{path}: {findings:?}");
        }
    }
}
