//! One training step, for any family: gradients of the phase's parameters only, accumulation, clipping, AdamW, EMA.

use super::{
    checkpoint::read_tensors,
    ema::{self, Ema},
    optimizer::{FiniteFlag, PhaseOptimizer},
};
use crate::{
    config::{ModelTrain, Precision},
    families::Model,
};
use anyhow::{Context, Result, ensure};
use paragone_core::{Batch, DataSpec, Generator, Loss, Phase, StepContext, mix};
use std::{collections::BTreeMap, path::Path};
use tch::{Device, Tensor, nn};

/// What a step depends on beside the model and the batch.
#[derive(Debug, Clone)]
pub struct TrainerOptions {
    /// Seeds the initial weights and the noise of every step.
    pub seed: u64,
    /// Where the model lives.
    pub device: Device,
    /// In what networks compute.
    pub precision: Precision,
    /// Micro-batches that a batch is cut into.
    pub accumulate: i64,
    /// Half-life of the moving average, in images.
    pub ema_half_life: f64,
    /// The half-life is at most this share of the images seen.
    pub ema_rampup: f64,
    /// What the experiment overrides of the phases' optimisers.
    pub overrides: ModelTrain,
}

/// A model in training, with its optimisers and its moving average.
#[derive(Debug)]
pub struct Trainer {
    options: TrainerOptions,
    vars: nn::VarStore,
    model: Box<dyn Generator>,
    optimizers: Vec<PhaseOptimizer>,
    ema: Ema,
    finite: FiniteFlag,
}

/// Scalars of one step, each `phase.name`: f32 scalars on the device.
pub type Scalars = Vec<(String, Tensor)>;

impl Trainer {
    /// Builds `model` from the seed. The same options give the same weights.
    pub fn new(model: &dyn Model, data: &DataSpec, options: TrainerOptions) -> Result<Self> {
        let build = || -> Result<(nn::VarStore, Box<dyn Generator>)> {
            tch::manual_seed(mix(&[options.seed, 0]) as i64);
            let vars = nn::VarStore::new(options.device);
            let generator = model.build(data, vars.root())?;
            Ok((vars, generator))
        };
        let (vars, generator) = build()?;
        let (ema_vars, ema_model) = build()?;
        let ema = Ema::new(ema_vars, ema_model, &vars)?;
        let optimizers = phase_optimizers(&vars, &*generator, &options.overrides)?;
        let finite = FiniteFlag::new(options.device);
        Ok(Self { options, vars, model: generator, optimizers, ema, finite })
    }

    /// Begins with weights of an equal model, read from a file.
    pub fn begin_with(&mut self, weights: &Path) -> Result<()> {
        read_tensors(weights, &self.model_state())?;
        Ok(self.ema.update(0.0)?)
    }

    /// The averaged model, from which samples come.
    pub fn ema(&self) -> &dyn Generator {
        &*self.ema.model
    }

    /// Makes one step: every phase whose turn it is.
    pub fn step(&mut self, batch: &Batch, context: &StepContext) -> Result<Scalars> {
        let batch = batch.to_device(self.options.device);
        // Of the whole step: gradients are products too.
        let _tf32 = self.options.precision.tf32()?;
        for optimizer in &self.optimizers {
            optimizer.set_requires_grad(false);
        }
        let mut scalars = Scalars::new();
        for index in 0..self.optimizers.len() {
            if context.step.is_multiple_of(self.optimizers[index].phase.every) {
                scalars.extend(self.phase_step(index, &batch, context)?);
            }
        }
        let seen = context.images + batch.len() as u64;
        self.ema.update(ema::decay(
            batch.len() as f64,
            seen as f64,
            self.options.ema_half_life,
            self.options.ema_rampup,
        ))?;
        Ok(scalars)
    }

    fn phase_step(
        &mut self,
        index: usize,
        batch: &Batch,
        context: &StepContext,
    ) -> Result<Scalars> {
        self.optimizers[index].set_requires_grad(true);
        let optimizer = &self.optimizers[index];
        optimizer.clear_gradients()?;
        let phase = &optimizer.phase;

        let loss = self.accumulated_loss(index, batch, context)?;
        let norm = optimizer.step(context.progress)?;
        tch::no_grad(|| self.model.after_step(phase, &loss, context))?;
        optimizer.set_requires_grad(false);

        self.finite.and(&(&loss.total + &norm));
        let name = |scalar: &str| format!("{}.{scalar}", phase.name);
        let mut scalars: Scalars =
            loss.scalars.into_iter().map(|(scalar, value)| (name(scalar), value)).collect();
        scalars.push((name("gradient_norm"), norm));
        Ok(scalars)
    }

