//! `paragone train`: one model of a run, in a process of its own.

use super::prepare;
use crate::{
    cli::TrainArgs,
    data::RunData,
    files::RunDir,
    interrupt::{self, EXIT_INTERRUPTED},
    log::{self, note},
    train::{Outcome, Session},
    trained::read_experiment,
};
use anyhow::Result;
use std::process::ExitCode;

/// Exit code of a training that diverged.
pub const EXIT_DIVERGED: u8 = 3;

pub fn execute(args: &TrainArgs) -> Result<ExitCode> {
    if args.follow_parent {
        interrupt::follow_parent();
    }
    if args.plain {
        log::plain();
    }
    let run = RunDir::new(&args.run);
    let experiment = read_experiment(&run, &[])?;
    let device = prepare(&args.device, experiment.train.threads())?;
    let data = RunData::open(&experiment, &args.datasets.datasets)?;
    let session = Session::new(&experiment, &args.model, &data, run.model(&args.model), device)?;
    Ok(match session.run()? {
        Outcome::Finished(_) => ExitCode::SUCCESS,
        Outcome::Interrupted(step) => {
            note(&format!("{}: stopped after step {step}; the same command continues", args.model));
            ExitCode::from(EXIT_INTERRUPTED as u8)
        }
        Outcome::Diverged(failure) => {
            note(&format!("{}: {}", args.model, failure.reason));
            ExitCode::from(EXIT_DIVERGED)
        }
    })
}
