//! `RUN --mount` in local mode.

use crate::harness::{Image, Workspace};

const BASE: &str = "FROM scratch AS base\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n";

fn workspace(rest: &str) -> Workspace {
    Workspace::with_dockerfile(&format!("{BASE}{rest}")).busybox()
}

/// Every path of the layers above the base's two, without whiteouts' and layers' order.
fn made(image: &Image) -> Vec<String> {
    let layers = image.layers.iter().skip(2);
    layers.flat_map(|layer| layer.keys().cloned()).collect()
}

#[test]
fn a_bind_is_there_for_its_step_and_in_no_layer() {
    let image = workspace(
        "RUN --mount=target=/ctx,source=dir cat /ctx/a /ctx/sub/b > /seen; stat -c %a:%u:%g /ctx/a >> /seen\n\
         RUN --mount=type=bind,source=dir/a,target=/one/file cat /one/file > /file; ls /ctx > /gone 2>&1 || true\n\
         RUN [ ! -e /one ] && [ ! -e /ctx ]\n",
    )
    .file("dir/a", "A\n")
    .file("dir/sub/b", "B\n")
    .build(&[]);
    assert_eq!(image.entry("seen").content, "A\nB\n644:0:0\n");
    assert_eq!(image.entry("file").content, "A\n");
    assert!(image.entry("gone").content.contains("No such file"));
    assert_eq!(made(&image), ["seen", "file", "gone"]);
}

#[test]
fn what_a_mount_hides_comes_back_as_it_was() {
    let image = workspace(
        "RUN mkdir -p /var/lib/x/deep && echo old > /var/lib/x/deep/f && chown 7:8 /var/lib/x && chmod 2750 /var/lib/x && echo c > /conf && touch -d '2001-02-03 04:05:06' /var/lib /var/lib/x /conf\n\
         RUN --mount=type=tmpfs,target=/var/lib/x --mount=target=/conf,source=Dockerfile [ ! -e /var/lib/x/deep ] && echo new > /var/lib/x/f && grep -q FROM /conf && stat -c %a:%u:%g /var/lib/x > /mode && [ \"$(cat /mode)\" = 2750:0:0 ]\n\
         RUN stat -c %a:%u:%g:%Y /var/lib/x /conf > /after; stat -c %Y /var/lib >> /after; cat /var/lib/x/deep/f /conf >> /after; ls -A / | grep -c hidden >> /after || true\n",
    )
    .build(&[]);
    assert_eq!(
        image.entry("after").content,
        "2750:7:8:981173106\n644:0:0:981173106\n981173106\nold\nc\n0\n"
    );
    // Only what the steps made outside of their mounts.
    let layers = image.paths();
    assert_eq!(layers[3], ["mode"]);
    assert_eq!(layers[4], ["after"]);
}

#[test]
fn what_is_written_in_a_bind_is_thrown_away_and_the_next_step_has_it_afresh() {
    let image = workspace(
        "RUN --mount=source=dir,target=/ctx,rw echo more >> /ctx/a && rm /ctx/b && echo n > /ctx/n && cat /ctx/a > /seen\n\
         RUN --mount=source=dir,target=/ctx cat /ctx/* > /again\n\
         COPY dir/a /copied\n",
    )
    .file("dir/a", "A\n")
    .file("dir/b", "B\n")
    .build(&[]);
    assert_eq!(image.entry("seen").content, "A\nmore\n");
    assert_eq!(image.entry("again").content, "A\nB\n");
    assert_eq!(image.entry("copied").content, "A\n");
    assert_eq!(made(&image), ["seen", "again", "copied"]);
}

#[test]
fn a_bind_of_a_stage_keeps_owners_links_and_modes() {
    let image = workspace(
        "FROM base AS made\n\
         RUN mkdir /d && echo x > /d/f && chown 5:6 /d/f && chmod 4711 /d/f && ln /d/f /d/hard && ln -s f /d/soft && mknod /d/null c 1 3\n\
         FROM base\n\
         RUN --mount=from=made,source=/d,target=/m stat -c %n:%a:%u:%g:%h:%F /m/f /m/null > /seen && cat /m/soft >> /seen && readlink /m/soft >> /seen && [ /m/f -ef /m/hard ]\n\
         RUN --mount=from=made,target=/whole ls /whole/d > /listing\n",
    )
    .build(&[]);
    assert_eq!(
        image.entry("seen").content,
        "/m/f:4711:5:6:2:regular file\n/m/null:644:0:0:1:character special file\nx\nf\n"
    );
    assert_eq!(image.entry("listing").content, "f\nhard\nnull\nsoft\n");
    assert_eq!(made(&image), ["seen", "listing"]);
}

