//! The games: what each network wants of the discriminator's logits.
//!
//! All take logits of paired rows, f32 `[n]`, and return one loss an image, `[n]`, so that a mean over images uses no
//! statistic of the batch. σ is the logistic function and softplus(t) = −ln σ(−t).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// An adversarial loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Adversarial {
    /// Each generated image is judged against a real one (Jolicoeur-Martineau 2018, "RpGAN"; Huang et al. 2024, eq. 2):
    /// softplus(−(D(x) − D(G(z)))) for the discriminator, softplus(D(x) − D(G(z))) for the generator.
    Relativistic,
    /// Goodfellow et al. 2014, section 3: softplus(−D(x)) + softplus(D(G(z))), and softplus(−D(G(z))).
    NonSaturating,
    /// Lim & Ye 2017: max(0, 1 − D(x)) + max(0, 1 + D(G(z))), and −D(G(z)).
    Hinge,
    /// Arjovsky et al. 2017: D(G(z)) − D(x), and −D(G(z)).
    Wasserstein,
}

impl Adversarial {
    /// What the discriminator minimizes.
    pub fn discriminator(self, real: &Tensor, fake: &Tensor) -> Tensor {
        match self {
            Self::Relativistic => (fake - real).softplus(),
            Self::NonSaturating => (-real).softplus() + fake.softplus(),
            Self::Hinge => (real * -1.0 + 1.0).relu() + (fake + 1.0).relu(),
            Self::Wasserstein => fake - real,
        }
    }

    /// What the generator minimizes. `real` is asked for only where [`Adversarial::is_paired`].
    pub fn generator(self, real: impl FnOnce() -> Tensor, fake: &Tensor) -> Tensor {
        match self {
            Self::Relativistic => (real() - fake).softplus(),
            Self::NonSaturating => (-fake).softplus(),
            Self::Hinge | Self::Wasserstein => -fake,
        }
    }

    /// Whether only the difference of two logits means anything, not a logit alone.
    pub fn is_paired(self) -> bool {
        self == Self::Relativistic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Logits whose losses were worked out with Python's `math.log1p(math.exp(t))` to ten digits.
    const REAL: [f64; 3] = [2.0, -0.5, 1.5];
    const FAKE: [f64; 3] = [-1.0, 0.25, 0.75];

    fn check(loss: Adversarial, discriminator: [f64; 3], generator: [f64; 3]) {
        let (real, fake) = (Tensor::from_slice(&REAL), Tensor::from_slice(&FAKE));
        let got =
            [loss.discriminator(&real, &fake), loss.generator(|| real.shallow_clone(), &fake)];
        for (got, want) in got.iter().zip([discriminator, generator]) {
            assert!(got.allclose(&Tensor::from_slice(&want), 0.0, 1e-9, false), "{loss:?}: {got}");
        }
    }

    #[test]
    fn golden_values() {
        check(
            Adversarial::Relativistic,
            [0.0485873516, 1.1368710061, 0.3868710061],
            [3.0485873516, 0.3868710061, 1.1368710061],
        );
        check(
            Adversarial::NonSaturating,
            [0.4401896986, 1.8000164041, 1.3382842841],
            [1.3132616875, 0.5759394199, 0.3868710061],
        );
        check(Adversarial::Hinge, [0.0, 2.75, 1.75], [1.0, -0.25, -0.75]);
        check(Adversarial::Wasserstein, [-3.0, 0.75, -0.75], [1.0, -0.25, -0.75]);
    }

    /// The relativistic loss sees differences only.
    #[test]
    fn a_common_shift_changes_nothing_in_pairs() {
        let (real, fake) = (Tensor::from_slice(&REAL), Tensor::from_slice(&FAKE));
        let loss = Adversarial::Relativistic;
        let (a, b) =
            (loss.discriminator(&real, &fake), loss.discriminator(&(&real + 7.0), &(&fake + 7.0)));
        assert!(loss.is_paired() && a.allclose(&b, 0.0, 1e-12, false));
        let single = Adversarial::NonSaturating;
        let (a, b) = (
            single.discriminator(&real, &fake),
            single.discriminator(&(&real + 7.0), &(&fake + 7.0)),
        );
        assert!(!single.is_paired() && !a.allclose(&b, 0.0, 1e-3, false));
    }
}
