//! From noise to image: six samplers on one denoiser, each a loop over noise levels.
//!
//! `sigmas` fall to 0, which is their last entry; `x` is f32 `x_0 + σ ε` at the first of them; `denoise(x, σ)` is D(x; σ), one
//! network call. [`ddim`], [`heun`] and [`dpm_solver_pp`] solve the probability flow dx/dσ = (x − D(x; σ)) / σ (Karras et al. 2022,
//! eq. 3); the others add noise on their way.

use paragone_core::Result;
use tch::Tensor;

/// D(x; σ), or [`Error::Stopped`](paragone_core::Error::Stopped).
pub(crate) type Denoise<'a> = dyn FnMut(&Tensor, f64) -> Result<Tensor> + 'a;

/// Draws x_s from q(x_s | x_t, x_0 = D(x_t)) at every step. Ho et al. 2020, algorithm 2 with σ_t² = β̃_t.
///
/// `noise(i)` is standard normal, in the shape of `x`, for step i; the last step adds none. On a subset of the schedule's
/// levels this is the process that q has on that subset, DDIM with η = 1.
pub(crate) fn ancestral(
    denoise: &mut Denoise,
    mut x: Tensor,
    sigmas: &[f64],
    noise: &dyn Fn(usize) -> Tensor,
) -> Result<Tensor> {
    for (i, pair) in sigmas.windows(2).enumerate() {
        let (sigma, next) = (pair[0], pair[1]);
        let denoised = denoise(&x, sigma)?;
        x = if next > 0.0 { posterior(&denoised, &x, sigma, next, &noise(i)) } else { denoised };
    }
    Ok(x)
}

/// Draws x at the noise level `next` from q(x_next | x_sigma, x_0), Ho et al. 2020, eq. 6 and 7: given x_0, x is a random walk in σ²,
/// so this is a bridge between x_0 at 0 and x at σ². `noise` is standard normal.
fn posterior(x0: &Tensor, x: &Tensor, sigma: f64, next: f64, noise: &Tensor) -> Tensor {
    let share = (next / sigma).powi(2);
    x0 + (x - x0) * share + noise * (next * (1.0 - share).sqrt())
}

/// D in the middle of a step of length `h` in λ = −ln σ that starts at `lambda`, on the line through this call and the one `before`;
/// without one it is taken for the same all along.
fn midway(denoised: &Tensor, before: Option<&(Tensor, f64)>, lambda: f64, h: f64) -> Tensor {
    match before {
        Some((d1, l1)) => denoised + (denoised - d1) * (h / (2.0 * (lambda - l1))),
        None => denoised.shallow_clone(),
    }
}

/// SDE-DPM-Solver++ of order 2 (Lu et al. 2022, SDE-DPM-Solver++(2M)); `noise(i)` as for [`ancestral`].
///
/// A step of [`ancestral`] takes D as it is at its start for all of the step; this one takes it [`midway`].
pub(crate) fn sde_dpm_solver_pp(
    denoise: &mut Denoise,
    mut x: Tensor,
    sigmas: &[f64],
    noise: &dyn Fn(usize) -> Tensor,
) -> Result<Tensor> {
    let mut before: Option<(Tensor, f64)> = None; // D and λ of the last call
    for (i, pair) in sigmas.windows(2).enumerate() {
        let (sigma, next) = (pair[0], pair[1]);
        let denoised = denoise(&x, sigma)?;
        if next == 0.0 {
            return Ok(denoised);
        }
        let (lambda, h) = (-sigma.ln(), (sigma / next).ln());
        x = posterior(&midway(&denoised, before.as_ref(), lambda, h), &x, sigma, next, &noise(i));
        before = Some((denoised, lambda));
    }
    Ok(x)
}

/// Euler steps of the probability flow, Song et al. 2021, eq. 12 with η = 0.
pub(crate) fn ddim(denoise: &mut Denoise, mut x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
    for pair in sigmas.windows(2) {
        let denoised = denoise(&x, pair[0])?;
        x = &denoised + (x - &denoised) * (pair[1] / pair[0]);
    }
    Ok(x)
}

/// Heun's method, Karras et al. 2022, algorithm 1: two calls a step, one for the last.
pub(crate) fn heun(denoise: &mut Denoise, mut x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
    for pair in sigmas.windows(2) {
        let (sigma, next) = (pair[0], pair[1]);
        let slope = (&x - denoise(&x, sigma)?) / sigma;
        let euler = &x + &slope * (next - sigma);
        if next == 0.0 {
            x = euler;
        } else {
            let corrected = (&euler - denoise(&euler, next)?) / next;
            x += (slope + corrected) * ((next - sigma) / 2.0);
        }
    }
    Ok(x)
}

