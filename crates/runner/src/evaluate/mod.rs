//! Scoring: every model's samples and likelihood under one protocol, beside rows of known quality.

mod likelihood;
mod model;
mod references;

pub use likelihood::LikelihoodScore;
pub use model::{ModelScores, Settings};
pub use references::{Calibration, References, SplitScores};

use crate::{
    config::Experiment,
    data::RunData,
    files::{RunDir, read_json_if_there, write_json},
    log::note,
    train::Summary,
};
use anyhow::{Error, Result, anyhow};
use std::{
    ops::ControlFlow,
    panic::{AssertUnwindSafe, catch_unwind},
};
use tch::Device;

/// Scores every trained model of a run that has no scores under the present settings, and the calibration rows.
///
/// A model that cannot be scored is named and left out. Breaks when the user asked to stop.
pub fn evaluate_run(
    experiment: &Experiment,
    data: &RunData,
    run: &RunDir,
    device: Device,
) -> Result<ControlFlow<()>> {
    let trained = |name: &str| run.model(name).summary().exists();
    let mut stale = Vec::new();
    for config in experiment.models.iter().filter(|config| trained(&config.name)) {
        let settings = Settings::of(experiment, config, data);
        let scores = read_json_if_there::<ModelScores>(&run.model(&config.name).scores());
        // Scores of an older version of this program do not parse: they are made anew.
        if scores.ok().flatten().is_none_or(|scores| scores.settings != settings) {
            stale.push((config, settings));
        }
    }
    let calibration = run.calibration();
    let calibrated = read_json_if_there::<Calibration>(&calibration).ok().flatten();
    let eval = serde_json::to_value(&experiment.eval)?;
    let fits = |c: &Calibration| c.eval == eval && c.data_hash == data.train.hash;
    let needs_calibration = !calibrated.as_ref().is_some_and(fits);
    if stale.is_empty() && !needs_calibration {
        return Ok(ControlFlow::Continue(()));
    }

    let references = References::prepare(experiment, data, device)?;
    if needs_calibration {
        write_json(&calibration, &references.calibrate(data, eval)?)?;
    }
    for (config, settings) in stale {
        let dir = run.model(&config.name);
        let _ = std::fs::remove_file(dir.scores());
        let scored =
            guarded(|| model::score(experiment, config, settings, data, &references, &dir, device));
        match scored {
            Ok(Some(scores)) => write_json(&dir.scores(), &scores)?,
            Ok(None) => return Ok(ControlFlow::Break(())),
            Err(error) => note(&format!("{} could not be scored: {error:#}", config.name)),
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Runs an action in which libtorch may panic, such as when memory runs out.
fn guarded<T>(action: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|panic| Err(panic_message(&*panic)))
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    anyhow!("{}", text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("it panicked"))
}

/// What training cost, for a model that is finished.
pub fn summary(run: &RunDir, model: &str) -> Result<Option<Summary>> {
    read_json_if_there(&run.model(model).summary())
}
