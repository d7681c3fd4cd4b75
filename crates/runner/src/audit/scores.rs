//! All scores of a set: the standard ones in every feature space, and the true ones.

use super::{Set, World};
use crate::{
    evaluate::{inception_scores, nearest},
    feature_cache, interrupt,
};
use anyhow::Result;
use paragone_data::{
    Dataset, ImageSet,
    shapes::{TOLERANCE, TrueScores},
};
use paragone_metrics::{
    ClassifierFeatures, FeatureExtractor, RandomConvFeatures, Reference, ScoreOptions, Scores,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::{Device, Tensor};

/// Counts up when this program draws other sets, or computes a score otherwise.
const VERSION: u32 = 3;

/// A score that is audited: where it is found, and which way is better.
#[derive(Debug)]
pub struct Audited<S> {
    /// What the page calls it.
    pub name: &'static str,
    /// Whether less is better.
    pub lower_is_better: bool,
    /// Its value; none where it is not defined.
    pub of: fn(&S) -> Option<f64>,
}

/// The standard scores. One more is one more line.
pub const STANDARD: [Audited<Standard>; 8] = [
    lower("Fréchet distance", |s| Some(s.scores.frechet_distance)),
    lower("FD∞", |s| Some(s.scores.frechet_distance_infinity.value)),
    lower("KID", |s| Some(s.scores.kernel_distance.mean)),
    higher("precision", |s| Some(s.scores.precision)),
    higher("recall", |s| Some(s.scores.recall)),
    higher("density", |s| Some(s.scores.density)),
    higher("coverage", |s| Some(s.scores.coverage)),
    higher("Inception Score", |s| s.inception_score),
];

/// The true scores.
pub const TRUE: [Audited<TrueScores>; 7] = [
    higher("valid", |s| Some(s.valid)),
    lower("distance to the nearest scene", |s| Some(s.median_distance)),
    lower("total variation of cells", |s| Some(s.total_variation.value)),
    lower("total variation of classes", |s| s.attributes.as_ref().map(|a| a["class"].value)),
    higher("coverage of the support", |s| Some(s.coverage.value)),
    higher("different scenes", |s| s.distinct.map(|distinct| distinct.value)),
    higher("novelty", |s| s.novelty.map(|novelty| novelty.value)),
];

const fn lower<S>(name: &'static str, of: fn(&S) -> Option<f64>) -> Audited<S> {
    Audited { name, lower_is_better: true, of }
}

const fn higher<S>(name: &'static str, of: fn(&S) -> Option<f64>) -> Audited<S> {
    Audited { name, lower_is_better: false, of }
}

/// What all scores depend on besides the sets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Counts up when this program scores otherwise.
    pub version: u32,
    /// SHA-256 of the training images, which standard scores compare with.
    pub train_hash: String,
    /// Feature spaces, with the hashes of their weights.
    pub features: BTreeMap<String, String>,
    /// How standard scores are computed, before they are fitted to a number of images.
    pub options: ScoreOptions,
    /// See [`TOLERANCE`].
    pub tolerance: f64,
}

/// The standard scores of images in one feature space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Standard {
    /// Comparisons with the training images.
    #[serde(flatten)]
    pub scores: Scores,
    /// By the classes that the network tells apart; `None` if it tells none.
    pub inception_score: Option<f64>,
}

/// All scores of the first images of a set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetScores {
    /// The set.
    pub set: Set,
    /// How many of its images.
    pub images: u64,
    /// By feature space.
    pub standard: BTreeMap<String, Standard>,
    /// Without one.
    pub truth: TrueScores,
}

/// Scores sets against the training images.
pub struct Scorer<'a> {
    world: &'a World,
    settings: Settings,
    extractors: Vec<Space>,
}

/// A feature space with the training images in it.
struct Space {
    extractor: Box<dyn FeatureExtractor>,
    train: Option<Tensor>,
    /// By number of images.
    references: BTreeMap<u64, Reference>,
}

impl<'a> Scorer<'a> {
    /// With every extractor that fits the images.
    pub fn new(world: &'a World, device: Device) -> Result<Self> {
        let shape = world.data.shape();
        let mut extractors: Vec<Box<dyn FeatureExtractor>> = Vec::new();
        let classifier = ClassifierFeatures::for_dataset(world.data.name(), device)?;
        if classifier.card().shape == shape {
            extractors.push(Box::new(classifier));
        }
        extractors.push(Box::new(RandomConvFeatures::new(shape.channels, device)));
        let named = extractors.iter().map(|e| (e.name().to_owned(), e.hash().to_owned()));
        let settings = Settings {
            version: VERSION,
            train_hash: world.train.hash.clone(),
            features: named.collect(),
            // A fifth of the field's subsets: hundreds of sets are scored, and only their order is asked for.
            options: ScoreOptions { kernel_subsets: 20, ..ScoreOptions::default() },
            tolerance: TOLERANCE,
        };
        let space = |extractor| Space { extractor, train: None, references: BTreeMap::new() };
        Ok(Self { world, settings, extractors: extractors.into_iter().map(space).collect() })
    }

    /// What the scores depend on.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Scores the first images of a set, for each of the `sizes`, ascending; `None` when the user asked to stop.
    pub fn score(
        &mut self,
        set: &Set,
        images: &Tensor,
        sizes: &[u64],
    ) -> Result<Option<Vec<SetScores>>> {
        let mut standard = vec![BTreeMap::new(); sizes.len()];
        for space in &mut self.extractors {
            let features = space.extractor.features(images)?;
            for (&n, standard) in sizes.iter().zip(&mut standard) {
                let reference = space.reference(&self.world.train, n, &self.settings.options)?;
                let Some(reference) = reference else { return Ok(None) };
                let features = features.narrow(0, 0, n as i64);
                let scores = reference.score(&features)?;
                let inception = inception_scores(&*space.extractor, &[features])?;
                let inception_score = inception.ok().map(|of_sets| of_sets[0]);
                let scores = Standard { scores, inception_score };
                standard.insert(space.extractor.name().to_owned(), scores);
                if interrupt::asked() {
                    return Ok(None);
                }
            }
        }
        let Some(nearest) = nearest(self.world.truth.recogniser(), images)? else {
            return Ok(None);
        };
        let of_size = |(&n, standard)| SetScores {
            set: set.clone(),
            images: n,
            standard,
            truth: self.world.truth.scores(&nearest[..n as usize], TOLERANCE),
        };
        Ok(Some(sizes.iter().zip(standard).map(of_size).collect()))
    }
}

impl Space {
    /// For sets of `n` images; `None` when the user asked to stop.
    fn reference(
        &mut self,
        train: &ImageSet,
        n: u64,
        options: &ScoreOptions,
    ) -> Result<Option<&Reference>> {
        if !self.references.contains_key(&n) {
            let features = match &self.train {
                Some(features) => features,
                None => {
                    let features = feature_cache::features(&*self.extractor, train, "train")?;
                    let Some(features) = features else { return Ok(None) };
                    self.train.insert(features)
                }
            };
            self.references.insert(n, Reference::new(features, n as i64, options)?);
        }
        Ok(self.references.get(&n))
    }
}
