//! Scores beside those of whole sets of features: class by class, of class probabilities alone, and of memorization.

use super::References;
use crate::{data::RunData, feature_cache, log::Reporter};
use anyhow::Result;
use paragone_core::mix;
use paragone_metrics::{
    ClassReference, FeatureExtractor, Memorization, MemorizationReference, Space as Distances,
    inception_score,
};
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// Parts of a set that the Inception Score is taken over.
const INCEPTION_SPLITS: i64 = 10;
/// Pairs of a sample and its nearest training image that are named.
const SUSPECTS: usize = 10;

/// Inception Scores by the classes of `extractor` of sets of images, given by their features; or why there are none.
pub fn inception_scores(
    extractor: &dyn FeatureExtractor,
    features: &[Tensor],
) -> Result<Result<Vec<f64>, String>> {
    let mut scores = Vec::new();
    for features in features {
        let Some(logits) = extractor.logits_of_features(features) else {
            return Ok(Err(format!("{} knows no classes", extractor.name())));
        };
        if features.size()[0] < INCEPTION_SPLITS {
            return Ok(Err(format!("needs at least {INCEPTION_SPLITS} images")));
        }
        scores.push(inception_score(&logits?, INCEPTION_SPLITS)?.mean);
    }
    Ok(Ok(scores))
}

/// The training images' headline features by class; `None` for data without classes, or where they are no reference.
pub fn by_class(references: &References, data: &RunData) -> Result<Option<ClassReference>> {
    let train = references.headline.real("train");
    let classes = data.train.classes.as_ref().filter(|_| data.spec.num_classes > 0);
    let Some((train, classes)) = train.zip(classes) else { return Ok(None) };
    Ok(Some(ClassReference::new(train, classes, data.spec.num_classes)?))
}

/// Whether samples repeat training images, by the distance to the nearest of them.
#[derive(Debug)]
pub struct Repeats {
    features: MemorizationReference,
    pixels: MemorizationReference,
}

/// What the nearest training images say of samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// By distances in the headline's features.
    pub features: Memorization,
    /// By distances in pixels.
    pub pixels: Memorization,
}

impl Repeats {
    /// The training images, and the test images as those that were held out; `None` when the user asked to stop.
    pub fn new(references: &References, data: &RunData) -> Result<Option<Self>> {
        let space = &references.headline;
        let train = match space.real("train") {
            Some(train) => Some(train.shallow_clone()),
            None => feature_cache::features(&*space.extractor, &data.train, "train")?,
        };
        let Some(train) = train else { return Ok(None) };
        let seed = mix(&[6]);
        let mut reporter = Reporter::new("nearest images", "spaces", 0, 2);
        let features = MemorizationReference::new(&train, &space.test, Distances::Features, seed)?;
        reporter.set(1);
        let (train, test) = (&data.train.images, &data.test()?.images);
        let pixels = MemorizationReference::new(train, test, Distances::Pixels, seed)?;
        reporter.finish();
        Ok(Some(Self { features, pixels }))
    }

    /// Of `images`, u8 `[n, c, h, w]`, with their headline features.
    pub fn score(&self, images: &Tensor, features: &Tensor) -> Result<Repetition> {
        Ok(Repetition {
            features: self.features.score(features, SUSPECTS)?,
            pixels: self.pixels.score(images, SUSPECTS)?,
        })
    }
}
