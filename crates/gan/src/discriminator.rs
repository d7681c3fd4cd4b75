//! The network that judges an image under its condition.

use crate::{
    DiscriminatorConfig,
    blocks::{self, RELU_GAIN, ResidualBlock, leaky_relu},
};
use paragone_core::{Conditions, DataSpec};
use paragone_nn::{ConditionEmbedding, space_to_depth};
use tch::{
    Tensor,
    nn::{self, Path},
};

/// A residual downsampling network without normalization and with a projection head (Miyato & Koyama 2018): the logit
/// is the product of the image's features with its condition's embedding.
#[derive(Debug)]
pub struct DiscriminatorNet {
    patch: i64,
    image: nn::Conv2D,
    /// The way down, but at the first, and blocks, fine to coarse.
    resolutions: Vec<(Option<nn::Conv2D>, Vec<ResidualBlock>)>,
    hidden: nn::Linear,
    features: nn::Linear,
    condition: ConditionEmbedding,
}

impl DiscriminatorNet {
    pub fn new(path: &Path, config: &DiscriminatorConfig, data: &DataSpec) -> Self {
        let [channels, height, width] = data.shape.dims();
        let patch = config.patch;
        // Beside the image, which of its pixels were known.
        let channels = if data.known_pixels { channels + 1 } else { channels };
        let factor = patch << (config.widths.len() - 1);
        let coarsest = config.widths[0] * (height / factor) * (width / factor);
        let finest = *config.widths.last().expect("validated: at least one resolution");
        let features = config.features;
        let resolutions = config.widths.iter().zip(&config.blocks).enumerate().rev();
        let resolutions = resolutions.map(|(i, (&width, &number))| {
            let path = path / "resolutions" / i;
            let finer = config.widths.get(i + 1);
            let down = finer.map(|&finer| blocks::down_conv(&(&path / "down"), finer, width));
            let block = |j| ResidualBlock::new(&(&path / j), width, 0, false);
            (down, (0..number).map(block).collect())
        });
        Self {
            patch,
            image: blocks::conv(path / "image", channels * patch * patch, finest, 3, 1.0),
            resolutions: resolutions.collect(),
            hidden: blocks::linear(path / "hidden", coarsest, features, RELU_GAIN),
            features: blocks::linear(path / "features", features, features, RELU_GAIN),
            condition: ConditionEmbedding::new(path / "condition", data, features),
        }
    }

    /// The conditions as the discriminator knows them, f32 `[n, features]`.
    pub fn embed(&self, conditions: &Conditions) -> Tensor {
        self.condition.forward(conditions).vector
    }

    /// What is seen in images, `[n, features]`, in the images' kind also under autocast.
    ///
    /// `images`: `[n, c, h, w]`, for a model that is shown known pixels with their mask as a further channel.
    pub fn features(&self, images: &Tensor) -> Tensor {
        let mut x = space_to_depth(images, (self.patch, self.patch)).apply(&self.image);
        for (down, blocks) in &self.resolutions {
            if let Some(down) = down {
                x = blocks::downsample(down, &x);
            }
            for block in blocks {
                x = block.forward(&x, None, None);
            }
        }
        let hidden = leaky_relu(&leaky_relu(&x).flatten(1, -1).apply(&self.hidden));
        hidden.apply(&self.features).to_kind(images.kind())
    }
}

/// Logits `[..]`, higher for "real": of images by their [`DiscriminatorNet::features`] under conditions by their
/// [`DiscriminatorNet::embed`], both `[.., features]`, broadcast against each other.
pub fn logits(features: &Tensor, condition: &Tensor) -> Tensor {
    let product = features * condition;
    let number = *product.size().last().expect("features are the last dimension");
    product.sum_dim_intlist(-1, false, product.kind()) / (number as f64).sqrt()
}
