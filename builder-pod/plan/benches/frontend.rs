//! How long it takes to understand a Dockerfile: `cargo bench -p stagecraft-plan`.
//!
//! `frontend/*` reads and plans a file of 1,000 lines and 60 stages; `go run ./cmd/bench` in `tests/oracle` has
//! BuildKit's parser read the same file. `hostile/*` reads a megabyte of one repeated token, which has to take less
//! than 100 ms whatever the token: time may grow with a file's length and with nothing else.
#![allow(
    missing_docs,
    clippy::panic,
    clippy::unwrap_used,
    reason = "criterion's macros make functions without documentation, and a benchmark that fails has to stop"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use stagecraft_dockerfile::{Dockerfile, parse, tree};
use stagecraft_image::{Digest, ImageConfig, Platform};
use stagecraft_plan::{BuildPlan, PlanInputs, Planner, Progress};

const FILE: &str = include_str!("../../../tests/fixtures/benchmark/Dockerfile");

/// Tokens that a parser may stumble over when there are a hundred thousand of them.
const TOKENS: [&str; 36] = [
    "x",
    "x\n",
    "\n",
    " ",
    "\\",
    "\\\n",
    "x\\\n",
    "x \\\n\n",
    "# x\n",
    "# escape=`\n",
    "#",
    "RUN x\n",
    "FROM a\n",
    "FROM a AS b\n",
    "RUN <<A <<A\n",
    "RUN <<A\nA\n",
    "RUN x \\\n<<A \\\n",
    "<<A ",
    "$",
    "${",
    "$${${",
    "${a:-",
    "RUN <<${a:-\\\n",
    "\"",
    "'",
    "\"'",
    "[",
    "[\"a\",",
    "{\"a\":",
    "--a ",
    "ENV a=b \\\n",
    "ENV a=\"\\\n",
    "ONBUILD ",
    "COPY --from=a b c\n",
    "é",
    "\u{feff}",
];

fn inputs() -> PlanInputs {
    let platform: Platform = "linux/amd64".parse().unwrap();
    PlanInputs {
        file: "Dockerfile".to_owned(),
        build_args: BTreeMap::new(),
        contexts: BTreeMap::new(),
        target: None,
        further_targets: Vec::new(),
        tests: Vec::new(),
        platform: platform.clone(),
        build_platform: platform,
        labels: BTreeMap::new(),
        source_date_epoch: None,
    }
}

fn plan(dockerfile: &Dockerfile, inputs: PlanInputs) -> BuildPlan {
    let mut planner = Planner::new(dockerfile, inputs);
    loop {
        match planner.step() {
            Ok(Progress::Ready(plan)) => return *plan,
            Ok(Progress::Images(requests)) => {
                for request in requests {
                    let config = ImageConfig::scratch(&request.platform);
                    let digest = Digest::of(request.reference.to_string());
                    planner.provide(request.id, digest, config);
                }
            }
            Err(wrong) => panic!("the file has errors: {wrong:?}"),
        }
    }
}

fn frontend(criterion: &mut Criterion) {
    assert_eq!(FILE.lines().count(), 1_000);
    let (dockerfile, _) = parse(FILE);
    assert_eq!(dockerfile.stages.len(), 60);
    assert_eq!(plan(&dockerfile, inputs()).stages.len(), 60);
    let mut group = criterion.benchmark_group("frontend");
    group.bench_function("tree", |bench| bench.iter(|| tree::read(black_box(FILE))));
    group.bench_function("parse", |bench| bench.iter(|| parse(black_box(FILE))));
    group.bench_function("parse and plan", |bench| {
        bench.iter(|| plan(&parse(black_box(FILE)).0, inputs()));
    });
    group.finish();
}

fn hostile(_: &mut Criterion) {
    const SIZE: usize = 1 << 20;
    let mut slow = Vec::new();
    for before in [
        "",
        "FROM a\n",
        "FROM a\nRUN ",
        "FROM a\nCOPY ",
        "FROM a\nENV a=",
    ] {
        for token in TOKENS {
            // Lines may not be longer than 65,535 bytes: the long ones are continued.
            for lines in [token.to_owned(), continued(token)] {
                let file = before.to_owned() + &lines.repeat(SIZE / lines.len());
                let fastest = (0..3).map(|_| {
                    let start = Instant::now();
                    black_box(parse(&file));
                    start.elapsed()
                });
                let fastest = fastest.min().unwrap_or_default();
                if fastest > Duration::from_millis(100) {
                    slow.push(format!("{before:?} {token:?}: {fastest:?}"));
                }
                println!("hostile/{before:?} {token:?} {}: {fastest:?}", lines.len());
            }
        }
    }
    assert!(slow.is_empty(), "too slow:\n{}", slow.join("\n"));
}

/// As many of the token as a line may have, and the mark that the next line belongs to it.
fn continued(token: &str) -> String {
    token.repeat(60_000 / token.len()) + "\\\n"
}

criterion_group!(benches, frontend, hostile);
criterion_main!(benches);
