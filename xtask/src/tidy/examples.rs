//! The examples: what stands in an `imagebuild.yaml` is what stands in the files beside it.
//!
//! People read the files, clusters get the object; nobody would notice that they differ.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml::Value;

use super::Finding;
use super::tree::Tree;

/// Compares every example's object with its files.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let contents: BTreeMap<&str, &str> = tree
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.text.as_str()))
        .collect();
    let mut findings = Vec::new();
    for (path, text) in &contents {
        let Some(folder) = path
            .strip_prefix("examples/")
            .and_then(|rest| rest.strip_suffix("imagebuild.yaml"))
        else {
            continue;
        };
        let embedded = match embedded_files(text) {
            Ok(embedded) => embedded,
            Err(error) => {
                findings.push(Finding::new(*path, 0, format!("is not YAML: {error}")));
                continue;
            }
        };
        for (name, content) in embedded {
            let beside = format!("examples/{folder}{name}");
            match contents.get(beside.as_str()) {
                None => findings.push(Finding::new(
                    *path,
                    0,
                    format!("has `{name}`, and {beside} is not there"),
                )),
                Some(file) if *file != content => {
                    findings.push(Finding::new(
                        *path,
                        0,
                        format!("`{name}` differs from {beside}"),
                    ));
                }
                Some(_) => {}
            }
        }
    }
    findings
}

/// The files in the documents: inline files, inline Dockerfiles, and keys of ConfigMaps that are a build's source.
fn embedded_files(text: &str) -> Result<Vec<(String, String)>, serde_yaml::Error> {
    let documents: Vec<Value> = serde_yaml::Deserializer::from_str(text)
        .map(Value::deserialize)
        .collect::<Result<_, _>>()?;
    let mut files = Vec::new();
    let mut sources: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for document in documents
        .iter()
        .filter(|document| document["kind"] == "ImageBuild")
    {
        let spec = &document["spec"];
        for file in sequence(&spec["source"]["inline"]["files"]) {
            files.push((string(&file["path"]), string(&file["content"])));
        }
        if let Some(dockerfile) = spec["dockerfile"]["inline"].as_str() {
            files.push(("Dockerfile".to_owned(), dockerfile.to_owned()));
        }
        let source = &spec["source"]["configMap"];
        if let Some(name) = source["name"].as_str() {
            let paths = sources.entry(name.to_owned()).or_default();
            let items = sequence(&source["items"]).iter();
            paths.extend(items.map(|item| (string(&item["key"]), string(&item["path"]))));
        }
    }
    for document in documents
        .iter()
        .filter(|document| document["kind"] == "ConfigMap")
    {
        let Some(paths) = sources.get(&string(&document["metadata"]["name"])) else {
            continue;
        };
        for (key, content) in document["data"].as_mapping().into_iter().flatten() {
            let key = string(key);
            let path = paths.get(&key).unwrap_or(&key).clone();
            files.push((path, string(content)));
        }
    }
    Ok(files)
}

fn sequence(value: &Value) -> &[Value] {
    value.as_sequence().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INLINE: &str = "kind: ImageBuild\nspec:\n  source:\n    inline:\n      files:\n        - path: a/b\n          content: |\n            one\n  dockerfile:\n    inline: |\n      FROM x\n";
    const CONFIG_MAP: &str = "kind: ConfigMap\nmetadata:\n  name: s\ndata:\n  a.b: |\n    one\n---\nkind: ImageBuild\nspec:\n  source:\n    configMap:\n      name: s\n      items:\n        - {key: a.b, path: a/b}\n";

    #[test]
    fn an_example_that_differs_from_its_files_is_found() {
        let cases = [
            (INLINE, "one\n", 0),
            (INLINE, "two\n", 1),
            (CONFIG_MAP, "one\n", 0),
            (CONFIG_MAP, "two\n", 1),
            ("kind: [", "one\n", 1),
        ];
        for (object, file, expected) in cases {
            let tree = Tree::of(&[
                ("examples/x/imagebuild.yaml", object),
                ("examples/x/a/b", file),
                ("examples/x/Dockerfile", "FROM x\n"),
            ]);
            let findings = check(&tree);
            assert_eq!(findings.len(), expected, "{object}: {findings:?}");
        }
    }
}
