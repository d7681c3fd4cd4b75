//! The samplers against DDPM's own formulas, and against Gaussian data, whose denoiser and flow are known exactly.

use crate::{
    config::{ScheduleConfig, ScheduleName},
    noise_levels::{karras, timesteps},
    samplers::{
        Denoise, ancestral, ddim, dpm_solver_pp, heun, inverted, resampled, sde_dpm_solver_pp,
    },
    schedule::NoiseSchedule,
};
use paragone_core::{Noise, Result};
use tch::{Device, Kind, Tensor};

/// Data N(MEAN, STD²).
const MEAN: f64 = 0.3;
const STD: f64 = 0.5;

fn gaussian(x: &Tensor, sigma: f64) -> Result<Tensor> {
    Ok((x - MEAN) * (STD * STD / (STD * STD + sigma * sigma)) + MEAN)
}

/// Standard normal, f64 `[n]`.
fn normal(draw: u64, n: usize) -> Tensor {
    Noise::new(vec![5], Device::Cpu).normal(draw, &[n as i64]).flatten(0, -1).to_kind(Kind::Double)
}

fn schedule(name: ScheduleName, num_timesteps: usize) -> NoiseSchedule {
    NoiseSchedule::new(&ScheduleConfig { name, ..ScheduleConfig::default() }, num_timesteps)
}

fn distance(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).abs().max().double_value(&[])
}

/// Ho et al. 2020, algorithm 2 and eq. 11 with σ_t² = β̃_t, in the paper's own variables x_t and ε_θ, under the same noise.
#[test]
fn ancestral_is_ddpm() {
    let schedule = schedule(ScheduleName::Linear, 60);
    let denoiser = |x: &Tensor, sigma: f64| (x / (1.0 + sigma)).tanh() * 0.8;
    let start = normal(0, 100);

    let (alpha_last, sigma_last) = (schedule.alpha_cumprod(60), schedule.sigma(60));
    let ours = ancestral(
        &mut |x, sigma| Ok(denoiser(x, sigma)),
        &start / alpha_last.sqrt(),
        &timesteps(&schedule, 60),
        &|i| normal(1 + i as u64, 100),
    )
    .unwrap();

    let mut x_t = start;
    for t in (1..=60).rev() {
        let (beta, alpha_bar) = (schedule.beta(t), schedule.alpha_cumprod(t));
        let sigma = schedule.sigma(t);
        let x0 = denoiser(&(&x_t / alpha_bar.sqrt()), sigma);
        let eps = (&x_t - x0 * alpha_bar.sqrt()) / (1.0 - alpha_bar).sqrt();
        let mean = (&x_t - eps * (beta / (1.0 - alpha_bar).sqrt())) / (1.0 - beta).sqrt();
        let variance = (1.0 - schedule.alpha_cumprod(t - 1)) / (1.0 - alpha_bar) * beta;
        let z = if t > 1 { normal(1 + (60 - t) as u64, 100) } else { mean.zeros_like() };
        x_t = mean + z * variance.sqrt();
    }
    assert!(sigma_last > 100.0 && distance(&ours, &x_t) < 1e-9, "{}", distance(&ours, &x_t));
}

/// One step against the posterior q(x_{t−1} | x_t, x_0), Ho et al. 2020, eq. 6 and 7.
#[test]
fn an_ancestral_step_is_the_posterior() {
    let schedule = schedule(ScheduleName::Cosine, 40);
    let (x0, x_t) = (0.7, -1.1);
    for t in [2, 17, 40] {
        let (beta, alpha_bar, before) =
            (schedule.beta(t), schedule.alpha_cumprod(t), schedule.alpha_cumprod(t - 1));
        let sigmas = [schedule.sigma(t), schedule.sigma(t - 1)];
        let step = |z: f64| {
            let start = Tensor::from_slice(&[x_t / alpha_bar.sqrt()]);
            let x = ancestral(&mut |x, _| Ok(x.full_like(x0)), start, &sigmas, &|_| {
                Tensor::from_slice(&[z])
            });
            x.unwrap().double_value(&[0]) * before.sqrt()
        };
        let mean = before.sqrt() * beta / (1.0 - alpha_bar) * x0
            + (1.0 - beta).sqrt() * (1.0 - before) / (1.0 - alpha_bar) * x_t;
        let variance = (1.0 - before) / (1.0 - alpha_bar) * beta;
        assert!((step(0.0) - mean).abs() < 1e-9);
        assert!((step(1.0) - step(0.0) - variance.sqrt()).abs() < 1e-9);
    }
}

