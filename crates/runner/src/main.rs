//! The `paragone` command.

use anyhow::Error;
use clap::Parser;
use paragone::{cli::Cli, commands, interrupt};
use std::process::ExitCode;

/// Exit code of wrong input: a wrong argument, an experiment that cannot run, a damaged file.
const EXIT_WRONG_INPUT: u8 = 2;

fn main() -> ExitCode {
    torch_ext::tune_allocator();
    let cli = Cli::parse();
    if let Err(error) = interrupt::listen() {
        return fail(&error.into());
    }
    match commands::execute(cli.command) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

#[allow(clippy::print_stderr)]
fn fail(error: &Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(EXIT_WRONG_INPUT)
}
