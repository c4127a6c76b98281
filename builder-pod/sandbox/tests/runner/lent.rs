//! What a step has for itself alone: its script, and what behaves as if it were mounted.

use stagecraft_protocol::runner::{Ending, MountPoint, Script};

use crate::harness::{Sandbox, request};

pub(crate) fn a_script_is_there_while_its_step_runs_and_nothing_of_it_after() {
    let sandbox = Sandbox::start();
    let with_script = |name: &str| {
        let mut request = request(&["sh", "-c", &format!("/dev/pipes/{name}")]);
        request.script = Some(Script {
            name: name.to_owned(),
            content: "#!/bin/sh\nstat -c %a:%u:%g $0; echo $0; cat $0 | wc -l".to_owned(),
        });
        request
    };
    for name in ["EOF", "a/b c"] {
        let mut as_user = with_script(name);
        (as_user.uid, as_user.gid) = (1000, 1000);
        for request in [with_script(name), as_user] {
            let outcome = sandbox.execute(request);
            let seen = format!("755:0:0\n/dev/pipes/{name}\n1\n");
            if name == "EOF" {
                assert_eq!(outcome.output, seen, "{outcome:?}");
            }
            assert_eq!(sandbox.shell("ls -A /dev | grep -c pipes || true"), "0\n");
        }
    }
    for name in ["", "..", "../x", "a/../../x", "/bin/x"] {
        let outcome = sandbox.execute(with_script(name));
        let Ending::NotStarted(words) = &outcome.ending else {
            panic!("{name:?} gave {outcome:?}")
        };
        assert!(words.contains("leads out of /dev/pipes"), "{words}");
    }
    assert!(!sandbox.root.path().join("dev/pipes").exists());
}

pub(crate) fn a_place_answers_as_a_mount_point_does() {
    let sandbox = Sandbox::start();
    sandbox.shell("mkdir -p /a/rw /a/ro /b; echo f > /a/ro/f; echo f > /a/rw/f");
    let point = |path: &str, read_only| MountPoint {
        path: path.to_owned(),
        read_only,
    };
    let mounts = vec![point("/a/rw", false), point("/a/ro", true)];
    for (script, words) in [
        ("ln /a/rw/f /b/f", "cross-device"),
        ("ln /bin/busybox /a/rw/f2", "cross-device"),
        ("cd /a/rw && ln f ../../b/f", "cross-device"),
        ("rmdir /a/rw", "busy"),
        ("mv -T /a/rw /a/other", "busy"),
        ("echo x > /a/ro/f", "Read-only"),
        ("echo x >> /a/ro/new", "Read-only"),
        ("mv /a/ro/f /b/copied", "can't remove '/a/ro/f': Read-only"),
        ("rm -f /a/ro/f", "Read-only"),
        ("mkdir /a/ro/d", "Read-only"),
        ("chmod 700 /a/ro/f", "Read-only"),
        ("chown 3 /a/ro/f", "Read-only"),
        ("cd /a/ro && ln f g", "Read-only"),
        ("exec 5< /a/ro/f; chmod 700 /dev/fd/5", "Read-only"),
    ] {
        let mut request = request(&["sh", "-c", script]);
        request.mounts.clone_from(&mounts);
        let outcome = sandbox.execute(request);
        assert_ne!(outcome.ending, Ending::Code(0), "{script}: {outcome:?}");
        assert!(outcome.errors.contains(words), "{script}: {outcome:?}");
    }
    let mut request = request(&[
        "sh",
        "-ec",
        "mv /a/rw/f /b/moved; cat /b/moved; echo x > /a/rw/n; mv /a/rw/n /a/rw/m; ln /a/rw/m /a/rw/l; cat /a/ro/f",
    ]);
    request.mounts.clone_from(&mounts);
    let outcome = sandbox.execute(request);
    assert_eq!(outcome.output, "f\nf\n", "{outcome:?}");
    // Without a place they are directories like any other.
    sandbox.shell("ln /a/rw/m /b/linked; mv /a/ro /b/ro; rm -r /a");
}
