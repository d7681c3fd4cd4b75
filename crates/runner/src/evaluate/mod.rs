//! Scoring: every model's samples and likelihood under one protocol, beside rows of known quality.

mod calibration;
mod captions;
mod curves;
mod editing;
mod extras;
mod inpainting;
mod likelihood;
mod memo;
mod model;
mod references;
mod samples;
mod truth;

pub use calibration::{Calibration, CalibrationScores};
pub use captions::CaptionScores;
pub use editing::Pairs;
pub use extras::{Repetition, inception_scores};
pub use inpainting::Holes;
pub use likelihood::{LikelihoodScore, TrainTestGap};
pub use model::{ModelScores, Settings};
pub use references::{BySplit, References, Scored, SplitScores};
pub use samples::{Kept, Samples};
pub use truth::nearest;

use crate::{
    config::{Experiment, Problem, Reference},
    data::{RunData, placed},
    features::Networks,
    files::{RunDir, read_json_if_there, write_json},
    train::device_kind,
};
use anyhow::{Error, Result, ensure};
use captions::Captions;
use curves::CurveReference;
use editing::Editing;
use extras::Repeats;
use inpainting::Inpainting;
use model::Scene;
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tch::Device;
use truth::Known;

/// Counts up when this program computes a score otherwise.
const SCORES_VERSION: u32 = 7;
/// Counts up when this program draws other samples from the same model.
const SAMPLES_VERSION: u32 = 2;

/// Why samples have no conditional accuracy.
pub const NO_JUDGE: &str = "no network judges what images of this dataset show";

/// The same, where a judge has nothing to look for.
const NOTHING_ASKED: &str = "samples were asked for nothing that can be judged";

/// What all scores of a run depend on besides its models: if it changes, they are made anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// `SCORES_VERSION` at the time.
    pub version: u32,
    /// The experiment's `eval` section.
    pub eval: serde_json::Value,
    /// SHA-256 of the training images.
    pub train_hash: String,
    /// SHA-256 of the test images.
    pub test_hash: String,
    /// SHA-256 of the network whose features are compared.
    pub features_hash: String,
    /// The same of further networks.
    pub other_features_hashes: Vec<String>,
    /// SHA-256 of the weights that judge classes, if any do.
    pub judge_hash: Option<String>,
    /// `cpu` or `cuda`: what times were measured on.
    pub device: String,
}

impl Basis {
    fn of(
        experiment: &Experiment,
        data: &RunData,
        networks: &Networks,
        device: Device,
    ) -> Result<Self> {
        Ok(Self {
            version: SCORES_VERSION,
            eval: serde_json::to_value(&experiment.eval)?,
            train_hash: data.train.hash.clone(),
            test_hash: data.test()?.hash.clone(),
            features_hash: networks.extractor.hash().to_owned(),
            other_features_hashes: networks.others.iter().map(|x| x.hash().to_owned()).collect(),
            judge_hash: networks.judge.as_ref().map(|judge| judge.hash().to_owned()),
            device: device_kind(device).to_owned(),
        })
    }
}

/// Checks, before hours of training, that scores can be taken after them.
///
/// # Errors
/// The place of the key in `eval` that cannot be met.
pub fn check(experiment: &Experiment, data: &RunData, device: Device) -> Result<()> {
    let networks = Networks::open(experiment, data, device)?;
    let eval = &experiment.eval;
    let invalid = |key: &str, value: String, rule: String| {
        Err(experiment.error(&["eval", key], Problem::Invalid { value, rule }).into())
    };
    if eval.reference.contains(&Reference::Validation) && !experiment.data.validation {
        let rule =
            "needs `data.validation: true`, which keeps that split out of training".to_owned();
        return invalid("reference", "validation".to_owned(), rule);
    }
    let test = data.test().map_err(|error| match error.downcast() {
        Ok(error) => placed(experiment, error),
        Err(error) => error,
    })?;
    for (split, set) in [("training", &data.train), ("test", test)] {
        let least = eval.precision_recall_k.max(eval.density_coverage_k) as i64 + 1;
        ensure!(
            set.len() >= least,
            "{}: there are {} {split} images, but scores from nearest neighbours need at least {least}",
            experiment.data.dataset,
            set.len()
        );
    }
    let fewest = (eval.samples as i64).min(data.train.len()).min(test.len());
    for (key, k) in [
        ("precision_recall_k", eval.precision_recall_k),
        ("density_coverage_k", eval.density_coverage_k),
    ] {
        if k as i64 >= fewest {
            return invalid(
                key,
                k.to_string(),
                format!("must be below {fewest}, the fewest images compared"),
            );
        }
    }
    let masks = &eval.inpainting.masks;
    if eval.inpainting.images > 0 && Holes::all(masks, data, 1)?.is_empty() {
        let value = format!("{masks:?}").to_lowercase();
        let rule =
            "no kind of mask suits the data: nothing is known of where its objects are".to_owned();
        let problem = Problem::Invalid { value, rule };
        return Err(experiment.error(&["eval", "inpainting", "masks"], problem).into());
    }
    let judged = networks.judge.as_ref().is_some_and(|judge| judge.attributes().is_some());
    let editing = &eval.editing;
    if editing.pairs > 0 && (!judged || Pairs::all(&editing.kinds, data, 1).is_empty()) {
        let rule = match judged {
            true => {
                "must be 0: of none of these kinds are there pairs that the models can be told of"
            }
            false => "must be 0: no network can judge edits of this data",
        };
        let problem = Problem::Invalid { value: editing.pairs.to_string(), rule: rule.to_owned() };
        return Err(experiment.error(&["eval", "editing", "pairs"], problem).into());
    }
    Ok(())
}

