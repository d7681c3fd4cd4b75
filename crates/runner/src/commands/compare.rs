//! `paragone compare`: finished runs side by side.

use super::{prepare, say};
use crate::{
    cli::CompareArgs,
    compare::{self, Compared},
    data::RunData,
    files::RunDir,
    interrupt::EXIT_INTERRUPTED,
};
use anyhow::Result;
use std::process::ExitCode;

pub fn execute(args: &CompareArgs) -> Result<ExitCode> {
    let device = prepare(&args.device, None)?;
    let runs = args.runs.iter().map(|run| Compared::read(&RunDir::new(run)));
    let runs: Vec<Compared> = runs.collect::<Result<_>>()?;
    let data = RunData::open(&runs[0].experiment, &args.datasets.datasets)?;
    let Some(comparison) = compare::write(&runs, &data, &args.out, device)? else {
        return Ok(ExitCode::from(EXIT_INTERRUPTED as u8));
    };
    say(comparison.table);
    say(format_args!("pictures and scores: {}", args.out.display()));
    Ok(ExitCode::SUCCESS)
}
