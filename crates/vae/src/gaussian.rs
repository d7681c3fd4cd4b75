use std::f64::consts::TAU;
use tch::{Kind, Tensor};

/// Log standard deviations stay inside ±this: a smooth bound never stops a gradient, as a clamp would.
const MAX_LOG_STD: f64 = 5.0;

/// Independent normal variables, one for each entry of a feature map: f32 `[n, channels, h, w]`.
#[derive(Debug)]
pub(crate) struct Gaussian {
    pub(crate) mean: Tensor,
    pub(crate) log_std: Tensor,
}

impl Gaussian {
    /// Reads a layer's output `[n, 2 * channels, h, w]`, of any float kind: means, then unbounded log standard deviations.
    pub(crate) fn from_layer(output: &Tensor) -> Self {
        let halves = output.to_kind(Kind::Float).chunk(2, 1);
        let log_std = (&halves[1] / MAX_LOG_STD).tanh() * MAX_LOG_STD;
        Self { mean: halves[0].shallow_clone(), log_std }
    }

    /// The value whose whitened coordinates are `eps`: mean + std * eps.
    pub(crate) fn at(&self, eps: &Tensor) -> Tensor {
        &self.mean + self.log_std.exp() * eps
    }

    /// The same, through which no gradient passes.
    pub(crate) fn detach(&self) -> Self {
        Self { mean: self.mean.detach(), log_std: self.log_std.detach() }
    }

    /// The whitened coordinates of `z`, standard normal if `z` is drawn from `self`. Inverse of [`Gaussian::at`].
    pub(crate) fn whiten(&self, z: &Tensor) -> Tensor {
        (z - &self.mean) * (-&self.log_std).exp()
    }

    /// The first half of a batch, with its means pushed away from those of the second: u + w (c - u), w = `scale`.
    pub(crate) fn guided(&self, scale: f64) -> Self {
        let [means, log_stds] = [&self.mean, &self.log_std].map(|t| t.chunk(2, 0));
        let mean = &means[1] + (&means[0] - &means[1]) * scale;
        Self { mean, log_std: log_stds[0].shallow_clone() }
    }

    /// KL(self ‖ other) in nats an image: f32 `[n]`. Kingma & Welling 2014, appendix B, for any second Gaussian:
    /// log(σ₂/σ₁) + (σ₁² + (μ₁ - μ₂)²) / (2 σ₂²) - ½, summed.
    pub(crate) fn kl(&self, other: &Self) -> Tensor {
        let log_ratio = &self.log_std - &other.log_std;
        let square = (&log_ratio * 2.0).exp() + other.whiten(&self.mean).square();
        sum_per_image(&((square - 1.0) / 2.0 - log_ratio)).to_kind(Kind::Float)
    }

    /// Log-density of `z` in nats an image: f64 `[n]`.
    pub(crate) fn log_density(&self, z: &Tensor) -> Tensor {
        let terms = self.whiten(z).square() / -2.0 - &self.log_std - TAU.ln() / 2.0;
        sum_per_image(&terms.to_kind(Kind::Double))
    }
}

/// Sums over all axes but the first, in the kind of `x`.
pub(crate) fn sum_per_image(x: &Tensor) -> Tensor {
    x.flatten(1, -1).sum_dim_intlist(1, false, x.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gaussian(mean: &[f32], std: &[f32]) -> Gaussian {
        let tensor = |values: &[f32]| Tensor::from_slice(values).reshape([1, -1, 1, 1]);
        Gaussian { mean: tensor(mean), log_std: tensor(std).log() }
    }

    /// Integrals of p log(p / q) by scipy.integrate.quad in f64.
    #[test]
    fn kl_golden_values() {
        let cases = [
            ((0.0, 1.0), (0.0, 1.0), 0.0),
            ((1.0, 1.0), (0.0, 1.0), 0.5),
            ((0.3, 0.5), (-1.2, 2.0), 1.198_794_361_119_891),
            ((2.0, 3.0), (1.0, 0.25), 77.015_093_350_212),
            ((-0.7, 0.01), (0.1, 0.8), 4.382_104_759_673_881),
        ];
        for ((m1, s1), (m2, s2), want) in cases {
            let kl = gaussian(&[m1], &[s1]).kl(&gaussian(&[m2], &[s2])).double_value(&[0]);
            assert!((kl - want).abs() < 1e-5 * want.max(1.0), "{kl} is not {want}");
        }
        // Independent variables: KL adds up.
        let p = gaussian(&[1.0, 0.3, 2.0], &[1.0, 0.5, 3.0]);
        let q = gaussian(&[0.0, -1.2, 1.0], &[1.0, 2.0, 0.25]);
        assert!((p.kl(&q).double_value(&[0]) - 78.713_887_711_33).abs() < 1e-3);
    }

    /// scipy.stats.norm.logpdf.
    #[test]
    fn log_density_golden_values() {
        let p = gaussian(&[0.3, 2.0], &[0.5, 3.0]);
        let z = Tensor::from_slice(&[1.0f32, -2.5]).reshape([1, 2, 1, 1]);
        let want = -1.205_791_352_644_727_3 + -3.142_550_821_872_782_5;
        assert!((p.log_density(&z).double_value(&[0]) - want).abs() < 1e-6);
    }

    #[test]
    fn whitening_inverts_and_a_layer_cannot_leave_its_bounds() {
        let output = Tensor::from_slice(&[0.5f32, -1.5, 1e6, -1e6]).reshape([1, 4, 1, 1]);
        let p = Gaussian::from_layer(&output);
        assert_eq!(Vec::<f32>::try_from(p.log_std.flatten(0, -1)).unwrap(), [5.0, -5.0]);
        let eps = Tensor::from_slice(&[0.7f32, -2.0]).reshape([1, 2, 1, 1]);
        assert!(p.whiten(&p.at(&eps)).allclose(&eps, 1e-4, 1e-4, false));
    }
}
