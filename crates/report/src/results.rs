//! `results.json`: every score of a comparison with the protocol it was taken under.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that a comparison found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// The circumstances under which scores were taken, by reference split.
    pub protocol: serde_json::Value,
    /// The models.
    pub rows: Vec<ModelRow>,
    /// Images of known quality: the scale that the models' scores are read on.
    pub calibration: Vec<CalibrationRow>,
}

/// One model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRow {
    /// The run it is from, when several are compared.
    pub run: Option<String>,
    /// Its name in the experiment.
    pub model: String,
    /// Its family.
    pub family: String,
    /// Seed of its training.
    pub seed: u64,
    /// Trained values.
    pub parameters: i64,
    /// What training cost.
    pub train: Training,
    /// What sampling costs.
    pub sampling: Sampling,
    /// How good it is.
    pub scores: Scores,
    /// Likelihood by further methods than that of `scores`.
    pub further_bits_per_dim: Vec<BitsPerDim>,
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
    /// Floating-point operations.
    pub flops: f64,
    /// Images seen over seconds spent.
    pub images_per_second: f64,
    /// Most memory held, where the system tells.
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
#[serde(deny_unknown_fields)]
pub struct Scores {
    /// Fréchet distance between Gaussians fitted to features.
    pub frechet_distance: BySplit,
    /// By how much it exceeds what as many real test images score: the floor, which falls as their number grows.
    pub frechet_distance_excess: BySplit,
    /// Kernel distance (squared maximum mean discrepancy) of features, unbiased.
    pub kernel_distance: BySplit,
    /// Share of the images that look real.
    pub precision: BySplit,
    /// Share of real images that look like one of them.
    pub recall: BySplit,
    /// Real neighbourhoods that an image is in, over those expected.
    pub density: BySplit,
    /// Share of real neighbourhoods that hold an image.
    pub coverage: BySplit,
    /// Share of the images that a classifier takes for the class asked.
    pub conditional_accuracy: Score,
    /// Likelihood of test images by the model's headline method.
    pub bits_per_dim: BitsPerDim,
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
