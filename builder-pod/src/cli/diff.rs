//! `stagecraft-builder diff`: what made two images differ.

use std::io::Write;
use std::sync::Arc;

use stagecraft_image::Platform;
use stagecraft_registry::Registry;

use super::build::{RegistryArguments, docker_config, scratch};
use super::errors::usage;
use crate::diff::{Difference, ImagePlace, OpenedImage, compare};
use crate::failure::chain;

/// The code of two images that differ, as `diff` has it; one that could not be read is the usage error's.
const DIFFERENT: u8 = 1;

#[derive(clap::Args)]
pub(super) struct DiffArguments {
    /// An OCI layout, an archive of one or of `docker save`, or an image's name
    #[arg(value_name = "A")]
    a: String,
    /// What it is compared with
    #[arg(value_name = "B")]
    b: String,
    /// Form of the differences on standard output
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    format: DiffFormat,
    /// Platform of the images where there are several [default: that of this machine]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<String>,
    #[command(flatten)]
    registries: RegistryArguments,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum DiffFormat {
    Text,
    Json,
}

/// Compares, prints the differences, and gives the exit code: 0 for none, 1 for some, 2 when it cannot be said.
pub(super) async fn run(arguments: DiffArguments) -> u8 {
    match differences(&arguments).await {
        Ok(differences) => {
            print(&differences, arguments.format);
            if differences.is_empty() { 0 } else { DIFFERENT }
        }
        Err(message) => usage(&message),
    }
}

async fn differences(arguments: &DiffArguments) -> Result<Vec<Difference>, String> {
    let platform = match &arguments.platform {
        None => Platform::host(),
        Some(text) => text
            .parse()
            .map_err(|error| format!("--platform {text}: {}", chain(&error)))?,
    };
    let settings = arguments.registries.settings()?;
    let client = crate::engine::registry_client(&settings, &docker_config(), false)
        .map_err(|failure| failure.message)?;
    let registry: Arc<dyn Registry> = Arc::new(client);
    let scratch = scratch()?;
    let mut images = Vec::with_capacity(2);
    for text in [&arguments.a, &arguments.b] {
        let failed = |error| format!("{text}: {}", chain(&error));
        let place = ImagePlace::parse(text).map_err(failed)?;
        let image = OpenedImage::open(&place, &platform, &registry, scratch.path()).await;
        images.push(image.map_err(failed)?);
    }
    let [a, b] = images.as_slice() else {
        return Ok(Vec::new());
    };
    compare(a, b).await.map_err(|error| chain(&error))
}

fn print(differences: &[Difference], format: DiffFormat) {
    let text = match format {
        DiffFormat::Text => differences.iter().map(|line| format!("{line}\n")).collect(),
        DiffFormat::Json => serde_json::to_string_pretty(differences).unwrap_or_default() + "\n",
    };
    // A reader that has seen enough (`| head`) closes the pipe: that is no error.
    let _ = std::io::stdout().write_all(text.as_bytes());
}
