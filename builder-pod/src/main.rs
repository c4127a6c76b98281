//! Entry point of the builder: everything is in the library's `cli`.

fn main() -> std::process::ExitCode {
    stagecraft_builder::cli::main()
}