#[test]
fn a_directory_made_for_a_mount_stays_only_with_something_in_it() {
    let image = workspace(
        "RUN --mount=type=tmpfs,target=/a/b/c touch /a/kept /a/b/c/lost\n\
         RUN --mount=type=tmpfs,target=/x/y/z touch /x/y/z/lost\n",
    )
    .build(&[]);
    assert_eq!(made(&image), ["a", "a/kept"]);
}

#[test]
fn a_mount_stands_in_another_and_of_two_with_one_target_the_later_counts() {
    let image = workspace(
        "RUN --mount=target=/src/cache,type=tmpfs --mount=source=dir,target=/src touch /src/cache/x && ls /src /src/cache > /seen\n\
         RUN --mount=type=tmpfs,target=/src --mount=source=dir,target=/src ls /src > /later\n",
    )
    .file("dir/f", "")
    .build(&[]);
    assert_eq!(
        image.entry("seen").content,
        "/src:\ncache\nf\n\n/src/cache:\nx\n"
    );
    assert_eq!(image.entry("later").content, "f\n");
    assert_eq!(
        made(&image),
        ["later", "seen"]
            .map(str::to_owned)
            .iter()
            .rev()
            .cloned()
            .collect::<Vec<_>>()
    );
}

#[test]
fn a_target_follows_links_and_never_leaves_the_root() {
    let image = workspace(
        "RUN mkdir -p /real && ln -s /real /link && ln -s ../../../../up /out\n\
         WORKDIR /work\n\
         RUN --mount=source=dir,target=/link/d --mount=source=dir,target=/out --mount=source=dir,target=rel ls /real/d /up /work/rel > /seen\n",
    )
    .file("dir/f", "")
    .build(&[]);
    assert_eq!(
        image.entry("seen").content,
        "/real/d:\nf\n\n/up:\nf\n\n/work/rel:\nf\n"
    );
    let layers = image.paths();
    assert_eq!(layers.last().unwrap(), &["seen"]);
}

#[test]
fn a_cache_is_kept_between_steps_stages_and_builds() {
    let text = "RUN --mount=type=cache,target=/c echo x >> /c/log; mkdir -p /c/d; chown 9:9 /c/d; cat /c/log > /first\n\
         RUN --mount=type=cache,id=/c,target=/elsewhere cat /elsewhere/log > /second; stat -c %u /elsewhere/d >> /second; rm -r /elsewhere/d\n\
         FROM base\n\
         COPY --from=0 /first /second /\n\
         RUN --mount=type=cache,target=/c ls /c > /third\n\
         RUN --mount=type=cache,id=other,target=/c ls -A /c > /other\n";
    let workspace = workspace(text);
    let image = workspace.build(&[]);
    assert_eq!(image.entry("first").content, "x\n");
    assert_eq!(image.entry("second").content, "x\n9\n");
    assert_eq!(image.entry("other").content, "");
    assert!(
        !made(&image).contains(&"c".to_owned()),
        "{:?}",
        image.paths()
    );
    let image = workspace.build(&[]);
    assert_eq!(image.entry("first").content, "x\nx\n");
    // Another project's caches are others.
    let image = workspace.build(&["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=mine"]);
    assert_eq!(image.entry("first").content, "x\n");
}

