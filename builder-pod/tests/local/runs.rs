//! RUN steps in local mode.

use crate::harness::Workspace;

const BASE: &str = "FROM scratch AS base\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\n";

fn workspace(rest: &str) -> Workspace {
    Workspace::with_dockerfile(&format!("{BASE}{rest}")).busybox()
}

#[test]
fn a_run_is_root_and_what_it_makes_has_the_owners_it_gave() {
    let image = workspace(
        "RUN [\"/bin/busybox\", \"sh\", \"-ec\", \"b=/bin/busybox; $b id -u; $b mkdir /d; echo hi > /d/f; \
         $b chown 33:44 /d/f; $b chmod 4755 /d/f; $b ln -s f /d/l; $b chown -h 7:8 /d/l; \
         $b mknod /d/null c 1 3; $b stat -c %u:%g:%a /d/f\"]\n",
    )
    .build(&[]);
    let file = image.entry("d/f");
    assert_eq!((file.owner, file.mode & 0o7777), ((33, 44), 0o4755));
    assert_eq!(file.content, "hi\n");
    let link = image.entry("d/l");
    assert_eq!((link.owner, link.target.as_deref()), ((7, 8), Some("f")));
    assert_eq!(image.entry("d/null").kind, 'c');
}

#[test]
fn what_a_run_removes_is_gone_from_the_image() {
    let image = workspace("COPY Dockerfile /x/y\nRUN [\"/bin/busybox\", \"rm\", \"-r\", \"/x\"]\n")
        .build(&[]);
    assert!(
        image.layers.last().unwrap().contains_key(".wh.x"),
        "{:?}",
        image.paths()
    );
}

#[test]
fn two_stages_go_on_from_one_with_run_and_neither_sees_the_other() {
    let image = workspace(
        "RUN echo one > /one\n\
         FROM base AS a\nRUN echo a > /a; [ ! -e /b ]\n\
         FROM base AS b\nRUN echo b > /b; [ ! -e /a ]\n\
         FROM scratch\nCOPY --from=a /one /a /\nCOPY --from=b /b /\n",
    )
    .build(&[]);
    assert_eq!(image.paths(), [vec!["a", "one"], vec!["b"]]);
}

#[test]
fn one_runner_is_enough_for_many_stages_that_wait_for_each_other() {
    let image = workspace(
        "FROM base AS a\nRUN echo a > /a\n\
         FROM base AS b\nRUN echo b > /b\nCOPY --from=a /a /a\nRUN [ -s /a ]\n\
         FROM base\nRUN echo c > /c\nCOPY --from=b /a /b /\nRUN [ -s /a ] && [ -s /b ] && [ -s /c ]\n",
    )
    .build(&["--parallel-stages", "1"]);
    assert_eq!(image.entry("b").content, "b\n");
}

#[test]
fn nothing_of_the_engine_is_visible_from_a_run() {
    let image = workspace(
        "RUN env > /env; ls -a / > /root-listing; ls /proc/1/fd > /fds 2>&1; cat /proc/1/environ > /environ 2>&1; \
         cat /proc/net/unix > /sockets; ls -l /proc/self/fd > /own-fds; true\n",
    )
    .file("x", "");
    let image = {
        // A variable of the engine must not be one of the step.
        image.build(&["--build-arg", "UNUSED=1"])
    };
    let environment = &image.entry("env").content;
    assert!(
        !environment.contains("CARGO") && !environment.contains("UNUSED"),
        "{environment}"
    );
    assert!(
        !image
            .entry("environ")
            .content
            .contains("PATH=/usr/local/cargo")
    );
}

#[test]
fn triggers_of_a_stage_run_first_in_the_stage_that_begins_with_it() {
    let image = workspace(
        "ONBUILD COPY Dockerfile /copied\nONBUILD RUN [ -s /copied ] && echo t > /triggered\n\
         FROM base\nRUN [ -s /triggered ] && echo o > /own\n",
    )
    .build(&[]);
    assert_eq!(image.entry("triggered").content, "t\n");
    assert_eq!(image.entry("own").content, "o\n");
    assert!(image.config["config"].get("OnBuild").is_none());
}

#[test]
fn a_here_document_with_an_interpreter_is_a_program_that_no_layer_holds() {
    let image = workspace(
        "ENV NAME=value\nWORKDIR /work\n\
         RUN <<E\n#!/bin/busybox sh\necho \"$0 $NAME $(busybox pwd)\" > /a\nE\n\
         SHELL [\"/bin/busybox\", \"sh\", \"-xc\"]\n\
         RUN <<-E\n\t#!/bin/busybox sh\n\techo $NAME > /b\n\tE\n\
         RUN busybox ls /dev/pipes > /c 2>&1 || true\n",
    )
    .build(&[]);
    assert_eq!(image.entry("a").content, "/dev/pipes/E value /work\n");
    assert_eq!(image.entry("b").content, "value\n");
    assert!(image.entry("c").content.contains("No such file"));
    let paths = image.paths();
    assert!(!format!("{paths:?}").contains("pipes"), "{paths:?}");
}

#[test]
fn a_here_document_is_what_the_shell_runs_or_reads() {
    let image = workspace(
        "ENV NAME=value\nRUN <<E\nset -e\necho a > /a\necho \"b $(cat /a)\" > /b\nE\n\
         RUN cat <<ONE - > /c && cat <<-'TWO' > /d\nx $NAME\nONE\n\t$NAME\n\tTWO\n\
         RUN <<E cat > /e\nfrom standard input\nE\n\
         RUN cat /dev/fd/3 3<<E > /f\nfrom a descriptor\nE\n\
         RUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo '<<E' > /g\"]\n",
    )
    .build(&[]);
    assert_eq!(image.entry("e").content, "from standard input\n");
    assert_eq!(image.entry("f").content, "from a descriptor\n");
    assert_eq!(image.entry("g").content, "<<E\n");
    assert_eq!(image.entry("b").content, "b a\n");
    assert_eq!(image.entry("c").content, "x value\n");
    assert_eq!(image.entry("d").content, "$NAME\n");
}

#[test]
fn a_step_without_a_network_reaches_not_even_loopback() {
    let image = workspace(
        "RUN --network=none busybox wget -O - http://127.0.0.1:1/ > /none 2>&1; busybox nc -l -p 0 >> /none 2>&1; true\n\
         RUN --network=default busybox wget -O - http://127.0.0.1:1/ > /default 2>&1; true\n",
    )
    .build(&[]);
    let none = &image.entry("none").content;
    assert_eq!(none.matches("Network is unreachable").count(), 2, "{none}");
    let default = &image.entry("default").content;
    assert!(default.contains("Connection refused"), "{default}");
}
