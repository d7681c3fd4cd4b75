//! What the network predicts, and how its output becomes a denoised image.
//!
//! Every objective is a preconditioned denoiser (Karras et al. 2022, eq. 7): with `x = x_0 + σ ε`,
//! `D(x; σ) = c_skip x + c_out F(c_in x; c_noise)`, and the network F is trained on the mean squared error to what would make
//! D equal x_0. So all samplers and the likelihood bound need only D. With `√ᾱ = 1 / √(1 + σ²)`, x_t is `c_in x`:
//!
//! | objective | F predicts | c_in | c_skip | c_out |
//! |---|---|---|---|---|
//! | eps (Ho et al. 2020) | ε | 1/√(1+σ²) | 1 | −σ |
//! | x0 | x_0 | 1/√(1+σ²) | 0 | 1 |
//! | v (Salimans & Ho 2022) | √ᾱ ε − √(1−ᾱ) x_0 | 1/√(1+σ²) | 1/(1+σ²) | −σ/√(1+σ²) |
//! | edm (Karras et al. 2022) | a unit-variance mix | 1/√(σ²+σ_d²) | σ_d²/(σ²+σ_d²) | σσ_d/√(σ²+σ_d²) |
//! | flow-matching (Lipman et al. 2023) | ε − x_0 | 1/(1+σ) | 1/(1+σ) | −σ/(1+σ) |
//!
//! Two deviations from the papers of the first three: the network is told ln σ / 4 in place of t, so that it can be asked at
//! noise levels between the steps; and images are centred by the data's mean before anything else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the network learns to predict, and at which noise levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The noise, at the schedule's T levels: DDPM.
    Eps,
    /// The clean image, at the schedule's T levels.
    X0,
    /// The velocity √ᾱ ε − √(1−ᾱ) x_0, at the schedule's T levels.
    V,
    /// EDM's mix of noise and image with unit variance at every level; ln σ is normal.
    Edm,
    /// The velocity ε − x_0 of straight paths; ln σ is normal (so t = σ / (1 + σ) is logit-normal, as Esser et al. 2024).
    FlowMatching,
}

/// The coefficients of a preconditioned denoiser at one noise level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Coefficients {
    pub sigma: f64,
    pub c_in: f64,
    pub c_skip: f64,
    pub c_out: f64,
    pub c_noise: f64,
}

impl Objective {
    /// Whether training draws its noise levels from the schedule's T rather than from a density.
    pub(crate) fn is_discrete(self) -> bool {
        matches!(self, Self::Eps | Self::X0 | Self::V)
    }

    /// The coefficients at noise level `sigma`, above 0, for data of standard deviation `sigma_data`.
    pub(crate) fn coefficients(self, sigma: f64, sigma_data: f64) -> Coefficients {
        let to_unit = 1.0 / (1.0 + sigma * sigma).sqrt();
        let (c_in, c_skip, c_out) = match self {
            Self::Eps => (to_unit, 1.0, -sigma),
            Self::X0 => (to_unit, 0.0, 1.0),
            Self::V => (to_unit, to_unit * to_unit, -sigma * to_unit),
            Self::Edm => {
                let variance = sigma * sigma + sigma_data * sigma_data;
                let std = variance.sqrt();
                (1.0 / std, sigma_data * sigma_data / variance, sigma * sigma_data / std)
            }
            Self::FlowMatching => {
                let signal = 1.0 / (1.0 + sigma); // 1 − t
                (signal, signal, -sigma * signal)
            }
        };
        Coefficients { sigma, c_in, c_skip, c_out, c_noise: sigma.ln() / 4.0 }
    }
}

impl Coefficients {
    /// The weights of x_0 and ε in what F is trained to predict: (x_0 − c_skip (x_0 + σ ε)) / c_out.
    pub fn target(&self) -> (f64, f64) {
        ((1.0 - self.c_skip) / self.c_out, -self.c_skip * self.sigma / self.c_out)
    }

    /// Weight of F's squared error: 1, or such that the error of D weighs min(1/σ², γ) (Hang et al. 2023), but no less than
    /// `least`.
    pub fn loss_weight(&self, min_snr_gamma: Option<f64>, least: f64) -> f64 {
        let snr = 1.0 / (self.sigma * self.sigma);
        min_snr_gamma.map_or(1.0, |gamma| (snr.min(gamma) * self.c_out * self.c_out).max(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Objective; 5] =
        [Objective::Eps, Objective::X0, Objective::V, Objective::Edm, Objective::FlowMatching];

    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9 * (1.0 + a.abs().max(b.abs())), "{a} is not {b}");
    }

