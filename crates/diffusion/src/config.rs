//! The family's section of an experiment.

use crate::{objective::Objective, probability_flow, schedule::NoiseSchedule, unet::UNetConfig};
use paragone_core::{DataSpec, Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A diffusion model: a network that removes noise, applied step by step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DiffusionConfig {
    /// What the network learns to predict, and at which noise levels.
    pub objective: Objective,
    /// T: steps of the discrete noising process. The objectives eps, x0 and v train on it, the samplers ancestral and ddim
    /// walk back along it, and the variational bound and the noising pictures use it whatever the objective.
    pub num_timesteps: usize,
    /// How much noise each of the T steps adds.
    pub schedule: ScheduleConfig,
    /// Mean of ln σ in training, σ being the noise's standard deviation beside an image of variance `σ_data²`. For the
    /// objectives edm and flow-matching.
    pub p_mean: f64,
    /// Standard deviation of ln σ in training. For the objectives edm and flow-matching.
    pub p_std: f64,
    /// Shape of the density of ln σ in training. For the objectives edm and flow-matching.
    pub p_shape: NoiseDensity,
    /// γ of min-SNR weighting (Hang et al. 2023): the error of the predicted image weighs min(1/σ², γ). None: the
    /// objective's own weighting, a mean squared error of what is predicted.
    pub min_snr_gamma: Option<f64>,
    /// The least that min-SNR leaves of the objective's own weight, 1. At 0 it makes next to nothing of the highest noise
    /// levels, and with them of what they decide: the ground behind a thing, how bright a picture is.
    pub least_weight: f64,
    /// Makes of a trained model, `train.from`, one that goes from noise to image in a call or two: `{}` for the defaults. It is
    /// sampled by the sampler `consistency`. None: the model learns to remove noise.
    pub consistency: Option<ConsistencyConfig>,
    /// How images are drawn.
    pub sampler: SamplerConfig,
    /// How holes are filled by a model that was shown none in training.
    pub inpaint: InpaintConfig,
    /// How images are edited.
    pub edit: EditConfig,
    /// Steps of Heun's method from an image to the noise behind it and back: its latents. Two network calls each.
    pub inversion_steps: usize,
    /// Noise levels drawn per image to estimate the variational bound.
    pub bound_draws: usize,
    /// How likelihood under the probability flow is estimated.
    pub ode_likelihood: OdeLikelihoodConfig,
    /// The denoising network.
    pub network: UNetConfig,
}

impl Default for DiffusionConfig {
    fn default() -> Self {
        Self {
            objective: Objective::Edm,
            num_timesteps: 1000,
            schedule: ScheduleConfig::default(),
            p_mean: -1.2,
            p_std: 1.2,
            p_shape: NoiseDensity::Normal,
            min_snr_gamma: None,
            least_weight: 0.0,
            consistency: None,
            sampler: SamplerConfig::default(),
            inpaint: InpaintConfig::default(),
            edit: EditConfig::default(),
            inversion_steps: 16,
            bound_draws: 16,
            ode_likelihood: OdeLikelihoodConfig::default(),
            network: UNetConfig::default(),
        }
    }
}

/// A schedule of β_1 … β_T.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// Its shape.
    pub name: ScheduleName,
    /// β_1 of the linear schedule at T = 1000.
    pub beta_start: f64,
    /// β_T of the linear schedule at T = 1000.
    pub beta_end: f64,
    /// Whether a linear schedule of T steps does the work of one of 1000: β becomes 1 − (1 − β)^(1000 / T). Without it a
    /// short process ends far from noise. The cosine schedule always fits its T.
    pub scale_to_timesteps: bool,
    /// s of the cosine schedule.
    pub offset: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            name: ScheduleName::Linear,
            beta_start: 1e-4,
            beta_end: 0.02,
            scale_to_timesteps: true,
            offset: 0.008,
        }
    }
}

/// The shape of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleName {
    /// β on a straight line (Ho et al. 2020).
    Linear,
    /// ᾱ on a squared cosine (Nichol & Dhariwal 2021).
    Cosine,
}

