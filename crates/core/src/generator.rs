use crate::{
    Batch, Conditions, DataSpec, Edit, Error, Fact, Inpaint, Lacks, Latents, Likelihood, Noise,
    Noising, Offer, Result,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt::Debug, ops::ControlFlow};
use tch::Tensor;

/// A trainable image model.
///
/// All of its state, buffers too, lives in the `VarStore` it was built on, so that a checkpoint and an EMA copy have
/// it: hence `&self` everywhere. Images are f32 `[n, c, h, w]` in [-1, 1].
pub trait Generator: Debug + Send {
    /// The updates that one training step makes, in order.
    fn phases(&self) -> Vec<Phase>;

    /// The loss of one phase on one (micro-)batch.
    ///
    /// Runs with gradients on, of this phase's parameters alone, possibly under autocast; what bf16 is too coarse for is computed
    /// with `torch_ext::Autocast::enter(device, None)` in force. Never calls backward on parameters, never steps an optimiser.
    /// Draws its randomness from libtorch's global generator, which the caller has seeded for this very call.
    fn loss(&self, phase: &Phase, batch: &Batch, step: &StepContext) -> Result<Loss>;

    /// Steps after which the work of [`Generator::loss`] repeats, phases' `every` aside: what its cost is averaged over.
    fn loss_cycle(&self) -> u64 {
        1
    }

    /// Updates without gradient (a codebook, an augmentation strength), after the phase's optimiser step, be it one that was
    /// skipped for a large gradient.
    ///
    /// `loss.statistics` are summed and `loss.scalars` averaged over micro-batches.
    fn after_step(&self, _phase: &Phase, _loss: &Loss, _step: &StepContext) -> Result<()> {
        Ok(())
    }

    /// Draws one image per seed. Runs without gradients, in f32.
    ///
    /// Reports every network call to `on_step` and ends with [`Error::Stopped`] when told to. Returns f32 `[n, c, h, w]`
    /// in [-1, 1], not necessarily on the grid of 256 levels.
    fn sample(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor>;

    /// Numbers about this model that a reader of its scores wants, such as a latent size or a prior KL.
    fn facts(&self) -> Vec<Fact> {
        Vec::new()
    }

    /// Likelihood of given images, exact or bounded.
    fn likelihood(&self) -> Offer<'_, dyn Likelihood> {
        Err(Lacks("defines no likelihood"))
    }

    /// A latent space with an encoder and a decoder.
    fn latents(&self) -> Offer<'_, dyn Latents> {
        Err(Lacks("has no latents"))
    }

    /// A forward process that turns an image into noise.
    fn noising(&self) -> Offer<'_, dyn Noising> {
        Err(Lacks("has no noising process"))
    }

    /// Completing an image around known pixels.
    fn inpaint(&self) -> Offer<'_, dyn Inpaint> {
        Err(Lacks("in-painting is not written yet"))
    }

    /// Changing an image to fit new conditions.
    fn edit(&self) -> Offer<'_, dyn Edit> {
        Err(Lacks("editing is not written yet"))
    }
}

/// One update of one set of parameters.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// What logs call it, such as `discriminator`.
    pub name: &'static str,
    /// First path components of its parameters under the model's root, compared whole. Phases own disjoint sets.
    pub parameters: &'static [&'static str],
    /// The phase runs in steps divisible by this; 1 for the first.
    pub every: u64,
    /// The family's defaults, which an experiment's `models.<name>.train` overrides.
    pub optimizer: OptimizerConfig,
}

/// How a phase's parameters are updated: AdamW (Loshchilov & Hutter 2019) with clipping and a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Peak learning rate.
    pub lr: f64,
    /// Decay rates of the moment estimates.
    pub betas: [f64; 2],
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Gradient norm that larger gradients are scaled down to; none: unclipped.
    pub clip: Option<f64>,
    /// Gradient norm above which an update is skipped after the warm-up; none: never.
    pub skip_above: Option<f64>,
    /// Linear warm-up, as a share of the budget.
    pub warmup: f64,
    /// Shape of the decay.
    pub schedule: Schedule,
    /// Learning rate at the end of the budget, as a share of `lr`.
    pub final_lr: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: [0.9, 0.99],
            weight_decay: 0.0,
            clip: Some(1.0),
            skip_above: None,
            warmup: 0.02,
            schedule: Schedule::Cosine,
            final_lr: 0.01,
        }
    }
}

/// How the learning rate falls from its peak to its final value, over the share of the budget after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Stays at the peak.
    Constant,
    /// Falls on a straight line.
    Linear,
    /// Falls on half a cosine (Loshchilov & Hutter 2017).
    Cosine,
}

impl OptimizerConfig {
    /// The learning rate at `progress`, images seen over images planned, in [0, 1].
    pub fn lr_at(&self, progress: f64) -> f64 {
        if progress < self.warmup {
            return self.lr * progress / self.warmup;
        }
        let t = ((progress - self.warmup) / (1.0 - self.warmup).max(f64::EPSILON)).clamp(0.0, 1.0);
        let remaining = match self.schedule {
            Schedule::Constant => 1.0,
            Schedule::Linear => 1.0 - t,
            Schedule::Cosine => (1.0 + (std::f64::consts::PI * t).cos()) / 2.0,
        };
        self.lr * (self.final_lr + (1.0 - self.final_lr) * remaining)
    }
}

