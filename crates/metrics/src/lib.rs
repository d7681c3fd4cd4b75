//! Scores of image generators on features of 8-bit images.
//!
//! A [`FeatureExtractor`] maps images to vectors, and the scores compare the vectors of generated images with those of
//! real ones: [`frechet_distance`], [`kernel_distance`], [`precision_recall`] and [`density_coverage`], or all at once with
//! [`evaluate_sets`]. [`ClassReference`] compares class by class, [`MemorizationReference`] generated images with those
//! trained on, and [`inception_score`] is taken of class logits alone. A [`Protocol`] says under which circumstances a score
//! was taken. Scores are computed in f64, draw from no global generator, and are numbers or errors: never NaN.

mod augment;
mod calibration;
mod card;
mod classifier;
mod dual;
mod error;
mod features;
mod frechet;
mod inception;
mod inception_score;
mod kernel;
mod memorization;
mod moments;
mod nearest;
mod neighbours;
mod network;
mod options;
mod per_class;
mod pickle;
mod protocol;
mod random_conv;
mod reading;
mod scores;
mod similarity;
mod state_dict;
mod subset;
#[cfg(test)]
mod testing;
mod torchscript;
mod train;
mod trainee;
mod weights;

pub use calibration::{Defect, mean_image, noise_images};
pub use card::{Card, Learnt, Role};
pub use classifier::ClassifierFeatures;
pub use dual::{CANDIDATES, CaptionedImages, DualCard, DualEncoder, train_dual_encoder};
pub use error::{MetricError, Result};
pub use features::{FeatureExtractor, OnImages};
pub use frechet::{Extrapolated, frechet_distance, frechet_distance_infinity};
pub use inception::InceptionFeatures;
pub use inception_score::{InceptionScore, inception_score};
pub use kernel::{Interval, KernelDistance, kernel_distance, kernel_distance_in};
pub use memorization::{Memorization, MemorizationReference, Quantiles, Suspect};
pub use moments::Moments;
pub use nearest::Space;
pub use neighbours::{DensityCoverage, PrecisionRecall, density_coverage, precision_recall};
pub use options::TrainOptions;
pub use per_class::{ClassDistance, ClassReference, FEWEST_IN_CLASS};
pub use protocol::Protocol;
pub use random_conv::RandomConvFeatures;
pub use reading::{AttributeAccuracy, Reading};
pub use scores::{Reference, ScoreOptions, Scores, evaluate_sets};
pub use similarity::{MAX_PSNR, pooled_psnr, pooled_psnr_of_mean, psnr, ssim};
pub use subset::draw_rows;
pub use torchscript::{Preparation, TorchScriptFeatures};
pub use train::{
    Exam, LabelledImages, Lessons, TrainProgress, TrainedClassifier, train_classifier,
};
