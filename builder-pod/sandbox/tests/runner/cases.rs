//! The cases.

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use stagecraft_protocol::ownership::{Override, XATTR_NAME};
use stagecraft_protocol::runner::{Ending, EngineMessage, RunnerMessage};
use stagecraft_sandbox::ChannelError;

use crate::conformance::calls_come_out_as_for_a_real_root;
use crate::escapes::{
    links_of_a_step_lead_the_engine_nowhere_else, nothing_that_a_step_tries_gets_it_out,
};
use crate::harness::{Case, Sandbox, request};
use crate::lent::{
    a_place_answers_as_a_mount_point_does,
    a_script_is_there_while_its_step_runs_and_nothing_of_it_after,
};

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// All of them.
        pub(crate) const ALL: [Case; [$(stringify!($name)),*].len()] =
            [$((stringify!($name), $name)),*];
    };
}

cases![
    a_step_ends_as_its_first_process_does,
    what_cannot_be_started_is_said,
    a_step_has_the_environment_that_it_was_given_and_nothing_else,
    a_script_is_there_while_its_step_runs_and_nothing_of_it_after,
    a_place_answers_as_a_mount_point_does,
    owners_and_modes_appear_as_they_were_set_and_are_recorded,
    root_can_use_what_its_mode_closes_to_it,
    a_device_is_a_file_only_underneath,
    a_directory_hands_its_group_down,
    links_and_pipes_have_owners_that_outlive_the_runner,
    a_record_is_gone_when_a_file_is_ordinary_again,
    identities_change_by_the_rules_and_follow_fork,
    a_user_makes_files_of_its_own_and_changes_no_others,
    a_user_is_kept_out_of_what_is_closed_to_it,
    a_set_id_program_becomes_its_owner,
    calls_come_out_as_for_a_real_root,
    our_attributes_are_not_there_and_capabilities_are,
    unnamed_files_and_sockets_belong_to_who_made_them,
    the_runner_is_out_of_reach,
    nothing_that_a_step_tries_gets_it_out,
    links_of_a_step_lead_the_engine_nowhere_else,
    what_a_pod_refuses_is_refused,
    a_daemon_is_dead_before_the_step_ends,
    a_kill_ends_a_step_at_once,
    signals_of_a_step_do_not_end_the_runner,
    shared_memory_is_empty_for_the_next_step,
    a_root_is_emptied_but_for_mounts,
    the_engine_sees_the_root_and_not_the_mounts,
    a_forged_message_ends_the_runner,
    a_runner_ends_with_its_engine,
];

/// What is recorded of a path of a root.
fn recorded(sandbox: &Sandbox, path: &str) -> Option<Override> {
    let mut value = [0; 100];
    let path = sandbox.root.path().join(path);
    let length = rustix::fs::getxattr(path, XATTR_NAME, &mut value).ok()?;
    Override::decode(&value[..length])
}

fn a_step_ends_as_its_first_process_does() {
    let sandbox = Sandbox::start();
    let outcome = sandbox.execute(request(&["sh", "-c", "echo out; echo err >&2; exit 7"]));
    assert_eq!(outcome.ending, Ending::Code(7));
    assert_eq!(
        (outcome.output.as_str(), outcome.errors.as_str()),
        ("out\n", "err\n")
    );
    assert!(outcome.peak_memory_bytes > 100_000, "{outcome:?}");
    let outcome = sandbox.execute(request(&["sh", "-c", "kill -SEGV $$"]));
    assert_eq!(
        outcome.ending,
        Ending::Signal {
            signal: 11,
            out_of_memory: false
        }
    );
}

