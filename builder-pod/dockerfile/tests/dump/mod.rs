//! A Dockerfile's typed form as text: a line per node, with its place.

use std::fmt::Write as _;

use stagecraft_dockerfile::{
    Command, CopyInstruction, Dockerfile, Flag, HealthcheckTest, Instruction, Kind, Span, Spanned,
};

/// The text of a whole file.
pub(crate) fn dump(dockerfile: &Dockerfile) -> String {
    let mut out = Out::default();
    if dockerfile.escape != '\\' {
        out.line(0, &format!("escape {}", dockerfile.escape));
    }
    out.optional(0, "syntax", dockerfile.syntax.as_ref());
    out.optional(0, "check", dockerfile.check.as_ref());
    for instruction in &dockerfile.arguments {
        out.instruction(0, instruction);
    }
    for (number, stage) in dockerfile.stages.iter().enumerate() {
        out.line(0, &format!("stage {number} {}", place(stage.from.span)));
        out.line(1, &format!("text {}", stage.from.text));
        out.word(1, "image", &stage.from.image);
        out.optional(1, "name", stage.from.name.as_ref());
        out.optional(1, "platform", stage.from.platform.as_ref());
        for instruction in &stage.instructions {
            out.instruction(1, instruction);
        }
    }
    out.text
}

#[derive(Default)]
struct Out {
    text: String,
}

impl Out {
    fn line(&mut self, depth: usize, line: &str) {
        writeln!(self.text, "{}{line}", "  ".repeat(depth)).unwrap();
    }

    fn word(&mut self, depth: usize, name: &str, word: &Spanned<String>) {
        let line = format!("{name} {:?} {}", word.value, place(word.span));
        self.line(depth, &line);
    }

    fn optional(&mut self, depth: usize, name: &str, word: Option<&Spanned<String>>) {
        if let Some(word) = word {
            self.word(depth, name, word);
        }
    }

    fn words(&mut self, depth: usize, name: &str, words: &[Spanned<String>]) {
        for word in words {
            self.word(depth, name, word);
        }
    }

    fn instruction(&mut self, depth: usize, instruction: &Instruction) {
        let keyword = instruction.kind.keyword();
        self.line(depth, &format!("{keyword} {}", place(instruction.span)));
        self.line(depth + 1, &format!("text {}", instruction.text));
        self.kind(depth + 1, &instruction.kind);
        for heredoc in &instruction.heredocs {
            let expand = if heredoc.expand {
                "expanded"
            } else {
                "literal"
            };
            let at = place(heredoc.span);
            let (name, content) = (&heredoc.name, &heredoc.content);
            self.line(
                depth + 1,
                &format!("heredoc {name:?} {expand} {content:?} {at}"),
            );
        }
    }

    fn kind(&mut self, depth: usize, kind: &Kind) {
        match kind {
            Kind::Add(copy) | Kind::Copy(copy) => self.copy(depth, copy),
            Kind::Arg(arguments) => {
                for argument in arguments {
                    self.word(depth, "name", &argument.name);
                    self.optional(depth + 1, "default", argument.default.as_ref());
                }
            }
            Kind::Cmd(command) | Kind::Entrypoint(command) => self.command(depth, command),
            Kind::Env(pairs) | Kind::Label(pairs) => {
                for (name, value) in pairs {
                    self.word(depth, "name", name);
                    self.word(depth + 1, "value", value);
                }
            }
            Kind::Expose(ports) => self.words(depth, "port", ports),
            Kind::Healthcheck(check) => {
                match &check.test {
                    HealthcheckTest::None => self.line(depth, "none"),
                    HealthcheckTest::Command(command) => self.command(depth, command),
                }
                for (name, value) in [
                    ("interval", check.interval),
                    ("timeout", check.timeout),
                    ("start-period", check.start_period),
                    ("start-interval", check.start_interval),
                    ("retries", check.retries),
                ] {
                    if value != 0 {
                        self.line(depth, &format!("{name} {value}"));
                    }
                }
            }
            Kind::OnBuild(trigger) => {
                let keyword = trigger.kind.as_ref().map_or("?", |kind| kind.keyword());
                self.word(depth, keyword, &trigger.text);
                if let Some(kind) = &trigger.kind {
                    self.kind(depth + 1, kind);
                }
            }
            Kind::Run(run) => {
                self.flags(depth, &run.flags);
                for field in run.options.mounts.iter().flat_map(|mount| &mount.fields) {
                    let value = field.value.as_deref().unwrap_or("(no value)");
                    let at = place(field.span);
                    self.line(depth + 1, &format!("mount {} {value:?} {at}", field.key));
                }
                self.command(depth, &run.command);
            }
            Kind::Shell(words) => self.line(depth, &format!("shell {words:?}")),
            Kind::Volume(paths) => self.words(depth, "path", paths),
            Kind::Maintainer(word)
            | Kind::StopSignal(word)
            | Kind::User(word)
            | Kind::WorkDirectory(word) => self.word(depth, "value", word),
        }
    }

    fn copy(&mut self, depth: usize, copy: &CopyInstruction) {
        self.flags(depth, &copy.flags);
        self.words(depth, "source", &copy.sources);
        for document in &copy.documents {
            self.line(
                depth,
                &format!("document {:?} {}", document.name, place(document.span)),
            );
        }
        self.word(depth, "destination", &copy.destination);
    }

    fn flags(&mut self, depth: usize, flags: &[Flag]) {
        for flag in flags {
            let value = flag.value.as_ref().map(|value| format!(" {value:?}"));
            let at = place(flag.span);
            self.line(
                depth,
                &format!("flag {}{} {at}", flag.name, value.unwrap_or_default()),
            );
        }
    }

    fn command(&mut self, depth: usize, command: &Command) {
        match command {
            Command::Shell(text) => self.line(depth, &format!("shell {text:?}")),
            Command::Exec(words) => self.line(depth, &format!("exec {words:?}")),
        }
    }
}

/// `line:column start..end`, the last two in bytes.
fn place(span: Span) -> String {
    format!(
        "@{}:{} {}..{}",
        span.line, span.column, span.start, span.end
    )
}
