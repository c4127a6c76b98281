//! `COPY` and `ADD`: what is copied or fetched, and where it goes.
//!
//! Invariant: what BuildKit refuses while it reads a file is refused here, with the place of the word.

use stagecraft_dockerfile::git_reference::{GitReference, url_file_name};
use stagecraft_dockerfile::{
    Code, CopyInstruction, Diagnostic, Heredoc, Spanned, expand_document, support,
    without_passwords,
};

use crate::mode::ModeChange;
use crate::operation::{Copy, CopySource, InlineFile, Operation, Remote, RemoteSource};
use crate::path;
use crate::plan::{EdgeReason, HistoryTemplate};
use crate::stage::{Outcome, StageReader};
use crate::values::is_checksum;

/// Sources in their order: those that are copied, and those that are fetched with their position among them.
struct Sources {
    paths: Vec<String>,
    remotes: Vec<Remote>,
}

impl<'a> StageReader<'_, 'a> {
    /// What a `COPY` or `ADD` does; nothing where it is wrong, which was reported then.
    pub(crate) fn copy(&mut self, copy: &'a CopyInstruction, is_add: bool) -> Option<Outcome> {
        let options = &copy.options;
        let from = self.copied_from(copy);
        let written = self.expand_all(&copy.sources);
        let destination = self.expand(&copy.destination);
        let chown = self.option(options.chown.as_ref());
        let chmod = self.option(options.chmod.as_ref());
        let checksum = self.option(options.checksum.as_ref());
        let documents: Vec<Option<InlineFile>> = copy
            .documents
            .iter()
            .map(|document| self.document(document))
            .collect();
        let (from, written, destination) = (from?, written?, destination?);
        let (chown, chmod, checksum) = (chown?, chmod?, checksum?);
        let documents: Vec<InlineFile> = documents.into_iter().collect::<Option<_>>()?;
        let is_right = self.check_mode(copy, chmod.as_deref())
            & self.check_owner(copy, chown.as_deref())
            & self.check_checksum(copy, checksum.as_deref(), &written);
        let sources = self.sources(copy, &written, checksum.as_deref(), is_add)?;
        if !is_right {
            return None;
        }
        let mut words = vec![if is_add { "ADD" } else { "COPY" }.to_owned()];
        words.extend(options.parents.then(|| "--parents".to_owned()));
        words.extend(chown.as_ref().map(|owner| format!("--chown={owner}")));
        words.extend(chmod.as_ref().map(|mode| format!("--chmod={mode}")));
        words.extend(written);
        words.extend(
            documents
                .iter()
                .map(|document| format!("<<{}", document.name)),
        );
        words.push(destination.clone());
        let operation = Operation::Copy(Copy {
            from,
            sources: sources.paths,
            destination: path::destination(&self.state.working_directory(), &destination),
            link: options.link && chmod.is_none(),
            chown,
            chmod,
            is_add,
            unpack: options.unpack,
            documents,
            remotes: sources.remotes,
            exclude: options
                .exclude
                .iter()
                .map(|one| one.value.clone())
                .collect(),
            parents: options.parents,
        });
        let created_by = format!("{} # buildkit", without_passwords(&words.join(" ")));
        Some((operation, Some(HistoryTemplate::new(created_by, false))))
    }

    /// An optional flag, expanded; an empty one is none. The outer nothing is an error.
    fn option(&mut self, flag: Option<&Spanned<String>>) -> Option<Option<String>> {
        match flag {
            None => Some(None),
            Some(word) => Some(Some(self.expand(word)?).filter(|value| !value.is_empty())),
        }
    }

    /// What `--from` names. A variable in it counts, unlike in BuildKit.
    fn copied_from(&mut self, copy: &CopyInstruction) -> Option<CopySource> {
        let Some(from) = &copy.options.from else {
            return Some(CopySource::Context);
        };
        let value = self.expand(from)?;
        let reason = EdgeReason::Copy { step: self.number };
        self.source(&value, &from.value, from.span, reason)
    }

    fn document(&mut self, document: &Heredoc) -> Option<InlineFile> {
        let content = if document.expand {
            let lookup = |name: &str| self.state.environment.get(name).map(str::to_owned);
            let expanded = expand_document(&document.content, &lookup);
            let expansion = self.expanded(expanded, document.span)?;
            self.warn_of_unset(&expansion.unset, document.span);
            expansion.text
        } else {
            document.content.clone()
        };
        Some(InlineFile {
            name: document.name.clone(),
            content,
        })
    }

    fn check_mode(&mut self, copy: &CopyInstruction, mode: Option<&str>) -> bool {
        let (Some(flag), Some(mode)) = (&copy.options.chmod, mode) else {
            return true;
        };
        match ModeChange::parse(mode) {
            Ok(_) => true,
            Err(error) => {
                self.error(Code::BadValue, flag.span, error.to_string());
                false
            }
        }
    }

    /// Names are looked up in the layers below, which `--link` does without.
    fn check_owner(&mut self, copy: &CopyInstruction, owner: Option<&str>) -> bool {
        let (Some(flag), Some(owner)) = (&copy.options.chown, owner) else {
            return true;
        };
        let is_number = |part: &str| part.is_empty() || part.parse::<i64>().is_ok();
        if !copy.options.link || owner.split(':').all(is_number) {
            return true;
        }
        let message = format!("--chown={owner} has a name, which --link cannot look up");
        self.report(
            Diagnostic::error(Code::BadValue, flag.span, message)
                .help("write numbers, --chown=1000:1000 for example, or leave --link out"),
        );
        false
    }

    fn check_checksum(
        &mut self,
        copy: &CopyInstruction,
        checksum: Option<&str>,
        sources: &[String],
    ) -> bool {
        let (Some(flag), Some(checksum)) = (&copy.options.checksum, checksum) else {
            return true;
        };
        let problem = match sources {
            [source] if is_git(source) => return true,
            [source] if is_url(source) && is_checksum(checksum) => return true,
            [source] if is_url(source) => {
                format!("{checksum:?} is no checksum; it is sha256: and 64 hexadecimal digits")
            }
            [_] => "--checksum is for a URL or a git repository, not for files of the context"
                .to_owned(),
            _ => "--checksum is for one source, and there are several".to_owned(),
        };
        self.error(Code::BadValue, flag.span, problem);
        false
    }

    /// Tells paths from what is fetched.
    fn sources(
        &mut self,
        copy: &CopyInstruction,
        written: &[String],
        checksum: Option<&str>,
        is_add: bool,
    ) -> Option<Sources> {
        let mut sources = Sources {
            paths: Vec::new(),
            remotes: Vec::new(),
        };
        let mut is_right = true;
        for (text, word) in written.iter().zip(&copy.sources) {
            let source = match self.remote(copy, text, checksum) {
                Ok(source) => source,
                Err(problem) => {
                    self.error(Code::BadValue, word.span, problem);
                    is_right = false;
                    continue;
                }
            };
            let Some(source) = source else {
                sources.paths.push(text.clone());
                continue;
            };
            if !is_add {
                let what = match source {
                    RemoteSource::Git { .. } => {
                        "COPY reads files only, it fetches no git repository"
                    }
                    RemoteSource::Url { .. } => "COPY reads files only, it fetches no URL",
                };
                self.report(Diagnostic::error(Code::BadValue, word.span, what).help("ADD fetches"));
                is_right = false;
                continue;
            }
            // One that no variable hides was refused with the others.
            if let Some(what) = support::transport(text)
                && support::transport(&word.value).is_none()
            {
                let message = format!("{what} is not supported yet");
                self.error(Code::NotSupported, word.span, message);
            }
            sources.remotes.push(Remote {
                position: sources.paths.len(),
                source,
            });
        }
        is_right.then_some(sources)
    }

    /// What a source is fetched from; nothing where it is a path.
    fn remote(
        &self,
        copy: &CopyInstruction,
        text: &str,
        checksum: Option<&str>,
    ) -> Result<Option<RemoteSource>, String> {
        let git = GitReference::parse(text)
            .map_err(|error| format!("the git reference {text:?} is wrong: {error}"))?;
        if let Some(git) = git.filter(|git| !git.is_like_a_path) {
            let keep = copy.options.keep_git_directory;
            if let (Some(flag), Some(query)) = (keep, git.keep_git_directory)
                && flag != query
            {
                return Err(format!(
                    "--keep-git-dir={flag} and keep-git-dir={query} of {text:?} contradict each other"
                ));
            }
            if let Some(flag) = checksum
                && !git.checksum.is_empty()
                && flag != git.checksum
            {
                let query = git.checksum;
                return Err(format!(
                    "--checksum={flag} and checksum={query} of {text:?} contradict each other"
                ));
            }
            return Ok(Some(RemoteSource::of_git(git, keep, checksum)));
        }
        Ok(is_url(text).then(|| RemoteSource::Url {
            url: text.to_owned(),
            name: url_name(text),
            checksum: checksum.map(str::to_owned),
        }))
    }
}

fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

fn is_git(source: &str) -> bool {
    matches!(GitReference::parse(source), Ok(Some(_)))
}

/// The last part of a URL's path; a name of its own where there is none, or none that a file can have.
fn url_name(url: &str) -> String {
    let name = url_file_name(url).unwrap_or_else(|| "__unnamed__".to_owned());
    let is_usable = name != ".." && !name.chars().any(char::is_control);
    if is_usable {
        name
    } else {
        "download".to_owned()
    }
}
