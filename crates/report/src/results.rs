//! `results.json`: every score of a comparison with the protocol it was taken under.

use crate::tasks::{Baseline, EditingScores, InpaintingScores};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that a comparison found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// The circumstances under which scores were taken: by reference split, under `other_features` by extractor and split,
    /// and under `other_scores` of what is no comparison of features.
    pub protocol: serde_json::Value,
    /// The models.
    pub rows: Vec<ModelRow>,
    /// Images of known quality: the scale that the models' scores are read on.
    pub calibration: Vec<CalibrationRow>,
    /// What filling holes and editing are compared with beside models.
    #[serde(default)]
    pub baselines: Vec<Baseline>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRow {
    /// The run it is from, when several are compared.
    pub run: Option<String>,
    /// Name of its experiment.
    pub experiment: String,
    /// Its name in the experiment.
    pub model: String,
    /// Its family.
    pub family: String,
    /// Seed of its training.
    pub seed: u64,
    /// All settings that its samples depend on, but the seed: rows that differ in their seed only are one model.
    pub made_of: serde_json::Value,
    /// Trained values.
    pub parameters: i64,
    /// What training cost.
    pub train: Training,
    /// What sampling costs.
    pub sampling: Sampling,
    /// How good it is.
    pub scores: Scores,
    /// The same scores in other features than the headline's, by the extractor's name.
    pub other_features: BTreeMap<String, FeatureScores>,
    /// Fréchet distance to the training images of each class, of the samples asked for it.
    pub per_class: Vec<ClassScore>,
    /// Likelihood by further methods than that of `scores`.
    pub further_bits_per_dim: Vec<BitsPerDim>,
    /// What the known distribution of the data says; `None` where it is not known.
    pub truth: Option<Truth>,
    /// How much of what captions say its samples show, where that can be judged.
    #[serde(default)]
    pub captions: Option<CaptionScores>,
    /// How well it fills holes, if that was looked into.
    #[serde(default)]
    pub inpainting: Option<InpaintingScores>,
    /// How well it edits, if that was looked into.
    #[serde(default)]
    pub editing: Option<EditingScores>,
    /// Whether it repeats training images, if that was looked into.
    pub memorization: Option<Memorization>,
    /// Scores of fewer images along its training and under other settings of its sampler.
    pub curves: Curves,
    /// Numbers that the model tells about itself.
    pub facts: BTreeMap<String, f64>,
}

/// What training cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// What every model of its run was given: equal images, seconds or FLOPs.
    pub budget: String,
    /// Images seen, repeats counted.
    pub images: u64,
    /// Seconds spent in steps.
    pub seconds: f64,
    /// Those of them that went into waiting for a batch.
    #[serde(default)]
    pub loader_seconds: f64,
    /// Floating-point operations.
    pub flops: f64,
    /// Images seen over seconds spent.
    pub images_per_second: f64,
    /// Number format of its arithmetic.
    pub precision: String,
    /// Most memory held where it computed, if the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// What sampling costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Network calls of one image.
    pub network_calls: u64,
    /// Seconds of one image, drawn in batches.
    pub seconds_per_image: f64,
}

/// A score against each reference split.
pub type BySplit = BTreeMap<String, Score>;

/// Every score of a set of images. One that does not apply says why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Comparisons of features.
    #[serde(flatten)]
    pub features: FeatureScores,
    /// Inception Score (Salimans et al. 2016) by the class probabilities of the network behind the features.
    pub inception_score: Score,
    /// Share of the images that a classifier takes for the class asked.
    pub conditional_accuracy: Score,
    /// Likelihood of test images by the model's headline method.
    pub bits_per_dim: BitsPerDim,
}

/// Scores in the features of one extractor, against each reference split.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FeatureScores {
    /// Fréchet distance between Gaussians fitted to features.
    pub frechet_distance: BySplit,
    /// By how much it exceeds what as many real test images score: the floor, which falls as their number grows.
    pub frechet_distance_excess: BySplit,
    /// Its limit for ever more samples, from a fit against 1/n (Chong & Forsyth 2020).
    pub frechet_distance_infinity: BySplit,
    /// Standard error of that limit, by the same fit.
    pub frechet_distance_infinity_error: BySplit,
    /// Kernel distance (squared maximum mean discrepancy) of features, unbiased.
    pub kernel_distance: BySplit,
    /// Half the width of the kernel distance's 95 % confidence interval.
    pub kernel_distance_interval: BySplit,
    /// Share of the images that look real.
    pub precision: BySplit,
    /// Share of real images that look like one of them.
    pub recall: BySplit,
    /// Real neighbourhoods that an image is in, over those expected.
    pub density: BySplit,
    /// Share of real neighbourhoods that hold an image.
    pub coverage: BySplit,
}

/// Fréchet distance within one class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassScore {
    /// Name of the class.
    pub class: String,
    /// Samples asked for it.
    pub samples: i64,
    /// The distance; it is biased upwards the more, the fewer images a class has.
    pub frechet_distance: Score,
    /// What test images of the class score.
    pub floor: Score,
}

/// Whether samples are nearer to training images than new images are: in subsets of equal size, so that a half is chance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memorization {
    /// Share of samples whose nearest training image is nearer than their nearest test image, in features; a half is chance.
    pub nearer_to_train_features: Score,
    /// The same in pixels.
    pub nearer_to_train_pixels: Score,
    /// Share of samples suspiciously near to a training image in pixels: nearer, against their nearest test image, than all but
    /// one in a hundred test images are.
    pub near_copies: Score,
    /// Bits per dimension of test images minus those of training images; 0 for a model that learned nothing by heart.
    pub bits_per_dim_gap: Score,
}