/// Consistency tuning (Geng et al. 2024): from any noise level the network learns to say what it says from a lower one of the
/// same noise, and the two come closer as training goes on.
///
/// They trained with `p_mean: -1.1` and `p_std: 2`, the learning rate a tenth of that of the model tuned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsistencyConfig {
    /// Stages of training: from each to the next the distance between the two noise levels halves. In the first, the lower one is
    /// 0 or half the higher.
    pub halvings: u32,
}

impl Default for ConsistencyConfig {
    fn default() -> Self {
        Self { halvings: 8 }
    }
}

/// How images are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerConfig {
    /// The method.
    pub name: SamplerName,
    /// Steps from noise to image. A step is a network call, for heun two but for the last; guidance doubles the calls.
    /// None: `num_timesteps` for ancestral, 20 for ddim, 2 for consistency, otherwise 10 (or `num_timesteps` where that is less).
    pub steps: Option<usize>,
    /// Order of dpm-solver++: 2 or 3. That of sde-dpm-solver++ is 2.
    pub order: usize,
    /// How the noise levels of the steps are chosen.
    pub spacing: Spacing,
    /// The last noise level before 0 under karras spacing. None: 0.01, or the schedule's first if the objective was trained
    /// on none lower.
    pub sigma_min: Option<f64>,
    /// The noise level that karras spacing starts from. None: 40, or the schedule's last if the objective was trained on none
    /// higher.
    pub sigma_max: Option<f64>,
    /// ρ of karras spacing: the larger, the more steps at low noise.
    pub rho: f64,
    /// Whether every denoised picture is clamped to [-1, 1], where the mean of pixels must lie.
    pub clip_denoised: bool,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        Self {
            name: SamplerName::SdeDpmSolverPp,
            steps: None,
            order: 2,
            spacing: Spacing::Auto,
            sigma_min: None,
            sigma_max: None,
            rho: 7.0,
            clip_denoised: true,
        }
    }
}

/// How holes are filled: `(steps − 1) · resamples + 1` network calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InpaintConfig {
    /// Noise levels gone through.
    pub steps: usize,
    /// Times that each step is taken, noise being added back in between; 1: the known pixels are only put in.
    pub resamples: usize,
}

impl Default for InpaintConfig {
    fn default() -> Self {
        Self { steps: 20, resamples: 4 }
    }
}

/// How images are edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EditConfig {
    /// Where the noise comes from that an image is brought to.
    pub method: EditMethod,
    /// Noise levels at strength 1; at a lower one its share of them is gone through.
    pub steps: usize,
}

impl Default for EditConfig {
    fn default() -> Self {
        Self { method: EditMethod::Inversion, steps: 20 }
    }
}

/// Where the noise of an edit comes from. A model tuned for consistency has no flow to follow: its noise is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EditMethod {
    /// From the image, along the probability flow under what it shows (Song et al. 2021): three to four calls a step.
    Inversion,
    /// It is drawn (SDEdit, Meng et al. 2022): the sampler's calls.
    Noise,
}

/// How likelihood under the probability flow is estimated: by steps of a fourth-order Runge–Kutta method from an image to noise.
///
/// The denoiser is the sampler's: clamped where `sampler.clip_denoised` is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OdeLikelihoodConfig {
    /// Steps, each of four network calls with their gradients, which cost as much as eight or nine without; 0: it is not
    /// estimated. On Fashion-MNIST 6, 8, 16 and 32 steps fall short of 64 by 0.061, 0.022, 0.004 and 0.001 bits per dimension.
    pub steps: usize,
    /// Times that an image is followed, with another dequantization and other probes of the trace each.
    pub draws: u64,
}

impl Default for OdeLikelihoodConfig {
    fn default() -> Self {
        Self { steps: 16, draws: 1 }
    }
}

/// A density of ln σ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseDensity {
    /// The normal density (Karras et al. 2022, table 1).
    Normal,
    /// The Laplace density (Hang & Gu 2024): of the same deviation, it has more in the middle, where shapes are decided, and more
    /// far out, where only a ground still is.
    Laplace,
}

