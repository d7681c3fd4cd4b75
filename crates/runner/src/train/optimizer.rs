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
            let skip = skip_above
                .filter(|_| progress >= warmup)
                .map(|limit| norm.gt(limit).to_kind(Kind::Float));
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
            update.update(
                &self.params,
                &grads,
                &self.exp_avgs,
                &self.exp_avg_sqs,
                &self.steps,
                skip.as_ref(),
            )?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use paragone_core::Schedule;

    /// Where a parameter of 1 and its moments are after gradients of so much, of which those above 10 are skipped.
    fn trained(gradients: &[f64], progress: f64) -> Vec<f64> {
        let config = OptimizerConfig {
            skip_above: Some(10.0),
            warmup: 0.1,
            schedule: Schedule::Constant,
            ..OptimizerConfig::default()
        };
        let phase = Phase { name: "all", parameters: &["w"], every: 1, optimizer: config };
        let param = Tensor::ones([1], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let optimizer = PhaseOptimizer::new(phase, vec![("w".to_owned(), param.shallow_clone())]);
        for &gradient in gradients {
            optimizer.clear_gradients().unwrap();
            (&param * gradient).sum(Kind::Float).backward();
            let norm = optimizer.step(progress).unwrap();
            assert!((norm.double_value(&[]) - gradient.abs()).abs() <= 1e-6 * gradient.abs());
        }
        let state = optimizer.state().into_iter().map(|(_, value)| value);
        let all = [param.detach()].into_iter().chain(state);
        all.map(|value| value.sum(Kind::Double).double_value(&[])).collect()
    }

    #[test]
    fn gradients_beyond_the_limit_are_skipped_after_the_warm_up() {
        assert_eq!(trained(&[0.5, 11.0, 0.25], 0.5), trained(&[0.5, 0.25], 0.5));
        assert_ne!(trained(&[0.5, 9.0, 0.25], 0.5), trained(&[0.5, 0.25], 0.5));
        assert_ne!(trained(&[0.5, 11.0, 0.25], 0.05), trained(&[0.5, 0.25], 0.05));
    }
}
