//! Answers questions about the frontend: one JSON object a line on standard input, one on standard output. See
//! [`stagecraft_dockerfile::answers`] for what can be asked, and `tests/oracle` for BuildKit's answers.

use std::io::{BufRead, Write, stdin, stdout};

use stagecraft_dockerfile::answers::answer;

fn main() -> std::io::Result<()> {
    let mut out = stdout().lock();
    for line in stdin().lock().split(b'\n') {
        let line = line?;
        let question = String::from_utf8_lossy(&line);
        if !question.trim().is_empty() {
            writeln!(out, "{}", answer(&question))?;
        }
    }
    Ok(())
}
