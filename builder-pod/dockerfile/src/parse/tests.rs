//! Whole files: what they mean, and all that is wrong with them.

use super::*;
use crate::ast::Command;

fn ok(text: &str) -> Dockerfile {
    let (dockerfile, diagnostics) = parse(text);
    assert!(
        diagnostics.iter().all(|d| !d.is_error()),
        "{diagnostics:#?}"
    );
    dockerfile
}

fn errors(text: &str) -> Vec<(Code, u32, u32)> {
    let (_, diagnostics) = parse(text);
    diagnostics
        .iter()
        .filter(|d| d.is_error())
        .map(|d| (d.code, d.span.line, d.span.column))
        .collect()
}

fn kinds(text: &str) -> Vec<Kind> {
    let mut dockerfile = ok(&format!("FROM scratch\n{text}"));
    dockerfile
        .stages
        .remove(0)
        .instructions
        .into_iter()
        .map(|i| i.kind)
        .collect()
}

#[test]
fn stages_have_their_names_and_instructions() {
    let file = ok(
        "ARG V=1\nfrom golang:$V as Build\nRUN make\nFROM --platform=linux/amd64 scratch\nCOPY --from=Build /a /b /c/\n",
    );
    assert_eq!(file.arguments.len(), 1);
    assert_eq!(file.stages.len(), 2);
    assert_eq!(file.stages[0].from.image.value, "golang:$V");
    assert_eq!(file.stages[0].from.name.as_ref().unwrap().value, "Build");
    assert_eq!(
        file.stages[1].from.platform.as_ref().unwrap().value,
        "linux/amd64"
    );
    let Kind::Copy(copy) = &file.stages[1].instructions[0].kind else {
        panic!()
    };
    assert_eq!(copy.flag("from").unwrap().value.as_deref(), Some("Build"));
    assert_eq!(copy.sources.len(), 2);
    assert_eq!(copy.destination.value, "/c/");
}

#[test]
fn commands_have_an_exec_and_a_shell_form() {
    let shell = |text: &str| Command::Shell(text.to_owned());
    let commands: Vec<Command> =
        kinds("RUN a  \\\n  && b\nRUN [\"a\", \"b c\"]\nRUN [a]\nRUN []\nRUN")
            .into_iter()
            .map(|kind| match kind {
                Kind::Run(run) => run.command,
                other => panic!("{other:?}"),
            })
            .collect();
    assert_eq!(
        commands,
        [
            shell("a    && b"),
            Command::Exec(vec!["a".into(), "b c".into()]),
            shell("[a]"),
            Command::Exec(vec![]),
            shell(""),
        ]
    );
}

#[test]
fn env_and_label_have_two_forms() {
    let pairs = |text: &str| match kinds(text).remove(0) {
        Kind::Env(pairs) | Kind::Label(pairs) => pairs
            .into_iter()
            .map(|(name, value)| (name.value, value.value))
            .collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        pairs("ENV a=b c=\"d e\""),
        [pair("a", "b"), pair("c", "\"d e\"")]
    );
    assert_eq!(pairs("ENV a b c"), [pair("a", "b c")]);
    assert_eq!(pairs("LABEL x.y=z=1"), [pair("x.y", "z=1")]);
}

#[test]
fn a_health_check_has_times() {
    let Kind::Healthcheck(check) =
        kinds("HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f x").remove(0)
    else {
        panic!()
    };
    assert_eq!((check.interval, check.retries), (90_000_000_000, 3));
    assert_eq!(
        check.test,
        crate::HealthcheckTest::Command(Command::Shell("curl -f x".into()))
    );
    assert!(
        matches!(&kinds("HEALTHCHECK NONE")[0], Kind::Healthcheck(c) if c.test == crate::HealthcheckTest::None)
    );
}

#[test]
fn every_error_of_a_file_comes_at_once_and_in_order() {
    assert_eq!(
        errors(
            "RUN early\nFROM a b\nFROM x AS 9\nCOPPY a b\nENV a\nENV a=1 b\nCOPY a\nRUN [1]\n\
             COPY --form=x a b\nHEALTHCHECK maybe\nHEALTHCHECK --interval=x CMD y\nSHELL sh\nWORKDIR\n"
        ),
        [
            (Code::NoFrom, 1, 1),
            (Code::FromForm, 2, 1),
            (Code::StageName, 3, 11),
            (Code::UnknownInstruction, 4, 1),
            (Code::MissingArgument, 5, 1),
            (Code::MissingArgument, 6, 9),
            (Code::MissingArgument, 7, 1),
            (Code::BadJson, 8, 5),
            (Code::BadFlag, 9, 6),
            (Code::MissingArgument, 10, 13),
            (Code::BadValue, 11, 13),
            (Code::BadJson, 12, 7),
            (Code::MissingArgument, 13, 1),
        ]
    );
    assert_eq!(errors(""), [(Code::EmptyFile, 1, 1)]);
    assert_eq!(errors("ARG x\n"), [(Code::NoFrom, 1, 1)]);
}

