//! The model: a preconditioned network with its loss, its sampling and what else it offers.

use crate::{
    bound::{Steps, VariationalBound, per_image_columns},
    config::{DiffusionConfig, NoiseDensity, OdeLikelihoodConfig, SamplerName, Spacing},
    guided::Guided,
    noise_levels,
    objective::Coefficients,
    probability_flow::{CALLS_PER_STEP, ProbabilityFlow},
    samplers,
    schedule::NoiseSchedule,
    unet::UNet,
};
use paragone_core::{
    Batch, Conditions, DataSpec, Edit, Error, Fact, Generator, Inpaint, Lacks, Latents, Likelihood,
    LikelihoodKind, LikelihoodMethod, Loss, Noise, Noising, Offer, OnStep, OptimizerConfig, Phase,
    Progress, Result, SampleRequest, StepContext, bits_per_dim,
};
use std::f64::consts::FRAC_1_SQRT_2;
use tch::{Device, Kind, Tensor, nn};

/// The variational bound of the process of T steps.
const BOUND: &str = "variational-bound";

/// The variational bound of infinitely many steps.
const CONTINUOUS_BOUND: &str = "variational-bound-continuous";

/// What a network call with its gradient costs, in calls without: 2.2 were measured at the default size.
const PASSES_OF_A_GRADIENT: u64 = 2;

/// What a network that was tuned to jump no longer has: its D is one image, not the average of those possible.
const NO_FLOW: Lacks = Lacks("jumps to its images, so that there is no flow to follow back");

/// A diffusion model. Inside, images are centred by the data's mean, and `x = x_0 + σ ε`.
#[derive(Debug)]
pub(crate) struct DiffusionModel {
    pub(crate) config: DiffusionConfig,
    pub(crate) data: DataSpec,
    schedule: NoiseSchedule,
    net: UNet,
}

impl DiffusionModel {
    pub fn new(config: &DiffusionConfig, data: &DataSpec, vars: nn::Path) -> Self {
        let channels = data.shape.channels;
        // Known pixels and their mask come in beside the noisy image.
        let in_channels = if data.known_pixels { 2 * channels + 1 } else { channels };
        Self {
            config: config.clone(),
            data: data.clone(),
            schedule: config.noise_schedule(),
            net: UNet::new(&vars / "net", &config.network, data, in_channels),
        }
    }

    /// Standard deviation of the data. Blank images have none, and a network could not be scaled to them.
    fn sigma_data(&self) -> f64 {
        self.data.std.max(0.01)
    }

    fn coefficients(&self, sigmas: &[f64]) -> Vec<Coefficients> {
        let coefficients = |&sigma| self.config.objective.coefficients(sigma, self.sigma_data());
        sigmas.iter().map(coefficients).collect()
    }

    /// F(c_in x; c_noise), f32 `[n, c, h, w]`; the coefficients `[n, 1, 1, 1]`.
    fn network(&self, x: &Tensor, [c_in, c_noise]: [Tensor; 2], conditions: &Conditions) -> Tensor {
        let mut input = x * c_in;
        if self.data.known_pixels {
            let known = conditions.known.as_ref().expect("built to be shown known pixels");
            let pixels = known.filled(self.data.mean) - self.data.mean;
            input = Tensor::cat(&[&input, &pixels, &known.mask], 1);
        }
        self.net.forward(&input, &c_noise.flatten(0, -1), conditions).to_kind(Kind::Float)
    }

    /// D(x; σ), a noise level an image: the centred images that `x`, f32 `[n, c, h, w]`, may have come from, averaged.
    pub(crate) fn denoise(&self, x: &Tensor, sigmas: &[f64], conditions: &Conditions) -> Tensor {
        let [c_in, c_noise, c_skip, c_out] = columns(
            &self.coefficients(sigmas),
            [&|c| c.c_in, &|c| c.c_noise, &|c| c.c_skip, &|c| c.c_out],
            x,
        );
        x * c_skip + self.network(x, [c_in, c_noise], conditions) * c_out
    }