/// What a known distribution of scenes says of images: counted, in nobody's features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Truth {
    /// Root of the mean squared difference, in levels of 255, that a valid image may have from the picture of a scene.
    pub tolerance: f64,
    /// Share of images that show a possible scene: validity.
    pub valid: Score,
    /// Median over images of that difference from the nearest scene.
    pub distance: Score,
    /// Share of images whose scene is possible but has probability 0: a combination of attributes held out of training.
    pub held_out: Score,
    /// Share of valid images whose scene is none of the training set.
    pub novelty: Score,
    /// Different scenes among valid images, as a share of these.
    pub distinct: Score,
    /// Probability of all the cells of the distribution that some image falls into: how much of the support is seen.
    pub coverage: Score,
    /// Total variation distance from the true frequencies of the cells, between 0 and 1.
    pub total_variation: Score,
    /// The total variation that as many images of the distribution itself have on average.
    pub ideal_total_variation: Score,
}

/// Scores of a few images, as curves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curves {
    /// Images behind each point.
    pub samples: u64,
    /// Along training, the end included.
    pub training: Vec<TrainingPoint>,
    /// With more and fewer network calls, the headline's included; empty for a model that cannot choose.
    pub sampling: Vec<SamplingPoint>,
    /// Fidelity against diversity, the headline's setting included.
    pub frontier: Vec<FrontierPoint>,
    /// Why it has no such knob, by the knob's name.
    pub lacks: BTreeMap<String, String>,
}

/// A model on its way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingPoint {
    /// Images seen, repeats counted.
    pub images: u64,
    /// Seconds spent in steps.
    pub seconds: f64,
    /// Floating-point operations.
    pub flops: f64,
    /// How good it was.
    pub scores: PointScores,
}

/// A model with a number of network calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingPoint {
    /// Network calls of one image.
    pub network_calls: u64,
    /// Seconds of one image, drawn in batches.
    pub seconds_per_image: f64,
    /// How good it is.
    pub scores: PointScores,
}

/// A model under a quality knob.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrontierPoint {
    /// `temperature` or `guidance_scale`.
    pub knob: String,
    /// Its setting; 1 is the model itself.
    pub value: f64,
    /// How good it is.
    pub scores: PointScores,
}

/// Scores of a point on a curve, against the headline's reference split in the headline's features.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointScores {
    /// Fréchet distance.
    pub frechet_distance: f64,
    /// By how much it exceeds what as many test images score.
    pub frechet_distance_excess: f64,
    /// Share of the images that look real.
    pub precision: f64,
    /// Share of real images that look like one of them.
    pub recall: f64,
    /// Share of the images that a classifier takes for the class asked.
    pub conditional_accuracy: Option<f64>,
}

/// A number, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Score {
    /// A number.
    Measured {
        /// Its mean over evaluation seeds.
        value: f64,
        /// Its standard deviation over them, if there are several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        std: Option<f64>,
    },
    /// No number. Written as `{"value": null, "reason": …}`.
    Missing {
        /// Always null.
        value: (),
        /// Why there is none.
        reason: String,
    },
}

/// Likelihood in bits per dimension of the 8-bit image at native resolution, or why there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum BitsPerDim {
    /// A number.
    Measured {
        /// Mean over images.
        value: f64,
        /// Standard error of the mean.
        standard_error: f64,
        /// `exact`, `bound` or `estimate`.
        kind: String,
        /// How it was computed.
        method: String,
        /// Whether the model was told what each image shows.
        conditional: bool,
        /// Test images it is over.
        images: i64,
        /// Random draws that the figure of an image is a mean of: latents, times or probes; 0 if nothing is drawn.
        draws: u64,
        /// Network passes of an image: one, or as many as draws were made for an estimate.
        passes: u64,
    },
    /// No number. Written as `{"value": null, "reason": …}`.
    Missing {
        /// Always null.
        value: (),
        /// Why there is none.
        reason: String,
    },
}

/// Images of known quality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationRow {
    /// Such as `test_set` or `noise`.
    pub name: String,
    /// How good they are.
    pub scores: Scores,
    /// The same scores in other features than the headline's, by the extractor's name.
    pub other_features: BTreeMap<String, FeatureScores>,
    /// What the known distribution of the data says; `None` where it is not known.
    pub truth: Option<Truth>,
    /// How much of what captions say they show, where that can be judged.
    #[serde(default)]
    pub captions: Option<CaptionScores>,
}

/// Shares of images that show what their captions say: `all` that they say, `all of` those with so many objects, and single
/// attributes by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptionScores {
    /// Captions like those of training.
    pub seen: BTreeMap<String, f64>,
    /// Captions that combine attributes as training never did; empty where there are none.
    pub held_out: BTreeMap<String, f64>,
}

impl Score {
    /// No number, and why.
    pub fn missing(reason: impl Into<String>) -> Self {
        Self::Missing { value: (), reason: reason.into() }
    }

    /// The number, if there is one.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Measured { value, .. } => Some(*value),
            Self::Missing { .. } => None,
        }
    }
}

/// The mean and, over several seeds, the standard deviation; or why there is none.
impl From<Result<(f64, Option<f64>), String>> for Score {
    fn from(result: Result<(f64, Option<f64>), String>) -> Self {
        match result {
            // JSON has no other numbers.
            Ok((value, std)) if value.is_finite() => {
                Self::Measured { value, std: std.filter(|std| std.is_finite()) }
            }
            Ok((value, _)) => {
                Self::Missing { value: (), reason: format!("it came out as {value}") }
            }
            Err(reason) => Self::Missing { value: (), reason },
        }
    }
}

impl BitsPerDim {
    /// No likelihood, and why.
    pub fn missing(reason: &str) -> Self {
        Self::Missing { value: (), reason: reason.to_string() }
    }
}
