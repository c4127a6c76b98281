//! ARCHITECTURE.md names the test that guards an invariant: the test has to be there.

use std::collections::BTreeSet;

use super::Finding;
use super::tree::Tree;

/// The page that names tests.
const PAGE: &str = "ARCHITECTURE.md";

/// Checks every name of the page.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(page) = tree.files.iter().find(|file| file.path == PAGE) else {
        return vec![Finding::new(PAGE, 0, "is not there")];
    };
    let functions: BTreeSet<&str> = tree
        .rust_files()
        .flat_map(|(_, code)| functions(code))
        .collect();
    let mut findings = Vec::new();
    for (number, line) in page.text.lines().enumerate() {
        for name in line
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| is_test_name(name))
        {
            if !functions.contains(name) {
                let message = format!("names the test `{name}`, which does not exist");
                findings.push(Finding::new(PAGE, number + 1, message));
            }
        }
    }
    findings
}

/// A test's name is a sentence: three words at least.
fn is_test_name(name: &str) -> bool {
    name.matches('_').count() >= 2
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn functions(code: &str) -> impl Iterator<Item = &str> {
    let starts = code.split("fn ").skip(1);
    starts.filter_map(|rest| {
        rest.split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .next()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_named_and_gone_is_found() {
        let page = "| x | `this_is_there`, `that_is_gone` and `fs` in `a/b_c_d.rs` |\n";
        let tree = Tree::of(&[
            (PAGE, page),
            (
                "a.rs",
                "//! A.\nfn this_is_there() {}\n// fn that_is_gone\n",
            ),
        ]);
        let findings = check(&tree);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].message.contains("that_is_gone"));
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }
}
