//! The discrete noising process: how much noise each of the T forward steps adds (Ho et al. 2020, eq. 2 and 4).
//!
//! q(x_t | x_0) = N(√ᾱ_t x_0, (1 − ᾱ_t) I). Dividing by √ᾱ_t gives x_0 + σ_t ε with σ_t = √((1 − ᾱ_t) / ᾱ_t), the form that
//! this crate computes in: there a time is nothing but its noise level.
//!
//! The linear schedule was made for T = 1000: its β as they stand leave ᾱ_100 = 0.36 after T = 100 steps, far from noise.
//! With `scale_to_timesteps` one step of a short process does what 1000 / T steps of the long one do,
//! β ← 1 − (1 − β)^(1000 / T): to first order the factor 1000 / T of Dhariwal & Nichol's code, but never above 1.

use crate::config::{ScheduleConfig, ScheduleName};
use std::f64::consts::FRAC_PI_2;

/// A noising process of T steps. Times run over `0..=T`; 0 is the clean image.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseSchedule {
    /// β_t at index t − 1.
    betas: Vec<f64>,
    /// ᾱ_t at index t; ᾱ_0 = 1.
    alphas_cumprod: Vec<f64>,
}

impl NoiseSchedule {
    /// The process of `num_timesteps` steps, at least 2.
    pub fn new(config: &ScheduleConfig, num_timesteps: usize) -> Self {
        let betas = match config.name {
            ScheduleName::Linear => linear(config, num_timesteps),
            ScheduleName::Cosine => cosine(config.offset, num_timesteps),
        };
        let mut alphas_cumprod = vec![1.0];
        for beta in &betas {
            alphas_cumprod.push(alphas_cumprod[alphas_cumprod.len() - 1] * (1.0 - beta));
        }
        Self { betas, alphas_cumprod }
    }

    /// T.
    pub fn num_timesteps(&self) -> usize {
        self.betas.len()
    }

    /// β_t, for t in `1..=T`.
    pub fn beta(&self, t: usize) -> f64 {
        self.betas[t - 1]
    }

    /// ᾱ_t: the share of a unit variance that is still signal.
    pub fn alpha_cumprod(&self, t: usize) -> f64 {
        self.alphas_cumprod[t]
    }

    /// σ_t = √((1 − ᾱ_t) / ᾱ_t): 0 for t = 0.
    pub fn sigma(&self, t: usize) -> f64 {
        let alpha = self.alphas_cumprod[t];
        ((1.0 - alpha) / alpha).sqrt()
    }

    /// Expected KL(q(x_T | x_0) ‖ N(0, I)) per dimension, in nats, of data with mean 0 and this mean square: what a sampler
    /// gets wrong by starting from pure noise, and the first term of the variational bound.
    pub fn prior_kl(&self, mean_square: f64) -> f64 {
        let alpha = self.alphas_cumprod[self.num_timesteps()];
        0.5 * (alpha * mean_square - alpha - (1.0 - alpha).ln())
    }
}

fn linear(config: &ScheduleConfig, num_timesteps: usize) -> Vec<f64> {
    let &ScheduleConfig { beta_start, beta_end, scale_to_timesteps, .. } = config;
    let steps_in_one = if scale_to_timesteps { 1000.0 / num_timesteps as f64 } else { 1.0 };
    (0..num_timesteps)
        .map(|i| {
            let share = i as f64 / (num_timesteps - 1) as f64;
            let beta = beta_start + share * (beta_end - beta_start);
            1.0 - (1.0 - beta).powf(steps_in_one)
        })
        .collect()
}

