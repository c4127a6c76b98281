//! Wrong input: class, place and way out.

use crate::harness::Workspace;

#[test]
fn an_unknown_instruction_has_its_place_and_a_suggestion() {
    let (failure, ended) = Workspace::with_dockerfile("FROM scratch\n\nCOPPY a /a\n").failure(&[]);
    assert_eq!(ended.code, 10);
    assert_eq!(failure["reason"], "Dockerfile");
    assert_eq!(
        (failure["line"].as_u64(), failure["column"].as_u64()),
        (Some(3), Some(1))
    );
    assert_eq!(failure["file"], "Dockerfile");
    assert!(
        failure["message"].as_str().unwrap().contains("COPY"),
        "{failure}"
    );
}

#[test]
fn a_missing_source_is_named_with_what_looks_like_it() {
    let (failure, _) = Workspace::with_dockerfile("FROM scratch\nCOPY main.rs /\n")
        .file("mian.rs", "")
        .failure(&[]);
    assert_eq!(failure["reason"], "Dockerfile");
    assert_eq!(failure["line"], 2);
    assert!(
        failure["message"].as_str().unwrap().contains("mian.rs"),
        "{failure}"
    );
}

#[test]
fn what_is_not_supported_is_refused_with_its_line() {
    let (failure, _) =
        Workspace::with_dockerfile("FROM scratch\nADD git@files.example:x.git /\n").failure(&[]);
    assert_eq!(
        (failure["reason"].as_str(), failure["line"].as_u64()),
        (Some("Dockerfile"), Some(2))
    );
    assert!(
        failure["message"]
            .as_str()
            .unwrap()
            .contains("not supported yet"),
        "{failure}"
    );
}

#[test]
fn a_failing_run_gives_its_exit_code_and_last_lines() {
    let (failure, ended) = Workspace::with_dockerfile(
        "FROM scratch\nCOPY busybox /bin/sh\nRUN echo '#9 DONE 1.0s'; echo last words; exit 3\n",
    )
    .busybox()
    .failure(&[]);
    assert_eq!(ended.code, 15);
    assert_eq!(
        (failure["reason"].as_str(), failure["exitCode"].as_i64()),
        (Some("StepFailed"), Some(3))
    );
    let tail = failure["logTail"].as_array().unwrap();
    assert_eq!(tail.last().unwrap(), "last words");
    let forged = ended
        .stderr
        .lines()
        .filter(|line| line.starts_with("#9 DONE"))
        .count();
    assert_eq!(forged, 0, "{}", ended.stderr);
}

#[test]
fn a_program_that_is_not_there_says_so() {
    let (failure, _) =
        Workspace::with_dockerfile("FROM scratch\nCOPY Dockerfile /f\nRUN [\"/nope\"]\n")
            .failure(&[]);
    assert_eq!(failure["reason"], "StepFailed");
    assert!(
        failure["message"].as_str().unwrap().contains("/nope"),
        "{failure}"
    );
}
