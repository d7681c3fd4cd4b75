//! Scoring one model: samples without any quality knob, likelihood, and what both cost.

use super::{
    Basis, References, SplitScores,
    likelihood::{self, LikelihoodScore},
};
use crate::{
    config::{Experiment, ModelConfig},
    data::RunData,
    draw::{Drawing, representative_classes},
    files::{ModelDir, aside, read_json, write_json},
    log::Reporter,
    train::{device_kind, write_tensors},
    trained::Trained,
};
use anyhow::{Context, Result};
use paragone_core::{Fact, mix};
use paragone_data::hex;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fs, path::PathBuf};
use tch::{Device, Tensor};

/// What scores depend on besides the weights: if it changes, they are made anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What all models' scores depend on.
    #[serde(flatten)]
    pub basis: Basis,
    /// The model's section, its sampler included.
    pub model: serde_json::Value,
}

impl Settings {
    /// The settings under which a model would be scored now.
    pub fn of(basis: &Basis, config: &ModelConfig) -> Self {
        Self { basis: basis.clone(), model: section(config) }
    }
}

fn section(config: &ModelConfig) -> serde_json::Value {
    serde_json::to_value(config.model.to_value()).expect("a section has string keys only")
}

/// All scores of one model: saved as `scores.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelScores {
    /// What they depend on.
    pub settings: Settings,
    /// Name of a reference split to feature scores.
    pub splits: BTreeMap<String, SplitScores>,
    /// Likelihood by every method the model offers, the headline first, or why there is none.
    pub likelihood: Result<Vec<LikelihoodScore>, String>,
    /// Share of samples that a classifier other than the features' takes for the class asked, one entry an evaluation
    /// seed; or why there is none.
    pub conditional_accuracy: Result<Vec<f64>, String>,
    /// Network calls of one sample.
    pub network_calls: u64,
    /// Seconds of one sample, drawn in batches of `eval.batch_size`.
    pub seconds_per_image: f64,
    /// Numbers about the model.
    pub facts: Vec<OwnedFact>,
}

/// A [`Fact`] that can be read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnedFact {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// What it means.
    pub meaning: String,
}

impl From<Fact> for OwnedFact {
    fn from(fact: Fact) -> Self {
        Self { name: fact.name.to_owned(), value: fact.value, meaning: fact.meaning.to_owned() }
    }
}

/// Scores a model; `None` when the user asked to stop.
pub fn score(
    experiment: &Experiment,
    config: &ModelConfig,
    settings: Settings,
    data: &RunData,
    references: &References,
    dir: &ModelDir,
    device: Device,
) -> Result<Option<ModelScores>> {
    let eval = &experiment.eval;
    let trained = Trained::load(config, dir, device)?;
    let (model, spec) = (&*trained.model, &trained.spec);
    let classes = representative_classes(data.train.classes.as_ref(), spec, eval.samples as usize);
    let asked = Tensor::from_slice(&classes);

    let mut sets = Vec::new();
    let mut cost = Cost::default();
    for &seed in &eval.seeds {
        let source = Source {
            version: settings.basis.version,
            model: section(config),
            weights: hex(&Sha256::digest(fs::read(&trained.weights)?)),
            train_hash: data.train.hash.clone(),
            samples: eval.samples,
            batch_size: eval.batch_size,
            device: device_kind(device).to_owned(),
        };
        let images = ScoredImages::new(dir, seed);
        let (levels, spent) = match images.read(&source) {
            Some(drawn) => drawn,
            None => {
                let seeds = (0..eval.samples).map(|i| mix(&[seed, i])).collect();
                let drawing = Drawing::new(classes.clone(), seeds, eval.batch_size as usize);
                let title = format!("{} samples", config.name);
                let mut reporter = Reporter::new(&title, "images", 0, eval.samples);
                let drawn = drawing.draw(model, spec, device, Some(&mut reporter))?;
                reporter.finish();
                let Some(drawn) = drawn else { return Ok(None) };
                let cost = Cost { network_calls: drawn.network_calls, seconds: drawn.seconds };
                images.write(&drawn.levels, &asked, source, cost)?;
                (drawn.levels, cost)
            }
        };
        cost.network_calls = spent.network_calls;
        cost.seconds += spent.seconds;
        sets.push(levels);
    }
    let conditional_accuracy = match &references.networks.judge {
        None => Err(super::NO_JUDGE.to_owned()),
        Some(judge) => {
            let accuracy = sets.iter().map(|levels| judge.class_accuracy(levels, &asked));
            Ok(accuracy.collect::<Result<_, _>>()?)
        }
    };
    let splits = references.score(&sets)?;
    let batch_size = eval.batch_size as i64;
    let images = eval.likelihood_images;
    let measured = likelihood::measure(model, data.test()?, spec, images, batch_size, device)?;
    let Some(likelihood) = measured else { return Ok(None) };
    Ok(Some(ModelScores {
        settings,
        splits,
        likelihood,
        conditional_accuracy,
        network_calls: cost.network_calls,
        seconds_per_image: cost.seconds / (eval.samples * eval.seeds.len() as u64) as f64,
        facts: model.facts().into_iter().map(OwnedFact::from).collect(),
    }))
}

/// What a set of images was drawn from. The same source is drawn from once.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Source {
    version: u32,
    model: serde_json::Value,
    /// SHA-256 of the averaged weights.
    weights: String,
    /// SHA-256 of the training images, whose classes' frequencies samples have.
    train_hash: String,
    samples: u64,
    batch_size: u64,
    device: String,
}

/// What drawing a set cost.
#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize)]
struct Cost {
    network_calls: u64,
    seconds: f64,
}

/// Scored images on disk, so that other scores need not draw them again, and anyone can score them by other means.
struct ScoredImages {
    images: PathBuf,
    source: PathBuf,
}

impl ScoredImages {
    fn new(dir: &ModelDir, seed: u64) -> Self {
        let images = dir.scored_images(seed);
        Self { source: images.with_extension("json"), images }
    }

    /// The images and what they cost, if they were drawn from `source`; files that do not parse are drawn again.
    fn read(&self, source: &Source) -> Option<(Tensor, Cost)> {
        let (drawn_from, cost): (Source, Cost) = read_json(&self.source).ok()?;
        let tensors = (drawn_from == *source).then(|| Tensor::read_safetensors(&self.images))?;
        let (_, levels) = tensors.ok()?.into_iter().find(|(name, _)| name == IMAGES)?;
        Some((levels, cost))
    }

    fn write(&self, levels: &Tensor, classes: &Tensor, source: Source, cost: Cost) -> Result<()> {
        // Images without a source are drawn again; a source without its images never stands.
        let _ = fs::remove_file(&self.source);
        let aside = aside(&self.images);
        let named = [
            (IMAGES.to_owned(), levels.shallow_clone()),
            ("classes".to_owned(), classes.shallow_clone()),
        ];
        write_tensors(&named, &aside)?;
        fs::rename(&aside, &self.images)
            .with_context(|| format!("cannot write {}", self.images.display()))?;
        write_json(&self.source, &(source, cost))
    }
}

/// Name of the images' tensor, u8 `[n, c, h, w]`.
const IMAGES: &str = "images";
