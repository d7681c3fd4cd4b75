//! Diffusion models: images noised in T steps, and a network that learns to take the noise away.
//!
//! The textbook process is here whole (Ho et al. 2020: linear or cosine schedule, noise prediction, ancestral sampling,
//! variational bound), and beside it what came after: x0- and v-prediction, EDM preconditioning (Karras et al. 2022), flow
//! matching (Lipman et al. 2023), DDIM, Heun, DPM-Solver++ with and without noise, consistency tuning (Geng et al. 2024). All of
//! them meet in one denoiser D(x; σ), the expected clean image given x = x_0 + σ ε: `objective.rs` makes it from what a network
//! predicts, `samplers.rs`, `bound.rs` and `probability_flow.rs` use it.

mod blocks;
mod bound;
mod config;
mod consistency;
mod guided;
mod layers;
mod model;
mod noise_levels;
mod objective;
mod probability_flow;
mod samplers;
mod schedule;
mod tasks;
mod unet;

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod sampler_tests;
#[cfg(test)]
mod test_support;

pub use config::{
    ConsistencyConfig, DiffusionConfig, EditConfig, EditMethod, InpaintConfig, NoiseDensity,
    OdeLikelihoodConfig, SamplerConfig, SamplerName, ScheduleConfig, ScheduleName, Spacing,
};
pub use objective::Objective;
pub use unet::UNetConfig;

use paragone_core::{DataSpec, Family, Generator, Result};
use tch::nn;

/// The family of diffusion models.
#[derive(Debug)]
pub struct Diffusion;

impl Family for Diffusion {
    const NAME: &'static str = "diffusion";
    const SAMPLING_KEYS: &'static [&'static str] =
        &["sampler", "inpaint", "edit", "inversion_steps", "bound_draws", "ode_likelihood"];

    type Config = DiffusionConfig;

    fn tiny() -> DiffusionConfig {
        DiffusionConfig {
            num_timesteps: 50,
            sampler: SamplerConfig { steps: Some(4), ..SamplerConfig::default() },
            inpaint: InpaintConfig { steps: 4, resamples: 2 },
            edit: EditConfig { steps: 5, ..EditConfig::default() },
            bound_draws: 4,
            ode_likelihood: OdeLikelihoodConfig { steps: 6, draws: 1 },
            network: UNetConfig {
                widths: vec![16, 24],
                num_heads: 2,
                embedding_dim: 32,
                ..UNetConfig::default()
            },
            ..DiffusionConfig::default()
        }
    }

    fn sampling_costs(config: &DiffusionConfig) -> Vec<DiffusionConfig> {
        let steps = match config.sampler.name {
            SamplerName::Consistency => [1, 2, 4, 8, 16],
            _ => [3, 5, 10, 20, 50],
        };
        let own = config.sampler.num_steps(config.num_timesteps);
        let steps =
            steps.into_iter().filter(|&steps| steps <= config.num_timesteps && steps != own);
        let with = |steps| DiffusionConfig {
            sampler: SamplerConfig { steps: Some(steps), ..config.sampler.clone() },
            ..config.clone()
        };
        steps.map(with).collect()
    }

    fn likelihood_config(config: &DiffusionConfig) -> DiffusionConfig {
        let default = DiffusionConfig::default();
        let clip_denoised = config.sampler.clip_denoised;
        DiffusionConfig {
            sampler: SamplerConfig { clip_denoised, ..default.sampler },
            inpaint: default.inpaint,
            edit: default.edit,
            inversion_steps: default.inversion_steps,
            ..config.clone()
        }
    }

    fn validate(config: &DiffusionConfig, data: &DataSpec) -> Result<()> {
        config.validate(data)
    }

    fn build(
        config: &DiffusionConfig,
        data: &DataSpec,
        vars: nn::Path,
    ) -> Result<Box<dyn Generator>> {
        Ok(Box::new(model::DiffusionModel::new(config, data, vars)))
    }
}
