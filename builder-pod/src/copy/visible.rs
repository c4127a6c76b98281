//! What of a source directory is copied: the ignore file, `--exclude` and the pattern of `--parents` together.
//!
//! Invariant: a directory that is left out may still hold something that is not.

use stagecraft_dockerfile::ignore::IgnoreFile;

use super::{CopyError, CopyRequest, FoundSource, text};

/// Which paths below one source are copied.
pub(super) struct Visible<'a> {
    /// Of the whole source tree.
    ignore: Option<&'a IgnoreFile>,
    /// Relative to the source.
    exclude: Option<&'a IgnoreFile>,
    /// Relative to the source: nothing else is copied.
    include: Option<IgnoreFile>,
    /// Length of the source's path, with its slash.
    prefix: usize,
}

impl<'a> Visible<'a> {
    pub(super) fn new(request: &CopyRequest<'a>, found: &FoundSource) -> Result<Self, CopyError> {
        let include = found.pattern.as_deref().map(|pattern| {
            IgnoreFile::from_patterns([pattern]).map_err(|_| CopyError::Pattern(pattern.to_owned()))
        });
        Ok(Self {
            ignore: request.ignore,
            exclude: request.exclude,
            include: include.transpose()?,
            prefix: found.path.len() + usize::from(!found.path.is_empty()),
        })
    }

    /// Everything below a root, but for what is left out.
    pub(super) fn but(exclude: Option<&'a IgnoreFile>) -> Self {
        Self {
            ignore: None,
            exclude,
            include: None,
            prefix: 0,
        }
    }

    /// Whether `path`, below the source, is copied.
    pub(super) fn shows(&self, path: &[u8]) -> bool {
        let relative = text(path.get(self.prefix..).unwrap_or_default());
        let included = |include: &IgnoreFile| include.is_ignored(&relative);
        self.include.as_ref().is_none_or(included)
            && !self
                .exclude
                .is_some_and(|exclude| exclude.is_ignored(&relative))
            && !self
                .ignore
                .is_some_and(|ignore| ignore.is_ignored(&text(path)))
    }

    /// Whether something below a directory that is not shown may be.
    pub(super) fn may_show_below(&self) -> bool {
        let has_exceptions = |patterns: &IgnoreFile| patterns.has_exceptions();
        self.include.is_some()
            || self.ignore.is_some_and(has_exceptions)
            || self.exclude.is_some_and(has_exceptions)
    }
}
