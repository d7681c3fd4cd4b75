//! The likelihood of 8-bit images under the probability flow: the differential equation that samplers solve, followed from
//! an image to noise (Song et al. 2021, section 4.3).
//!
//! With `x = x_0 + σ ε`, the score (D(x; σ) − x) / σ² and λ = ln σ for time, the flow and the density along it are
//! - dx/dλ = x − D(x; σ) (Song et al., eq. 13; Karras et al. 2022, eq. 3);
//! - ln p_min(x_min) = ln p_max(x_max) + ∫ tr(I − ∂D/∂x) dλ from λ_min to λ_max (Song et al., eq. 39).
//!
//! What is measured is a model's own: noise of p_max = N(0, (1 + σ_max²) I), where samplers begin, carried back by the flow
//! and rounded to levels. Four things are added to the equations:
//! - *Uniform dequantization.* An image's probability is the integral of p_min over its bins, each w = 2/255 wide, and so by
//!   Jensen −ln P(image) ≤ −E ln p_min(image + u) − d ln w, with u uniform over the bins (Theis et al. 2016, section 3.1).
//! - *The lowest level* is σ_min = w / √12, the standard deviation of u: at any other the denoiser would be shown images with
//!   more or less noise on them than it is told, and a bit per dimension is soon lost.
//! - *Hutchinson's estimate* of the trace is vᵀ (∂D/∂x) v, the entries of v being ±1 by a coin (Song et al., eq. 40). As the
//!   flow does not depend on v, each call may toss new ones: the estimate stays unbiased, and their errors average out.
//! - *The solver* makes equal steps in λ by the Runge–Kutta method of order four, of y = x / s(σ) with s² = σ² + σ_d² in place
//!   of x. In y Gaussian data stands still, so that steps can be long: with c_skip = σ_d² / s², dy/dλ = (c_skip x − D) / s, and
//!   the integral becomes d ln(s_max / s_min) + ∫ tr(c_skip I − ∂D/∂x) dλ.
//!
//! D is the sampler's denoiser, clamped if that is: a flow of its own, with a density of its own. Where many pixels lie at the end
//! of the range, as half of Fashion-MNIST's do, clamping is worth 0.45 bits per dimension.
//!
//! A bound, then, up to errors of solver and trace that go either way: an estimate.

use crate::{bound::per_image, samplers::Denoise};
use paragone_core::{NUM_LEVELS, Noise, Result};
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

/// Width of a level's bin, in [-1, 1].
const BIN: f64 = 2.0 / (NUM_LEVELS - 1) as f64;

/// Calls of the denoiser, each with its gradient, in a step of the solver.
pub(crate) const CALLS_PER_STEP: usize = 4;

/// The lowest noise level: the standard deviation of a uniform number from a bin.
pub(crate) fn sigma_min() -> f64 {
    BIN / 12f64.sqrt()
}

/// The flow between [`sigma_min`] and `sigma_max`.
#[derive(Debug)]
pub(crate) struct ProbabilityFlow {
    /// Mean of the data, which is subtracted before all else.
    pub mean: f64,
    /// σ_d, standard deviation of the data.
    pub sigma_data: f64,
    /// The noise level of the prior.
    pub sigma_max: f64,
    /// Steps of the solver.
    pub steps: usize,
    /// Dequantizations of an image, each with probes of its own.
    pub draws: u64,
}

impl ProbabilityFlow {
    /// −ln P of each image, estimated, in nats: f64 `[n]` on the host.
    ///
    /// `images`: f32 `[n, c, h, w]` in [-1, 1] on the grid of 256 levels; `denoise` works on centred images and is called with
    /// gradients on, whatever the caller's mode.
    pub fn nats(&self, images: &Tensor, noise: &Noise, denoise: &mut Denoise) -> Result<Tensor> {
        let shape = &images.size()[1..];
        let bins = shape.iter().product::<i64>() as f64 * BIN.ln();
        let mut total = Tensor::zeros([images.size()[0]], (Kind::Double, Device::Cpu));
        for draw in 0..self.draws {
            let noise = noise.fork(draw);
            let dequantized = images - self.mean + (noise.uniform(0, shape) - 0.5) * BIN;
            let mut call = 0;
            let mut probe = || {
                call += 1;
                (noise.uniform(call, shape) - 0.5).sign()
            };
            total -= self.log_density(&dequantized, &mut probe, denoise)? + bins;
        }
        Ok(total / self.draws as f64)
    }

