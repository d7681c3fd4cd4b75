//! The latent space: decoding is the generator, encoding a search for the latent that explains an image.

use crate::{
    generator::Draw,
    model::{Model, refuse_guidance},
};
use paragone_core::{Batch, Conditions, Latents, Noise, OnStep, Progress, Result, SampleRequest};
use tch::{Kind, Tensor};

/// Random latents among which a search finds its start.
const STARTS: u64 = 8;

/// The draw of the first of them; sampling's own draws come before.
const FIRST_START: u64 = 1 << 33;

/// Standard deviation of what the generator cannot explain of a pixel in [-1, 1]; weighs the image against the prior.
const PIXEL_STD: f64 = 0.1;

/// Learning rate of the search at its first step; falls on a straight line.
const LR: f64 = 0.1;

impl Latents for Model {
    fn latent_dim(&self) -> i64 {
        self.config.latent_dim
    }

    /// The most probable latent under Gaussian pixel noise: arg min |x − G(z)|² / 2s² + |z|² / 2, from the best of
    /// several random starts, with the generator's pixel noise at zero.
    ///
    /// Every image keeps the best latent its search passed, so more steps are never worse.
    fn encode(&self, batch: &Batch, noise: &Noise, on_step: &mut dyn OnStep) -> Result<Tensor> {
        let target = Target { images: &batch.images, weight: None, conditions: &batch.conditions };
        self.search(&target, noise, &mut |call, images| {
            on_step.step(Progress { call, calls: self.search_calls(), images })
        })
    }

    fn decode(&self, z: &Tensor, request: &SampleRequest) -> Result<Tensor> {
        refuse_guidance(request)?;
        let pixels = self.generator.pixels_from(request.noise, request.temperature);
        let draw = Draw { z: z.shallow_clone(), pixels };
        Ok(self.generator.images(&draw, request.conditions))
    }
}

/// What a latent is to explain.
pub(crate) struct Target<'a> {
    /// f32 `[n, c, h, w]` in [-1, 1].
    pub(crate) images: &'a Tensor,
    /// `[n, 1, h, w]`: how much a pixel counts; `None`: all of them.
    pub(crate) weight: Option<&'a Tensor>,
    /// What the images are.
    pub(crate) conditions: &'a Conditions,
}

/// Told the number of a call and the images of the best latents so far.
pub(crate) type OnSearch<'a> = dyn FnMut(u64, &dyn Fn() -> Tensor) -> Result<()> + 'a;

impl Model {
    /// Network calls of a search.
    pub(crate) fn search_calls(&self) -> u64 {
        STARTS + self.config.inversion_steps + 1
    }

    /// The latents that explain a target best, among those that a search from the best of several starts passes.
    pub(crate) fn search(
        &self,
        target: &Target<'_>,
        noise: &Noise,
        on_call: &mut OnSearch<'_>,
    ) -> Result<Tensor> {
        let embedded = tch::no_grad(|| self.generator.embed(target.conditions));
        let image = |z: &Tensor| {
            let known = target.conditions.known.as_ref();
            self.generator.forward_embedded(&Draw::without_pixel_noise(z), &embedded, known)
        };
        let energy = |z: &Tensor| target.energy(z, image(z));
        let mut call = 0;
        let mut report = |z: &Tensor| {
            call += 1;
            on_call(call, &|| tch::no_grad(|| image(z)).clamp(-1.0, 1.0))
        };
        let mut best: Option<Best> = None;
        for start in 0..STARTS {
            let z = noise.normal(FIRST_START + start, &[self.config.latent_dim]);
            let energy = tch::no_grad(|| energy(&z));
            let found = Best::or(best, z, energy);
            report(&found.z)?;
            best = Some(found);
        }
        let mut best = best.expect("there is a start");
        let mut search = Adam::new(best.z.copy());
        for step in 0..self.config.inversion_steps {
            let z = search.z.copy().set_requires_grad(true);
            let (energy, gradient) = tch::with_grad(|| -> Result<_> {
                let energy = energy(&z);
                // The sum: an image's gradient does not depend on the others.
                let gradient =
                    Tensor::f_run_backward(&[energy.sum(Kind::Float)], &[&z], false, false)?;
                Ok((energy.detach(), gradient))
            })?;
            best = Best::or(Some(best), z.detach(), energy);
            let remaining = 1.0 - step as f64 / self.config.inversion_steps as f64;
            tch::no_grad(|| search.update(&gradient[0], LR * remaining));
            report(&best.z)?;
        }
        let energy = tch::no_grad(|| energy(&search.z));
        let best = Best::or(Some(best), search.z, energy);
        report(&best.z)?;
        Ok(best.z)
    }