/// Scores every trained model of a run that has no scores under the present settings, and the calibration rows.
///
/// Returns which models could not be scored, and why: [`Panicked`] where libtorch failed, otherwise wrong input. `None` when
/// the user asked to stop.
pub fn evaluate_run(
    experiment: &Experiment,
    data: &RunData,
    run: &RunDir,
    device: Device,
) -> Result<Option<Vec<Error>>> {
    let networks = Networks::open(experiment, data, device)?;
    let basis = Basis::of(experiment, data, &networks, device)?;
    let trained = |name: &str| run.model(name).summary().exists();
    let failed = |name: &str, error: Error| {
        // What is there was scored under other settings.
        let _ = std::fs::remove_file(run.model(name).scores());
        error.context(format!("{name} could not be scored"))
    };
    let (mut stale, mut unscored) = (Vec::new(), Vec::new());
    for config in experiment.models.iter().filter(|config| trained(&config.name)) {
        let dir = run.model(&config.name);
        let settings = match Settings::of(&basis, config, &dir) {
            Ok(settings) => settings,
            Err(error) => {
                unscored.push(failed(&config.name, error));
                continue;
            }
        };
        let scores = read_json_if_there::<ModelScores>(&dir.scores());
        // Scores of an older version of this program do not parse: they are made anew.
        if scores.ok().flatten().is_none_or(|scores| scores.settings != settings) {
            stale.push((config, settings));
        }
    }
    let calibration = read_json_if_there::<Calibration>(&run.calibration()).ok().flatten();
    let calibrated = calibration.is_some_and(|calibration| calibration.basis == basis);
    if stale.is_empty() && calibrated {
        return Ok(Some(unscored));
    }

    let Some(references) = References::prepare(experiment, data, networks)? else {
        return Ok(None);
    };
    let by_class = extras::by_class(&references, data)?;
    let known = Known::of(&experiment.data)?;
    let captions = Captions::of(data, &references)?;
    let (filling, shown) = (&experiment.eval.inpainting, &experiment.data.masks);
    let inpainting = Inpainting::new(filling, shown, data, &references, known.as_ref())?;
    let editing = Editing::new(&experiment.eval.editing, data, &references);
    if !calibrated {
        let scene = calibration::Scene {
            references: &references,
            by_class: by_class.as_ref(),
            known: known.as_ref(),
            captions: captions.as_ref(),
            inpainting: inpainting.as_ref(),
            editing: editing.as_ref(),
            data,
            experiment,
        };
        let Some(calibration) = calibration::calibrate(&scene, &basis)? else { return Ok(None) };
        write_json(&run.calibration(), &calibration)?;
    }
    let curves = CurveReference::new(experiment, &references, data)?;
    let looks = experiment.eval.memorization_samples > 0 && !stale.is_empty();
    let repeats = match looks {
        false => None,
        true => match Repeats::new(&references, data)? {
            Some(repeats) => Some(repeats),
            None => return Ok(None),
        },
    };
    let scene = Scene {
        experiment,
        data,
        references: &references,
        by_class: by_class.as_ref(),
        known: known.as_ref(),
        captions: captions.as_ref(),
        inpainting: inpainting.as_ref(),
        editing: editing.as_ref(),
        repeats: repeats.as_ref(),
        curves: curves.as_ref(),
        device,
    };
    for (config, settings) in stale {
        let dir = run.model(&config.name);
        match guarded(|| model::score(&scene, config, settings, &dir)) {
            Ok(Some(scores)) => write_json(&dir.scores(), &scores)?,
            Ok(None) => return Ok(None),
            Err(error) => unscored.push(failed(&config.name, error)),
        }
    }
    Ok(Some(unscored))
}

/// Runs an action in which libtorch may panic, such as when memory runs out.
fn guarded<T>(action: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(action))
        .unwrap_or_else(|panic| Err(Panicked::new(&*panic).into()))
}

/// What libtorch said as it failed, such as that memory has run out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Panicked(String);

impl Panicked {
    fn new(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        Self(text.unwrap_or("it panicked").to_owned())
    }
}