    /// ln p_min(x), estimated, in nats: f64 `[n]` on the host. `x`: `[n, c, h, w]`, centred; `probe` makes tensors of ±1 in its
    /// shape.
    fn log_density(
        &self,
        x: &Tensor,
        probe: &mut dyn FnMut() -> Tensor,
        denoise: &mut Denoise,
    ) -> Result<Tensor> {
        let d = x.size()[1..].iter().product::<i64>() as f64;
        let (min, max) = (sigma_min(), self.sigma_max);
        let h = (max / min).ln() / self.steps as f64;
        let scale = |sigma: f64| sigma.hypot(self.sigma_data);

        let mut y = x / scale(min);
        // Where the images are: the host makes the next probe meanwhile.
        let mut integral = Tensor::zeros([x.size()[0]], (Kind::Double, x.device()));
        for step in 0..self.steps {
            let sigma = |steps: f64| min * (h * (step as f64 + steps)).exp();
            let mut slope = |y: &Tensor, steps: f64| {
                let (sigma, s) = (sigma(steps), scale(sigma(steps)));
                let x = y * s;
                let (denoised, trace) = value_and_trace(&x, sigma, &probe(), denoise)?;
                let c_skip = (self.sigma_data / s).powi(2);
                paragone_core::Result::Ok(((x * c_skip - denoised) / s, d * c_skip - trace))
            };
            let (y1, f1) = slope(&y, 0.0)?;
            let (y2, f2) = slope(&(&y + &y1 * (h / 2.0)), 0.5)?;
            let (y3, f3) = slope(&(&y + &y2 * (h / 2.0)), 0.5)?;
            let (y4, f4) = slope(&(&y + &y3 * h), 1.0)?;
            y += (y1 + (y2 + y3) * 2.0 + y4) * (h / 6.0);
            integral += (f1 + (f2 + f3) * 2.0 + f4) * (h / 6.0);
        }
        let variance = 1.0 + max * max;
        let prior = per_image(&(y * scale(max)).square()) / (-2.0 * variance)
            - d / 2.0 * (TAU * variance).ln();
        Ok((prior + integral).to_device(Device::Cpu) + d * (scale(max) / scale(min)).ln())
    }
}

/// D(x; σ), and vᵀ (∂D/∂x) v of each image: f64 `[n]`.
fn value_and_trace(
    x: &Tensor,
    sigma: f64,
    v: &Tensor,
    denoise: &mut Denoise,
) -> Result<(Tensor, Tensor)> {
    let x = x.detach().set_requires_grad(true);
    // One backward pass gives vᵀ ∂D/∂x of all images: none depends on another.
    let (denoised, gradient) = tch::with_grad(|| {
        let denoised = denoise(&x, sigma)?;
        let projected = (&denoised * v).sum(denoised.kind());
        let gradient = Tensor::f_run_backward(&[projected], &[&x], false, false)?.remove(0);
        paragone_core::Result::Ok((denoised.detach(), gradient))
    })?;
    let trace = per_image(&(gradient * v));
    Ok((denoised, trace))
}

#[cfg(test)]
mod tests {
    use super::*;
    use paragone_core::from_levels;
    use std::f64::consts::LN_2;

    /// Up to so much noise that the prior tells nothing of the data.
    fn flow(sigma_data: f64, steps: usize) -> ProbabilityFlow {
        ProbabilityFlow { mean: 0.0, sigma_data, sigma_max: 4000.0, steps, draws: 1 }
    }

    fn doubles(values: &[f64], d: i64) -> Tensor {
        Tensor::from_slice(values).reshape([-1, 1, 1, d])
    }

    fn mean(x: &Tensor) -> f64 {
        x.mean(Kind::Double).double_value(&[])
    }

    /// A mixture of spherical Gaussians: `(weight, centre, variance)` of each, and everything about it in closed form.
    struct Mixture(Vec<(f64, Vec<f64>, f64)>);

