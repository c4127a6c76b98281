//! Answers questions about the frontend: one JSON object a line on standard input, one on standard output. See
//! [`stagecraft_dockerfile::answers`] for what can be asked, and `tests/oracle` for BuildKit's answers.

use std::io::{BufRead, Write, stdin, stdout};

use stagecraft_dockerfile::answers::answer;

fn main() -> std::io::Result<()> {
    let mut out = stdout().lock();
    for question in stdin().lock().lines() {
        let question = question?;
        if !question.trim().is_empty() {
            writeln!(out, "{}", answer(&question))?;
        }
    }
    Ok(())
}