    /// What z shows without pixel noise, f32 `[n, c, h, w]`, not clamped.
    pub(crate) fn mean_image(&self, z: &Tensor, conditions: &Conditions) -> Tensor {
        self.generator.forward(&Draw::without_pixel_noise(z), conditions)
    }
}

impl Target<'_> {
    /// The negative logarithm of p(z) p(x | z) up to a constant, f32 `[n]`; `image` is what z shows.
    fn energy(&self, z: &Tensor, image: Tensor) -> Tensor {
        let residual = (image - self.images) / PIXEL_STD;
        let residual = match self.weight {
            Some(weight) => residual * weight,
            None => residual,
        };
        let sum = |t: Tensor| t.square().flatten(1, -1).sum_dim_intlist(1, false, Kind::Float);
        (sum(residual) + sum(z.shallow_clone())) / 2.0
    }
}

/// The best latent of each image so far, and its energy.
struct Best {
    z: Tensor,
    energy: Tensor,
}

impl Best {
    /// The better of two, image by image.
    fn or(best: Option<Best>, z: Tensor, energy: Tensor) -> Best {
        let Some(best) = best else { return Best { z, energy } };
        let better = energy.less_tensor(&best.energy);
        Best {
            z: z.where_self(&better.unsqueeze(1), &best.z),
            energy: energy.where_self(&better, &best.energy),
        }
    }
}

/// Adam (Kingma & Ba 2015, algorithm 1) on latents; element by element, so rows never meet.
struct Adam {
    z: Tensor,
    mean: Tensor,
    square: Tensor,
    step: i32,
}

impl Adam {
    const BETAS: [f64; 2] = [0.9, 0.99];

    fn new(z: Tensor) -> Self {
        Self { mean: z.zeros_like(), square: z.zeros_like(), z, step: 0 }
    }

    fn update(&mut self, gradient: &Tensor, lr: f64) {
        let [b1, b2] = Self::BETAS;
        self.step += 1;
        self.mean = &self.mean * b1 + gradient * (1.0 - b1);
        self.square = &self.square * b2 + gradient.square() * (1.0 - b2);
        let mean = &self.mean / (1.0 - b1.powi(self.step));
        let square = &self.square / (1.0 - b2.powi(self.step));
        self.z = &self.z - mean / (square.sqrt() + 1e-8) * lr;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adam's first step is lr in the gradient's direction; the second worked out by hand for gradients 1 then −3.
    #[test]
    fn adam_takes_its_steps() {
        let mut adam = Adam::new(Tensor::from_slice(&[0.5f64]));
        adam.update(&Tensor::from_slice(&[1.0f64]), 0.1);
        assert!((adam.z.double_value(&[0]) - 0.4).abs() < 1e-7);
        adam.update(&Tensor::from_slice(&[-3.0f64]), 0.1);
        // m = 0.09 − 0.3 = −0.21, over 0.19; v = 0.0099 + 0.09 = 0.0999, over 0.0199.
        let want = 0.4 + 0.1 * (0.21 / 0.19) / (0.0999f64 / 0.0199).sqrt();
        assert!((adam.z.double_value(&[0]) - want).abs() < 1e-7);
    }
}