    /// Karras et al. 2022, table 1, at σ = 2, σ_data = 0.5, by hand.
    #[test]
    fn edm_golden() {
        let c = Objective::Edm.coefficients(2.0, 0.5);
        close(c.c_skip, 0.25 / 4.25);
        close(c.c_out, 1.0 / 4.25f64.sqrt());
        close(c.c_in, 1.0 / 4.25f64.sqrt());
        close(c.c_noise, 0.173_286_795_139_986_3);
    }

    #[test]
    fn edm_sees_and_predicts_unit_variance() {
        for sigma in [0.01, 0.3, 1.0, 40.0] {
            let c = Objective::Edm.coefficients(sigma, 0.7);
            close(c.c_in.powi(2) * (0.49 + sigma * sigma), 1.0);
            let (image, noise) = c.target();
            close(image.powi(2) * 0.49 + noise.powi(2), 1.0);
        }
    }

    #[test]
    fn targets_are_what_the_papers_say() {
        for sigma in [0.01, 0.5, 3.0, 150.0] {
            let alpha: f64 = 1.0 / (1.0 + sigma * sigma);
            let t = sigma / (1.0 + sigma);
            let want = |objective| match objective {
                Objective::Eps => (0.0, 1.0),
                Objective::X0 => (1.0, 0.0),
                Objective::V => (-(1.0 - alpha).sqrt(), alpha.sqrt()),
                Objective::FlowMatching => (-1.0, 1.0),
                Objective::Edm => {
                    let std = (sigma * sigma + 0.25f64).sqrt();
                    (sigma / (0.5 * std), -0.5 / std)
                }
            };
            for objective in ALL {
                let c = objective.coefficients(sigma, 0.5);
                let ((image, noise), (want_image, want_noise)) = (c.target(), want(objective));
                close(image, want_image);
                close(noise, want_noise);
                // The network sees x_t of its own process.
                match objective {
                    Objective::FlowMatching => close(c.c_in, 1.0 - t),
                    Objective::Edm => {}
                    _ => close(c.c_in, alpha.sqrt()),
                }
            }
        }
    }

    /// One denoised image through every objective's F and back.
    #[test]
    fn predictions_convert_into_each_other() {
        let (x, denoised, sigma) = (1.3, -0.4, 0.8);
        let round_trip = ALL.iter().fold(denoised, |d, objective| {
            let c = objective.coefficients(sigma, 0.6);
            let f = (d - c.c_skip * x) / c.c_out;
            c.c_skip * x + c.c_out * f
        });
        close(round_trip, denoised);
        // ε, x_0 and v as functions of x_t, written out (Salimans & Ho 2022, appendix D).
        let predicted = |objective: Objective| {
            let c = objective.coefficients(sigma, 0.6);
            (denoised - c.c_skip * x) / c.c_out
        };
        let alpha: f64 = 1.0 / (1.0 + sigma * sigma);
        let (a, s, x_t) = (alpha.sqrt(), (1.0 - alpha).sqrt(), alpha.sqrt() * x);
        let (eps, x0, v) =
            (predicted(Objective::Eps), predicted(Objective::X0), predicted(Objective::V));
        close(x0, (x_t - s * eps) / a);
        close(v, a * eps - s * x0);
        close(x0, a * x_t - s * v);
        close(eps, s * x_t + a * v);
    }

    #[test]
    fn min_snr_weights_are_the_papers() {
        for sigma in [0.1, 0.44, 0.45, 2.0] {
            let snr: f64 = 1.0 / (sigma * sigma);
            let weight = |objective: Objective| {
                objective.coefficients(sigma, 0.5).loss_weight(Some(5.0), 0.0)
            };
            close(weight(Objective::X0), snr.min(5.0));
            close(weight(Objective::Eps), snr.min(5.0) / snr);
            close(weight(Objective::V), snr.min(5.0) / (snr + 1.0));
            assert_eq!(Objective::V.coefficients(sigma, 0.5).loss_weight(None, 0.0), 1.0);
        }
    }

    /// A flow's weights by γ = 1 are (1 − t)² above t = 1/2 and t² below.
    #[test]
    fn least_weight_bounds_both_ends() {
        let weight = |t: f64| {
            let sigma = t / (1.0 - t);
            Objective::FlowMatching.coefficients(sigma, 0.5).loss_weight(Some(1.0), 0.09)
        };
        for (t, expected) in
            [(0.01, 0.09), (0.4, 0.16), (0.6, 0.16), (0.69, 0.31 * 0.31), (0.99, 0.09)]
        {
            close(weight(t), expected);
        }
    }
}
