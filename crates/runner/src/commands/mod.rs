//! One file a command.

mod ask;
mod audit;
mod compare;
mod data;
mod edit;
mod eval;
mod families;
mod features;
mod given;
mod inpaint;
mod latents;
mod run;
mod sample;
mod schema;
mod score;
mod train;
mod trajectory;

use crate::{
    cli::{Command, DeviceArgs},
    config::MAX_THREADS,
    interrupt::EXIT_INTERRUPTED,
    log::note,
};
use anyhow::Result;
use std::process::ExitCode;
use tch::Device;

/// Exit code of wrong input: a wrong argument, an experiment that cannot run, a damaged file.
pub const EXIT_WRONG_INPUT: u8 = 2;

/// Does what the command line asks. An error is wrong input; other ends have their exit codes.
pub fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(args) => run::execute(&args),
        Command::Train(args) => train::execute(&args),
        Command::Eval(args) => eval::execute(&args),
        Command::Sample(args) => sample::execute(&args),
        Command::Inpaint(args) => inpaint::execute(&args),
        Command::Edit(args) => edit::execute(&args),
        Command::Reconstruct(args) => latents::reconstruct(&args),
        Command::Interpolate(args) => latents::interpolate(&args),
        Command::Score(args) => score::execute(&args),
        Command::Compare(args) => compare::execute(&args),
        Command::Audit(args) => audit::execute(&args),
        Command::Trajectory(args) => trajectory::execute(&args),
        Command::Data(args) => data::execute(&args),
        Command::Features(args) => features::execute(&args),
        Command::Families { family } => families::execute(family.as_deref()),
        Command::Schema => schema::execute(),
    }
}

/// Chooses threads and device. `threads`: the experiment's wish, which the command line overrules.
fn prepare(args: &DeviceArgs, threads: Option<u64>) -> Result<Device> {
    if let Some(threads) = args.threads.or(threads) {
        anyhow::ensure!(
            (1..=MAX_THREADS).contains(&threads),
            "--threads is {threads}, but must be from 1 to {MAX_THREADS}"
        );
        tch::set_num_threads(threads as i32);
    }
    args.device.open()
}

/// The end of a command that the user stopped before it wrote anything.
fn stopped() -> ExitCode {
    note("stopped: nothing is written");
    ExitCode::from(EXIT_INTERRUPTED as u8)
}

/// Prints a line to standard output; a closed pipe ends the program quietly, as `| head` expects.
fn say(text: impl std::fmt::Display) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{text}").is_err() {
        std::process::exit(0);
    }
}
