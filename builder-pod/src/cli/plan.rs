//! `stagecraft-builder plan`: what a build would do, as text, JSON or a diagram.

use std::io::Write;

use stagecraft_protocol::failure::Failure;
use stagecraft_protocol::request::Mode;

use super::build::InputArguments;
use super::errors::{ErrorFormat, usage};
use crate::engine;

#[derive(clap::Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    input: InputArguments,
    /// Form of the plan on standard output
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    format: PlanFormat,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum PlanFormat {
    Text,
    Json,
    Mermaid,
    Dot,
}

/// Plans, prints the plan or what was understood of it, and gives the exit code.
pub(super) async fn run(arguments: PlanArguments) -> u8 {
    let (request, _spooled) = match arguments.input.request(Mode::Plan) {
        Ok(requested) => requested,
        Err(message) => return usage(&message),
    };
    if arguments.input.platform.len() > 1 {
        return usage("a plan is for one platform: give one --platform at a time");
    }
    let progress = crate::progress::Progress::new(Box::new(std::io::sink()));
    let error_format = arguments.input.error_format;
    let explained = match engine::explain(&request, &progress).await {
        Ok(explained) => explained,
        Err(failure) => return failed(*failure, error_format),
    };
    if let Some(plan) = &explained.plan {
        let text = match arguments.format {
            PlanFormat::Text => plan.to_string(),
            PlanFormat::Json => {
                let document = plan.document(&explained.diagnostics);
                serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
            }
            PlanFormat::Mermaid => plan.mermaid(),
            PlanFormat::Dot => plan.dot(),
        };
        // A reader that has seen enough (`| head`) closes the pipe: that is no error.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    if error_format == ErrorFormat::Text {
        for diagnostic in &explained.diagnostics {
            let text = stagecraft_dockerfile::render(diagnostic, &explained.text, &explained.file);
            eprintln!("{text}\n");
        }
    }
    explained
        .failure
        .map_or(0, |failure| failed(*failure, error_format))
}

fn failed(failure: Failure, format: ErrorFormat) -> u8 {
    let code = failure.reason.exit_code();
    let outcome = stagecraft_protocol::verdict::Outcome::Failed(failure);
    super::errors::print_end(&outcome, format);
    code
}