#[test]
fn ancestral_draws_the_right_variance() {
    let n = 40_000;
    for (num_timesteps, name) in
        [(10, ScheduleName::Linear), (500, ScheduleName::Linear), (500, ScheduleName::Cosine)]
    {
        let schedule = schedule(name, num_timesteps);
        let sigmas = timesteps(&schedule, num_timesteps);
        let start = 1.0 + sigmas[0] * sigmas[0];
        // The denoiser is linear, so the variance obeys a recursion of its own.
        let variance = sigmas.windows(2).fold(start, |variance, pair| {
            let share = (pair[1] / pair[0]).powi(2);
            let gain = STD * STD / (STD * STD + pair[0] * pair[0]);
            (gain * (1.0 - share) + share).powi(2) * variance + pair[1].powi(2) * (1.0 - share)
        });
        let x = normal(0, n) * start.sqrt();
        let noise = |i: usize| normal(1 + i as u64, n);
        let x = ancestral(&mut gaussian, x, &sigmas, &noise).unwrap();
        let (mean, drawn) = (x.mean(Kind::Double), x.var(true).double_value(&[]));
        assert!((mean.double_value(&[]) - MEAN).abs() < 0.012, "{mean:?}");
        assert!((drawn / variance - 1.0).abs() < 0.03, "{drawn}, not {variance}");
        if num_timesteps == 500 {
            assert!((variance / (STD * STD) - 1.0).abs() < 0.03, "{variance} is not the data's");
        }
    }
}

/// Lu et al. 2022, SDE-DPM-Solver++(2M), in the paper's own variables α_t x_t, under the same noise.
#[test]
fn sde_dpm_solver_pp_is_the_papers() {
    let schedule = schedule(ScheduleName::Linear, 60);
    let denoiser = |x: &Tensor, sigma: f64| (x / (1.0 + sigma)).tanh() * 0.8;
    let times = [60, 51, 37, 20, 8, 2];
    let sigmas: Vec<f64> = times.iter().map(|&t| schedule.sigma(t)).collect();
    let start = normal(0, 100);
    let ours = sde_dpm_solver_pp(
        &mut |x, sigma| Ok(denoiser(x, sigma)),
        &start / schedule.alpha_cumprod(60).sqrt(),
        &sigmas,
        &|i| normal(1 + i as u64, 100),
    )
    .unwrap();

    let alpha = |i: usize| schedule.alpha_cumprod(times[i]).sqrt();
    let sigma = |i: usize| (1.0 - alpha(i).powi(2)).sqrt();
    let lambda = |i: usize| (alpha(i) / sigma(i)).ln();
    let mut x_t = start;
    let mut before: Option<Tensor> = None;
    for i in 0..times.len() - 1 {
        let h = lambda(i + 1) - lambda(i);
        let x0 = denoiser(&(&x_t / alpha(i)), sigma(i) / alpha(i));
        let gain = alpha(i + 1) * (1.0 - (-2.0 * h).exp());
        let mut next = &x_t * (sigma(i + 1) / sigma(i) * (-h).exp())
            + &x0 * gain
            + normal(1 + i as u64, 100) * (sigma(i + 1) * (1.0 - (-2.0 * h).exp()).sqrt());
        if let Some(before) = &before {
            let r = (lambda(i) - lambda(i - 1)) / h;
            next += (&x0 - before) * (gain / (2.0 * r));
        }
        (x_t, before) = (next, Some(x0));
    }
    let off = distance(&(ours * alpha(times.len() - 1)), &x_t);
    assert!(off < 1e-9, "{off}");
}

type StochasticSampler =
    fn(&mut Denoise, Tensor, &[f64], &dyn Fn(usize) -> Tensor) -> Result<Tensor>;

