//! `paragone eval`: scores the models of a run again.

use super::{
    prepare,
    run::{Failed, exit_code},
    say,
};
use crate::{
    cli::EvalArgs,
    compare::{self, Compared},
    data::RunData,
    evaluate,
    files::{RunDir, write_atomically},
    interrupt::EXIT_INTERRUPTED,
    trained::read_experiment,
};
use anyhow::Result;
use std::process::ExitCode;

pub fn execute(args: &EvalArgs) -> Result<ExitCode> {
    let run = RunDir::new(&args.run);
    let experiment = read_experiment(&run, &args.set)?;
    let before = read_experiment(&run, &[])?;
    let device = prepare(&args.device, None)?;
    let data = RunData::open(&experiment, &args.datasets.datasets)?;
    experiment.check_data(&data.spec)?;
    evaluate::check(&experiment, &data, device)?;
    if let Some(change) = experiment.difference(&before).trained {
        anyhow::bail!("{} decides training, and eval does not train", change.key);
    }
    let _lock = run.lock()?;
    // First of all: should this be stopped, the scores that are there are of other settings than the run's, which says so.
    write_atomically(&run.experiment(), experiment.to_yaml().as_bytes())?;
    let Some(unscored) = evaluate::evaluate_run(&experiment, &data, &run, device)? else {
        return Ok(ExitCode::from(EXIT_INTERRUPTED as u8));
    };
    let out = args.out.clone().unwrap_or_else(|| run.comparison());
    let compared = Compared::read(&run)?;
    let Some(table) = compare::write(&[compared], &data, &out, device)? else {
        return Ok(ExitCode::from(EXIT_INTERRUPTED as u8));
    };
    say(table);
    say(format_args!("pictures and scores: {}", out.display()));
    let failed: Vec<Failed> = unscored.into_iter().map(Failed::from).collect();
    Ok(exit_code(&failed))
}