/// To the image at every step, then noise again for the next (Song et al. 2023, algorithm 1); `noise(i)` as for [`ancestral`].
pub(crate) fn consistency(
    denoise: &mut Denoise,
    mut x: Tensor,
    sigmas: &[f64],
    noise: &dyn Fn(usize) -> Tensor,
) -> Result<Tensor> {
    for (i, pair) in sigmas.windows(2).enumerate() {
        x = denoise(&x, pair[0])?;
        if pair[1] > 0.0 {
            x += noise(i) * pair[1];
        }
    }
    Ok(x)
}

/// DPM-Solver++ multistep of order 2 or 3 (Lu et al. 2022, algorithm 2).
///
/// In λ = −ln σ the flow is dx/dλ = D − x, so x(λ + h) = e^(−h) x + ∫₀ʰ e^(τ−h) D dτ, with D extrapolated from the last
/// calls by a polynomial. Order 2 is the paper's 2M; order 3 integrates the parabola exactly, whereas the paper's code
/// halves its last term. The first steps have fewer calls to go by, and the step to σ = 0 ends on D itself.
pub(crate) fn dpm_solver_pp(
    denoise: &mut Denoise,
    mut x: Tensor,
    sigmas: &[f64],
    order: usize,
) -> Result<Tensor> {
    let mut history: Vec<(Tensor, f64)> = Vec::new(); // D and λ of the calls before, newest first
    for pair in sigmas.windows(2) {
        let (sigma, next) = (pair[0], pair[1]);
        let denoised = denoise(&x, sigma)?;
        if next == 0.0 {
            return Ok(denoised);
        }
        let (lambda, h) = (-sigma.ln(), (sigma / next).ln());
        let phi1 = 1.0 - (-h).exp();
        let update = match history.as_slice() {
            [(d1, l1), (d2, l2)] if order == 3 => {
                // Newton's divided differences give D' and D''/2 at λ.
                let first = (&denoised - d1) / (lambda - l1);
                let before = (d1 - d2) / (l1 - l2);
                let curve = (&first - before) / (lambda - l2);
                let slope = first + &curve * (lambda - l1);
                let phi2 = h - phi1;
                let phi3 = h * h / 2.0 - phi2;
                &denoised * phi1 + slope * phi2 + curve * (2.0 * phi3)
            }
            _ => midway(&denoised, history.first(), lambda, h) * phi1,
        };
        x = x * (next / sigma) + update;
        history.insert(0, (denoised, lambda));
        history.truncate(2);
    }
    Ok(x)
}

/// [`ancestral`] with every step but the last taken `times` times: after each but the last of these the noise that the step took
/// away is added again (Lugmayr et al. 2022, algorithm 1 with jumps of one step). `noise(i)`: for the i-th time that noise is
/// added. Makes [`resampled_calls`] calls.
pub(crate) fn resampled(
    denoise: &mut Denoise,
    mut x: Tensor,
    sigmas: &[f64],
    times: usize,
    noise: &dyn Fn(usize) -> Tensor,
) -> Result<Tensor> {
    let mut draws = 0..;
    let mut draw = || noise(draws.next().expect("there is no last draw"));
    for pair in sigmas.windows(2) {
        let (sigma, next) = (pair[0], pair[1]);
        if next == 0.0 {
            return denoise(&x, sigma);
        }
        for time in 1..=times {
            let denoised = denoise(&x, sigma)?;
            x = posterior(&denoised, &x, sigma, next, &draw());
            if time < times {
                x += draw() * (sigma * sigma - next * next).sqrt();
            }
        }
    }
    Ok(x)
}

/// Calls of [`resampled`] in so many steps.
pub(crate) fn resampled_calls(steps: usize, times: usize) -> usize {
    (steps - 1) * times + 1
}

/// Back along the probability flow, from an image to the first of `sigmas`, by Heun's method: what [`heun`] undoes.
///
/// At σ = 0 the flow has no direction to be computed, so the first step takes that of its end, found in two rounds. Makes
/// [`inverted_calls`] calls.
pub(crate) fn inverted(denoise: &mut Denoise, mut x: Tensor, sigmas: &[f64]) -> Result<Tensor> {
    for pair in sigmas.windows(2).rev() {
        let (next, sigma) = (pair[0], pair[1]);
        let mut slope =
            |x: &Tensor, sigma: f64| -> Result<Tensor> { Ok((x - denoise(x, sigma)?) / sigma) };
        if sigma == 0.0 {
            let first = &x + slope(&x, next)? * next;
            x = &x + slope(&first, next)? * next;
            continue;
        }
        let here = slope(&x, sigma)?;
        let there = slope(&(&x + &here * (next - sigma)), next)?;
        x += (here + there) * ((next - sigma) / 2.0);
    }
    Ok(x)
}

/// Calls of [`inverted`] in so many steps.
pub(crate) fn inverted_calls(steps: usize) -> usize {
    2 * steps
}