    /// Backward over all micro-batches. Returns the sums and means over them, detached.
    fn accumulated_loss(&self, index: usize, batch: &Batch, context: &StepContext) -> Result<Loss> {
        let phase = &self.optimizers[index].phase;
        let kind = self.options.precision.autocast();
        let mut sum: Option<Loss> = None;
        for (micro, (start, len)) in chunks(batch.len(), self.options.accumulate).enumerate() {
            // Reseeded for every micro-batch, so that a resumed run needs no generator state.
            let seed = [self.options.seed, 1, context.step, index as u64, micro as u64];
            tch::manual_seed(mix(&seed) as i64);
            let loss = {
                let _autocast = torch_ext::Autocast::enter(self.options.device, kind)?;
                self.model.loss(phase, &batch.narrow(start, len), context)?
            };
            let weight = len as f64 / batch.len() as f64;
            (&loss.total * weight).backward();
            sum = Some(add(sum, loss, weight));
        }
        sum.context("a batch without images")
    }

    /// Whether all losses and gradients so far were finite. Waits for the device.
    pub fn is_finite(&self) -> bool {
        self.finite.read()
    }

    /// Number of trained values.
    pub fn num_parameters(&self) -> i64 {
        self.vars.trainable_variables().iter().map(|t| t.numel() as i64).sum()
    }

    /// The model in training.
    pub fn model(&self) -> &dyn Generator {
        &*self.model
    }

    /// The phases, with the optimiser settings in force.
    pub fn phases(&self) -> impl Iterator<Item = &Phase> {
        self.optimizers.iter().map(|optimizer| &optimizer.phase)
    }

    /// Trained weights and buffers, sorted by name.
    pub fn model_state(&self) -> Vec<(String, Tensor)> {
        named_variables(&self.vars)
    }

    /// Averaged weights and buffers, sorted by name.
    pub fn ema_state(&self) -> Vec<(String, Tensor)> {
        named_variables(&self.ema.vars)
    }

    /// State of every phase's optimiser.
    pub fn optimizer_state(&self) -> Vec<(String, Tensor)> {
        self.optimizers.iter().flat_map(PhaseOptimizer::state).collect()
    }
}

/// All variables of a store, sorted by name.
pub fn named_variables(vars: &nn::VarStore) -> Vec<(String, Tensor)> {
    vars.variables().into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
}

fn phase_optimizers(
    vars: &nn::VarStore,
    model: &dyn Generator,
    overrides: &ModelTrain,
) -> Result<Vec<PhaseOptimizer>> {
    let mut unclaimed: BTreeMap<String, Tensor> =
        vars.variables().into_iter().filter(|(_, value)| value.requires_grad()).collect();
    let mut optimizers = Vec::new();
    for mut phase in model.phases() {
        phase.optimizer = overrides.optimizer(&phase);
        let owns =
            |name: &String| phase.parameters.contains(&name.split('.').next().unwrap_or_default());
        let (owned, rest) = unclaimed.into_iter().partition(|(name, _)| owns(name));
        let owned: BTreeMap<String, Tensor> = owned;
        ensure!(!owned.is_empty(), "phase `{}` owns no parameters", phase.name);
        unclaimed = rest;
        optimizers.push(PhaseOptimizer::new(phase, owned.into_iter().collect()));
    }
    let orphans: Vec<_> = unclaimed.into_keys().collect();
    ensure!(orphans.is_empty(), "no phase owns {}", orphans.join(", "));
    Ok(optimizers)
}

/// `len` rows in `pieces` nearly equal pieces: (start, length) of each.
fn chunks(len: i64, pieces: i64) -> impl Iterator<Item = (i64, i64)> {
    let bound = move |i: i64| i * len / pieces;
    (0..pieces).map(move |i| (bound(i), bound(i + 1) - bound(i))).filter(|&(_, len)| len > 0)
}

/// # Panics
/// Unless both log the same, in the same order, and have as many statistics.
fn add(sum: Option<Loss>, loss: Loss, weight: f64) -> Loss {
    // A batch in one part is all there is to sum: a kernel less for every scalar.
    let weighted = |value: Tensor| if weight == 1.0 { value } else { value * weight };
    let loss = Loss {
        total: weighted(loss.total.detach()),
        scalars: loss.scalars.into_iter().map(|(name, value)| (name, weighted(value))).collect(),
        statistics: loss.statistics,
    };
    let Some(sum) = sum else { return loss };
    assert_eq!(
        (sum.scalars.len(), sum.statistics.len()),
        (loss.scalars.len(), loss.statistics.len())
    );
    let both = |((name, a), (other, b)): ((&'static str, Tensor), (&str, Tensor))| {
        assert_eq!(name, other, "micro-batches log the same");
        (name, a + b)
    };
    Loss {
        total: sum.total + loss.total,
        scalars: sum.scalars.into_iter().zip(loss.scalars).map(both).collect(),
        statistics: sum.statistics.into_iter().zip(loss.statistics).map(|(a, b)| a + b).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_the_batch() {
        assert_eq!(chunks(10, 4).collect::<Vec<_>>(), [(0, 2), (2, 3), (5, 2), (7, 3)]);
        assert_eq!(chunks(2, 4).collect::<Vec<_>>(), [(0, 1), (1, 1)]);
    }
}
