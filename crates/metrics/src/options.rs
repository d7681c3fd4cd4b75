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
            seed: 0,
        }
    }
}

impl TrainOptions {
    /// The options that this crate's weights for a dataset are made with. Classes of photographs and garments survive
    /// mirroring; digits and what is named by its side do not. Scores are to notice a shifted image, a judge is not to mind.
    pub fn for_dataset(dataset: &str, role: Role) -> Self {
        let base = match dataset {
            "fashion-mnist" => Self { flip: true, ..Self::default() },
            "cifar10" => Self { flip: true, epochs: 12, ..Self::default() },
            "shapes" => Self { epochs: 4, ..Self::default() },
            _ => Self::default(),
        };
        match role {
            Role::Features => base,
            Role::Judge => {
                let epochs = (base.epochs * 3).div_ceil(4);
                Self { widths: [24, 48, 96], feature_dim: 96, seed: 1, epochs, shift: 1, ..base }
            }
        }
    }
}