/// A sampling method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SamplerName {
    /// Reverses the noising step by step, adding noise at each (Ho et al. 2020, algorithm 2).
    Ancestral,
    /// The same without noise (Song et al. 2021).
    Ddim,
    /// A multistep solver of order 2 or 3 (Lu et al. 2022).
    #[serde(rename = "dpm-solver++")]
    DpmSolverPp,
    /// The same of order 2 with noise added at each step, which mends what earlier steps got wrong.
    #[serde(rename = "sde-dpm-solver++")]
    SdeDpmSolverPp,
    /// A predictor and a corrector (Karras et al. 2022, algorithm 1).
    Heun,
    /// To the image at once, then back to noise for the next step (Song et al. 2023, algorithm 1): for models tuned for it.
    Consistency,
}

impl fmt::Display for SamplerName {
    /// As experiments write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ancestral => "ancestral",
            Self::Ddim => "ddim",
            Self::DpmSolverPp => "dpm-solver++",
            Self::SdeDpmSolverPp => "sde-dpm-solver++",
            Self::Heun => "heun",
            Self::Consistency => "consistency",
        })
    }
}

/// How the noise levels of the steps are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Spacing {
    /// timesteps for ancestral and ddim, karras for the others.
    Auto,
    /// Evenly many of the schedule's steps apart, from T down.
    Timesteps,
    /// Evenly apart in σ^(1/ρ) (Karras et al. 2022, eq. 5).
    Karras,
}

impl SamplerConfig {
    /// Steps, none resolved.
    pub(crate) fn num_steps(&self, num_timesteps: usize) -> usize {
        self.steps.unwrap_or(match self.name {
            SamplerName::Ancestral => num_timesteps,
            SamplerName::Ddim => 20.min(num_timesteps),
            SamplerName::DpmSolverPp | SamplerName::SdeDpmSolverPp | SamplerName::Heun => {
                10.min(num_timesteps)
            }
            SamplerName::Consistency => 2,
        })
    }

    /// Spacing, auto resolved.
    pub(crate) fn resolved_spacing(&self) -> Spacing {
        match (self.spacing, self.name) {
            (Spacing::Auto, SamplerName::Ancestral | SamplerName::Ddim) => Spacing::Timesteps,
            (Spacing::Auto, _) => Spacing::Karras,
            (given, _) => given,
        }
    }

    /// The lowest and highest noise level of karras spacing.
    pub(crate) fn sigma_range(&self, objective: Objective, schedule: &NoiseSchedule) -> (f64, f64) {
        let trained = if objective.is_discrete() {
            (schedule.sigma(1), schedule.sigma(schedule.num_timesteps()))
        } else {
            (0.0, f64::INFINITY)
        };
        let min = self.sigma_min.unwrap_or_else(|| trained.0.max(0.01));
        let max = self.sigma_max.unwrap_or_else(|| trained.1.min(40.0));
        (min, max)
    }
}

impl DiffusionConfig {
    /// The noise level at which the prior of the probability flow stands: where samplers begin by default.
    pub(crate) fn flow_sigma_max(&self) -> f64 {
        SamplerConfig::default().sigma_range(self.objective, &self.noise_schedule()).1
    }

    /// The discrete process.
    pub(crate) fn noise_schedule(&self) -> NoiseSchedule {
        NoiseSchedule::new(&self.schedule, self.num_timesteps)
    }