/// Nichol & Dhariwal 2021, eq. 17, β clipped at 0.999.
fn cosine(offset: f64, num_timesteps: usize) -> Vec<f64> {
    let f = |t: usize| {
        let share = t as f64 / num_timesteps as f64;
        ((share + offset) / (1.0 + offset) * FRAC_PI_2).cos().powi(2)
    };
    (1..=num_timesteps).map(|t| (1.0 - f(t) / f(t - 1)).min(0.999)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(
        name: ScheduleName,
        scale_to_timesteps: bool,
        num_timesteps: usize,
    ) -> NoiseSchedule {
        let config = ScheduleConfig { name, scale_to_timesteps, ..ScheduleConfig::default() };
        NoiseSchedule::new(&config, num_timesteps)
    }

    /// (t, β_t, ᾱ_t), computed apart from this code in 50-digit decimal arithmetic.
    fn check(schedule: &NoiseSchedule, golden: &[(usize, f64, f64)]) {
        for &(t, beta, alpha) in golden {
            let (b, a) = (schedule.beta(t), schedule.alpha_cumprod(t));
            assert!((b / beta - 1.0).abs() < 1e-9, "beta {t} is {b}, not {beta}");
            assert!((a / alpha - 1.0).abs() < 1e-9, "alpha_cumprod {t} is {a}, not {alpha}");
        }
    }

    #[test]
    fn linear_golden() {
        let golden = &[
            (1, 1.00000000000e-4, 9.99900000000e-1),
            (10, 2.79279279279e-4, 9.98105204786e-1),
            (500, 1.00400400400e-2, 7.85872428818e-2),
            (1000, 2.00000000000e-2, 4.03582976538e-5),
        ];
        check(&schedule(ScheduleName::Linear, true, 1000), golden);
        check(&schedule(ScheduleName::Linear, false, 1000), golden);
    }

    #[test]
    fn short_linear_golden() {
        check(
            &schedule(ScheduleName::Linear, true, 100),
            &[
                (1, 9.99550119979e-4, 9.99000449880e-1),
                (2, 3.00602696257e-3, 9.95997427592e-1),
                (50, 9.51564467131e-2, 8.03927011596e-2),
                (100, 1.82927193112e-1, 4.03459315460e-5),
            ],
        );
        let unscaled = schedule(ScheduleName::Linear, false, 100);
        check(
            &unscaled,
            &[
                (1, 1.00000000000e-4, 9.99900000000e-1),
                (50, 9.94949494949e-3, 7.77180082661e-1),
                (100, 2.00000000000e-2, 3.63563248055e-1),
            ],
        );
    }

    #[test]
    fn cosine_golden() {
        check(
            &schedule(ScheduleName::Cosine, true, 1000),
            &[
                (1, 4.12842248218e-5, 9.99958715775e-1),
                (2, 4.61417527367e-5, 9.99912575927e-1),
                (500, 3.14588623048e-3, 4.93843590441e-1),
                (999, 7.49999392901e-1, 2.42876690703e-6),
                (1000, 9.99000000000e-1, 2.42876690703e-9),
            ],
        );
    }

    #[test]
    fn however_short_a_scaled_process_ends_in_noise() {
        for num_timesteps in [2, 3, 10, 50, 1000, 4000] {
            let s = schedule(ScheduleName::Linear, true, num_timesteps);
            let last = s.alpha_cumprod(num_timesteps);
            assert!((3e-5..5e-5).contains(&last), "{last} after {num_timesteps} steps");
            assert!((1..=num_timesteps).all(|t| 0.0 < s.beta(t) && s.beta(t) < 1.0));
        }
    }

    #[test]
    fn sigma_and_alpha_agree() {
        let s = schedule(ScheduleName::Cosine, true, 50);
        assert_eq!(s.sigma(0), 0.0);
        for t in 1..=50 {
            assert!((1.0 / (1.0 + s.sigma(t).powi(2)) / s.alpha_cumprod(t) - 1.0).abs() < 1e-9);
            assert!(s.sigma(t) > s.sigma(t - 1));
        }
    }

    /// KL(N(√ᾱ x, 1 − ᾱ) ‖ N(0, 1)) = ½ (μ² + s² − 1 − ln s²), averaged over x = ±0.5.
    #[test]
    fn prior_kl_is_the_closed_form() {
        let s = schedule(ScheduleName::Linear, false, 100);
        let (alpha, variance) = (s.alpha_cumprod(100), 1.0 - s.alpha_cumprod(100));
        let want = 0.5 * ((alpha.sqrt() * 0.5).powi(2) + variance - 1.0 - variance.ln());
        assert!((s.prior_kl(0.25) - want).abs() < 1e-12 && want > 0.08);
        assert!(schedule(ScheduleName::Linear, true, 100).prior_kl(0.25) < 1e-8 + 2e-5);
    }
}
