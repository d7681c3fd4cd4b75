//! AdamW on one phase's parameters, with clipping, skipping and a schedule.

use paragone_core::{OptimizerConfig, Phase};
use tch::{Device, Kind, Tensor};

/// A phase's parameters with the state of their optimiser. Parameters are ordered by name, so that every sum over them
/// is made in the same order in every run.
#[derive(Debug)]
pub struct PhaseOptimizer {
    pub phase: Phase,
    names: Vec<String>,
    params: Vec<Tensor>,
    exp_avgs: Vec<Tensor>,
    exp_avg_sqs: Vec<Tensor>,
    steps: Vec<Tensor>,
}

impl PhaseOptimizer {
    /// `params`: the phase's parameters, sorted by name.
    pub fn new(phase: Phase, params: Vec<(String, Tensor)>) -> Self {
        let (names, params): (Vec<_>, Vec<_>) = params.into_iter().unzip();
        let zeros = || params.iter().map(Tensor::zeros_like).collect::<Vec<_>>();
        let step = |p: &Tensor| Tensor::zeros([], (Kind::Float, p.device()));
        Self {
            exp_avgs: zeros(),
            exp_avg_sqs: zeros(),
            steps: params.iter().map(step).collect(),
            phase,
            names,
            params,
        }
    }

    pub fn set_requires_grad(&self, requires_grad: bool) {
        for param in &self.params {
            let _ = param.set_requires_grad(requires_grad);
        }
    }

    pub fn clear_gradients(&self) -> Result<(), torch_ext::Error> {
        torch_ext::clear_gradients(&self.params)
    }

    /// Updates the parameters from their gradients and returns the gradients' norm before clipping, an f32 scalar on
    /// the device. `progress`: images seen over images planned.
    pub fn step(&self, progress: f64) -> Result<Tensor, torch_ext::Error> {
        let OptimizerConfig { betas, weight_decay, clip, skip_above, warmup, .. } =
            self.phase.optimizer;
        tch::no_grad(|| {
            // A parameter that the loss did not touch has a gradient of zero.
            let grads: Vec<Tensor> = self.params.iter().map(gradient_or_zero).collect();
            let norm = torch_ext::norm(&grads)?;
            if let Some(limit) = skip_above
                && progress >= warmup
                && norm.double_value(&[]) > limit
            {
                return Ok(norm);
            }
            if let Some(clip) = clip {
                let factor = (clip / (&norm + 1e-6)).clamp_max(1.0);
                // Most often it is 1. To know costs nothing where nobody has to wait for the device.
                if norm.device() != Device::Cpu || factor.double_value(&[]) != 1.0 {
                    torch_ext::scale(&grads, &factor)?;
                }
            }
            let update = torch_ext::AdamW {
                lr: self.phase.optimizer.lr_at(progress),
                betas: betas.into(),
                weight_decay,
                eps: 1e-8,
            };
            update.update(&self.params, &grads, &self.exp_avgs, &self.exp_avg_sqs, &self.steps)?;
            Ok(norm)
        })
    }

    /// All state that the next step depends on, under names that say whose it is.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let of = |part: &str, tensors: &[Tensor]| -> Vec<(String, Tensor)> {
            let named = self.names.iter().zip(tensors);
            named.map(|(name, t)| (format!("{part}.{name}"), t.shallow_clone())).collect()
        };
        let mut state = of("exp_avg", &self.exp_avgs);
        state.extend(of("exp_avg_sq", &self.exp_avg_sqs));
        state.extend(of("step", &self.steps));
        state
    }
}

fn gradient_or_zero(param: &Tensor) -> Tensor {
    let grad = param.grad();
    if grad.defined() { grad } else { param.zeros_like() }
}

/// Whether every gradient seen so far, and every loss, was finite: kept on the device, read rarely.
#[derive(Debug)]
pub struct FiniteFlag(Tensor);

impl FiniteFlag {
    pub fn new(device: Device) -> Self {
        Self(Tensor::ones([], (Kind::Bool, device)))
    }

    /// `value`: a scalar.
    pub fn and(&mut self, value: &Tensor) {
        self.0 = self.0.logical_and(&value.isfinite());
    }

    /// Waits for the device.
    pub fn read(&self) -> bool {
        self.0.int64_value(&[]) == 1
    }
}
