//! Variational autoencoders: from one latent vector to a ladder of stochastic groups, top down.
//!
//! A VAE (Kingma & Welling 2014; Rezende et al. 2014) bounds log p(x) from below by the ELBO,
//! E_q(z|x) log p(x|z) - KL(q(z|x) ‖ p(z)). A ladder (Sønderby et al. 2016) splits z into groups, each with a prior that
//! is conditioned on the groups above, and lets the posterior share the top-down features; its blocks are those of the
//! very deep VAE (Child 2021, figure 3 and section 4.2), without normalization layers. One group that is a vector is the
//! flat VAE, in the same code.
//!
//! Where this deviates:
//! - Class and caption enter at every level of the decoder; the priors, and thereby the posteriors, depend on them.
//! - The decoder is an exact distribution of 8-bit levels ([`paragone_nn::pixel`]), never a squared error.
//! - Free bits (Kingma et al. 2016) are granted image by image rather than on a batch's mean, so that the loss stays a
//!   mean over images.
//! - Log standard deviations are bounded smoothly, by 5 tanh(x / 5).
//! - Resolutions meet by moving blocks of positions to channels or back, and a 1x1 convolution, and features may begin at squares of pixels.

mod config;
#[cfg(test)]
mod fixtures;
mod gaussian;
mod group;
mod ladder;
mod latents;
mod layers;
mod likelihood;
mod model;
mod sample;
mod tasks;

pub use config::VaeConfig;

use model::Model;
use paragone_core::{DataSpec, Family, Generator, Result};
use tch::nn;

/// The family `vae`.
#[derive(Debug)]
pub struct Vae;

impl Family for Vae {
    const NAME: &'static str = "vae";
    type Config = VaeConfig;
    const SAMPLING_KEYS: &'static [&'static str] = &["iwae_draws", "inpaint_sweeps"];

    fn tiny() -> VaeConfig {
        VaeConfig {
            latents: Some(vec![vec![4], vec![4, 2], vec![1]]),
            widths: vec![24, 32],
            vector_width: 32,
            condition_dim: 16,
            iwae_draws: 4,
            ..VaeConfig::default()
        }
    }

    fn likelihood_config(config: &VaeConfig) -> VaeConfig {
        VaeConfig { inpaint_sweeps: VaeConfig::default().inpaint_sweeps, ..config.clone() }
    }

    fn validate(config: &VaeConfig, data: &DataSpec) -> Result<()> {
        config.validate(data)
    }

    fn build(config: &VaeConfig, data: &DataSpec, vars: nn::Path) -> Result<Box<dyn Generator>> {
        Ok(Box::new(Model::new(config, data, &vars)?))
    }
}
