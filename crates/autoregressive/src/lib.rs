//! The autoregressive family: a gated PixelCNN, which draws an image pixel by pixel in raster order.
//!
//! van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders": p(x | c) = Π p(x_i | x_<i, c), each
//! factor from a vertical and a horizontal stack of gated convolutions, y = tanh(W_f ∗ x + V_f c) ⊙ σ(W_g ∗ x + V_g c).
//! Where we deviate: the tanh is left out by default (Dauphin et al. 2017), the first layer sees waves of a pixel's value
//! beside the value (Tancik et al. 2020), and a learned table of positions is added to it: all three make it learn faster.
//! The vertical stack has residual connections too, and the condition's part of the gates begins at zero. All channels of
//! a pixel share one place in the order; colour gets its dependence between them from the pixel's distribution (see
//! [`paragone_nn::pixel`]). Sampling caches every layer's features, so an image costs about as much
//! arithmetic as one pass of the network.

mod config;
mod layer;
mod model;
mod network;
mod sampler;
mod tasks;
#[cfg(test)]
mod tests;

pub use config::AutoregressiveConfig;
pub use layer::Gate;
use paragone_core::{DataSpec, Family, Generator, Result};
use tch::nn;

/// The family of pixel-by-pixel models.
#[derive(Debug)]
pub struct Autoregressive;

impl Family for Autoregressive {
    const NAME: &'static str = "autoregressive";

    type Config = AutoregressiveConfig;

    fn tiny() -> Self::Config {
        AutoregressiveConfig::tiny()
    }

    fn validate(config: &Self::Config, _data: &DataSpec) -> Result<()> {
        config.validate()
    }

    fn build(config: &Self::Config, data: &DataSpec, vars: nn::Path) -> Result<Box<dyn Generator>> {
        Ok(Box::new(model::PixelCnn::new(config, data, vars)?))
    }
}
