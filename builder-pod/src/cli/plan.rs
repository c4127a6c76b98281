//! `stagecraft-builder plan`: what a build would do, as text or JSON.

use std::io::Write;

use stagecraft_protocol::request::Mode;

use super::build::InputArguments;
use super::errors::usage;
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
}

/// Plans, prints the plan, and gives the exit code.
pub(super) async fn run(arguments: PlanArguments) -> u8 {
    let request = match arguments.input.request(Mode::Plan) {
        Ok(request) => request,
        Err(message) => return usage(&message),
    };
    let progress = crate::progress::Progress::new(Box::new(std::io::sink()));
    match engine::plan_only(&request, &progress).await {
        Ok(plan) => {
            let text = match arguments.format {
                PlanFormat::Text => plan.to_string(),
                PlanFormat::Json => serde_json::to_string_pretty(&plan).unwrap_or_default() + "\n",
            };
            // A reader that has seen enough (`| head`) closes the pipe: that is no error.
            let _ = std::io::stdout().write_all(text.as_bytes());
            0
        }
        Err(failure) => {
            let code = failure.reason.exit_code();
            let outcome = stagecraft_protocol::verdict::Outcome::Failed(*failure);
            super::errors::print_end(&outcome, arguments.input.error_format);
            code
        }
    }
}
