use super::*;
use crate::ast::Kind;

/// The mounts of the one RUN of a file, resolved without any variable, and everything that is wrong.
fn resolved(flags: &str) -> (Vec<Mount>, Vec<String>) {
    let file = format!("FROM a\nRUN {flags} x\n");
    let (dockerfile, parsing) = crate::parse(&file);
    let mut wrong: Vec<String> = parsing.iter().map(|d| d.full_message()).collect();
    let mut mounts = Vec::new();
    let instructions = dockerfile
        .stages
        .iter()
        .flat_map(|stage| &stage.instructions);
    for instruction in instructions {
        let Kind::Run(run) = &instruction.kind else {
            panic!("{file}")
        };
        for mount in &run.options.mounts {
            match mount.resolve(&mut |word| Some(word.value.clone())) {
                Ok(mount) => mounts.push(mount),
                Err(problems) => wrong.extend(problems.iter().map(Diagnostic::full_message)),
            }
        }
    }
    (mounts, wrong)
}

fn one(value: &str) -> Mount {
    let (mounts, wrong) = resolved(&format!("--mount={value}"));
    assert_eq!(wrong, Vec::<String>::new(), "{value}");
    mounts.into_iter().next().unwrap()
}

fn wrong(value: &str) -> String {
    let (mounts, wrong) = resolved(&format!("--mount={value}"));
    assert_eq!((mounts.len(), wrong.len()), (0, 1), "{value}: {wrong:?}");
    wrong[0].clone()
}

#[test]
fn a_bind_is_read_only_unless_it_says_otherwise() {
    let bind = |from: Option<&str>, source: &str, read_only| MountKind::Bind {
        from: from.map(str::to_owned),
        source: source.to_owned(),
        read_only,
    };
    for (value, kind, target) in [
        ("target=/x", bind(None, "", true), "/x"),
        (
            "type=bind,dst=x,src=a,from=b",
            bind(Some("b"), "a", true),
            "x",
        ),
        ("TYPE=Bind,destination=/x,RW", bind(None, "", false), "/x"),
        ("target=/x,rw=0", bind(None, "", true), "/x"),
        ("target=/x,ro=false", bind(None, "", false), "/x"),
        ("target=/x,readwrite=T,readonly", bind(None, "", true), "/x"),
        ("target=/x,from=", bind(None, "", true), "/x"),
        // These mean nothing for a bind, and BuildKit lets them pass.
        ("target=/x,id=1,env=E", bind(None, "", true), "/x"),
        ("target=/x,target=/y", bind(None, "", true), "/y"),
    ] {
        let mount = one(value);
        assert_eq!(
            (&mount.kind, mount.target.as_str()),
            (&kind, target),
            "{value}"
        );
    }
}

#[test]
fn a_cache_has_an_id_sharing_and_an_owner() {
    let mount =
        one("type=cache,target=/c,id=i,sharing=LOCKED,mode=0700,uid=1,gid=2,from=b,source=/s,ro");
    assert_eq!(
        mount.kind,
        MountKind::Cache {
            id: Some("i".to_owned()),
            sharing: CacheSharing::Locked,
            from: Some("b".to_owned()),
            source: "/s".to_owned(),
            read_only: true,
            access: Access {
                mode: Some(0o700),
                uid: Some(1),
                gid: Some(2)
            },
        }
    );
    let MountKind::Cache {
        sharing,
        read_only,
        access,
        ..
    } = one("type=cache,target=/c").kind
    else {
        panic!("it is a cache")
    };
    assert_eq!((sharing, read_only), (CacheSharing::Shared, false));
    assert!(access.is_default());
}