#[test]
fn a_cache_begins_as_its_mount_says_and_keeps_what_a_failed_step_left() {
    let text = "FROM base AS seed\nRUN mkdir /s && echo s > /s/f\nFROM base\n\
         RUN --mount=type=cache,id=a,target=/c,mode=0700,uid=3,gid=4 stat -c %a:%u:%g /c > /access\n\
         RUN --mount=type=cache,id=b,target=/c,from=seed,source=/s cat /c/f > /seeded; echo more >> /c/f\n\
         RUN --mount=type=cache,id=b,target=/c,from=seed,source=/s,ro cat /c/f > /again\n\
         RUN --mount=type=cache,id=c,target=/c if [ -e /c/left ]; then echo there > /left; else touch /c/left; exit 3; fi\n";
    let workspace = workspace(text);
    let (failure, _) = workspace.failure(&[]);
    assert_eq!(failure["exitCode"], 3, "{failure}");
    let image = workspace.build(&[]);
    assert_eq!(image.entry("access").content, "700:3:4\n");
    assert_eq!(image.entry("seeded").content, "s\nmore\n");
    assert_eq!(image.entry("again").content, "s\nmore\nmore\n");
    assert_eq!(image.entry("left").content, "there\n");
}

#[test]
fn steps_side_by_side_share_a_cache_or_take_turns() {
    let step = |sharing: &str, name: &str| {
        format!(
            "FROM base AS {name}\nRUN --mount=type=cache,id={sharing},sharing={sharing},target=/c echo {name} >> /c/log; touch /c/{name}; sleep 1; cp /c/log /{name}\n"
        )
    };
    let mut text = String::new();
    for sharing in ["shared", "locked", "private"] {
        text += &step(sharing, &format!("{sharing}1"));
        text += &step(sharing, &format!("{sharing}2"));
    }
    text += "FROM base\n";
    for sharing in ["shared", "locked", "private"] {
        text += &format!(
            "COPY --from={sharing}1 /{sharing}1 /\nCOPY --from={sharing}2 /{sharing}2 /\n"
        );
    }
    text += "RUN --mount=type=cache,id=shared,target=/c ls /c > /together\n";
    let image = workspace(&text).build(&["--parallel-stages", "6"]);
    assert_eq!(image.entry("together").content, "log\nshared1\nshared2\n");
    let lines = |name: &str| image.entry(name).content.lines().count();
    assert_eq!(
        lines("locked1") + lines("locked2"),
        3,
        "one had to wait for the other"
    );
    // Whoever came when the other was done had the other's.
    assert!((2..=3).contains(&(lines("private1") + lines("private2"))));
}