    /// Noise levels to train on, one an image.
    pub(crate) fn training_sigmas(&self, n: i64) -> Vec<f64> {
        // Drawn on the host, where the coefficients are computed: a handful of numbers.
        let host = |kind| (kind, Device::Cpu);
        if self.config.objective.is_discrete() {
            let last = self.schedule.num_timesteps() as i64;
            let t = Tensor::randint_low(1, last + 1, [n], host(Kind::Int64));
            let t = Vec::<i64>::try_from(t).expect("one number an image");
            t.into_iter().map(|t| self.schedule.sigma(t as usize)).collect()
        } else {
            // Of variance 1.
            let z = match self.config.p_shape {
                NoiseDensity::Normal => Tensor::randn([n], host(Kind::Double)),
                NoiseDensity::Laplace => {
                    // By the inverse of its distribution function.
                    let side = Tensor::rand([n], host(Kind::Double)) - 0.5;
                    let outside: Tensor = 1.0 - side.abs() * 2.0; // in (0, 1], uniform
                    outside.clamp_min(f64::MIN_POSITIVE).log() * side.sign() * -FRAC_1_SQRT_2
                }
            };
            let z = Vec::<f64>::try_from(z).expect("one number an image");
            z.into_iter().map(|z| (self.config.p_mean + self.config.p_std * z).exp()).collect()
        }
    }

    /// The noise levels that sampling visits, 0 the last.
    pub(crate) fn sigmas(&self) -> Vec<f64> {
        self.sigmas_in(self.config.sampler.num_steps(self.config.num_timesteps))
    }

    /// The noise levels that the sampler would visit in so many steps.
    pub(crate) fn sigmas_in(&self, steps: usize) -> Vec<f64> {
        let sampler = &self.config.sampler;
        if sampler.resolved_spacing() == Spacing::Timesteps {
            return noise_levels::timesteps(&self.schedule, steps);
        }
        let (min, max) = sampler.sigma_range(self.config.objective, &self.schedule);
        let levels = if sampler.name == SamplerName::Consistency {
            noise_levels::karras_open
        } else {
            noise_levels::karras
        };
        levels(min, max, sampler.rho, steps)
    }

    /// Calls of the denoiser in so many steps of the sampler.
    pub(crate) fn denoisings(&self, steps: usize) -> usize {
        let heun = self.config.sampler.name == SamplerName::Heun;
        if heun { 2 * steps - 1 } else { steps }
    }

    /// New images.
    pub(crate) fn draw(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        let (sigmas, shape) = (self.sigmas(), self.data.shape.dims());
        let mut guided = Guided::new(self, request, self.denoisings(sigmas.len() - 1), 0, on_step);
        let normal = |draw| request.noise.normal(draw, &shape) * request.temperature;
        tch::no_grad(|| {
            // x_T is standard normal, as if the data had unit variance; at σ = 40 that is σ but for a few ten-thousandths.
            let x = normal(0) * (1.0 + sigmas[0] * sigmas[0]).sqrt();
            let x = self.solve(&mut guided, x, &sigmas, &|i| normal(1 + i as u64))?;
            Ok(self.picture(&x))
        })
    }

    /// From `x` at the first of these noise levels to the last by the sampler; `noise(i)` is that of a step that adds some.
    pub(crate) fn solve(
        &self,
        guided: &mut Guided<'_>,
        x: Tensor,
        sigmas: &[f64],
        noise: &dyn Fn(usize) -> Tensor,
    ) -> Result<Tensor> {
        let mut denoise = |x: &Tensor, sigma: f64| guided.denoise(x, sigma);
        match self.config.sampler.name {
            SamplerName::Ancestral => samplers::ancestral(&mut denoise, x, sigmas, noise),
            SamplerName::Ddim => samplers::ddim(&mut denoise, x, sigmas),
            SamplerName::DpmSolverPp => {
                samplers::dpm_solver_pp(&mut denoise, x, sigmas, self.config.sampler.order)
            }
            SamplerName::SdeDpmSolverPp => {
                samplers::sde_dpm_solver_pp(&mut denoise, x, sigmas, noise)
            }
            SamplerName::Heun => samplers::heun(&mut denoise, x, sigmas),
            SamplerName::Consistency => samplers::consistency(&mut denoise, x, sigmas, noise),
        }
    }

    /// A centred image as a picture in [-1, 1].
    pub(crate) fn picture(&self, x: &Tensor) -> Tensor {
        (x + self.data.mean).clamp(-1.0, 1.0)
    }

    pub(crate) fn clip(&self, denoised: Tensor) -> Tensor {
        if !self.config.sampler.clip_denoised {
            return denoised;
        }
        denoised.clamp(-1.0 - self.data.mean, 1.0 - self.data.mean)
    }
}

