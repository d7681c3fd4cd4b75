//! The real images that samples are compared with, in the features of every extractor asked for.

use crate::{
    config::{EvalConfig, Experiment, Reference as Part},
    data::RunData,
    feature_cache,
    features::{Judge, Networks},
};
use anyhow::{Context, Result};
use paragone_data::Split;
use paragone_metrics::{FeatureExtractor, Protocol, Reference, ScoreOptions, Scores};
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

/// Name of a reference split to scores against it.
pub type BySplit = BTreeMap<String, SplitScores>;

/// All feature scores of sets of images, one set an evaluation seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// In the headline's features.
    pub splits: BySplit,
    /// In others, by the extractor's name.
    pub other_features: BTreeMap<String, BySplit>,
}

/// The reference splits in every extractor's features, ready to score sets of `samples` images.
#[derive(Debug)]
pub struct References {
    /// The headline's features.
    pub headline: Space,
    /// Other features.
    pub others: Vec<Space>,
    /// Tells whether samples show what was asked; none for data without a network that could.
    pub judge: Option<Judge>,
    /// Images in a set.
    pub samples: i64,
    /// Seeds of the sets.
    pub seeds: Vec<u64>,
}

/// The reference splits and the test images in one extractor's features.
#[derive(Debug)]
pub struct Space {
    /// What makes the features.
    pub extractor: Box<dyn FeatureExtractor>,
    /// The splits, the headline's first.
    pub splits: Vec<SplitReference>,
    /// Features of the test images, f32 `[n, d]`.
    pub test: Tensor,
}

/// One reference split in one extractor's features.
#[derive(Debug)]
pub struct SplitReference {
    /// Such as `train`.
    pub name: &'static str,
    /// SHA-256 of its images.
    pub hash: String,
    /// f32 `[n, d]`.
    pub features: Tensor,
    /// What scores sets against them.
    pub reference: Reference,
}

impl References {
    /// Computes the features of every reference split; `None` when the user asked to stop.
    pub fn prepare(
        experiment: &Experiment,
        data: &RunData,
        networks: Networks,
    ) -> Result<Option<Self>> {
        let eval = &experiment.eval;
        let Networks { extractor, others, judge } = networks;
        let Some(headline) = Space::prepare(extractor, eval, data)? else { return Ok(None) };
        let mut other_spaces = Vec::new();
        for extractor in others {
            let Some(space) = Space::prepare(extractor, eval, data)? else { return Ok(None) };
            other_spaces.push(space);
        }
        Ok(Some(Self {
            headline,
            others: other_spaces,
            judge,
            samples: eval.samples as i64,
            seeds: eval.seeds.clone(),
        }))
    }

    /// Names of the splits.
    pub fn splits(&self) -> impl Iterator<Item = &'static str> {
        self.headline.splits.iter().map(|split| split.name)
    }

    /// Scores sets of images, one an evaluation seed, against every split in all features: those of the headline, f32
    /// `[samples, d]`, and what `others` gives for the other spaces.
    pub fn score(
        &self,
        features: &[Tensor],
        others: &dyn Fn(&Space) -> Result<Vec<Tensor>>,
    ) -> Result<Scored> {
        let other = |space: &Space| -> Result<(String, BySplit)> {
            let scores = space.score(&others(space)?, &self.seeds)?;
            Ok((space.extractor.name().to_owned(), scores))
        };
        Ok(Scored {
            splits: self.headline.score(features, &self.seeds)?,
            other_features: self.others.iter().map(other).collect::<Result<_>>()?,
        })
    }
}

impl Space {
    fn prepare(
        extractor: Box<dyn FeatureExtractor>,
        eval: &EvalConfig,
        data: &RunData,
    ) -> Result<Option<Self>> {
        let test = feature_cache::features(&*extractor, data.test()?, "test")?;
        let Some(test) = test else { return Ok(None) };
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
            let features = match part {
                Part::Test => Some(test.shallow_clone()),
                _ => feature_cache::features(&*extractor, set, name)?,
            };
            let Some(features) = features else { return Ok(None) };
            let reference = Reference::new(&features, eval.samples as i64, &options(eval))
                .with_context(|| format!("the {name} split cannot be a reference"))?;
            splits.push(SplitReference { name, hash: set.hash.clone(), features, reference });
        }
        Ok(Some(Self { extractor, splits, test }))
    }

    /// Features of all images of a split, f32 `[n, d]`, if it is the test split or a reference.
    pub fn real(&self, name: &str) -> Option<&Tensor> {
        let split = || self.splits.iter().find(|split| split.name == name);
        if name == "test" { Some(&self.test) } else { split().map(|split| &split.features) }
    }

    /// Features of sets of images.
    pub fn features(&self, sets: &[Tensor]) -> Result<Vec<Tensor>> {
        sets.iter().map(|images| Ok(self.extractor.features(images)?)).collect()
    }

    fn score(&self, features: &[Tensor], seeds: &[u64]) -> Result<BySplit> {
        let of_split = |split: &SplitReference| -> Result<(String, SplitScores)> {
            let SplitReference { name, hash, reference, .. } = split;
            let protocol = reference.protocol(&*self.extractor, name, hash, seeds);
            let scores = features.iter().map(|features| reference.score(features));
            let scores = scores.collect::<Result<Vec<_>, _>>()?;
            Ok(((*name).to_owned(), SplitScores { protocol, scores }))
        };
        self.splits.iter().map(of_split).collect()
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
