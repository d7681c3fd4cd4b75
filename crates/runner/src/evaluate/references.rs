//! The real images that samples are compared with, and rows of known quality compared with them too.

use crate::{
    config::{EvalConfig, Experiment, Reference as Part},
    data::RunData,
};
use anyhow::{Context, Result};
use paragone_core::{ImageShape, mix};
use paragone_data::{ImageSet, Split};
use paragone_metrics::{
    Defect, FeatureExtractor, Protocol, Reference, ScoreOptions, Scores, draw_rows, mean_image,
    noise_images,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::{Device, Tensor};

/// Scores of one set of images against one split of the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitScores {
    /// The circumstances.
    pub protocol: Protocol,
    /// One entry an evaluation seed.
    pub scores: Vec<Scores>,
}

/// Scores of images of known quality: the scale that a model's scores are read on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The `eval` section under which they were made.
    pub eval: serde_json::Value,
    /// SHA-256 of the training images.
    pub data_hash: String,
    /// Name of a row to split to scores, in the order to be shown.
    pub rows: Vec<(String, BTreeMap<String, SplitScores>)>,
}

/// The reference splits, ready to score sets of `samples` images.
#[derive(Debug)]
pub struct References {
    /// What features the scores are of.
    pub extractor: Box<dyn FeatureExtractor>,
    /// The test images, on which likelihood is measured.
    pub test: ImageSet,
    samples: i64,
    seeds: Vec<u64>,
    splits: Vec<(&'static str, String, Reference)>,
}

impl References {
    /// Computes the features of every reference split.
    pub fn prepare(experiment: &Experiment, data: &RunData, device: Device) -> Result<Self> {
        let eval = &experiment.eval;
        let extractor = crate::features::extractor(eval.features, data, device)?;
        let test = data.test()?;
        let samples = eval.samples as i64;
        let mut splits = Vec::new();
        for &part in &eval.reference {
            let (name, set) = match part {
                Part::Train => ("train", &data.train),
                Part::Test => ("test", &test),
                Part::Validation => ("validation", &data.dataset.load(Split::Validation)?),
            };
            let features = extractor.features(&set.images)?;
            let reference = Reference::new(&features, samples, &options(eval))
                .with_context(|| format!("the {name} split cannot be a reference"))?;
            splits.push((name, set.hash.clone(), reference));
        }
        Ok(Self { extractor, test, samples, seeds: eval.seeds.clone(), splits })
    }

    /// Scores sets of images, one an evaluation seed, against every split. Images: u8 `[samples, c, h, w]`.
    pub fn score(&self, sets: &[Tensor]) -> Result<BTreeMap<String, SplitScores>> {
        let features = sets.iter().map(|images| self.extractor.features(images));
        let features = features.collect::<Result<Vec<_>, _>>()?;
        let mut scores = BTreeMap::new();
        for (name, hash, reference) in &self.splits {
            let protocol = reference.protocol(&*self.extractor, name, hash, &self.seeds);
            let of_seeds = features.iter().map(|features| reference.score(features));
            let of_seeds = of_seeds.collect::<Result<Vec<_>, _>>()?;
            scores.insert((*name).to_owned(), SplitScores { protocol, scores: of_seeds });
        }
        Ok(scores)
    }

    /// The calibration rows: test images, a copy of training images, defects, the mean image, noise.
    ///
    /// With fewer test images than samples, rows made of test images repeat none: they are scored at the count there is.
    pub fn calibrate(&self, data: &RunData, eval: serde_json::Value) -> Result<Calibration> {
        let shape: ImageShape = data.spec.shape;
        let n = self.samples;
        let copy = |seed: u64| {
            let rows = draw_rows(data.train.len(), n.min(data.train.len()), mix(&[seed, 3]));
            data.train.images.index_select(0, &rows)
        };
        let test = |seed: u64| {
            let rows = draw_rows(self.test.len(), n.min(self.test.len()), mix(&[seed, 4]));
            self.test.images.index_select(0, &rows)
        };
        let mut rows: Vec<(String, Vec<Tensor>)> = vec![
            ("test_set".to_owned(), self.each_seed(&test)),
            ("train_copy".to_owned(), self.each_seed(&copy)),
        ];
        for defect in Defect::ALL {
            let defective = |seed: u64| defect.apply(&test(seed), seed);
            rows.push((defect.name().to_owned(), self.each_seed(&defective)));
        }
        rows.push((
            "mean_image".to_owned(),
            self.each_seed(&|_| mean_image(&data.train.images, n)),
        ));
        rows.push(("noise".to_owned(), self.each_seed(&|seed| noise_images(n, shape, seed))));

        let mut scored = Vec::new();
        for (name, sets) in rows {
            // A set compared with the very images it is made of says nothing.
            let mut scores =
                if sets[0].size()[0] == n { self.score(&sets)? } else { BTreeMap::new() };
            if name == "test_set" {
                scores.remove("test");
            }
            scored.push((name, scores));
        }
        Ok(Calibration { eval, data_hash: data.train.hash.clone(), rows: scored })
    }

    fn each_seed(&self, make: &dyn Fn(u64) -> Tensor) -> Vec<Tensor> {
        self.seeds.iter().map(|&seed| make(seed)).collect()
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