fn what_cannot_be_started_is_said() {
    let sandbox = Sandbox::start();
    let said = |arguments: &[&str], directory: &str| {
        let mut request = request(arguments);
        request.working_directory = directory.to_owned();
        match sandbox.execute(request).ending {
            Ending::NotStarted(words) => words,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        said(&["nothing"], "/"),
        "exec nothing: not found in PATH (/bin)"
    );
    assert_eq!(
        said(&["/nothing"], "/"),
        "exec /nothing: no such file or directory"
    );
    let folder = said(&["sh"], "/nowhere");
    assert_eq!(
        folder,
        "cannot enter the working directory /nowhere: no such file or directory"
    );
    sandbox.shell("printf '#!/no/interpreter\\n' > /script; chmod +x /script; touch /bin/plain");
    assert_eq!(
        said(&["/script"], "/"),
        "exec /script: the interpreter it names does not exist"
    );
    assert_eq!(said(&["plain"], "/"), "exec /bin/plain: permission denied");
    // The runner goes on.
    assert_eq!(sandbox.shell("echo on"), "on\n");
}

fn a_step_has_the_environment_that_it_was_given_and_nothing_else() {
    let sandbox = Sandbox::start();
    let mut wanted = request(&["env"]);
    wanted.environment = vec!["PATH=/bin".to_owned(), "A=b c".to_owned()];
    wanted.working_directory = "/bin".to_owned();
    assert_eq!(sandbox.execute(wanted.clone()).output, "PATH=/bin\nA=b c\n");
    wanted.arguments = vec!["pwd".to_owned()];
    assert_eq!(sandbox.execute(wanted).output, "/bin\n");
    assert_eq!(sandbox.shell("ls /proc/$$/fd; umask"), "0\n1\n2\n0022\n");
    assert_eq!(
        sandbox.shell("readlink /proc/self/fd/0; cat"),
        "/dev/null\n"
    );
    let host = sandbox.shell("cat /proc/sys/kernel/hostname /etc/hostname");
    assert_eq!(host, "buildkitsandbox\nbuildkitsandbox\n");
}

fn owners_and_modes_appear_as_they_were_set_and_are_recorded() {
    let sandbox = Sandbox::start();
    let seen = sandbox.shell(
        "mkdir /d; touch /d/f; cd /d; chown 1:2 f; chmod 4750 f; stat -c '%u:%g %a' f /d/f
         chown 3:4 .; chmod 700 /d; stat -c '%u:%g %a' /d
         chmod 6755 f; chown 9 f; stat -c '%u:%g %a' f",
    );
    assert_eq!(seen, "1:2 4750\n1:2 4750\n3:4 700\n9:2 755\n");
    let file = recorded(&sandbox, "d/f").unwrap();
    assert_eq!(
        file,
        Override {
            uid: 9,
            gid: 2,
            mode: 0o100_755,
            rdev: 0
        }
    );
    let directory = recorded(&sandbox, "d").unwrap();
    assert_eq!(
        directory,
        Override {
            uid: 3,
            gid: 4,
            mode: 0o040_700,
            rdev: 0
        }
    );
    sandbox.probe("statx");
}

fn root_can_use_what_its_mode_closes_to_it() {
    let sandbox = Sandbox::start();
    let seen = sandbox.shell(
        "umask 0; echo a > /f; chmod 000 /f; cat /f; echo b > /f; stat -c %a /f
         mkdir -m 000 /d; touch /d/x; stat -c %a /d; ls /d
         mkdir /e; chmod 555 /e; touch /e/y; rm /e/y; stat -c %a /e",
    );
    assert_eq!(seen, "a\n0\n0\nx\n555\n");
    // A file that nobody may execute is not executed, not even by root.
    let outcome = sandbox.execute(request(&["sh", "-c", "echo true > /g; chmod 644 /g; /g"]));
    assert_eq!(outcome.ending, Ending::Code(126), "{outcome:?}");
}

fn a_device_is_a_file_only_underneath() {
    let sandbox = Sandbox::start();
    let seen = sandbox.shell(
        "mknod -m 620 /null c 1 3; mknod /disk b 8 17
         stat -c '%F %t:%T %a' /null /disk; chown 5 /null; stat -c '%F %u' /null",
    );
    assert_eq!(
        seen,
        "character special file 1:3 620\nblock special file 8:11 644\n\
         character special file 5\n"
    );
    let device = recorded(&sandbox, "null").unwrap();
    assert_eq!(
        device,
        Override {
            uid: 5,
            gid: 0,
            mode: 0o020_620,
            rdev: 0x103
        }
    );
    assert!(sandbox.root.path().join("null").is_file());
}

fn a_directory_hands_its_group_down() {
    let sandbox = Sandbox::start();
    let seen = sandbox.shell(
        "mkdir /d; chgrp 9 /d; chmod 2775 /d; cd /d; touch f; mkdir e; ln -s f l; mkfifo p
         stat -c '%n %u:%g %a' f e; stat -c '%n %g' l p",
    );
    assert_eq!(seen, "f 0:9 644\ne 0:9 2755\nl 9\np 9\n");
}

fn links_and_pipes_have_owners_that_outlive_the_runner() {
    let sandbox = Sandbox::start();
    let script = "ln -s x /l; chown -h 5:6 /l; mkfifo /p; chown 7:8 /p; ln -s y /rooted";
    let outcome = sandbox.execute(request(&["sh", "-ec", script]));
    let mut owners: Vec<_> = outcome
        .special_owners
        .iter()
        .map(|owner| {
            (
                owner.attributes.uid,
                owner.attributes.gid,
                owner.attributes.mode,
            )
        })
        .collect();
    owners.sort_unstable();
    assert_eq!(owners, [(5, 6, 0o120_777), (7, 8, 0o010_644)]);
    let look = "stat -c '%u:%g' /l /p /rooted";
    assert_eq!(sandbox.shell(look), "5:6\n7:8\n0:0\n");
    // The engine may only know keys of a root; the runner that starts later is told.
    let mut learned = request(&["sh", "-c", look]);
    learned.special_owners = outcome.special_owners;
    let mut sandbox = sandbox;
    let empty = tempfile::tempdir().unwrap();
    let root = std::mem::replace(&mut sandbox.root, empty);
    drop(sandbox);
    let later = Sandbox::start_in(root);
    assert_eq!(later.shell(look), "0:0\n0:0\n0:0\n");
    let outcome = later.execute(learned);
    assert_eq!(outcome.output, "5:6\n7:8\n0:0\n");
    assert_eq!(outcome.special_owners, [], "nothing changed");
}

fn a_record_is_gone_when_a_file_is_ordinary_again() {
    let sandbox = Sandbox::start();
    sandbox.shell("touch /f; chown 5:5 /f; mv /f /g; chown 0:0 /g");
    assert_eq!(recorded(&sandbox, "g"), None);
    assert_eq!(
        sandbox.shell("touch /t; chmod 1777 /t; stat -c '%a' /t"),
        "1777\n"
    );
}

fn identities_change_by_the_rules_and_follow_fork() {
    let sandbox = Sandbox::start();
    sandbox.shell("chmod 1777 /");
    sandbox.probe("identity");
    assert_eq!(sandbox.shell("stat -c %u:%g /made-by-10"), "10:20\n");
    sandbox.probe("threads");
    assert_eq!(sandbox.shell("id -u"), "0\n");
}

fn a_user_makes_files_of_its_own_and_changes_no_others() {
    let sandbox = Sandbox::start();
    sandbox.shell("mkdir -m 777 /work; touch /rooted");
    let mut step = request(&[
        "sh",
        "-c",
        "id; cd /work; umask 027; touch f; mkdir d; ln -s f l; stat -c '%n %u:%g %a' f d
         stat -c %u l; chown 0 f || echo no; chown 1000:50 f && echo yes; chmod 600 /rooted || echo no",
    ]);
    (step.uid, step.gid, step.groups) = (1000, 100, vec![50]);
    let outcome = sandbox.execute(step);
    assert_eq!(
        outcome.output,
        "uid=1000 gid=100 groups=50\nf 1000:100 640\nd 1000:100 750\n1000\nno\nyes\nno\n",
        "{outcome:?}"
    );
}

fn a_user_is_kept_out_of_what_is_closed_to_it() {
    let sandbox = Sandbox::start();
    sandbox.shell(
        "echo secret > /secret; chmod 600 /secret; echo shared > /shared; chown 0:50 /shared; chmod 640 /shared
         echo open > /open; mkdir -m 700 /closed; echo deep > /closed/f; ln -s closed/f /way
         mkdir -m 1777 /tmp; touch /tmp/theirs; mkdir -m 755 /mine; chown 1000 /mine
         cat /bin/busybox > /mine/true; chmod 700 /mine/true",
    );
    let as_user = |script: &str| {
        let mut step = request(&["sh", "-c", script]);
        (step.uid, step.gid, step.groups) = (1000, 1000, vec![50]);
        sandbox.execute(step)
    };
    for allowed in [
        "cat /open /shared",
        "test -r /shared",
        "test ! -w /open",
        "echo x > /mine/f && rm /mine/f",
        "touch /tmp/own && mv /tmp/own /tmp/other && rm /tmp/other",
        "mkdir -p /mine/e/f && rm -f /missing && mv /mine/e /mine/g",
        "mkdir /mine/d && cd /mine/d && touch f && chmod 0 f && ! cat f",
        "ls / && echo x > /dev/null && cat /proc/self/status",
    ] {
        let outcome = as_user(allowed);
        assert_eq!(outcome.ending, Ending::Code(0), "{allowed}: {outcome:?}");
    }
    for refused in [
        "cat /secret",
        "cat /closed/f",
        "cat /way",
        "ls /closed",
        "cd /closed",
        "stat /closed/f",
        "echo x >> /open",
        "echo x > /new",
        "mkdir /new",
        "ln -s x /new",
        "rm /open",
        "mv /open /mine/open",
        "rm -f /tmp/theirs",
        "touch /open",
        "touch -d 2001-01-01 /open",
        "chmod 777 /open",
        "/mine/true",
        "test -w /open",
    ] {
        let outcome = as_user(refused);
        assert_ne!(outcome.ending, Ending::Code(0), "{refused}: {outcome:?}");
    }
    // Root is kept out of nothing, and nothing was changed.
    assert_eq!(
        sandbox.shell("cat /secret /closed/f /open"),
        "secret\ndeep\nopen\n"
    );
}

fn a_set_id_program_becomes_its_owner() {
    let sandbox = Sandbox::start();
    sandbox.shell(
        "mkdir -m 777 /place; cat /bin/probe > /raised; chown 77:78 /raised; chmod 6755 /raised",
    );
    let mut step = request(&["/raised", "probe", "raised"]);
    (step.uid, step.gid) = (1000, 1000);
    let outcome = sandbox.execute(step);
    assert_eq!(outcome.ending, Ending::Code(0), "{outcome:?}");
    assert_eq!(
        sandbox.shell("stat -c %u:%g /place/raised /place/dropped"),
        "77:78\n1000:1000\n"
    );
}

fn our_attributes_are_not_there_and_capabilities_are() {
    Sandbox::start().probe("attributes");
}

fn unnamed_files_and_sockets_belong_to_who_made_them() {
    let sandbox = Sandbox::start();
    sandbox.shell("chmod 1777 /");
    sandbox.probe("unnamed");
    sandbox.probe("socket");
    sandbox.probe("peer");
    assert_eq!(
        sandbox.shell("stat -c %u:%g /named /tmp-socket"),
        "44:44\n55:55\n"
    );
}

fn the_runner_is_out_of_reach() {
    Sandbox::start().probe("reach");
}

fn what_a_pod_refuses_is_refused() {
    let sandbox = Sandbox::start();
    for command in [
        "chroot / true",
        "unshare -U true",
        "mount -t tmpfs none /mnt",
        "umount /proc",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo x > /proc/sysrq-trigger",
        "rmdir /proc",
    ] {
        let script = format!("mkdir -p /mnt; {command}");
        let outcome = sandbox.execute(request(&["sh", "-c", &script]));
        assert_ne!(outcome.ending, Ending::Code(0), "{command}: {outcome:?}");
    }
    let status =
        sandbox.shell("grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status | tr -s '\\t ' ' '");
    assert_eq!(
        status,
        "CapEff: 0000000000000000\nCapBnd: 0000000000000000\nNoNewPrivs: 1\n"
    );
}

fn a_daemon_is_dead_before_the_step_ends() {
    let sandbox = Sandbox::start();
    let script = "(setsid sh -c 'sleep 1000; echo late > /late' > /dev/null 2>&1 &) ; echo started";
    assert_eq!(sandbox.shell(script), "started\n");
    // The runner and the shell that asks.
    let processes = sandbox.shell("set -- /proc/[0-9]*; echo $#");
    assert_eq!(processes, "2\n", "somebody is left");
}

fn a_kill_ends_a_step_at_once() {
    let sandbox = Sandbox::start();
    let script = "sleep 1000 & sleep 1000 & echo ready; wait";
    let [output, errors] = sandbox.begin(request(&["sh", "-c", script]));
    let mut output = BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let start = Instant::now();
    sandbox
        .runner
        .channel
        .send(&EngineMessage::Kill, &[])
        .unwrap();
    let outcome = sandbox.finish([output.into_inner(), errors]);
    assert_eq!(
        outcome.ending,
        Ending::Signal {
            signal: 9,
            out_of_memory: false
        }
    );
    // Generous for a busy machine; the aim is 200 ms.
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    // One that comes too late is for nobody.
    sandbox
        .runner
        .channel
        .send(&EngineMessage::Kill, &[])
        .unwrap();
    assert_eq!(sandbox.shell("echo on"), "on\n");
}

fn signals_of_a_step_do_not_end_the_runner() {
    let sandbox = Sandbox::start();
    let script =
        "for s in TERM INT QUIT HUP KILL STOP USR1 SEGV URG; do kill -$s 1; done; echo sent";
    assert_eq!(sandbox.shell(script), "sent\n");
    let alone = "sleep 1000 & kill -KILL -1; wait; echo alone";
    assert_eq!(sandbox.shell(alone), "alone\n");
    assert_eq!(sandbox.shell("echo on"), "on\n");
}

fn shared_memory_is_empty_for_the_next_step() {
    let sandbox = Sandbox::start();
    sandbox.shell("mkdir /dev/shm/d; touch /dev/shm/d/f /dev/shm/g");
    assert_eq!(sandbox.shell("ls -A /dev/shm"), "");
}

fn a_root_is_emptied_but_for_mounts() {
    let sandbox = Sandbox::start();
    sandbox.shell(
        "mkdir -m 000 /closed; touch /closed/f; ln -s /etc /link; mkdir -p /etc/sub /a/b/c
         d=/deep; i=0; while [ $i -lt 200 ]; do d=$d/d; i=$((i+1)); done; mkdir -p $d; touch $d/f
         chown 5:5 /etc",
    );
    sandbox
        .runner
        .channel
        .send(&EngineMessage::Empty, &[])
        .unwrap();
    let (answer, _) = sandbox.runner.channel.receive::<RunnerMessage>().unwrap();
    assert_eq!(answer, RunnerMessage::Emptied);
    let names = |path: &str| {
        let entries = std::fs::read_dir(sandbox.root.path().join(path)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(""), ["dev", "etc", "proc", "sys"]);
    assert_eq!(names("etc"), ["hostname", "hosts", "resolv.conf"]);
    assert_eq!(recorded(&sandbox, "etc"), None);
}

fn the_engine_sees_the_root_and_not_the_mounts() {
    use rustix::fs::{Mode, OFlags, ResolveFlags};
    let sandbox = Sandbox::start();
    sandbox.shell("mkdir /d; echo text > /d/f");
    let open = |path: &str| {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
        let root = sandbox.descriptor.as_fd();
        rustix::fs::openat2(root, path, OFlags::RDONLY, Mode::empty(), resolve)
    };
    assert!(open("/d/f").is_ok());
    for mounted in ["proc/1/status", "dev/null", "etc/hosts"] {
        assert_eq!(
            open(mounted).unwrap_err(),
            rustix::io::Errno::XDEV,
            "{mounted}"
        );
    }
}

fn a_forged_message_ends_the_runner() {
    let mut sandbox = Sandbox::start();
    sandbox
        .runner
        .channel
        .send(&"Execute everything", &[])
        .unwrap();
    let (answer, _) = sandbox.runner.channel.receive::<RunnerMessage>().unwrap();
    assert!(matches!(answer, RunnerMessage::Failed(_)), "{answer:?}");
    let end = sandbox.runner.channel.receive::<RunnerMessage>();
    assert!(matches!(end, Err(ChannelError::Closed)), "{end:?}");
    assert!(!sandbox.runner.child.wait().unwrap().success());
    // A step without its two pipes is no step.
    let sandbox = Sandbox::start();
    let message = EngineMessage::Execute(Box::new(request(&["true"])));
    sandbox.runner.channel.send(&message, &[]).unwrap();
    let (answer, _) = sandbox.runner.channel.receive::<RunnerMessage>().unwrap();
    assert!(matches!(answer, RunnerMessage::Failed(_)), "{answer:?}");
}

fn a_runner_ends_with_its_engine() {
    let mut sandbox = Sandbox::start();
    let [output, _errors] = sandbox.begin(request(&["sh", "-c", "echo ready; sleep 1000"]));
    let mut output = BufReader::new(output);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let socket = sandbox.runner.channel.try_clone_socket().unwrap();
    rustix::net::shutdown(&socket, rustix::net::Shutdown::Both).unwrap();
    assert!(sandbox.runner.child.wait().unwrap().success());
    // Every process is gone with it: nobody holds the pipe any more.
    line.clear();
    assert_eq!(output.read_line(&mut line).unwrap(), 0);
}
