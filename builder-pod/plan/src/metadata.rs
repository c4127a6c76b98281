//! Instructions that change the image's configuration and nothing else.

use stagecraft_dockerfile::{
    Code, Command, Diagnostic, Healthcheck as HealthcheckInstruction, HealthcheckTest, Kind,
    Spanned,
};
use stagecraft_image::Healthcheck;

use crate::environment::set_line;
use crate::go_format::{healthcheck, plain_list, quoted_list};
use crate::operation::Operation;
use crate::stage::{Outcome, StageReader, metadata};
use crate::values::{is_signal, ports};

impl StageReader<'_, '_> {
    /// What such an instruction does; nothing where it is wrong, which was reported then.
    pub(crate) fn metadata(&mut self, kind: &Kind) -> Option<Outcome> {
        let created_by = match kind {
            Kind::Cmd(command) => {
                let words = self.command(command);
                let text = format!("CMD {}", quoted_list(&words));
                let config = &mut self.state.config.config;
                config.cmd = Some(words);
                config.args_escaped = true;
                self.has_cmd = true;
                text
            }
            Kind::Entrypoint(command) => {
                let words = self.command(command);
                let text = format!("ENTRYPOINT {}", quoted_list(&words));
                let config = &mut self.state.config.config;
                config.entrypoint = Some(words).filter(|words| !words.is_empty());
                // An inherited command was meant for the inherited entrypoint.
                if !self.has_cmd {
                    config.cmd = None;
                }
                text
            }
            Kind::Env(pairs) => self.env(pairs)?,
            Kind::Label(pairs) => self.label(pairs)?,
            Kind::Expose(words) => self.expose(words)?,
            Kind::Volume(words) => self.volume(words)?,
            Kind::User(user) => {
                let user = self.expand(user)?;
                self.state.config.config.user.clone_from(&user);
                format!("USER {user}")
            }
            Kind::StopSignal(signal) => {
                let value = self.expand(signal)?;
                if !is_signal(&value) {
                    let message = format!("{value:?} is no signal");
                    self.error(Code::BadValue, signal.span, message);
                    return None;
                }
                let text = format!("STOPSIGNAL {value}");
                self.state.config.config.stop_signal = Some(value);
                text
            }
            Kind::Shell(words) => {
                self.state.config.config.shell = Some(words.clone());
                format!("SHELL {}", plain_list(words))
            }
            Kind::Healthcheck(check) => self.healthcheck(check),
            Kind::Maintainer(author) => {
                self.state.config.author = Some(author.value.clone());
                format!("MAINTAINER {}", author.value)
            }
            Kind::OnBuild(_) => {
                let text = self.instruction.trigger()?;
                self.state.config.config.on_build.push(text);
                return Some((Operation::Metadata, None));
            }
            // The others are steps.
            Kind::Add(_) | Kind::Arg(_) | Kind::Copy(_) | Kind::Run(_) | Kind::WorkDirectory(_) => {
                return None;
            }
        };
        Some(metadata(created_by))
    }

    fn env(&mut self, pairs: &[(Spanned<String>, Spanned<String>)]) -> Option<String> {
        let pairs = self.pairs(pairs)?;
        for (name, value) in &pairs {
            self.state.environment.set(name, value.as_str());
            set_line(&mut self.state.config.config.env, name, value);
        }
        Some(pairs_text("ENV", &pairs))
    }

    fn label(&mut self, pairs: &[(Spanned<String>, Spanned<String>)]) -> Option<String> {
        let pairs = self.pairs(pairs)?;
        let text = pairs_text("LABEL", &pairs);
        self.state.config.config.labels.extend(pairs);
        Some(text)
    }

    /// Names and values, all expanded before any is set.
    fn pairs(
        &mut self,
        pairs: &[(Spanned<String>, Spanned<String>)],
    ) -> Option<Vec<(String, String)>> {
        let mut expanded = Vec::new();
        for (name, value) in pairs {
            let text = (self.expand(name), self.expand(value));
            if text.0.as_deref() == Some("") {
                // BuildKit sets the empty name; nobody means it.
                let message = format!("the name {:?} is empty", name.value);
                self.report(Diagnostic::warning(Code::BadName, name.span, message));
            }
            expanded.push(text);
        }
        expanded
            .into_iter()
            .map(|(name, value)| name.zip(value))
            .collect()
    }

    fn expose(&mut self, words: &[Spanned<String>]) -> Option<String> {
        let mut exposed = Vec::new();
        for word in words {
            for text in self.expand_words(word)? {
                match ports(&text) {
                    Ok(ports) => exposed.extend(ports),
                    Err(problem) => {
                        let message = format!("cannot expose {text:?}: {problem}");
                        self.error(Code::BadValue, word.span, message);
                    }
                }
            }
        }
        let text = format!("EXPOSE {}", plain_list(&exposed));
        self.state.config.config.exposed_ports.extend(exposed);
        Some(text)
    }

    fn volume(&mut self, words: &[Spanned<String>]) -> Option<String> {
        let paths = self.expand_all(words)?;
        for (path, word) in paths.iter().zip(words) {
            if path.is_empty() {
                let message = format!("the volume {:?} is empty", word.value);
                self.error(Code::BadValue, word.span, message);
            }
        }
        let text = format!("VOLUME {}", plain_list(&paths));
        self.state.config.config.volumes.extend(paths);
        Some(text)
    }

    fn healthcheck(&mut self, check: &HealthcheckInstruction) -> String {
        let check = match &check.test {
            // Options beside NONE say nothing.
            HealthcheckTest::None => Healthcheck {
                test: vec!["NONE".to_owned()],
                ..Healthcheck::default()
            },
            HealthcheckTest::Command(command) => Healthcheck {
                test: test(command),
                interval: check.interval,
                timeout: check.timeout,
                start_period: check.start_period,
                start_interval: check.start_interval,
                retries: check.retries,
            },
        };
        let text = format!("HEALTHCHECK {}", healthcheck(&check));
        self.state.config.config.healthcheck = Some(check);
        text
    }
}

/// The words of a check's command: the shell is that of whoever runs the container.
fn test(command: &Command) -> Vec<String> {
    match command {
        Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
        Command::Exec(words) => {
            let mut test = vec!["CMD".to_owned()];
            test.extend_from_slice(words);
            test
        }
    }
}

fn pairs_text(keyword: &str, pairs: &[(String, String)]) -> String {
    let mut words = vec![keyword.to_owned()];
    words.extend(pairs.iter().map(|(name, value)| format!("{name}={value}")));
    words.join(" ")
}