impl Generator for DiffusionModel {
    fn phases(&self) -> Vec<Phase> {
        let optimizer = OptimizerConfig {
            // Tuning starts from what training has found.
            lr: if self.config.consistency.is_some() { 2e-4 } else { 2e-3 },
            betas: [0.9, 0.99],
            weight_decay: 0.01,
            warmup: 0.05,
            ..OptimizerConfig::default()
        };
        vec![Phase { name: "denoiser", parameters: &["net"], every: 1, optimizer }]
    }

    fn loss(&self, _phase: &Phase, batch: &Batch, step: &StepContext) -> Result<Loss> {
        if let Some(consistency) = &self.config.consistency {
            return Ok(self.consistency_loss(consistency, batch, step.progress));
        }
        let x0 = &batch.images - self.data.mean;
        let (gamma, least) = (self.config.min_snr_gamma, self.config.least_weight);
        let [sigma, c_in, c_noise, of_image, of_noise, weight, in_sight] = columns(
            &self.coefficients(&self.training_sigmas(batch.len())),
            [
                &|c| c.sigma,
                &|c| c.c_in,
                &|c| c.c_noise,
                &|c| c.target().0,
                &|c| c.target().1,
                &|c| c.loss_weight(gamma, least),
                &|c| (c.c_out * c.c_in).powi(2),
            ],
            &x0,
        );
        let eps = Tensor::randn(x0.size(), (Kind::Float, x0.device()));
        let x = &x0 + &eps * sigma;
        let target = &x0 * of_image + eps * of_noise;
        let error = self.network(&x, [c_in, c_noise], &batch.conditions) - target;
        let error = to_learn(error, &batch.conditions).square();
        let error = error.mean_dim([1i64, 2, 3].as_slice(), true, Kind::Float); // [n, 1, 1, 1]
        let weighted = &error * weight;
        // Of the predicted image, in the scale that the network sees: else the highest noise levels were all of it.
        let mse = error.detach() * in_sight;
        Ok(Loss::new(weighted.mean(Kind::Float)).with_scalar("mse", &mse.mean(Kind::Float)))
    }

    /// `temperature` scales the noise that sampling starts from, and that of every step that adds some.
    ///
    /// Guidance is two network calls where there was one.
    fn sample(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        request.check()?;
        self.draw(request, on_step)
    }

    fn facts(&self) -> Vec<Fact> {
        let last = self.schedule.num_timesteps();
        let numel = self.data.shape.numel();
        let prior_kl = self.schedule.prior_kl(self.data.std.powi(2)) * numel as f64;
        let fact = |name, value, meaning| Fact { name, value, meaning };
        vec![
            fact(
                "alphas_cumprod_last",
                self.schedule.alpha_cumprod(last),
                "share of an image's variance that is left after all steps of the noising process",
            ),
            fact(
                "prior_kl_nats",
                prior_kl,
                "nats an image by which the end of the noising process differs from pure noise",
            ),
            fact(
                "prior_kl_bits_per_dim",
                bits_per_dim(prior_kl, numel),
                "the same in bits per dimension",
            ),
            fact("sigma_first", self.sigmas()[0], "noise level that sampling starts from"),
        ]
    }

    fn likelihood(&self) -> Offer<'_, dyn Likelihood> {
        if self.config.consistency.is_some() { Err(NO_FLOW) } else { Ok(self) }
    }

    fn noising(&self) -> Offer<'_, dyn Noising> {
        Ok(self)
    }

    fn latents(&self) -> Offer<'_, dyn Latents> {
        if self.config.consistency.is_some() { Err(NO_FLOW) } else { Ok(self) }
    }

    fn inpaint(&self) -> Offer<'_, dyn Inpaint> {
        Ok(self)
    }

    fn edit(&self) -> Offer<'_, dyn Edit> {
        Ok(self)
    }
}

impl Likelihood for DiffusionModel {
    fn methods(&self) -> Vec<LikelihoodMethod> {
        let bound = |name: &str| LikelihoodMethod {
            name: name.into(),
            kind: LikelihoodKind::Bound,
            draws: self.config.bound_draws as u64,
            passes: self.config.bound_draws as u64 + 1,
        };
        // A network trained on T noise levels is best asked at these.
        let bounds = if self.config.objective.is_discrete() {
            [bound(BOUND), bound(CONTINUOUS_BOUND)]
        } else {
            [bound(CONTINUOUS_BOUND), bound(BOUND)]
        };
        bounds.into_iter().chain(self.flow_method()).collect()
    }

