//! Each code with its cause, an example and the way out.

use stagecraft_dockerfile::Code;

use super::Example;

pub(super) struct Entry {
    pub(super) code: Code,
    pub(super) cause: &'static str,
    pub(super) example: Example,
    pub(super) way_out: &'static str,
}

fn entry(code: Code, cause: &'static str, text: &str, way_out: &'static str) -> Entry {
    Entry {
        code,
        cause,
        example: Example::of(text),
        way_out,
    }
}

pub(super) fn entries() -> Vec<Entry> {
    let mut entries = of_the_text();
    entries.extend(of_instructions());
    entries.extend(of_stages());
    entries
}

fn of_the_text() -> Vec<Entry> {
    vec![
        entry(
            Code::EmptyFile,
            "The file is empty, or has comments only.",
            "# To be written\n",
            "Write at least a `FROM`. If the file is not empty, check that the right one is named.",
        ),
        entry(
            Code::LineTooLong,
            "BuildKit reads no line of more than 65,535 bytes, so neither does Stagecraft.",
            &format!("FROM scratch\n#{}\n", "x".repeat(65_535)),
            "Break the line with `\\`, or copy the content from a file.",
        ),
        entry(
            Code::UnknownInstruction,
            "The line begins with a word that is no instruction: it is misspelled, or the line before should have ended with `\\`.",
            "FROM debian:12\nCOPPY app /app\n",
            "Correct the word, or end the line before with `\\`.",
        ),
        entry(
            Code::Directive,
            "A `# syntax=`, `# escape=` or `# check=` line at the top of the file is there twice or has a wrong value.",
            "# escape=x\nFROM debian:12\n",
            "Correct or remove it. A comment that only looks like one can stand below another comment.",
        ),
    ]
}

fn of_instructions() -> Vec<Entry> {
    vec![
        entry(
            Code::MissingArgument,
            "An instruction has fewer or more words than it can do something with.",
            "FROM debian:12\nCOPY app\n",
            "Add what is missing; a value with blanks stands in quotes.",
        ),
        entry(
            Code::BadFlag,
            "A flag is misspelled, belongs to another instruction, is there twice, or has a value that it cannot have.",
            "FROM debian:12\nCOPY --chwon=1000 app /app\n",
            "Correct the flag. What begins with `--` and is no flag stands behind a word `--`.",
        ),
        entry(
            Code::BadJson,
            "An argument is a JSON array, but not all of it are strings.",
            "FROM debian:12\nCMD [\"sleep\", 60]\n",
            "Put every element in double quotes.",
        ),
        entry(
            Code::BadName,
            "The name of a variable, label or volume is empty.",
            "FROM debian:12\nENV =value\n",
            "Write the name.",
        ),
        entry(
            Code::NoFrom,
            "Every instruction but `ARG` belongs to a stage, and a stage begins with `FROM`.",
            "RUN make\nFROM debian:12\n",
            "Move it below a `FROM`.",
        ),
        entry(
            Code::FromForm,
            "`FROM` has one word, the image, or three: the image, `AS` and a name.",
            "FROM debian:12 build\n",
            "Write `AS` before the name.",
        ),
        entry(
            Code::StageName,
            "The name could not be told from an index or an image.",
            "FROM debian:12 AS 1st\n",
            "Begin with a letter, and use letters, digits, `-`, `_` and `.`.",
        ),
        entry(
            Code::Heredoc,
            "No line has the word of the here-document alone; blanks before it count, unless `<<-` says that tabs do not.",
            "FROM debian:12\nRUN <<EOF\nmake\n  EOF\n",
            "End it with its word alone on a line. A `<<` that is none stands in quotes.",
        ),
        entry(
            Code::BadWord,
            "A quote or `${` is not closed, or what is in the braces is no substitution.",
            "FROM debian:12\nENV GREETING=\"hello\\\"\n",
            "Close it, or escape the character with `\\`.",
        ),
        entry(
            Code::BadValue,
            "A value is not of the kind that its instruction takes: a port, a signal, a mode.",
            "FROM debian:12\nEXPOSE 80800\n",
            "The message says what is possible.",
        ),
        entry(
            Code::NotSupported,
            "The Dockerfile is right, but Stagecraft does not carry this out. It is refused before anything is built; leaving it out would build something else.",
            "FROM debian:12\nRUN --security=insecure mount -t proc proc /mnt\n",
            "Do without it. Stages that are not built may have it.",
        ),
    ]
}

fn of_stages() -> Vec<Entry> {
    vec![
        entry(
            Code::UnknownStage,
            "`--from` is a number, and the file has not so many stages.",
            "FROM debian:12\nCOPY --from=3 /app /app\n",
            "Give the stage a name, and use that.",
        ),
        entry(
            Code::ForwardStage,
            "Stages are built in the order of the file, so a stage can take files from those above it only.",
            "FROM debian:12 AS web\nCOPY --from=tools /usr/bin/x /usr/bin/x\nFROM alpine:3 AS tools\nFROM web\n",
            "Move one of the two.",
        ),
        entry(
            Code::CircularStage,
            "Stages need each other, or one needs itself.",
            "FROM debian:12 AS a\nCOPY --from=a /x /y\n",
            "Split the stage that both need into one above them.",
        ),
        Entry {
            code: Code::UnknownTarget,
            cause: "The stage of `--target` or `target:` is not in the file; here `prodction` is asked for.",
            example: Example {
                target: Some("prodction"),
                ..Example::of("FROM debian:12 AS build\nFROM build AS production\n")
            },
            way_out: "The message lists the stages there are.",
        },
        entry(
            Code::EmptyContinuation,
            "A warning: the rule [NoEmptyContinuation](../using/lint/NoEmptyContinuation.md).",
            "FROM debian:12\nRUN make \\\n\n    install\n",
            "Remove the empty line.",
        ),
        entry(
            Code::UndefinedVariable,
            "`${NAME:?message}` of a variable that is not set. Without `:?` it is a warning, the rule [UndefinedVar](../using/lint/UndefinedVar.md).",
            "FROM debian:12\nARG VERSION\nLABEL version=\"${VERSION:?no version is given}\"\n",
            "Give the build argument, or declare it in this stage.",
        ),
        Entry {
            code: Code::UnusedArgument,
            cause: "A warning: a build argument is given, here `VERSON`, that no `ARG` of the file declares.",
            example: Example {
                build_arg: Some(("VERSON", "1.3")),
                ..Example::of("FROM debian:12\nARG VERSION=1.2\n")
            },
            way_out: "Correct its name, or declare it.",
        },
        entry(
            Code::BadReference,
            "The name is empty or has characters that no image's name has. Often a variable in it has no value.",
            "ARG TAG\nFROM debian:$TAG\n",
            "Correct the name, or give the `ARG` a default.",
        ),
        entry(
            Code::Trigger,
            "`ONBUILD` takes any instruction but `FROM`, `MAINTAINER` and `ONBUILD`.",
            "FROM debian:12\nONBUILD FROM alpine:3\n",
            "Put it into the Dockerfile that begins with this image.",
        ),
    ]
}
