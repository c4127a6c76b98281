//! The flags of COPY and ADD, and files that stand in the Dockerfile.

use crate::harness::{Image, Workspace};

fn project(rest: &str) -> Workspace {
    Workspace::with_dockerfile(&format!("FROM scratch\n{rest}"))
        .file("app/main.go", "main")
        .file("app/web/index.html", "page")
        .file("app/web/index.test.js", "test")
}

fn last_layer(image: &Image) -> Vec<String> {
    let last = image.layers.last().unwrap();
    last.keys().cloned().collect()
}

#[test]
fn what_is_excluded_stays_out() {
    let image = project("COPY --exclude=**/*.test.js --exclude=*.go app /to/\n").build(&[]);
    assert_eq!(last_layer(&image), ["to", "to/web", "to/web/index.html"]);
}

#[test]
fn parents_come_along_from_the_pivot_on() {
    let image = project("COPY --parents ./app/./**/*.html /to/\n").build(&[]);
    assert_eq!(last_layer(&image), ["to", "to/web", "to/web/index.html"]);
    let image = project("COPY --parents app/main.go /to/\n").build(&[]);
    assert_eq!(last_layer(&image), ["to", "to/app", "to/app/main.go"]);
}

#[test]
fn a_here_document_becomes_a_file_with_its_variables_expanded() {
    let image = project(
        "ENV NAME=world\nCOPY --chmod=755 --chown=1:2 <<hello.sh <<'raw' /bin/\n\
         #!/bin/sh\necho \"$NAME\"\nhello.sh\n$NAME\nraw\nADD <<EOF /etc/motd\nhi\nEOF\n",
    )
    .build(&[]);
    let hello = image.entry("bin/hello.sh");
    assert_eq!(hello.content, "#!/bin/sh\necho \"world\"\n");
    assert_eq!((hello.mode & 0o7777, hello.owner), (0o755, (1, 2)));
    assert_eq!(image.entry("bin/raw").content, "$NAME\n");
    let motd = image.entry("etc/motd");
    assert_eq!((motd.content.as_str(), motd.mode & 0o7777), ("hi\n", 0o644));
}

#[test]
fn a_linked_copy_does_not_look_at_the_layers_below() {
    let below = "COPY --chmod=700 --chown=5:5 app/web /etc/\n";
    let link = "COPY --link app/main.go /etc/conf/\n";
    let workspace = project(link);
    let alone = workspace.build(&[]);
    let dockerfile = format!("FROM scratch\n{below}{link}");
    let above = workspace.file("Dockerfile", &dockerfile).build(&[]);
    assert_eq!(last_layer(&above), ["etc", "etc/conf", "etc/conf/main.go"]);
    let diff_id = |image: &Image| {
        image.config["rootfs"]["diff_ids"]
            .as_array()
            .unwrap()
            .last()
            .cloned()
    };
    assert_eq!(diff_id(&alone), diff_id(&above));
    // The directory below takes what the copy made of it.
    assert_eq!(above.entry("etc").owner, (0, 0));
    assert_eq!(above.entry("etc/index.html").content, "page");
}

#[test]
fn a_run_after_a_linked_copy_sees_both() {
    let image = Workspace::with_dockerfile(
        "FROM scratch\nCOPY busybox /bin/busybox\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n\
         RUN busybox ln -s /nowhere /data && busybox mkdir -p /etc/conf && echo o > /etc/conf/old\n\
         COPY --link Dockerfile /data/\nCOPY --link <<x /etc/conf/new\nn\nx\n\
         RUN cd /etc/conf && busybox cat old new > /both && busybox test -s /data/Dockerfile\n",
    )
    .busybox()
    .build(&[]);
    assert_eq!(image.entry("both").content, "o\nn\n");
}

#[test]
fn an_archive_stays_one_where_unpack_is_off() {
    let workspace = project("ADD app.tar /out/\nADD --unpack=false app.tar /kept/\n");
    let context = workspace.path("context");
    let tar = std::process::Command::new("tar")
        .args(["-C", "app", "-cf", "app.tar", "main.go"])
        .current_dir(context)
        .status();
    assert!(tar.unwrap().success());
    let image = workspace.build(&[]);
    assert_eq!(image.entry("out/main.go").content, "main");
    assert_eq!(last_layer(&image), ["kept", "kept/app.tar"]);
}
