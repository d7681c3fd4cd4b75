use crate::Role;
use serde::{Deserialize, Serialize};

/// How a classifier is built and trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainOptions {
    /// Channels of the three convolutions.
    pub widths: [i64; 3],
    /// Numbers in a feature vector.
    pub feature_dim: i64,
    /// Passes over the training images.
    pub epochs: u64,
    /// Images in a step.
    pub batch_size: i64,
    /// Peak learning rate, reached after the first twentieth.
    pub lr: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Share of features dropped in training.
    pub dropout: f64,
    /// Whether to show half of the images mirrored.
    pub flip: bool,
    /// Pixels that an image may be shifted by in each direction. What a network is shifted over it hardly sees.
    pub shift: i64,
    /// Most noise that an image may get, as a standard deviation in levels; the least is none.
    #[serde(skip_serializing_if = "is_zero")]
    pub noise: f64,
    /// Most that an image may be blended with its 3 × 3 means, as a share; the least is not at all.
    #[serde(skip_serializing_if = "is_zero")]
    pub blur: f64,
    /// Seed of weights, order, augmentation and dropout.
    pub seed: u64,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            widths: [32, 64, 128],
            feature_dim: 128,
            epochs: 8,
            batch_size: 128,
            lr: 3e-3,
            weight_decay: 0.05,
            dropout: 0.3,
            flip: false,
            shift: 0,
            noise: 0.0,
            blur: 0.0,
            seed: 0,
        }
    }
}

impl TrainOptions {
    /// The options that this crate's weights for a dataset are made with. Classes of photographs and garments survive
    /// mirroring; digits and what is named by its side do not. Scores are to notice images that are shifted or unclean; a
    /// judge is to read them all the same.
    pub fn for_dataset(dataset: &str, role: Role) -> Self {
        let base = match dataset {
            "fashion-mnist" => Self { flip: true, ..Self::default() },
            "cifar10" => Self { flip: true, epochs: 12, ..Self::default() },
            "shapes" => Self { epochs: 12, dropout: 0.1, ..Self::default() },
            "emoji" => Self { epochs: 16, ..Self::default() },
            _ => Self::default(),
        };
        match (role, dataset) {
            (Role::Features, _) => base,
            // Its lessons have objects everywhere; a second one of five pixels takes more channels to read.
            (Role::Judge, "shapes") => Self {
                widths: [48, 96, 128],
                feature_dim: 160,
                noise: 12.0,
                blur: 0.4,
                seed: 1,
                ..base
            },
            (Role::Judge, "emoji") => Self {
                widths: [40, 80, 112],
                feature_dim: 112,
                shift: 1,
                noise: 12.0,
                blur: 0.4,
                seed: 1,
                ..base
            },
            (Role::Judge, _) => {
                let epochs = (base.epochs * 3).div_ceil(4);
                Self { widths: [24, 48, 96], feature_dim: 96, seed: 1, epochs, shift: 1, ..base }
            }
        }
    }
}

/// What is not used is not written, so that the files of before it was there are made the same.
fn is_zero(value: &f64) -> bool {
    *value == 0.0
}
