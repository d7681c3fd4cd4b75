//! The real images that samples are compared with.

use crate::{
    config::{EvalConfig, Experiment, Reference as Part},
    data::RunData,
    features::Networks,
    interrupt,
    log::Reporter,
};
use anyhow::{Context, Result};
use paragone_data::Split;
use paragone_metrics::{Protocol, Reference, ScoreOptions, Scores};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::Tensor;

/// Scores of one set of images against one split of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitScores {
    /// The circumstances.
    pub protocol: Protocol,
    /// One entry an evaluation seed.
    pub scores: Vec<Scores>,
}

/// The reference splits, ready to score sets of `samples` images.
#[derive(Debug)]
pub struct References {
    /// The networks that scores are taken with.
    pub networks: Networks,
    /// Images in a set.
    pub samples: i64,
    /// Seeds of the sets.
    pub seeds: Vec<u64>,
    splits: Vec<(&'static str, String, Reference)>,
}

impl References {
    /// Computes the features of every reference split; `None` when the user asked to stop.
    pub fn prepare(
        experiment: &Experiment,
        data: &RunData,
        networks: Networks,
    ) -> Result<Option<Self>> {
        let eval = &experiment.eval;
        let samples = eval.samples as i64;
        let mut splits = Vec::new();
        for &part in &eval.reference {
            let validation;
            let (name, set) = match part {
                Part::Train => ("train", &data.train),
                Part::Test => ("test", data.test()?),
                Part::Validation => {
                    validation = data.dataset.load(Split::Validation)?;
                    ("validation", &validation)
                }
            };
            let mut reporter =
                Reporter::new(&format!("features of {name}"), "images", 0, set.len() as u64);
            let extractor = &networks.extractor;
            let features =
                extractor.features_with_progress(&set.images, &mut |done, _| reporter.set(done))?;
            reporter.finish();
            if interrupt::asked() {
                return Ok(None);
            }
            let reference = Reference::new(&features, samples, &options(eval))
                .with_context(|| format!("the {name} split cannot be a reference"))?;
            splits.push((name, set.hash.clone(), reference));
        }
        Ok(Some(Self { networks, samples, seeds: eval.seeds.clone(), splits }))
    }

    /// Names of the splits.
    pub fn splits(&self) -> impl Iterator<Item = &'static str> {
        self.splits.iter().map(|(name, ..)| *name)
    }

    /// Scores sets of images, one an evaluation seed, against every split. Images: u8 `[samples, c, h, w]`.
    pub fn score(&self, sets: &[Tensor]) -> Result<BTreeMap<String, SplitScores>> {
        let features = sets.iter().map(|images| self.networks.extractor.features(images));
        let features = features.collect::<Result<Vec<_>, _>>()?;
        let mut scores = BTreeMap::new();
        for (name, hash, reference) in &self.splits {
            let protocol = reference.protocol(&*self.networks.extractor, name, hash, &self.seeds);
            let of_seeds = features.iter().map(|features| reference.score(features));
            let of_seeds = of_seeds.collect::<Result<Vec<_>, _>>()?;
            scores.insert((*name).to_owned(), SplitScores { protocol, scores: of_seeds });
        }
        Ok(scores)
    }
}

fn options(eval: &EvalConfig) -> ScoreOptions {
    ScoreOptions {
        kernel_subsets: eval.kernel_subsets as i64,
        kernel_subset_size: eval.kernel_subset_size as i64,
        precision_recall_k: eval.precision_recall_k as i64,
        density_coverage_k: eval.density_coverage_k as i64,
        ..ScoreOptions::default()
    }
}