#[test]
fn a_diagnostic_knows_its_stage_and_instruction() {
    let (_, diagnostics) = parse("FROM a AS base\nFROM b\nCOPPY \\\n x y\n");
    assert_eq!(diagnostics[0].stage.as_deref(), Some("1"));
    assert_eq!(diagnostics[0].instruction.as_deref(), Some("COPPY x y"));
    assert_eq!(
        diagnostics[0].compact("Dockerfile"),
        "Dockerfile:3:1: error[SC1003]: the instruction COPPY does not exist; did you mean COPY?"
    );
}

#[test]
fn what_is_not_supported_is_found_and_the_rest_is_not() {
    let file = ok(
        "FROM a\nRUN --mount=target=/x --network=host y\nCOPY --link --from=b c d\nADD git@x.example:a /\n\
         RUN <<E\n#!x\nE\nCOPY <<E /\nE\nRUN <<E\nx\nE\nONBUILD RUN --mount=target=/x y\n\
         COPY --chown=1 --chmod=7 --link=false a b\nADD a b\nRUN --network=default --security=sandbox x\n",
    );
    let refused: Vec<u32> = file.stages[0]
        .instructions
        .iter()
        .flat_map(crate::support::check)
        .map(|diagnostic| diagnostic.span.line)
        .collect();
    assert_eq!(refused, [2, 4]);
}

/// Pieces that mean something to the lexer, put together without sense.
const PIECES: [&str; 40] = [
    "FROM ",
    "RUN ",
    "COPY ",
    "ENV ",
    "ARG ",
    "ONBUILD ",
    "HEALTHCHECK ",
    "CMD ",
    "VOLUME ",
    "AS ",
    "--from=x ",
    "--",
    "=",
    "\\",
    "`",
    "\n",
    "\r\n",
    "\\\n",
    "# ",
    "# escape=`\n",
    "\"",
    "'",
    "$",
    "${",
    "}",
    ":-",
    "#",
    "%",
    "/",
    "<<E ",
    "<<-\"E\" ",
    "E\n",
    "[",
    "]",
    "[\"a\"]",
    " ",
    "\t",
    "é",
    "\u{feff}",
    "1s",
];

/// Deterministic and good enough to mix pieces (Marsaglia's xorshift).
fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn whatever_is_written_gives_places_within_the_file_and_never_a_panic() {
    let mut state = 0x2545_f491_4f6c_dd1d;
    for round in 0..20_000 {
        let length = next(&mut state) % 24;
        let pieces = (0..length).map(|_| PIECES[next(&mut state) as usize % PIECES.len()]);
        let text: String = pieces.collect();
        let (file, diagnostics) = parse(&text);
        let mut spans: Vec<crate::Span> = diagnostics.iter().map(|d| d.span).collect();
        assert!(spans.is_sorted_by_key(|span| span.start), "{text:?}");
        for instruction in file.stages.iter().flat_map(|stage| &stage.instructions) {
            spans.push(instruction.span);
            spans.extend(crate::support::check(instruction).iter().map(|d| d.span));
            if let Kind::Copy(copy) = &instruction.kind {
                spans.extend(copy.sources.iter().map(|word| word.span));
                let _ = crate::expand(&copy.destination.value, file.escape, &|_| None);
            }
        }
        for span in spans {
            assert!(
                text.get(span.start..span.end).is_some(),
                "{span:?} of {text:?}"
            );
        }
        for diagnostic in diagnostics.iter().filter(|_| round % 16 == 0) {
            assert!(!crate::render(diagnostic, &text, "Dockerfile").is_empty());
        }
        if file.stages.is_empty() {
            assert!(diagnostics.iter().any(Diagnostic::is_error), "{text:?}");
        }
    }
}

#[test]
fn a_file_that_is_no_dockerfile_is_not_explained_line_by_line() {
    let (_, diagnostics) = parse(&"x\n".repeat(5_000));
    assert_eq!(diagnostics.len(), ERRORS_TOLD + 1);
    let last = &diagnostics[ERRORS_TOLD];
    assert_eq!(last.span.line, 1_001);
    assert!(last.message.contains("not read"), "{}", last.message);
}
