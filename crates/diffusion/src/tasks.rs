//! What a denoiser does besides drawing new images: completing them, changing them, and finding the noise behind them.

use crate::{config::EditMethod, guided::Guided, model::DiffusionModel, samplers};
use paragone_core::{Batch, Edit, Inpaint, Known, Latents, Noise, OnStep, Result, SampleRequest};
use tch::Tensor;

/// Draws of an image's noise that tasks use, apart from those of sampling.
const EDIT_DRAW: u64 = 1 << 32;

/// A model that was shown known pixels in training samples as ever. Any other resamples (RePaint, Lugmayr et al. 2022): the
/// known pixels replace what the denoiser makes of them at every call, and each step but the last is taken several times, noise
/// being added back in between, so that the hole comes to fit its surroundings.
impl Inpaint for DiffusionModel {
    fn method(&self) -> String {
        if self.data.known_pixels {
            return format!("shown known pixels in training; {} steps", self.sigmas().len() - 1);
        }
        let config = &self.config.inpaint;
        format!("resampling (RePaint), {} steps, each {} times", config.steps, config.resamples)
    }

    fn inpaint(&self, request: &SampleRequest, on_step: &mut dyn OnStep) -> Result<Tensor> {
        let known = known(request);
        if self.data.known_pixels {
            return Ok(known.over(&self.draw(request, on_step)?));
        }
        request.check()?;
        let config = &self.config.inpaint;
        let sigmas = self.sigmas_in(config.steps);
        let (shape, times) = (self.data.shape.dims(), config.resamples);
        let calls = samplers::resampled_calls(config.steps, times);
        let mut guided = Guided::new(self, request, calls, 0, on_step);
        let noise = |i: usize| request.noise.normal(i as u64, &shape) * request.temperature;
        let x = noise(0) * (1.0 + sigmas[0] * sigmas[0]).sqrt();
        let x = tch::no_grad(|| {
            let mut denoise = |x: &Tensor, sigma: f64| guided.denoise(x, sigma);
            samplers::resampled(&mut denoise, x, &sigmas, times, &|i| noise(1 + i))
        })?;
        Ok(known.over(&self.picture(&x)))
    }
}

impl DiffusionModel {
    /// Whether an edit finds the noise behind its source.
    fn inverts(&self) -> bool {
        self.config.edit.method == EditMethod::Inversion && self.config.consistency.is_none()
    }
}

/// From the source a part of the way to noise, and back under what is asked for. Strength is the share of the noise levels gone
/// through; the noise is either found by following the probability flow under the source's own conditions, so that what
/// they say is what is left behind (Song et al. 2021), or drawn (SDEdit, Meng et al. 2022).
impl Edit for DiffusionModel {
    fn method(&self) -> String {
        let steps = self.config.edit.steps;
        if self.inverts() {
            format!("inversion under the source's conditions, at most {steps} of {steps} steps")
        } else {
            format!("noise (SDEdit), at most {steps} steps")
        }
    }

    fn reads_source(&self) -> bool {
        self.inverts()
    }

    fn edit(
        &self,
        source: &Batch,
        request: &SampleRequest,
        strength: f64,
        on_step: &mut dyn OnStep,
    ) -> Result<Tensor> {
        request.check()?;
        let config = &self.config.edit;
        let taken = (strength * config.steps as f64).ceil() as usize;
        if taken == 0 {
            return Ok(source.images.copy());
        }
        let sigmas = &self.sigmas_in(config.steps)[config.steps - taken..];
        let x0 = &source.images - self.data.mean;
        let inverts = self.inverts();
        let back = if inverts { 2 * taken - 1 } else { self.denoisings(taken) };
        let there = if inverts { samplers::inverted_calls(taken) } else { 0 };
        tch::no_grad(|| {
            let shape = self.data.shape.dims();
            let draw = |i: u64| request.noise.normal(EDIT_DRAW + i, &shape);
            let mut guided = Guided::new(self, request, back, there, on_step);
            let x = if inverts {
                let mut denoise =
                    |x: &Tensor, sigma: f64| guided.plain(x, sigma, &source.conditions);
                let x = samplers::inverted(&mut denoise, x0, sigmas)?;
                samplers::heun(&mut |x: &Tensor, sigma: f64| guided.denoise(x, sigma), x, sigmas)
            } else {
                let x = x0 + draw(0) * sigmas[0];
                self.solve(&mut guided, x, sigmas, &|i| draw(1 + i as u64) * request.temperature)
            }?;
            Ok(source.kept(request.conditions, self.picture(&x)))
        })
    }
}

/// The noise at the other end of the probability flow, followed by Heun's method: as many numbers as an image has.
impl Latents for DiffusionModel {
    fn latent_dim(&self) -> i64 {
        self.data.shape.numel()
    }

    fn encode(&self, batch: &Batch, noise: &Noise, on_step: &mut dyn OnStep) -> Result<Tensor> {
        let steps = self.config.inversion_steps;
        let sigmas = self.sigmas_in(steps);
        let request = SampleRequest::new(&batch.conditions, noise);
        let mut guided = Guided::new(self, &request, 0, samplers::inverted_calls(steps), on_step);
        let x = tch::no_grad(|| {
            let mut denoise = |x: &Tensor, sigma: f64| guided.plain(x, sigma, &batch.conditions);
            samplers::inverted(&mut denoise, &batch.images - self.data.mean, &sigmas)
        })?;
        Ok((x / (1.0 + sigmas[0] * sigmas[0]).sqrt()).flatten(1, -1))
    }

    /// Nothing is left to chance, whatever the sampler: `request.temperature` has no effect.
    fn decode(&self, z: &Tensor, request: &SampleRequest) -> Result<Tensor> {
        let steps = self.config.inversion_steps;
        let sigmas = self.sigmas_in(steps);
        let go = &mut |_: paragone_core::Progress| std::ops::ControlFlow::Continue(());
        let mut guided = Guided::new(self, request, 2 * steps - 1, 0, go);
        let x = z.reshape(self.data.shape.batch(z.size()[0]));
        let x = x * (1.0 + sigmas[0] * sigmas[0]).sqrt();
        let x = tch::no_grad(|| {
            samplers::heun(&mut |x: &Tensor, sigma: f64| guided.denoise(x, sigma), x, &sigmas)
        })?;
        Ok(self.picture(&x))
    }
}

fn known<'a>(request: &'a SampleRequest) -> &'a Known {
    request.conditions.known.as_ref().expect("a request to in-paint has known pixels")
}