    fn nats(
        &self,
        method: &LikelihoodMethod,
        batch: &Batch,
        noise: &Noise,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        if !self.methods().contains(method) {
            return Err(Error::Unsupported(format!("no likelihood by {}", method.name)));
        }
        if method.kind == LikelihoodKind::Estimate {
            return self.flow_nats(batch, noise, on_step);
        }
        let bound = VariationalBound {
            schedule: &self.schedule,
            mean: self.data.mean,
            sigma_data: self.sigma_data(),
            draws: self.config.bound_draws,
            steps: if method.name == BOUND { Steps::Timesteps } else { Steps::Continuous },
        };
        let mut call = 0;
        let mut denoise = |x: &Tensor, sigmas: &[f64]| {
            let denoised = self.denoise(x, sigmas, &batch.conditions);
            // The mean of pixels in [-1, 1] lies there, so clamping only ever comes closer to it.
            let denoised = denoised.clamp(-1.0 - self.data.mean, 1.0 - self.data.mean);
            call += 1;
            let images = || self.picture(&denoised);
            on_step.step(Progress { call, calls: method.passes, images: &images })?;
            Ok(denoised)
        };
        tch::no_grad(|| bound.nats(&batch.images, noise, &mut denoise))
    }
}

impl DiffusionModel {
    /// Likelihood under the probability flow, unless it is turned off.
    fn flow_method(&self) -> Option<LikelihoodMethod> {
        let OdeLikelihoodConfig { steps, draws } = self.config.ode_likelihood;
        let probes = if draws == 1 { "1-probe".to_owned() } else { format!("{draws}-probes") };
        (steps > 0).then(|| LikelihoodMethod {
            name: format!("probability-flow-rk4-{steps}-steps-{probes}"),
            kind: LikelihoodKind::Estimate,
            draws,
            passes: self.flow_calls() * PASSES_OF_A_GRADIENT,
        })
    }

    /// Network calls of an image, each with its gradient.
    fn flow_calls(&self) -> u64 {
        let OdeLikelihoodConfig { steps, draws } = self.config.ode_likelihood;
        draws * (steps * CALLS_PER_STEP) as u64
    }

    fn flow_nats(&self, batch: &Batch, noise: &Noise, on_step: &mut dyn OnStep) -> Result<Tensor> {
        let OdeLikelihoodConfig { steps, draws } = self.config.ode_likelihood;
        let flow = ProbabilityFlow {
            mean: self.data.mean,
            sigma_data: self.sigma_data(),
            sigma_max: self.config.flow_sigma_max(),
            steps,
            draws,
        };
        let (mut call, calls) = (0, self.flow_calls());
        let mut denoise = |x: &Tensor, sigma: f64| {
            let sigmas = vec![sigma; batch.len() as usize];
            let denoised = self.clip(self.denoise(x, &sigmas, &batch.conditions));
            let shown = denoised.detach();
            call += 1;
            on_step.step(Progress { call, calls, images: &|| self.picture(&shown) })?;
            Ok(denoised)
        };
        tch::no_grad(|| flow.nats(&batch.images, noise, &mut denoise))
    }
}

impl Noising for DiffusionModel {
    fn noised(&self, images: &Tensor, time: f64, noise: &Noise) -> Result<Tensor> {
        let last = self.schedule.num_timesteps();
        let t = (time.clamp(0.0, 1.0) * last as f64).round() as usize;
        let alpha = self.schedule.alpha_cumprod(t);
        let eps = noise.normal(0, &self.data.shape.dims());
        let x_t = (images - self.data.mean) * alpha.sqrt() + eps * (1.0 - alpha).sqrt();
        Ok(self.picture(&x_t))
    }
}

/// Errors `[n, c, h, w]`, 0 where pixels are known: what is said of those is never used.
pub(crate) fn to_learn(error: Tensor, conditions: &Conditions) -> Tensor {
    match &conditions.known {
        None => error,
        Some(known) => error * (1.0 - &known.mask),
    }
}

/// Numbers that follow from the coefficients of each image, to broadcast over `[n, c, h, w]`.
fn columns<const K: usize>(
    coefficients: &[Coefficients],
    numbers: [&dyn Fn(&Coefficients) -> f64; K],
    like: &Tensor,
) -> [Tensor; K] {
    let of_images = numbers.map(|number| coefficients.iter().map(number).collect::<Vec<_>>());
    per_image_columns(of_images.each_ref().map(Vec::as_slice), like)
}
