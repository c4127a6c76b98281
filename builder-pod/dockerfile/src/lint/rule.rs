//! The rules: names, what each is about, and which are on unless asked for.
//!
//! Invariant: a name never changes: it stands in people's `# check=skip=…` and in their baselines.

/// A rule. The variants bear the rule's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the text of each is in `Rule::summary`")]
pub enum Rule {
    StageNameCasing,
    FromAsCasing,
    NoEmptyContinuation,
    ConsistentInstructionCasing,
    DuplicateStageName,
    ReservedStageName,
    JSONArgsRecommended,
    MaintainerDeprecated,
    UndefinedArgInFrom,
    WorkdirRelativePath,
    UndefinedVar,
    MultipleInstructionsDisallowed,
    LegacyKeyValueFormat,
    InvalidBaseImagePlatform,
    RedundantTargetPlatform,
    SecretsUsedInArgOrEnv,
    InvalidDefaultArgInFrom,
    FromPlatformFlagConstDisallowed,
    CopyIgnoredFile,
    InvalidDefinitionDescription,
    ExposeProtoCasing,
    ExposeInvalidFormat,
    UnusedStage,
    CopyFromWholeRoot,
    SecretValueInArgOrEnv,
    AptListsLeftInImage,
    UnpinnedBaseImage,
}

impl Rule {
    /// Every rule: BuildKit's, then ours.
    pub const ALL: [Self; 27] = [
        Self::StageNameCasing,
        Self::FromAsCasing,
        Self::NoEmptyContinuation,
        Self::ConsistentInstructionCasing,
        Self::DuplicateStageName,
        Self::ReservedStageName,
        Self::JSONArgsRecommended,
        Self::MaintainerDeprecated,
        Self::UndefinedArgInFrom,
        Self::WorkdirRelativePath,
        Self::UndefinedVar,
        Self::MultipleInstructionsDisallowed,
        Self::LegacyKeyValueFormat,
        Self::InvalidBaseImagePlatform,
        Self::RedundantTargetPlatform,
        Self::SecretsUsedInArgOrEnv,
        Self::InvalidDefaultArgInFrom,
        Self::FromPlatformFlagConstDisallowed,
        Self::CopyIgnoredFile,
        Self::InvalidDefinitionDescription,
        Self::ExposeProtoCasing,
        Self::ExposeInvalidFormat,
        Self::UnusedStage,
        Self::CopyFromWholeRoot,
        Self::SecretValueInArgOrEnv,
        Self::AptListsLeftInImage,
        Self::UnpinnedBaseImage,
    ];