    impl Mixture {
        /// ln of each component's weighted density with noise σ added, `[n, k]`.
        fn joint(&self, x: &Tensor, sigma: f64) -> Tensor {
            let of = |(weight, centre, variance): &(f64, Vec<f64>, f64)| {
                let (d, total) = (centre.len() as f64, variance + sigma * sigma);
                let square = (x - doubles(centre, d as i64)).square().flatten(1, -1);
                let square = square.sum_dim_intlist(1, false, Kind::Double);
                square / (-2.0 * total) + weight.ln() - d / 2.0 * (TAU * total).ln()
            };
            Tensor::stack(&self.0.iter().map(of).collect::<Vec<_>>(), 1)
        }

        fn log_density(&self, x: &Tensor, sigma: f64) -> Tensor {
            self.joint(x, sigma).logsumexp(1, false)
        }

        /// E[x_0 | x].
        fn denoise(&self, x: &Tensor, sigma: f64) -> Tensor {
            let shares = self.joint(x, sigma).softmax(1, None::<Kind>);
            let of = |(i, (_, centre, variance)): (usize, &(f64, Vec<f64>, f64))| {
                let centre = doubles(centre, centre.len() as i64);
                let kept = variance / (variance + sigma * sigma);
                let posterior = &centre + (x - &centre) * kept;
                posterior * shares.select(1, i as i64).reshape([-1, 1, 1, 1])
            };
            self.0.iter().enumerate().map(of).reduce(|sum, next| sum + next).expect("components")
        }
    }

    fn two_bumps(d: usize) -> Mixture {
        let low = (0..d).map(|i| -0.5 + 0.1 * i as f64).collect();
        Mixture(vec![(0.3, low, 0.01), (0.7, vec![0.4; d], 0.04)])
    }

    /// Gaussian data of another deviation than the one that the solver's variable takes out.
    #[test]
    fn a_gaussian_s_likelihood_is_reached_as_steps_grow() {
        let points: Vec<f64> = (-10..=10).map(|i| f64::from(i) * 0.1).collect();
        let x = doubles(&points, 1);
        let miss = |centre, sigma_data, steps| {
            let data = Mixture(vec![(1.0, vec![centre], 0.09)]);
            let truth = data.log_density(&x, sigma_min());
            let mut denoise = |x: &Tensor, sigma: f64| Ok(data.denoise(x, sigma));
            let flow = flow(sigma_data, steps);
            let found = flow.log_density(&x, &mut || x.ones_like(), &mut denoise).unwrap();
            (found - &truth).abs().max().double_value(&[]) / LN_2
        };
        let misses = [8, 16, 32, 64].map(|steps| miss(0.1, 0.7, steps));
        // Of order four.
        assert!(misses.windows(2).take(2).all(|pair| pair[1] < pair[0] / 10.0), "{misses:?} bits");
        assert!(misses[3] < 3e-4, "{misses:?} bits");
        let one_step = miss(0.0, 0.3, 1);
        assert!(one_step < 3e-4, "it stands still in y, and yet misses {one_step} bits");
    }

    /// The rows of a Hadamard matrix are probes that give the trace without luck: their average is exact.
    #[test]
    fn a_mixture_s_likelihood_is_found_in_any_dimension() {
        for d in [1, 2, 4] {
            let data = two_bumps(d as usize);
            let coordinates = [[-0.55, -0.2, 0.1, 0.5]].repeat(d as usize).concat();
            let points = Tensor::from_slice(&coordinates).view([d, 4]).tr(); // [4, d]
            let x = points.repeat_interleave_self_int(d, 0, None).view([-1, 1, 1, d]);
            let sign =
                |row: i64, column: i64| 1.0 - 2.0 * f64::from((row & column).count_ones() % 2);
            let rows: Vec<f64> = (0..d).flat_map(|i| (0..d).map(move |j| sign(i, j))).collect();
            let probes = doubles(&rows, d).repeat([4, 1, 1, 1]);
            let truth = data.log_density(&x, sigma_min());
            let mut denoise = |x: &Tensor, sigma: f64| Ok(data.denoise(x, sigma));
            let mut probe = || probes.shallow_clone();
            let found = flow(0.5, 80).log_density(&x, &mut probe, &mut denoise).unwrap();
            let misses = (found - truth).view([4, d]).mean_dim(1, false, Kind::Double);
            let bits = misses.abs().max().double_value(&[]) / (d as f64 * LN_2);
            assert!(bits < 1e-3, "{bits} bits in {d} dimensions");
        }
    }

