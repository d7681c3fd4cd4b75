//! Scoring one model: samples without any quality knob, likelihood, and what both cost.

use super::{
    References, SplitScores,
    likelihood::{self, LikelihoodScore},
};
use crate::{
    config::{Experiment, ModelConfig},
    data::RunData,
    draw::{Drawing, representative_classes},
    files::{ModelDir, aside},
    log::Reporter,
    train::write_tensors,
    trained::Trained,
};
use anyhow::{Context, Result};
use paragone_core::{Fact, mix};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs};
use tch::{Device, Tensor};

/// What scores depend on besides the weights: if it changes, they are made anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The experiment's `eval` section.
    pub eval: serde_json::Value,
    /// The model's section, its sampler included.
    pub model: serde_json::Value,
    /// SHA-256 of the training images.
    pub data_hash: String,
}

impl Settings {
    /// The settings under which a model would be scored now.
    pub fn of(experiment: &Experiment, config: &ModelConfig, data: &RunData) -> Self {
        let value = |section: serde_yaml::Value| {
            serde_json::to_value(section).expect("a section has string keys only")
        };
        Self {
            eval: serde_json::to_value(&experiment.eval).expect("a section is plain data"),
            model: value(config.model.to_value()),
            data_hash: data.train.hash.clone(),
        }
    }
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
    /// seed; empty without classes or without such a classifier.
    pub conditional_accuracy: Vec<f64>,
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
    let judge = crate::features::judge(data, device);
    let classes = representative_classes(data.train.classes.as_ref(), spec, eval.samples as usize);
    let asked = Tensor::from_slice(&classes);

    let (mut sets, mut accuracy) = (Vec::new(), Vec::new());
    let (mut network_calls, mut seconds) = (0, 0.0);
    for &seed in &eval.seeds {
        let seeds = (0..eval.samples).map(|i| mix(&[seed, i])).collect();
        let drawing = Drawing::new(classes.clone(), seeds, eval.batch_size as usize);
        let title = format!("{} samples", config.name);
        let mut reporter = Reporter::new(&title, "images", 0, eval.samples);
        let drawn = drawing.draw(model, spec, device, Some(&mut reporter))?;
        reporter.finish();
        let Some(drawn) = drawn else { return Ok(None) };
        save_images(&drawn.levels, &asked, dir, seed)?;
        if let Some(judge) = &judge {
            accuracy.push(judge.class_accuracy(&drawn.levels, &asked)?);
        }
        network_calls = drawn.network_calls;
        seconds += drawn.seconds / (eval.samples * eval.seeds.len() as u64) as f64;
        sets.push(drawn.levels);
    }
    let splits = references.score(&sets)?;
    let batch_size = eval.batch_size as i64;
    let images = eval.likelihood_images;
    let measured = likelihood::measure(model, &references.test, spec, images, batch_size, device)?;
    let Some(likelihood) = measured else { return Ok(None) };
    Ok(Some(ModelScores {
        settings,
        splits,
        likelihood,
        conditional_accuracy: accuracy,
        network_calls,
        seconds_per_image: seconds,
        facts: model.facts().into_iter().map(OwnedFact::from).collect(),
    }))
}

/// Keeps the scored images, so that anyone can score them again by other means.
fn save_images(levels: &Tensor, classes: &Tensor, dir: &ModelDir, seed: u64) -> Result<()> {
    let path = dir.scored_images(seed);
    let aside = aside(&path);
    let named = [
        ("images".to_owned(), levels.shallow_clone()),
        ("classes".to_owned(), classes.shallow_clone()),
    ];
    write_tensors(&named, &aside)?;
    fs::rename(&aside, &path).with_context(|| format!("cannot write {}", path.display()))
}