    /// The name, as in `# check=skip=NAME`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StageNameCasing => "StageNameCasing",
            Self::FromAsCasing => "FromAsCasing",
            Self::NoEmptyContinuation => "NoEmptyContinuation",
            Self::ConsistentInstructionCasing => "ConsistentInstructionCasing",
            Self::DuplicateStageName => "DuplicateStageName",
            Self::ReservedStageName => "ReservedStageName",
            Self::JSONArgsRecommended => "JSONArgsRecommended",
            Self::MaintainerDeprecated => "MaintainerDeprecated",
            Self::UndefinedArgInFrom => "UndefinedArgInFrom",
            Self::WorkdirRelativePath => "WorkdirRelativePath",
            Self::UndefinedVar => "UndefinedVar",
            Self::MultipleInstructionsDisallowed => "MultipleInstructionsDisallowed",
            Self::LegacyKeyValueFormat => "LegacyKeyValueFormat",
            Self::InvalidBaseImagePlatform => "InvalidBaseImagePlatform",
            Self::RedundantTargetPlatform => "RedundantTargetPlatform",
            Self::SecretsUsedInArgOrEnv => "SecretsUsedInArgOrEnv",
            Self::InvalidDefaultArgInFrom => "InvalidDefaultArgInFrom",
            Self::FromPlatformFlagConstDisallowed => "FromPlatformFlagConstDisallowed",
            Self::CopyIgnoredFile => "CopyIgnoredFile",
            Self::InvalidDefinitionDescription => "InvalidDefinitionDescription",
            Self::ExposeProtoCasing => "ExposeProtoCasing",
            Self::ExposeInvalidFormat => "ExposeInvalidFormat",
            Self::UnusedStage => "UnusedStage",
            Self::CopyFromWholeRoot => "CopyFromWholeRoot",
            Self::SecretValueInArgOrEnv => "SecretValueInArgOrEnv",
            Self::AptListsLeftInImage => "AptListsLeftInImage",
            Self::UnpinnedBaseImage => "UnpinnedBaseImage",
        }
    }

    /// What it asks for, in a sentence without its full stop.
    #[must_use]
    pub const fn summary(self) -> &'static str {
        match self {
            Self::StageNameCasing => "a stage's name is written in small letters",
            Self::FromAsCasing => "`AS` is written in the case of its `FROM`",
            Self::NoEmptyContinuation => "a continued instruction has no empty line",
            Self::ConsistentInstructionCasing => {
                "all instructions of a file are written in one case"
            }
            Self::DuplicateStageName => "every stage has a name of its own",
            Self::ReservedStageName => "no stage is called `scratch` or `context`",
            Self::JSONArgsRecommended => "`CMD` and `ENTRYPOINT` are JSON arrays",
            Self::MaintainerDeprecated => "a label says who maintains the image, not `MAINTAINER`",
            Self::UndefinedArgInFrom => "`FROM` uses variables that an `ARG` above it declares",
            Self::WorkdirRelativePath => "the first `WORKDIR` of a stage is an absolute path",
            Self::UndefinedVar => "a variable is set before it is used",
            Self::MultipleInstructionsDisallowed => {
                "a stage has one `CMD`, one `ENTRYPOINT` and one `HEALTHCHECK`"
            }
            Self::LegacyKeyValueFormat => "`ENV` and `LABEL` have the form `name=value`",
            Self::InvalidBaseImagePlatform => "a base image is of the platform that is asked of it",
            Self::RedundantTargetPlatform => "`FROM` does not ask for the platform it gets anyway",
            Self::SecretsUsedInArgOrEnv => "no `ARG` and no `ENV` is named like a secret",
            Self::InvalidDefaultArgInFrom => {
                "`FROM` names an image even when no build argument is given"
            }
            Self::FromPlatformFlagConstDisallowed => "`FROM --platform` is a variable",
            Self::CopyIgnoredFile => "nothing is copied that the ignore file hides",
            Self::InvalidDefinitionDescription => {
                "a comment above `ARG` or a named `FROM` begins with the name"
            }
            Self::ExposeProtoCasing => "a protocol in `EXPOSE` is written in small letters",
            Self::ExposeInvalidFormat => "`EXPOSE` names neither an address nor a port of the host",
            Self::UnusedStage => "every stage is needed by another or is the last one",
            Self::CopyFromWholeRoot => "`COPY --from` names what it needs, not the whole root",
            Self::SecretValueInArgOrEnv => "no `ARG` and no `ENV` has a secret for its value",
            Self::AptListsLeftInImage => "package lists of apt do not stay in the image",
            Self::UnpinnedBaseImage => "a base image is pinned by its digest",
        }
    }

    /// The rule of a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Whether it is ours and not one of BuildKit's.
    #[must_use]
    pub const fn is_own(self) -> bool {
        matches!(
            self,
            Self::UnusedStage
                | Self::CopyFromWholeRoot
                | Self::SecretValueInArgOrEnv
                | Self::AptListsLeftInImage
                | Self::UnpinnedBaseImage
        )
    }

    /// Whether it is on only where `experimental=` names it; `skip=` does not touch it, as in BuildKit.
    #[must_use]
    pub const fn is_experimental(self) -> bool {
        matches!(self, Self::InvalidDefinitionDescription)
    }

    /// Whether it is on only in a strict check.
    #[must_use]
    pub const fn is_strict(self) -> bool {
        matches!(self, Self::UnpinnedBaseImage)
    }

    /// The page that explains it, in the repository's documentation.
    #[must_use]
    pub fn page(self) -> String {
        format!("docs/using/lint/{}.md", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_by_its_name_and_22_are_not_ours() {
        for rule in Rule::ALL {
            assert_eq!(Rule::by_name(rule.name()), Some(rule));
            assert_eq!(format!("{rule:?}"), rule.name());
        }
        assert_eq!(Rule::ALL.iter().filter(|rule| !rule.is_own()).count(), 22);
        assert_eq!(Rule::by_name("stagenamecasing"), None, "case counts");
    }
}
