//! Consistency tuning (Geng et al. 2024): a denoiser, which says from noise what images there are on average, learns to say one
//! of them.
//!
//! Along the probability flow all points end at one image, so a function that gives it from anywhere on the flow agrees with
//! itself at two neighbouring points (Song et al. 2023). Two noise levels with the same noise are such neighbours but for an
//! error that vanishes with their distance. At the lower level the network is taken as it is and taught what it says there at
//! the higher; at level 0 that is the image, by the denoiser's own form. With level 0 always the lower one this is learning to
//! denoise, with which a trained denoiser is done; from there the levels come closer.

use crate::{
    bound::per_image_columns,
    config::ConsistencyConfig,
    model::{DiffusionModel, to_learn},
};
use paragone_core::{Batch, Loss};
use tch::{Kind, Tensor};

/// The least noise at which the network is asked; below it an image counts as clean.
const SIGMA_MIN: f64 = 2e-3;

impl ConsistencyConfig {
    /// The lower of the two noise levels, the higher being `sigma`, at `progress` in [0, 1] of training: σ (1 − n(σ) / 2^(1 + h)),
    /// with h of the halvings done and n(σ) = 1 + 8 / (1 + e^σ) (Geng et al. 2024, eq. 13 and its appendix, q = 2, k = 8, b = 1).
    fn lower(&self, sigma: f64, progress: f64) -> f64 {
        let halved = (self.halvings as f64 * progress).floor();
        let share = (1.0 + 8.0 / (1.0 + sigma.exp())) / (1.0 + halved).exp2();
        let lower = sigma * (1.0 - share);
        if lower < SIGMA_MIN { 0.0 } else { lower }
    }
}

impl DiffusionModel {
    /// The distance (‖D(x_σ; σ) − D(x_r; r)‖² + c²)^½ − c over σ − r, averaged over images; c = 0.00054 √d as Song & Dhariwal 2023.
    pub(crate) fn consistency_loss(
        &self,
        config: &ConsistencyConfig,
        batch: &Batch,
        progress: f64,
    ) -> Loss {
        let x0 = &batch.images - self.data.mean;
        let sigmas = self.training_sigmas(batch.len());
        let lower: Vec<f64> = sigmas.iter().map(|&sigma| config.lower(sigma, progress)).collect();
        let clean: Vec<f64> = lower.iter().map(|&sigma| f64::from(sigma == 0.0)).collect();
        let gaps: Vec<f64> =
            sigmas.iter().zip(&lower).map(|(sigma, lower)| sigma - lower).collect();
        let [high, low, clean, gaps] = per_image_columns([&sigmas, &lower, &clean, &gaps], &x0);
        let eps = Tensor::randn(x0.size(), (Kind::Float, x0.device()));
        let noised = |sigma: Tensor| &x0 + &eps * sigma;
        let target = tch::no_grad(|| {
            let asked: Vec<f64> = lower.iter().map(|&sigma| sigma.max(SIGMA_MIN)).collect();
            let denoised = self.denoise(&noised(low), &asked, &batch.conditions);
            denoised.lerp_tensor(&x0, &clean)
        });
        let jumped = self.denoise(&noised(high), &sigmas, &batch.conditions);
        let squared = to_learn(jumped - target, &batch.conditions).square();
        let squared = squared.sum_dim_intlist([1i64, 2, 3].as_slice(), true, Kind::Float); // [n, 1, 1, 1]
        let c = 0.00054 * (self.data.shape.numel() as f64).sqrt();
        let distance: Tensor = (squared + c * c).sqrt() - c;
        Loss::new((distance / gaps).mean(Kind::Float))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_come_closer() {
        let config = ConsistencyConfig { halvings: 8 };
        // Little noise is compared with none at first, much with half of it.
        assert_eq!(config.lower(0.3, 0.0), 0.0);
        assert!((config.lower(30.0, 0.0) - 15.0).abs() < 1e-6);
        for sigma in [0.01f64, 0.5, 3.0, 40.0] {
            let lower = |progress| config.lower(sigma, progress);
            let n = 1.0 + 8.0 / (1.0 + sigma.exp());
            assert!((lower(1.0) - sigma * (1.0 - n / 512.0)).abs() < 1e-12);
            let steps = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0].map(lower);
            assert!(
                steps.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] < sigma),
                "{steps:?}"
            );
        }
        assert_eq!(config.lower(1.5e-3, 1.0), 0.0);
    }
}
