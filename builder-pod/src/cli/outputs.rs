//! `--tag` and `--output`: where the result of each target goes.
//!
//! Invariant: with several targets, every name and every path is of one of them: nothing is guessed.

use super::build::BuildArguments;
use crate::engine::OutputPlan;
use crate::export::Destination;

/// The outputs, one a target in their order; one where no target is named.
pub(super) fn outputs(arguments: &BuildArguments) -> Result<Vec<OutputPlan>, String> {
    let flags = Flags {
        targets: &arguments.input.target,
        tags: &arguments.tag,
        outputs: &arguments.output,
        push: arguments.push,
    };
    let outputs = flags.read()?;
    if arguments.input.platform.len() > 1 {
        for_several_platforms(&outputs)?;
    }
    Ok(outputs)
}

/// Some forms hold one image, of one platform.
fn for_several_platforms(outputs: &[OutputPlan]) -> Result<(), String> {
    let mut all = outputs.iter().flat_map(|output| &output.destinations);
    let single = all.find_map(|destination| match destination {
        Destination::DockerArchive(_) => Some("docker"),
        Destination::Tar(_) => Some("tar"),
        _ => None,
    });
    match single {
        Some(kind) => Err(format!(
            "type={kind} holds an image for one platform; for several there are registry, oci and local"
        )),
        None => Ok(()),
    }
}

/// The flags that say it.
struct Flags<'a> {
    targets: &'a [String],
    tags: &'a [String],
    outputs: &'a [String],
    push: bool,
}

impl Flags<'_> {
    fn read(&self) -> Result<Vec<OutputPlan>, String> {
        if let Some(twice) =
            (1..self.targets.len()).find(|&n| self.targets[..n].contains(&self.targets[n]))
        {
            return Err(format!("--target {} is there twice", self.targets[twice]));
        }
        let mut outputs = vec![OutputPlan::default(); self.targets.len().max(1)];
        for tag in self.tags {
            let (target, name) = match tag.split_once('=') {
                Some((target, name)) => (Some(target), name),
                None => (None, tag.as_str()),
            };
            let position = self
                .position(target)
                .map_err(|problem| format!("--tag {tag}: {problem}"))?;
            outputs[position].image_names.push(name.to_owned());
        }
        if self.push {
            for output in &mut outputs {
                output.destinations.push(Destination::Registry);
            }
        }
        for text in self.outputs {
            let (target, rest) = without_target(text);
            let destination = Destination::parse(&rest)?;
            let everywhere = destination == Destination::Registry && target.is_none();
            let positions = match everywhere {
                true => 0..outputs.len(),
                false => {
                    let found = self.position(target.as_deref());
                    let position =
                        found.map_err(|problem| format!("--output {text}: {problem}"))?;
                    position..position + 1
                }
            };
            for output in &mut outputs[positions] {
                if !output.destinations.contains(&destination) {
                    output.destinations.push(destination.clone());
                }
            }
        }
        self.check(&outputs)?;
        Ok(outputs)
    }

    /// Which target a flag is for.
    fn position(&self, target: Option<&str>) -> Result<usize, String> {
        match (target, self.targets) {
            (None, [] | [_]) => Ok(0),
            (None, several) => Err(format!(
                "there are several targets; say which it is for: {}",
                several.join(", ")
            )),
            (Some(target), targets) => {
                targets
                    .iter()
                    .position(|known| known == target)
                    .ok_or_else(|| match targets {
                        [] => format!("it is for the target {target:?}, and no --target is given"),
                        targets => format!(
                            "it is for the target {target:?}, which is none of {}",
                            targets.join(", ")
                        ),
                    })
            }
        }
    }

    fn check(&self, outputs: &[OutputPlan]) -> Result<(), String> {
        let all = outputs.iter().flat_map(|output| &output.destinations);
        let paths: Vec<_> = all.filter_map(Destination::path).collect();
        if let Some(twice) = (1..paths.len()).find(|&n| paths[..n].contains(&paths[n])) {
            return Err(format!(
                "two outputs go to {}: give each a path of its own",
                paths[twice].display()
            ));
        }
        for (position, output) in outputs.iter().enumerate() {
            let is_pushed = output.destinations.contains(&Destination::Registry);
            if !is_pushed || !output.image_names.is_empty() {
                continue;
            }
            return Err(match self.targets {
                [] | [_] => "pushing needs a name: add --tag REGISTRY/REPOSITORY:TAG".to_owned(),
                targets => format!(
                    "pushing the target {0} needs a name: add --tag {0}=REGISTRY/REPOSITORY:TAG",
                    targets[position]
                ),
            });
        }
        Ok(())
    }
}

/// The `target=` member of an output, and the output without it.
fn without_target(text: &str) -> (Option<String>, String) {
    let mut target = None;
    let mut rest = Vec::new();
    for member in text.split(',') {
        match member.strip_prefix("target=") {
            Some(name) => target = Some(name.to_owned()),
            None => rest.push(member),
        }
    }
    (target, rest.join(","))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn read(targets: &[&str], tags: &[&str], outputs: &[&str]) -> Result<Vec<OutputPlan>, String> {
        let owned = |texts: &[&str]| {
            texts
                .iter()
                .map(|&text| text.to_owned())
                .collect::<Vec<_>>()
        };
        let (targets, tags, outputs) = (owned(targets), owned(tags), owned(outputs));
        let flags = Flags {
            targets: &targets,
            tags: &tags,
            outputs: &outputs,
            push: false,
        };
        flags.read()
    }

    #[test]
    fn one_target_needs_no_name_at_its_outputs() {
        let read = read(&[], &["a/b:1", "a/c"], &["type=registry", "out"]).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].image_names, ["a/b:1", "a/c"]);
        let out = Destination::Directory(PathBuf::from("out"));
        assert_eq!(read[0].destinations, [Destination::Registry, out]);
    }

    #[test]
    fn of_several_targets_each_has_its_own_outputs() {
        let outputs = read(
            &["web", "worker"],
            &["web=a/web:1", "worker=a/worker:1"],
            &["type=registry", "type=oci,dest=out,target=worker"],
        );
        let outputs = outputs.unwrap();
        assert_eq!(outputs[0].destinations, [Destination::Registry]);
        assert_eq!(outputs[0].image_names, ["a/web:1"]);
        let layout = Destination::OciLayout(PathBuf::from("out"));
        assert_eq!(outputs[1].destinations, [Destination::Registry, layout]);
        assert_eq!(outputs[1].image_names, ["a/worker:1"]);
    }

    #[test]
    fn what_could_mean_several_things_is_refused_in_words() {
        for (targets, tags, outputs, expected) in [
            (
                &["a", "b"][..],
                &["x"][..],
                &[][..],
                "--tag x: there are several targets",
            ),
            (
                &["a", "b"],
                &[],
                &["out"],
                "--output out: there are several targets",
            ),
            (
                &["a", "b"],
                &["c=x"],
                &[],
                "--tag c=x: it is for the target \"c\", which is none of a, b",
            ),
            (&[], &["c=x"], &[], "no --target is given"),
            (&["a", "a"], &[], &[], "--target a is there twice"),
            (
                &["a", "b"],
                &["a=x"],
                &["type=registry"],
                "pushing the target b needs a name",
            ),
            (&["a"], &[], &["type=registry"], "pushing needs a name"),
            (
                &["a", "b"],
                &[],
                &["type=oci,dest=o,target=a", "type=oci,dest=o,target=b"],
                "two outputs go to o",
            ),
        ] {
            let problem = read(targets, tags, outputs).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