/// Of Gaussian data every step is linear in what was drawn, so that the variance of what is drawn is the sum of the squares of
/// the weights that each draw comes to have: here the coordinates.
#[test]
fn variances_converge_with_the_order_of_the_sampler() {
    let error = |steps: usize, sample: StochasticSampler| {
        let sigmas: Vec<f64> =
            (0..=steps).map(|i| 200.0 * 0.002f64.powf(i as f64 / steps as f64)).collect();
        let draw = |i: usize| {
            let weights = Tensor::zeros([steps as i64 + 1], (Kind::Double, Device::Cpu));
            let _ = weights.get(i as i64).fill_(1.0);
            weights
        };
        let variance = |sigma: f64| STD * STD + sigma * sigma;
        let start = draw(0) * variance(sigmas[0]).sqrt();
        let mut centred = |x: &Tensor, sigma: f64| Ok(gaussian(&(x + MEAN), sigma)? - MEAN);
        let weights = sample(&mut centred, start, &sigmas, &|i| draw(1 + i)).unwrap();
        (weights.square().sum(Kind::Double).double_value(&[]) - variance(0.4)).abs()
    };
    for (name, sample, want) in [
        ("ancestral", ancestral as StochasticSampler, 2.0),
        ("sde-dpm-solver++", sde_dpm_solver_pp, 4.0),
    ] {
        let (coarse, fine) = (error(80, sample), error(160, sample));
        let ratio = coarse / fine;
        assert!((0.8 * want..1.2 * want).contains(&ratio), "{name}: {coarse} / {fine} = {ratio}");
        assert!(fine < 0.02, "{name}: {fine}");
    }
}

type Solver = fn(&mut Denoise, Tensor, &[f64]) -> Result<Tensor>;

/// Distance from the exact flow x(σ) = MEAN + z √(STD² + σ²) after `steps` steps evenly apart in ln σ, from 200 (where
/// the multistep methods' first steps, of lower order, cost nothing) to 0.4.
fn error(steps: usize, solve: Solver) -> f64 {
    let sigmas: Vec<f64> =
        (0..=steps).map(|i| 200.0 * 0.002f64.powf(i as f64 / steps as f64)).collect();
    let z = normal(0, 50);
    let flow = |sigma: f64| &z * (STD * STD + sigma * sigma).sqrt() + MEAN;
    let x = solve(&mut gaussian, flow(200.0), &sigmas).unwrap();
    distance(&x, &flow(0.4))
}

#[test]
fn solvers_converge_with_their_order() {
    let solvers: [(&str, Solver, f64); 4] = [
        ("ddim", ddim, 2.0),
        ("heun", heun, 4.0),
        ("dpm-solver++ 2", |d, x, s| dpm_solver_pp(d, x, s, 2), 4.0),
        ("dpm-solver++ 3", |d, x, s| dpm_solver_pp(d, x, s, 3), 8.0),
    ];
    for (name, solver, want) in solvers {
        let (coarse, fine) = (error(80, solver), error(160, solver));
        let ratio = coarse / fine;
        assert!((0.8 * want..1.2 * want).contains(&ratio), "{name}: {coarse} / {fine} = {ratio}");
        assert!(fine < 0.05, "{name}: {fine}");
    }
}

#[test]
fn solvers_reach_the_data_from_pure_noise() {
    let z = normal(0, 1000);
    let sigmas = karras(0.01, 40.0, 7.0, 40);
    let start = || &z * (1.0f64 + 1600.0).sqrt();
    let exact = &z * STD + MEAN;
    for (name, x) in [
        ("heun", heun(&mut gaussian, start(), &sigmas)),
        ("dpm-solver++ 2", dpm_solver_pp(&mut gaussian, start(), &sigmas, 2)),
        ("dpm-solver++ 3", dpm_solver_pp(&mut gaussian, start(), &sigmas, 3)),
    ] {
        let off = distance(&x.unwrap(), &exact);
        assert!(off < 0.02, "{name} is off by {off}");
    }
    let schedule = schedule(ScheduleName::Linear, 1000);
    let start = &z / schedule.alpha_cumprod(1000).sqrt();
    let x = ddim(&mut gaussian, start, &timesteps(&schedule, 1000)).unwrap();
    assert!(distance(&x, &exact) < 0.03, "ddim is off by {}", distance(&x, &exact));
}

