//! Mistakes that are made often.

use super::Example;

pub(super) struct Mistake {
    pub(super) title: &'static str,
    pub(super) cause: &'static str,
    pub(super) example: Example,
    /// The code or rule that must be told.
    pub(super) told: &'static str,
}

pub(super) fn all() -> Vec<Mistake> {
    vec![
        Mistake {
            title: "A misspelled instruction",
            cause: "Everything that is wrong with the file comes at once, each with its place.",
            example: Example::of("FROM debian:12\nCOPPY app /app\nWROKDIR /app\n"),
            told: "SC1003",
        },
        Mistake {
            title: "A forgotten backslash",
            cause: "The second line is read as an instruction of its own.",
            example: Example::of(
                "FROM debian:12\nRUN apt-get update &&\n    apt-get install -y curl\n",
            ),
            told: "SC1003",
        },
        Mistake {
            title: "A misspelled flag",
            cause: "A flag that does not exist is never ignored.",
            example: Example::of(
                "FROM golang:1.26 AS build\nRUN go build -o /app .\nFROM scratch\nCOPY --form=build /app /app\n",
            ),
            told: "SC1006",
        },
        Mistake {
            title: "A stage that is defined below",
            cause: "A stage can copy from stages above it only.",
            example: Example::of(
                "FROM debian:12\nCOPY --from=build /app /app\nFROM golang:1.26 AS build\nRUN go build -o /app .\nFROM debian:12\nCOPY --from=0 /app /app\n",
            ),
            told: "SC1017",
        },
        Mistake {
            title: "A target that does not exist",
            cause: "Asked for with `--target prodction` or `target: prodction`.",
            example: Example {
                target: Some("prodction"),
                ..Example::of(
                    "FROM debian:12 AS build\nFROM build AS test\nFROM build AS production\n",
                )
            },
            told: "SC1019",
        },
        Mistake {
            title: "An argument from before the first FROM",
            cause: "It is seen by `FROM` only, until the stage declares it again.",
            example: Example::of("ARG VERSION=1.2\nFROM debian:12\nLABEL version=$VERSION\n"),
            told: "UndefinedVar",
        },
        Mistake {
            title: "A build argument that nothing declares",
            cause: "Given with `--build-arg VERSON=1.3`.",
            example: Example {
                build_arg: Some(("VERSON", "1.3")),
                ..Example::of("FROM debian:12\nARG VERSION=1.2\nLABEL version=$VERSION\n")
            },
            told: "SC1022",
        },
        Mistake {
            title: "Single quotes in a JSON array",
            cause: "It is no JSON then, so all of it, brackets and quotes too, is text for a shell.",
            example: Example::of("FROM debian:12\nENTRYPOINT ['/app', '--serve']\n"),
            told: "JSONArgsRecommended",
        },
        Mistake {
            title: "Copying what the ignore file hides",
            cause: "The context has a `.dockerignore` with the line `dist`.",
            example: Example {
                ignore: Some("dist\n"),
                ..Example::of("FROM debian:12\nCOPY dist/app /app\n")
            },
            told: "CopyIgnoredFile",
        },
        Mistake {
            title: "A password in the image",
            cause: "Whoever can pull the image can read it, and the old form takes the rest of the line for the value.",
            example: Example::of("FROM debian:12\nENV DB_PASSWORD hunter2 DB_USER=app\n"),
            told: "SecretsUsedInArgOrEnv",
        },
    ]
}