/// Where training stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepContext {
    /// Optimiser steps made before this one.
    pub step: u64,
    /// Images seen before this step.
    pub images: u64,
    /// Images seen over images planned, in [0, 1]. Never a clock.
    pub progress: f64,
}

/// The loss of a phase.
#[derive(Debug)]
pub struct Loss {
    /// f32 scalar with its graph: a mean over images, free of batch statistics, so that micro-batches add up to the batch. A loss that
    /// tells images of a batch from each other sees those of its micro-batch, and says so.
    pub total: Tensor,
    /// Named means over images to log, the same in every micro-batch of a step: detached f32 scalars, left on the device. The first
    /// is what shows whether the phase learns.
    pub scalars: Vec<(&'static str, Tensor)>,
    /// Sums over images for [`Generator::after_step`]: detached, left on the device.
    pub statistics: Vec<Tensor>,
}

impl Loss {
    /// A loss with nothing to log beside its total, which is logged as `loss`.
    pub fn new(total: Tensor) -> Self {
        let scalars = vec![("loss", total.detach())];
        Self { total, scalars, statistics: Vec::new() }
    }

    /// The same loss with one more named mean to log.
    pub fn with_scalar(mut self, name: &'static str, value: &Tensor) -> Self {
        self.scalars.push((name, value.detach()));
        self
    }
}

/// What to draw.
#[derive(Debug, Clone, Copy)]
pub struct SampleRequest<'a> {
    /// One row an image.
    pub conditions: &'a Conditions,
    /// One seed an image.
    pub noise: &'a Noise,
    /// 1: the conditional model itself; above: pushed away from the unconditional one (Ho & Salimans 2022).
    pub guidance_scale: f64,
    /// What guidance pushes away from; `None`: the same request without class and text. A row an image.
    pub negative: Option<&'a Conditions>,
    /// 1: the model's own distribution; below: narrower. What it scales is the family's to document.
    pub temperature: f64,
}

impl<'a> SampleRequest<'a> {
    /// A request without any quality knob: guidance 1, temperature 1.
    pub fn new(conditions: &'a Conditions, noise: &'a Noise) -> Self {
        Self { conditions, noise, guidance_scale: 1.0, negative: None, temperature: 1.0 }
    }

    /// What guidance pushes away from.
    pub fn unwanted(&self, data: &DataSpec) -> Conditions {
        match self.negative {
            Some(negative) => negative.narrow(0, negative.len()),
            None => self.conditions.unprompted(data),
        }
    }

    /// Checks what every family asks of a request.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a temperature below 0, and for a temperature or guidance scale that is no finite number.
    ///
    /// # Panics
    /// Unless there are as many seeds as rows of conditions.
    pub fn check(&self) -> Result<()> {
        assert_eq!(
            self.conditions.len(),
            self.noise.len(),
            "one seed and one row of conditions an image"
        );
        let &Self { guidance_scale, temperature, .. } = self;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(Error::Unsupported(format!(
                "temperature is {temperature}, but must be from 0 on"
            )));
        }
        if !guidance_scale.is_finite() {
            return Err(Error::Unsupported(format!(
                "guidance_scale is {guidance_scale}, but must be a number"
            )));
        }
        Ok(())
    }
}

/// How far a sampler has come.
pub struct Progress<'a> {
    /// Network calls made so far.
    pub call: u64,
    /// Network calls in all.
    pub calls: u64,
    /// The picture on its way, f32 `[n, c, h, w]` in [-1, 1]: what the call made, or what it began from where it made no
    /// picture but a direction. Computed only when called.
    pub images: &'a dyn Fn() -> Tensor,
}

impl Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "call {} of {}", self.call, self.calls)
    }
}

/// Watches a long action and may end it.
///
/// Every closure `FnMut(Progress) -> ControlFlow<()>` is one. (A trait rather than an alias for `dyn FnMut`, because the
/// alias would mean `'static` and no closure could borrow a progress bar.)
pub trait OnStep {
    /// Called after each network call; an error ends the action.
    fn step(&mut self, progress: Progress) -> Result<()>;
}

impl<F: FnMut(Progress) -> ControlFlow<()>> OnStep for F {
    fn step(&mut self, progress: Progress) -> Result<()> {
        match self(progress) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Stopped),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedule_has_its_corners() {
        let config =
            OptimizerConfig { lr: 2.0, warmup: 0.1, final_lr: 0.1, ..OptimizerConfig::default() };
        let close = |config: &OptimizerConfig, at: f64, want: f64| {
            assert!((config.lr_at(at) - want).abs() < 1e-12, "{} at {at}", config.lr_at(at));
        };
        close(&config, 0.05, 1.0);
        close(&config, 0.1, 2.0);
        close(&config, 0.55, 1.1);
        close(&config, 1.0, 0.2);
        close(&OptimizerConfig { schedule: Schedule::Linear, ..config }, 0.325, 1.55);
        close(&OptimizerConfig { schedule: Schedule::Constant, ..config }, 0.9, 2.0);
    }
}