#[test]
fn a_secret_is_there_for_its_step_and_nowhere_else() {
    let workspace = workspace(
        "RUN --mount=type=secret,id=token cat /run/secrets/token | tr a-z A-Z > /upper; stat -c %a:%u:%g /run/secrets/token > /access; cat /run/secrets/token; echo x$(cat /run/secrets/token)y\n\
         RUN --mount=type=secret,id=token,target=/etc/t,mode=0440,uid=5,gid=6 stat -c %a:%u:%g /etc/t >> /access\n\
         RUN --mount=type=secret,id=token,env=TOKEN --mount=type=secret,id=none --mount=type=secret,id=none,env=NONE echo ${#TOKEN} ${NONE-unset}${NONE:-empty} $(ls -A /run 2>&1) > /variable; echo $TOKEN\n\
         RUN env > /env; ls -A /run /etc > /gone 2>&1; true\n",
    )
    .file("token", "hunter2secret");
    let file = format!("id=token,src={}", workspace.path("context/token").display());
    let layout = workspace.path("layout");
    let output = format!("type=oci,dest={}", layout.display());
    let ended = workspace.run("build", &["--output", &output, "--secret", &file]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert!(ended.stderr.contains("x***y"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hunter2"), "{}", ended.stderr);
    let image = Image::read(&layout, ended.stdout.trim());
    assert_eq!(image.entry("upper").content, "HUNTER2SECRET");
    assert_eq!(image.entry("access").content, "400:0:0\n440:5:6\n");
    assert!(image.entry("variable").content.starts_with("13 empty"));
    assert!(!image.entry("env").content.contains("hunter2"));
    let everything = format!("{:?}{}", image.layers, image.config);
    assert!(!everything.contains("hunter2"), "{everything}");
    assert_eq!(
        made(&image),
        ["access", "upper", "access", "variable", "env", "gone"]
    );
}

#[test]
fn a_required_secret_that_nobody_gave_is_an_error_with_a_way_out() {
    let (failure, _) =
        workspace("RUN --mount=type=secret,id=token,required cat /run/secrets/token\n")
            .failure(&[]);
    let message = failure["message"].as_str().unwrap();
    assert!(message.contains("secret token is required"), "{failure}");
    assert!(message.contains("--secret id="), "{failure}");
    assert_eq!(
        (failure["line"].clone(), failure["reason"].clone()),
        (4.into(), "Configuration".into())
    );
}

#[test]
fn what_cannot_be_mounted_is_an_error_that_names_its_target() {
    for (step, words) in [
        (
            "--mount=source=dir,target=/bin/busybox",
            "a directory cannot be mounted over a file",
        ),
        (
            "--mount=source=dir/f,target=/bin",
            "a file cannot be mounted over a directory",
        ),
        (
            "--mount=source=dir,target=/bin/busybox/x",
            "/bin/busybox is not a directory",
        ),
        (
            "--mount=source=dir,target=/proc/x",
            "the container runtime has mounted something",
        ),
        (
            "--mount=source=dir,target=/dev",
            "the container runtime has mounted something",
        ),
        (
            "--mount=source=dir,target=/etc",
            "the container runtime has mounted something",
        ),
        ("--mount=source=no/such,target=/x", "no/such"),
    ] {
        let (failure, _) = workspace(&format!("RUN {step} true\n"))
            .file("dir/f", "")
            .failure(&[]);
        let message = failure["message"].as_str().unwrap();
        assert!(message.contains(words), "{step}: {failure}");
        assert_eq!(failure["line"], 4, "{failure}");
    }
}

#[test]
fn ignored_files_are_in_no_bind_of_the_context() {
    let image = workspace(
        "RUN --mount=target=/ctx find /ctx -name '*secret*' -o -path '*kept*' | sort > /seen\n",
    )
    .file(".dockerignore", "*secret*\nhidden\n!hidden/kept/f\n")
    .file("secret.txt", "")
    .file("hidden/secret", "")
    .file("hidden/kept/f", "")
    .build(&[]);
    assert_eq!(
        image.entry("seen").content,
        "/ctx/hidden/kept\n/ctx/hidden/kept/f\n"
    );
}

#[test]
fn nothing_of_a_mount_reaches_a_layer_whatever_a_step_tries() {
    let workspace = workspace(
        "RUN --mount=type=cache,id=h,target=/cache --mount=type=secret,id=token,target=/s/token --mount=source=dir,target=/ctx,rw \
           echo one > /cache/f; \
           ln -s /cache/f /soft; ln -s /s/token /softer; \
           (sleep 100; echo late > /cache/late; cp /s/token /late) & \
           exec 5>>/cache/open; echo held >&5; \
           mkdir /own; echo own > /own/f\n\
         RUN --mount=type=cache,id=h,target=/cache cat /cache/f > /kept; cat /cache/open >> /kept; ls -A /cache >> /kept\n\
         RUN ls -A / | tr '\\n' ' ' > /listing; cat /soft /softer > /dangling 2>&1; true\n",
    )
    .file("token", "hunter2secret")
    .file("dir/f", "from the context");
    let file = format!("id=token,src={}", workspace.path("context/token").display());
    let image = workspace.build(&["--secret", &file]);
    let everything = format!("{:?}", image.layers);
    assert!(
        !everything.contains("hunter2") && !everything.contains("from the context"),
        "{everything}"
    );
    assert_eq!(image.entry("kept").content, "one\nheld\nf\nopen\n");
    let layers = image.paths();
    assert_eq!(layers[2], ["own", "own/f", "soft", "softer"]);
    assert!(!image.entry("listing").content.contains("cache"));
}

#[test]
fn a_mount_answers_like_one_to_whoever_moves_links_or_writes() {
    let image = workspace(
        "RUN mkdir -p /holds/it && echo kept > /holds/it/f\n\
         RUN --mount=type=cache,target=/cache --mount=source=dir,target=/ro --mount=type=tmpfs,target=/holds/it \
           exec > /said 2>&1; echo x > /cache/f; echo y > /cache/g; \
           ln /cache/f /hard; ln /bin/busybox /cache/b; mv /cache/f /moved; ls /cache; \
           rmdir /cache; rm -rf /cache; mv /cache /other; mv /holds /gone 2>&1 | head -1; ls /; \
           echo z > /ro/new; echo z > /ro/f; rm /ro/f; mv /ro/f /x; mkdir /ro/d; chmod 600 /ro/f; chown 1:1 /ro/f; touch /ro/f; ln -s a /ro/l; cat /ro/f; \
           mv /moved /moved2; ln /moved2 /twice; true\n",
    )
    .file("dir/f", "from the context\n")
    .build(&[]);
    let said = &image.entry("said").content;
    let expected = [
        "ln: /hard: Invalid cross-device link",
        "ln: /cache/b: Invalid cross-device link",
        "g",
        "rmdir: '/cache': Device or resource busy",
        "rm: can't remove '/cache': Device or resource busy",
        "mv: can't rename '/cache': Device or resource busy",
        "bin",
    ];
    for words in expected {
        assert!(
            said.lines().any(|line| line == words),
            "{words} is not in\n{said}"
        );
    }
    let refused = said
        .lines()
        .filter(|line| line.contains("Read-only file system"));
    assert!(refused.count() >= 8, "{said}");
    assert!(said.ends_with("from the context\n"), "{said}");
    assert_eq!(image.entry("moved2").content, "x\n");
    let layer = image.paths()[3]
        .iter()
        .map(|path| path.as_str())
        .collect::<Vec<_>>();
    assert!(
        !layer.contains(&"cache") && !layer.contains(&"hard"),
        "{layer:?}"
    );
    assert!(layer.contains(&"twice"), "{layer:?}");
    assert_eq!(image.entry("holds/it/f").content, "kept\n");
}

#[test]
fn a_user_that_is_not_root_uses_its_mounts() {
    let image = workspace(
        "RUN mkdir /home && chmod 777 /home\nUSER 1000:1000\n\
         RUN --mount=type=cache,target=/c,uid=1000,gid=1000 --mount=type=secret,id=own,uid=1000,mode=0400 --mount=type=secret,id=root --mount=source=dir,target=/ctx \
           exec > /home/said 2>&1; echo x > /c/f; cat /run/secrets/own; echo; cat /run/secrets/root; cat /ctx/f; echo x > /ctx/n; true\n\
         RUN --mount=type=cache,target=/c,uid=1000,gid=1000 stat -c %u:%g:%n /c /c/f >> /home/said\n",
    )
    .file("dir/f", "ctx\n")
    .file("s", "the secret");
    let file = |id: &str| format!("id={id},src={}", image.path("context/s").display());
    let image = image.build(&["--secret", &file("own"), "--secret", &file("root")]);
    let said = &image.entry("home/said").content;
    assert_eq!(
        said,
        "the secret\ncat: can't open '/run/secrets/root': Permission denied\nctx\n\
         /bin/sh: can't create /ctx/n: Permission denied\n1000:1000:/c\n1000:1000:/c/f\n"
    );
}

#[test]
fn an_agent_is_lent_to_its_step() {
    let workspace = workspace(
        "RUN --mount=type=ssh exec > /said 2>&1; stat -c %a:%u:%g:%F $SSH_AUTH_SOCK; echo $SSH_AUTH_SOCK\n\
         RUN --mount=type=ssh,id=other ls -A /run >> /said 2>&1; true\n\
         RUN --mount=type=ssh,target=/a/sock,mode=0666,uid=5 stat -c %a:%u:%F /a/sock >> /said\n",
    );
    let socket = workspace.path("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let image = workspace.build(&["--ssh", &format!("default={}", socket.display())]);
    let said = &image.entry("said").content;
    assert!(
        said.starts_with("600:0:0:socket\n/run/buildkit/ssh_agent.0\n"),
        "{said}"
    );
    assert!(said.ends_with("666:5:socket\n"), "{said}");
    assert!(said.contains("No such file"), "{said}");
    assert_eq!(made(&image), ["said", "said", "said"]);
    let required = self::workspace("RUN --mount=type=ssh,required true\n");
    let (failure, _) = required.failure(&[]);
    assert_eq!(failure["reason"], "Configuration");
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.contains("SSH agent default is required"),
        "{failure}"
    );
}