    pub(crate) fn validate(&self, data: &DataSpec) -> Result<()> {
        let rule = |holds: bool, key: &str, value: &dyn std::fmt::Display, rule: &str| {
            if holds { Ok(()) } else { Err(Error::invalid(key, value, rule)) }
        };
        let Self {
            num_timesteps,
            schedule,
            p_mean,
            p_std,
            min_snr_gamma,
            least_weight,
            sampler,
            inpaint,
            edit,
            inversion_steps,
            bound_draws,
            ode_likelihood,
            ..
        } = self;
        rule(*num_timesteps >= 2, "num_timesteps", num_timesteps, "must be at least 2")?;
        rule(p_mean.is_finite(), "p_mean", p_mean, "must be a number")?;
        rule(*p_std > 0.0 && p_std.is_finite(), "p_std", p_std, "must be above 0")?;
        if let Some(gamma) = min_snr_gamma {
            rule(*gamma > 0.0, "min_snr_gamma", gamma, "must be above 0")?;
        }
        let weighs = *least_weight >= 0.0 && least_weight.is_finite();
        rule(weighs, "least_weight", least_weight, "must be at least 0")?;
        let bounds = *least_weight == 0.0 || min_snr_gamma.is_some();
        rule(bounds, "least_weight", least_weight, "goes with the key `min_snr_gamma`")?;
        // Of the schedule's steps no more can be chosen than there are.
        let most = match sampler.resolved_spacing() {
            Spacing::Timesteps => *num_timesteps,
            _ => usize::MAX,
        };
        for (key, steps) in [
            ("inpaint.steps", inpaint.steps),
            ("edit.steps", edit.steps),
            ("inversion_steps", *inversion_steps),
        ] {
            rule(steps >= 1, key, &steps, "must be at least 1")?;
            let at_most = format!("must be at most num_timesteps ({num_timesteps})");
            rule(steps <= most, key, &steps, &at_most)?;
        }
        let resamples = inpaint.resamples;
        rule(resamples >= 1, "inpaint.resamples", &resamples, "must be at least 1")?;
        rule(*bound_draws >= 1, "bound_draws", bound_draws, "must be at least 1")?;
        let ScheduleConfig { beta_start, beta_end, offset, .. } = schedule;
        let is_beta = |beta: f64| 0.0 < beta && beta < 1.0;
        rule(is_beta(*beta_start), "schedule.beta_start", beta_start, "must be between 0 and 1")?;
        rule(is_beta(*beta_end), "schedule.beta_end", beta_end, "must be between 0 and 1")?;
        rule(*offset > 0.0 && *offset < 1.0, "schedule.offset", offset, "must be between 0 and 1")?;
        let left = self.noise_schedule().alpha_cumprod(*num_timesteps);
        let most =
            "is so steep that nothing can be computed at its end: ᾱ_T must be at least 1e-12";
        rule(left >= 1e-12, "schedule", &format_args!("one with ᾱ_T = {left:e}"), most)?;
        rule(
            ode_likelihood.draws >= 1,
            "ode_likelihood.draws",
            &ode_likelihood.draws,
            "must be at least 1",
        )?;
        if ode_likelihood.steps > 0 {
            let (last, first) = (self.flow_sigma_max(), probability_flow::sigma_min());
            let most_noise = format_args!("one with σ_T = {last:.1e}");
            let least = format!("must end above σ = {first:.1e}, unless ode_likelihood.steps is 0");
            rule(last > first, "schedule", &most_noise, &least)?;
        }
        self.validate_sampler(sampler, rule)?;
        self.network.validate(data)
    }

    fn validate_sampler(
        &self,
        sampler: &SamplerConfig,
        rule: impl Fn(bool, &str, &dyn std::fmt::Display, &str) -> Result<()>,
    ) -> Result<()> {
        let jumps = sampler.name == SamplerName::Consistency;
        match &self.consistency {
            None => {
                rule(!jumps, "sampler.name", &"consistency", "goes with the key `consistency`")?
            }
            Some(ConsistencyConfig { halvings }) => {
                rule(jumps, "sampler.name", &sampler.name, "must be consistency here")?;
                let most = "must be at most 20: a distance of 2^-20 is lost in f32";
                rule(*halvings <= 20, "consistency.halvings", halvings, most)?;
                // Only the other objectives leave an image without noise as it is.
                let rest = self.objective != Objective::X0;
                rule(rest, "objective", &"x0", "must be another for consistency")?;
            }
        }
        let steps = sampler.num_steps(self.num_timesteps);
        rule(steps >= 1, "sampler.steps", &steps, "must be at least 1")?;
        rule((2..=3).contains(&sampler.order), "sampler.order", &sampler.order, "must be 2 or 3")?;
        let is_power = sampler.rho >= 1.0 && sampler.rho.is_finite();
        rule(is_power, "sampler.rho", &sampler.rho, "must be at least 1")?;
        if sampler.resolved_spacing() == Spacing::Timesteps {
            let most = format!(
                "must be at most num_timesteps ({}), of which the steps are chosen",
                self.num_timesteps
            );
            return rule(steps <= self.num_timesteps, "sampler.steps", &steps, &most);
        }
        let (min, max) = sampler.sigma_range(self.objective, &self.noise_schedule());
        rule(min > 0.0, "sampler.sigma_min", &min, "must be above 0")?;
        rule(max > min && max.is_finite(), "sampler.sigma_max", &max, "must be above sigma_min")
    }
}