/// The trap of few steps with the β of a thousand: noise is not where the process ends, and the draws are too wide.
#[test]
fn an_unscaled_short_schedule_draws_the_wrong_variance() {
    let variance = |scale_to_timesteps| {
        let config = ScheduleConfig { scale_to_timesteps, ..ScheduleConfig::default() };
        let schedule = NoiseSchedule::new(&config, 100);
        let start = normal(0, 4000) / schedule.alpha_cumprod(100).sqrt();
        ddim(&mut gaussian, start, &timesteps(&schedule, 100)).unwrap().var(true).double_value(&[])
    };
    let (scaled, unscaled) = (variance(true), variance(false));
    assert!((scaled / (STD * STD) - 1.0).abs() < 0.1, "{scaled}");
    assert!(unscaled > 1.3 * STD * STD, "{unscaled}");
}

/// The flow of Gaussian data is linear: x at σ is √(STD² + σ²) / STD times as far from the mean as the image.
#[test]
fn an_image_is_followed_to_its_noise_and_back() {
    let images = normal(3, 1000) * STD + MEAN;
    let error = |steps: usize| {
        let sigmas = karras(0.01, 40.0, 7.0, steps);
        let noisy = inverted(&mut gaussian, images.copy(), &sigmas).unwrap();
        let exact = (&images - MEAN) * ((STD * STD + 1600.0).sqrt() / STD) + MEAN;
        let back = heun(&mut gaussian, noisy.copy(), &sigmas).unwrap();
        [distance(&noisy, &exact) / 40.0, distance(&back, &images)]
    };
    let (coarse, fine) = (error(16), error(64));
    assert!(coarse[0] < 0.3 && fine[0] < 0.03, "{coarse:?} {fine:?}");
    assert!(coarse[1] < 0.05 && fine[1] < 5e-3, "{coarse:?} {fine:?}");
}

/// Pairs of pixels with correlation 0.9, the first known: the second is normal around what the first makes likely. Putting the
/// known pixel in is not enough; with more rounds the hole comes to fit it.
#[test]
fn resampling_draws_what_the_known_pixels_make_likely() {
    let correlation = 0.9;
    let n = 20_000;
    let known = 1.5;
    let first = Tensor::from_slice(&[true, false]).reshape([1, 2]);
    let covariance = Tensor::from_slice(&[1.0, correlation, correlation, 1.0]).reshape([2, 2]);
    let eye = Tensor::eye(2, (Kind::Double, Device::Cpu));
    let moments = |times: usize| {
        let mut denoise = |x: &Tensor, sigma: f64| -> Result<Tensor> {
            let gain = covariance.matmul(&(&covariance + &eye * (sigma * sigma)).inverse());
            let denoised = x.matmul(&gain.tr());
            Ok(denoised.full_like(known).where_self(&first, &denoised))
        };
        let noise = |i: usize| {
            let noise = Noise::new((0..n).collect(), Device::Cpu);
            noise.normal(i as u64, &[2]).to_kind(Kind::Double)
        };
        let sigmas = karras(0.01, 40.0, 7.0, 30);
        let x = noise(0) * sigmas[0];
        let x = resampled(&mut denoise, x, &sigmas, times, &|i| noise(1 + i)).unwrap();
        assert_eq!(x.select(1, 0).min().double_value(&[]), known);
        let hole = x.select(1, 1);
        (hole.mean(Kind::Double).double_value(&[]), hole.var(true).double_value(&[]))
    };
    let (mean, variance) = (correlation * known, 1.0 - correlation * correlation);
    let (once, often) = (moments(1), moments(8));
    let off = |(m, v): (f64, f64)| (m - mean).abs().max((v - variance).abs());
    assert!(off(often) < 0.08, "{often:?}, not {mean} and {variance}");
    assert!(off(once) > 2.0 * off(often), "{once:?} and {often:?}, not {mean} and {variance}");
}
