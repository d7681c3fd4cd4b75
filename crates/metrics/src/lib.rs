//! Scores of image generators on features of 8-bit images.
//!
//! A [`FeatureExtractor`] maps images to vectors, and the scores compare the vectors of generated images with those of
//! real ones: [`frechet_distance`], [`kernel_distance`], [`precision_recall`] and [`density_coverage`], or all at once with
//! [`evaluate_sets`]. A [`Protocol`] says under which circumstances a score was taken. Everything is computed in f64 and
//! draws from no global generator.

mod augment;
mod calibration;
mod card;
mod classifier;
mod error;
mod features;
mod frechet;
mod kernel;
mod moments;
mod neighbours;
mod network;
mod options;
mod protocol;
mod random_conv;
mod reading;
mod scores;
mod subset;
#[cfg(test)]
mod testing;
mod train;
mod trainee;
mod weights;

pub use calibration::{Defect, mean_image, noise_images};
pub use card::{Card, Learnt, Role};
pub use classifier::ClassifierFeatures;
pub use error::{MetricError, Result};
pub use features::{FeatureExtractor, OnImages};
pub use frechet::frechet_distance;
pub use kernel::{KernelDistance, kernel_distance};
pub use moments::Moments;
pub use neighbours::{DensityCoverage, PrecisionRecall, density_coverage, precision_recall};
pub use options::TrainOptions;
pub use protocol::Protocol;
pub use random_conv::RandomConvFeatures;
pub use reading::{AttributeAccuracy, Reading};
pub use scores::{Reference, ScoreOptions, Scores, evaluate_sets};
pub use subset::draw_rows;
pub use train::{
    Exam, LabelledImages, Lessons, TrainProgress, TrainedClassifier, train_classifier,
};
