//! Generative adversarial networks: a generator learns to make images that a discriminator cannot tell from real ones.
//!
//! Goodfellow et al. 2014, eq. 1, in the form of R3GAN (Huang et al. 2024, eq. 2 and 3): a relativistic pairing loss with
//! zero-centred gradient penalties on real and on generated images, and residual networks without normalization. The
//! non-saturating, hinge and Wasserstein losses are options of the same networks. Both networks are conditional, with a
//! row for "no condition" that is trained on the rows whose condition was dropped.
//!
//! Where we deviate from R3GAN: dense 3×3 convolutions instead of 1×1, grouped 3×3, 1×1 (faster on a CPU); penalties
//! every few steps, scaled up (lazy regularization, Karras et al. 2020); the latent also modulates every block and noise
//! enters at every pixel (StyleGAN, Karras et al. 2019); γ falls geometrically over the
//! whole budget, not by a cosine over its beginning, and β₂ does not rise.

mod augment;
mod blocks;
mod config;
mod discriminator;
mod generator;
mod latents;
mod losses;
mod model;
mod penalty;
mod tasks;

#[cfg(test)]
mod tests;

pub use config::{AugmentConfig, DiscriminatorConfig, GanConfig, GeneratorConfig, PenaltyKind};
pub use losses::Adversarial;

use paragone_core::{DataSpec, Family, Generator, Result};
use tch::nn::Path;

/// The family "gan".
#[derive(Debug)]
pub struct Gan;

impl Family for Gan {
    const NAME: &'static str = "gan";
    type Config = GanConfig;
    const SAMPLING_KEYS: &'static [&'static str] = &["inversion_steps"];

    fn tiny() -> GanConfig {
        GanConfig::tiny()
    }

    fn validate(config: &GanConfig, data: &DataSpec) -> Result<()> {
        config.validate(data)
    }

    fn build(config: &GanConfig, data: &DataSpec, vars: Path) -> Result<Box<dyn Generator>> {
        Ok(Box::new(model::Model::new(config, data, &vars)))
    }
}
