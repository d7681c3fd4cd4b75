//! What scores mean, and which way is good.

use super::markup::definitions;
use crate::table::Table;

/// What the columns mean, and which way is good.
pub const MEANINGS: [(&str, &str); 35] = [
    (
        "FD",
        "Fréchet distance between Gaussians fitted to features of the images and of real ones. Lower is better; as many real test images do not reach 0.",
    ),
    (
        "FD −\u{a0}floor",
        "The Fréchet distance beyond what as many real test images score. Lower is better; 0 is as good as test images.",
    ),
    (
        "FD∞",
        "The Fréchet distance's limit for ever more images, from a fit against 1/n. Lower is better.",
    ),
    (
        "KID ×\u{a0}10³",
        "A thousand times the kernel distance (squared maximum mean discrepancy) of features, unbiased: it scatters around 0 for real images. Lower is better.",
    ),
    ("KID ±\u{a0}95\u{a0}%", "Half the width of the 95 % confidence interval of KID × 10³."),
    ("precision", "Share of the images that look real: fidelity. Higher is better."),
    ("recall", "Share of real images that look like one of them: diversity. Higher is better."),
    (
        "density",
        "Real neighbourhoods that an image is in, over those expected; about 1 for real images. Higher is better.",
    ),
    ("coverage", "Share of real neighbourhoods that hold an image. Higher is better."),
    (
        "accuracy",
        "Share of the images in which a second classifier finds the class asked, or all that the caption says (but for where a lone object lies, which it does not read). Higher is better.",
    ),
    (
        "IS",
        "Inception Score, by the class probabilities of the network behind the features. Higher is better.",
    ),
    (
        "bits/dim",
        "Bits per dimension of 8-bit test images: ≤ an upper bound, ≈ an estimate, or exact. Lower is better; figures of different kinds are not ranked.",
    ),
    ("parameters", "Trained values."),
    ("images", "Training images seen, repeats counted."),
    ("FLOPs", "Floating-point operations of training, counted."),
    ("seconds", "Seconds spent in training steps."),
    (
        "loader %",
        "Share of these seconds in which training waited for its next images. Lower is better.",
    ),
    ("images/s", "Training images a second. Higher is better."),
    (
        "arithmetic",
        "Number format that training computed in: f32, bf16 where the device has it, or tf32 on a GPU that was asked for it.",
    ),
    (
        "peak MB",
        "Most memory held in training, a GPU's where one trained, in 10⁶ bytes. Lower is better.",
    ),
    ("calls", "Network calls of one image."),
    ("ms/image", "Milliseconds of one image, drawn in batches. Lower is better."),
    (
        "possible",
        "Share of completed images that show a scene which their known pixels leave possible. Higher is better; 1 for real images.",
    ),
    ("valid", "Share of images that show a possible scene. Higher is better; 1 for real images."),
    (
        "distance",
        "Median difference from the nearest possible scene, in levels of 255 (root of the mean square). Lower is better.",
    ),
    (
        "held out",
        "Share of images whose scene is possible but never occurs: a combination of attributes kept out of the data.",
    ),
    ("novel", "Share of valid images whose scene is none of the training set."),
    ("different", "Different scenes among valid images, as a share of these."),
    (
        "support seen",
        "Probability of all kinds of scenes (cells of attributes and places) that some image shows. Higher is better.",
    ),
    (
        "TV",
        "Total variation distance between the frequencies of kinds of scenes and the true ones, an invalid image being of no kind: from 0 to 1. Lower is better.",
    ),
    (
        "TV of truth",
        "The total variation that as many images of the true distribution have on average.",
    ),
    (
        "nearer, features",
        "Share of samples whose nearest training image is nearer than their nearest test image, in features; a half is chance, more is learning by heart, unless test images show other things than training images do.",
    ),
    ("nearer, pixels", "The same in pixels."),
    (
        "near copies",
        "Share of samples nearer to a training image, in pixels, than all but one in a hundred test images are; 0.01 is chance, with the same exception.",
    ),
    (
        "bits/dim gap",
        "Bits per dimension of test images minus those of training images; 0 for a model that learned nothing by heart, with the same exception.",
    ),
];

/// What the columns of a table mean.
pub fn glossary(table: &Table) -> String {
    let there = |name: &str| table.columns.iter().any(|column| column.name == name);
    let terms: Vec<_> = MEANINGS.into_iter().filter(|(name, _)| there(name)).collect();
    definitions(&terms)
}
