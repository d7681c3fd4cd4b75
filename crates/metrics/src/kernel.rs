//! Kernel distance (KID): the unbiased estimate of the squared maximum mean discrepancy under the kernel
//! (x·y / d + 1)³. Bińkowski et al. 2018, section 4; Gretton et al. 2012, eq. 3.

use crate::{MetricError, Result, draw_rows, moments::check_pair};
use paragone_core::mix;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The kernel distance over several subsets. Unbiased, so a perfect model's is as often below zero as above.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KernelDistance {
    /// Mean over the subsets.
    pub mean: f64,
    /// Standard deviation over the subsets (dividing by their number).
    pub std: f64,
}

/// The kernel distance of two sets of features, any float kind `[n, d]` and `[m, d]`, over `subsets` draws of
/// `subset_size` rows from each. The field's choice is 100 subsets of 1,000.
///
/// # Errors
/// [`MetricError::TooFew`] if a set has less than `subset_size` rows, [`MetricError::Option`] for no subset or subsets of
/// less than two rows; [`MetricError::Shape`] and [`MetricError::NotFinite`] for the features.
pub fn kernel_distance(
    real: &Tensor,
    fake: &Tensor,
    subsets: i64,
    subset_size: i64,
    seed: u64,
) -> Result<KernelDistance> {
    for (key, value, least) in
        [("kernel_subsets", subsets, 1), ("kernel_subset_size", subset_size, 2)]
    {
        if value < least {
            return Err(MetricError::Option { key, value, least });
        }
    }
    let (n, m) = check_pair(real, fake)?;
    if n.min(m) < subset_size {
        return Err(MetricError::TooFew {
            what: "a kernel distance's subset",
            needs: subset_size,
            got: n.min(m),
        });
    }
    let (real, fake) = (real.to_device(Device::Cpu), fake.to_device(Device::Cpu));
    let values: Vec<f64> = (0..subsets as u64)
        .map(|i| {
            let x = real.index_select(0, &draw_rows(n, subset_size, mix(&[seed, i, 0])));
            let y = fake.index_select(0, &draw_rows(m, subset_size, mix(&[seed, i, 1])));
            squared_mmd(&x.to_kind(Kind::Double), &y.to_kind(Kind::Double))
        })
        .collect();
    let mean = values.iter().sum::<f64>() / subsets as f64;
    let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / subsets as f64;
    Ok(KernelDistance { mean, std: variance.sqrt() })
}

/// The unbiased estimate from two sets of as many rows, f64 `[n, d]`.
fn squared_mmd(x: &Tensor, y: &Tensor) -> f64 {
    let n = x.size()[0] as f64;
    let within = |x: &Tensor| {
        let base = base(x, x);
        sum_of_cubes(&base.view(-1)) - sum_of_cubes(&base.diagonal(0, 0, 1))
    };
    let between = sum_of_cubes(&base(x, y).view(-1));
    (within(x) + within(y)) / (n * (n - 1.0)) - 2.0 * between / (n * n)
}

/// x·y / d + 1 of all pairs: the kernel's cube root.
fn base(x: &Tensor, y: &Tensor) -> Tensor {
    let mut base = x.matmul(&y.tr());
    base /= x.size()[1] as f64;
    base += 1.0;
    base
}

/// The sum of the cubes of a vector, without a vector of cubes.
fn sum_of_cubes(x: &Tensor) -> f64 {
    x.square().dot(x).double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{features, fixed_fake, fixed_real};

    /// By the definition in numpy, f64: `scripts/check-metrics.py` has it.
    #[test]
    fn whole_sets_give_the_golden_value() {
        let distance = kernel_distance(&fixed_real(), &fixed_fake(), 1, 90, 0).unwrap();
        assert!((distance.mean - 0.117_782_899_077_323_75).abs() < 1e-12, "{distance:?}");
        assert_eq!(distance.std, 0.0);
    }

    /// Two points each on a line, d = 1: k(x, y) = (xy + 1)³ by hand.
    #[test]
    fn two_points_by_hand() {
        let x = Tensor::from_slice(&[0.0f32, 1.0]).reshape([2, 1]);
        let y = Tensor::from_slice(&[1.0f32, 2.0]).reshape([2, 1]);
        // k(0, 1) = 1; k(1, 2) = 27; between: 1, 1, 8, 27.
        let want = 1.0 + 27.0 - 2.0 * 37.0 / 4.0;
        assert!((kernel_distance(&x, &y, 1, 2, 0).unwrap().mean - want).abs() < 1e-12);
    }

    #[test]
    fn is_unbiased_and_grows_with_the_shift() {
        let (real, same) = (features(1000, 16, 0), features(1000, 16, 1));
        let score = |fake: &Tensor| kernel_distance(&real, fake, 40, 200, 0).unwrap();
        let none = score(&same);
        assert!(none.mean.abs() < 4.0 * none.std / 40f64.sqrt() + 1e-3, "{none:?}");
        let (small, large) = (score(&(&same + 0.1)).mean, score(&(&same + 0.3)).mean);
        assert!(none.mean < small && small < large, "{none:?} {small} {large}");
    }

    #[test]
    fn subsets_are_the_seed_s() {
        let (real, fake) = (features(300, 8, 0), features(300, 8, 1) + 0.1);
        let score = |seed| kernel_distance(&real, &fake, 5, 100, seed).unwrap();
        assert_eq!(score(3), score(3));
        assert_ne!(score(3).mean, score(4).mean);
        assert!(score(3).std > 0.0);
    }

    #[test]
    fn too_little_is_named() {
        let x = features(10, 4, 0);
        let message =
            |subsets, size| kernel_distance(&x, &x, subsets, size, 0).unwrap_err().to_string();
        assert_eq!(
            message(1, 11),
            "a kernel distance's subset needs at least 11 images, but got 10"
        );
        assert_eq!(message(0, 5), "kernel_subsets is 0, but must be at least 1");
        assert_eq!(message(1, 1), "kernel_subset_size is 1, but must be at least 2");
    }
}
