//! The cases of the corpus as they stand in `tests/fixtures/engine`, one file for each topic.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// A file of cases.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Topic {
    /// Files of the context of every case that has none of its own.
    #[serde(default)]
    pub(crate) context: Vec<String>,
    #[serde(default)]
    pub(crate) archives: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) image: Vec<ImageOfCase>,
    #[serde(default)]
    pub(crate) case: Vec<Case>,
    #[serde(default)]
    series: Vec<Series>,
    /// Our documented differences by the names of cases, for cases of a series.
    #[serde(default)]
    differences: BTreeMap<String, String>,
    /// Mistakes of ours that are not mended yet, likewise.
    #[serde(default)]
    open: BTreeMap<String, String>,
}

/// Cases that differ in a few instructions, which are their names too.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Series {
    /// Stands before every name.
    name: Option<String>,
    /// Stands before the instructions of each case.
    #[serde(default = "from_scratch")]
    before: String,
    /// Stands after them.
    #[serde(default)]
    after: String,
    steps: Vec<String>,
    context: Option<Vec<String>>,
    #[serde(default)]
    more: Vec<String>,
    ignore: Option<String>,
    #[serde(default)]
    args: BTreeMap<String, String>,
    target: Option<String>,
    platform: Option<String>,
    epoch: Option<i64>,
    difference: Option<String>,
    open: Option<String>,
}

fn from_scratch() -> String {
    "FROM scratch".to_owned()
}

impl Series {
    fn cases(&self) -> impl Iterator<Item = Case> {
        self.steps.iter().map(|steps| {
            let name = steps.trim_end().replace('\n', "; ").replace('\r', "\\r");
            let parts = [&self.before, steps, &self.after].map(|part| part.trim_end_matches('\n'));
            let parts = parts.into_iter().filter(|part| !part.is_empty());
            Case {
                name: match &self.name {
                    Some(series) => format!("{series}: {name}"),
                    None => name,
                },
                dockerfile: parts.map(|part| format!("{part}\n")).collect(),
                context: self.context.clone(),
                more: self.more.clone(),
                ignore: self.ignore.clone(),
                args: self.args.clone(),
                target: self.target.clone(),
                platform: self.platform.clone(),
                epoch: self.epoch,
                difference: self.difference.clone(),
                open: self.open.clone(),
                ..Case::default()
            }
        })
    }
}

/// A build, and how its answer may differ.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) dockerfile: String,
    /// Instead of the topic's context.
    pub(crate) context: Option<Vec<String>>,
    /// Beside the context.
    #[serde(default)]
    pub(crate) more: Vec<String>,
    #[serde(default)]
    pub(crate) archives: BTreeMap<String, Vec<String>>,
    pub(crate) ignore: Option<String>,
    #[serde(default)]
    pub(crate) args: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) target: Option<String>,
    pub(crate) platform: Option<String>,
    /// Times are clamped to these seconds.
    pub(crate) epoch: Option<i64>,
    /// Why our answer is another on purpose.
    pub(crate) difference: Option<String>,
    /// A mistake of ours that is not mended yet.
    pub(crate) open: Option<String>,
}

/// An image that `FROM` and `--from` may name; several of one name are an index.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ImageOfCase {
    pub(crate) name: String,
    #[serde(default = "host_platform")]
    pub(crate) platform: String,
    /// The member `config` of the image's configuration.
    #[serde(default)]
    pub(crate) config: serde_json::Map<String, serde_json::Value>,
    #[serde(default)]
    pub(crate) layers: Vec<Vec<String>>,
    /// `gz`, `zst` or none.
    pub(crate) compression: Option<String>,
    /// Docker's media types instead of OCI's.
    #[serde(default)]
    pub(crate) docker: bool,
    /// Without history, as some tools write it.
    #[serde(default)]
    pub(crate) no_history: bool,
}

fn host_platform() -> String {
    "linux/amd64".to_owned()
}

/// The directory of the corpus.
pub(crate) fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/engine")
}

/// Every topic by name.
pub(crate) fn read_all() -> BTreeMap<String, Topic> {
    let mut topics = BTreeMap::new();
    for file in std::fs::read_dir(directory()).expect("the corpus is there") {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let mut topic: Topic =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let of_series: Vec<Case> = topic.series.iter().flat_map(Series::cases).collect();
        topic.case.extend(of_series);
        let (mut differences, mut open) = (topic.differences.clone(), topic.open.clone());
        for case in &mut topic.case {
            case.difference = case.difference.take().or(differences.remove(&case.name));
            case.open = case.open.take().or(open.remove(&case.name));
        }
        if let Some(none) = differences.keys().chain(open.keys()).next() {
            panic!("{}: no case is called {none:?}", path.display());
        }
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = topic.case.iter().map(|case| &case.name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            panic!("{name} has two cases {}", twice[0]);
        }
        topics.insert(name, topic);
    }
    topics
}

impl Case {
    /// Whether it says that our answer is another than BuildKit's.
    pub(crate) fn is_different(&self) -> bool {
        self.difference.is_some() || self.open.is_some()
    }
}
