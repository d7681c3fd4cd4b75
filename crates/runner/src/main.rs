//! The `paragone` command.

use anyhow::Error;
use clap::Parser;
use paragone::{
    cli::Cli,
    commands::{self, EXIT_WRONG_INPUT},
    interrupt::{self, EXIT_INTERRUPTED},
};
use paragone_data::DataError;
use std::process::ExitCode;

fn main() -> ExitCode {
    torch_ext::tune_allocator();
    let cli = Cli::parse();
    if let Err(error) = interrupt::listen() {
        return fail(&error.into());
    }
    match commands::execute(cli.command) {
        Ok(code) => code,
        Err(error) if matches!(error.downcast_ref(), Some(DataError::Stopped)) => {
            ExitCode::from(EXIT_INTERRUPTED as u8)
        }
        Err(error) => fail(&error),
    }
}

#[allow(clippy::print_stderr)]
fn fail(error: &Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(EXIT_WRONG_INPUT)
}