    /// With the probes and the dequantization of each seed.
    #[test]
    fn estimates_of_the_trace_are_unbiased() {
        let (data, n, d) = (two_bumps(2), 500, 2);
        let levels = Tensor::from_slice(&[100i64, 150]).view([1, 1, 1, d]).repeat([n, 1, 1, 1]);
        let images = from_levels(&levels);
        let noise = Noise::new((0..n as u64).collect(), Device::Cpu);
        let mut denoise = |x: &Tensor, sigma: f64| {
            Ok(data.denoise(&x.to_kind(Kind::Double), sigma).to_kind(Kind::Float))
        };
        let found = flow(0.5, 40).nats(&images, &noise, &mut denoise).unwrap();
        let dequantized = images + (noise.fork(0).uniform(0, &[1, 1, d]) - 0.5) * (2.0 / 255.0);
        let density = data.log_density(&dequantized.to_kind(Kind::Double), sigma_min());
        let excess = found + density + d as f64 * (2.0f64 / 255.0).ln();
        let error = excess.std(true).double_value(&[]) / (n as f64).sqrt();
        assert!(error < 0.06 && mean(&excess).abs() < 4.0 * error, "{} ± {error}", mean(&excess));
    }

    /// Clamping the denoiser makes another model of it, whose density is one all the same.
    #[test]
    fn densities_integrate_to_one() {
        let data = two_bumps(1);
        let cells = 12_000;
        let width = 2.4 / f64::from(cells);
        let points: Vec<f64> = (0..cells).map(|i| (f64::from(i) + 0.5) * width - 1.1).collect();
        let x = doubles(&points, 1);
        for most in [f64::INFINITY, 0.45] {
            let mut denoise =
                |x: &Tensor, sigma: f64| Ok(data.denoise(x, sigma).clamp(-most, most));
            let mut probe = || x.ones_like();
            let log_density = flow(0.5, 50).log_density(&x, &mut probe, &mut denoise).unwrap();
            let mass = log_density.exp().sum(Kind::Double).double_value(&[]) * width;
            assert!((mass - 1.0).abs() < 1e-3, "clamped at {most}: {mass}");
        }
    }

    /// All 256 images of one pixel: by Jensen a little less than one.
    #[test]
    fn probabilities_sum_to_one_at_most() {
        let data = two_bumps(1);
        let levels = from_levels(&Tensor::arange(256, (Kind::Int64, Device::Cpu)));
        let noise = Noise::new((0..256).collect(), Device::Cpu);
        let mut denoise = |x: &Tensor, sigma: f64| {
            Ok(data.denoise(&x.to_kind(Kind::Double), sigma).to_kind(Kind::Float))
        };
        let flow = ProbabilityFlow { draws: 8, ..flow(0.5, 40) };
        let nats = flow.nats(&levels.reshape([-1, 1, 1, 1]), &noise, &mut denoise).unwrap();
        let mass = (-nats).exp().sum(Kind::Double).double_value(&[]);
        assert!((0.99..1.0005).contains(&mass), "{mass}");
    }

    /// Data that is uniform over all bins. E[x_0 | x] is that of a Gaussian cut off at both ends.
    #[test]
    fn a_uniform_model_scores_eight_bits() {
        let end = 1.0 + BIN / 2.0;
        let mut denoise = |x: &Tensor, sigma: f64| {
            let x = x.to_kind(Kind::Double);
            let (low, high) = ((-end - &x) / sigma, (end - &x) / sigma);
            let bell = |z: &Tensor| (z.square() / -2.0).exp() / TAU.sqrt();
            let mass: Tensor = high.special_ndtr() - low.special_ndtr();
            let mean = &x + (bell(&low) - bell(&high)) / mass.clamp_min(1e-12) * sigma;
            Ok(mean.clamp(-end, end).to_kind(Kind::Float))
        };
        let images = from_levels(&Tensor::arange(256, (Kind::Int64, Device::Cpu)));
        let noise = Noise::new((0..256).collect(), Device::Cpu);
        let flow = flow(0.58, 60);
        let nats = flow.nats(&images.reshape([-1, 1, 1, 1]), &noise, &mut denoise).unwrap();
        let inner = mean(&nats.narrow(0, 2, 252)) / LN_2;
        assert!((inner - 8.0).abs() < 2e-3, "{inner} bits");
        // Noise carries some of the mass over the edge.
        let all = mean(&nats) / LN_2;
        assert!((8.0..8.01).contains(&all), "{all} bits");
    }
}