#[test]
fn memory_secrets_and_agents_have_keys_of_their_own() {
    assert_eq!(
        one("type=tmpfs,target=/t,size=64m,ro").kind,
        MountKind::Tmpfs {
            size: 64 << 20,
            read_only: true
        }
    );
    let secret = |id: Option<&str>, environment: Option<&str>, required| MountKind::Secret {
        id: id.map(str::to_owned),
        environment: environment.map(str::to_owned),
        required,
        access: Access::default(),
    };
    assert_eq!(
        one("type=secret,id=k,env=K,required").kind,
        secret(Some("k"), Some("K"), true)
    );
    assert_eq!(
        one("type=secret,source=k,required=false").kind,
        secret(Some("k"), None, false)
    );
    assert_eq!(
        one("type=secret,target=/a/k").kind,
        secret(None, None, false)
    );
    assert_eq!(
        one("type=ssh,id=x,required=1,mode=0600").kind,
        MountKind::Ssh {
            id: Some("x".to_owned()),
            required: true,
            access: Access {
                mode: Some(0o600),
                ..Access::default()
            },
        }
    );
}

#[test]
fn quotes_go_around_a_whole_field() {
    let mount = one(r#"\"source=a,b\",target=/x"#);
    let MountKind::Bind { source, .. } = mount.kind else {
        panic!("it is a bind")
    };
    assert_eq!(source, "a,b");
}

#[test]
fn every_mistake_is_named_with_its_way_out() {
    for (value, expected) in [
        (
            "tagret=/x",
            "a mount has no key tagret; did you mean target?",
        ),
        (
            "type=cahce,target=/x",
            "a mount has no type \"cahce\"; did you mean cache?",
        ),
        (
            "target",
            "the key target of a mount needs a value: target=…",
        ),
        (
            "type=cache,target=/x,sharing=lock",
            "a cache cannot be shared as \"lock\"; did you mean locked?",
        ),
        (
            "target=/x,required",
            "the key required is not for a mount of type bind; it belongs to type=secret or type=ssh, and stands behind it",
        ),
        (
            "required,type=secret,id=a",
            "the key required is not for a mount of type bind; it belongs to type=secret or type=ssh, and stands behind it",
        ),
        (
            "target=/x,size=1m",
            "the key size is not for a mount of type bind; it belongs to type=tmpfs, and stands behind it",
        ),
        (
            "type=tmpfs,target=/x,size=big",
            "size=big is no amount of memory; it is a number of bytes or has a unit: 64m or 1g for example",
        ),
        (
            "type=tmpfs,target=/x,uid=1",
            "the key uid is not for a mount of type tmpfs; mode and owner can be set for type=cache, secret and ssh",
        ),
        (
            "type=cache,target=/x,mode=9",
            "mode=9 is no mode; a mode is written in octal, 0700 for example",
        ),
        (
            "type=cache,target=/x,uid=app",
            "uid=app is no number; names are not looked up here: write the uid as a number",
        ),
        ("target=/x,rw=yes", "rw is true or false, not \"yes\""),
        ("type=secret", "the secret has no name; name it with id=…"),
        (
            "type=secret,id=a,src=b",
            "the secret has both id and source; source is another word for id: leave one out",
        ),
        (
            "type=secret,id=a,from=b",
            "a secret is not mounted from a stage or image; leave from out: id names the secret",
        ),
        (
            "target=/x,sharing=shared",
            "the key sharing is not for a mount of type bind; it belongs to type=cache",
        ),
        (
            "type=ssh,source=a",
            "an ssh mount has no source; id names the agent",
        ),
        (
            "target=/x,from=$X",
            "the mount's from=$X cannot have a variable; name a stage that begins with it: FROM $IMAGE AS name, then from=name",
        ),
    ] {
        assert_eq!(wrong(value), expected, "{value}");
    }
}

#[test]
fn the_place_is_that_of_the_field() {
    let file = "FROM a\nRUN --mount=type=cache,\\\ntagret=/x echo\n";
    let (dockerfile, _) = crate::parse(file);
    let Kind::Run(run) = &dockerfile.stages[0].instructions[0].kind else {
        panic!("it is a RUN")
    };
    let problems = run.options.mounts[0]
        .resolve(&mut |word| Some(word.value.clone()))
        .unwrap_err();
    let span = problems[0].span;
    assert_eq!((span.line, span.column), (3, 1));
    assert_eq!(&file[span.start..span.end], "tagret=/x");
}
