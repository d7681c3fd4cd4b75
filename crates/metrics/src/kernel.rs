//! Kernel distance (KID): the unbiased estimate of the squared maximum mean discrepancy under the kernel
//! (x·y / d + 1)³. Bińkowski et al. 2018, section 4; Gretton et al. 2012, eq. 3.

use crate::{
    MetricError, Result, draw_rows,
    moments::{check_features, check_pair, gram},
};
use paragone_core::mix;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// The kernel distance over several subsets. Unbiased, so a perfect model's is as often below zero as above.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KernelDistance {
    /// Mean over the subsets.
    pub mean: f64,
    /// Standard deviation over the subsets (dividing by their number): what the field prints. Subsets share images, so it
    /// says how large they are, and not how certain the mean is.
    pub std: f64,
    /// Where the distance of the distributions is, with a confidence of 95 %: other images, real and generated, considered.
    pub interval: Interval,
}

/// From one number to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// The kernel distance of two sets of features, any float kind `[n, d]` and `[m, d]`, over `subsets` draws of
/// `subset_size` rows from each. The field's choice is 100 subsets of 1,000.
///
/// The interval is mean ± 1.96 s. To first order the mean is a sum over images (Hoeffding 1948): an image in subset b adds
/// 2 / (B S) times its own mean kernel, with its own set less with the other, beyond that subset's mean of it; s² is the sum
/// of the squares of what each image adds in all B subsets of S. Where the distributions agree only second-order terms
/// are left, and s counts those twice over: the interval held zero in 98 to 99 % of pairs of sets, a small distance in 96 to
/// 99 % and a large one in 93 to 95 %, of 300 pairs each. `examples/interval_coverage.rs` counts.
///
/// # Errors
/// [`MetricError::TooFew`] if a set has less than `subset_size` rows, [`MetricError::Option`] for no subset or subsets of
/// less than two rows, [`MetricError::Overflow`] for features whose sixth powers are beyond f64; [`MetricError::Shape`]
/// and [`MetricError::NotFinite`] for the features.
pub fn kernel_distance(
    real: &Tensor,
    fake: &Tensor,
    subsets: i64,
    subset_size: i64,
    seed: u64,
) -> Result<KernelDistance> {
    check_pair(real, fake)?;
    RealSubsets::new(real, subsets, subset_size, seed)?.score(fake)
}

/// The kernel distance over given subsets: `real_rows` and `fake_rows`, i64 `[subsets, subset_size]`, name the rows of each,
/// none twice in a subset. For comparison with software that draws them otherwise.
///
/// # Errors
/// As [`kernel_distance`], and [`MetricError::Shape`] for rows that are not there or of different shapes.
pub fn kernel_distance_in(
    real: &Tensor,
    fake: &Tensor,
    real_rows: &Tensor,
    fake_rows: &Tensor,
) -> Result<KernelDistance> {
    let (n, m) = check_pair(real, fake)?;
    let size = real_rows.size();
    RealSubsets::within(real, check_rows(real_rows, n, &size)?)
        .score_in(fake, &check_rows(fake_rows, m, &size)?)
}

/// Real features in subsets, with their kernels among themselves: made once, to score several sets.
#[derive(Debug)]
pub(crate) struct RealSubsets {
    features: Tensor,
    subsets: Vec<Subset>,
    seed: u64,
}

#[derive(Debug)]
struct Subset {
    /// i64 `[s]`: which real images are in it.
    rows: Tensor,
    /// f64 `[s]`: the mean kernel of each with the others.
    within: Tensor,
}

impl RealSubsets {
    /// `subsets` draws of `size` rows of `real`.
    pub(crate) fn new(real: &Tensor, subsets: i64, size: i64, seed: u64) -> Result<Self> {
        for (key, value, least) in [("kernel_subsets", subsets, 1), ("kernel_subset_size", size, 2)]
        {
            if value < least {
                return Err(MetricError::Option { key, value, least });
            }
        }
        let (n, _) = check_features(real)?;
        Ok(Self { seed, ..Self::within(real, draw_subsets(n, subsets, size, seed, 0)?) })
    }

    fn within(real: &Tensor, rows: Vec<Tensor>) -> Self {
        let features = real.to_device(Device::Cpu);
        // What stays is allocated before the large blocks that go: among them it would keep their memory in pieces.
        let size = [rows.len() as i64, rows[0].size()[0]];
        let within = Tensor::empty(size, (Kind::Double, Device::Cpu)).unbind(0);
        let subsets = rows.into_iter().zip(within).map(|(rows, mut within)| {
            within.copy_(&mean_kernel_within(&select(&features, &rows)));
            Subset { rows, within }
        });
        let subsets = subsets.collect();
        Self { features, subsets, seed: 0 }
    }

    /// The kernel distance of `fake`, in as many draws of its rows.
    pub(crate) fn score(&self, fake: &Tensor) -> Result<KernelDistance> {
        let (m, _) = check_features(fake)?;
        let (subsets, size) = (self.subsets.len() as i64, self.subsets[0].rows.size()[0]);
        self.score_in(fake, &draw_subsets(m, subsets, size, self.seed, 1)?)
    }

    fn score_in(&self, fake: &Tensor, fake_rows: &[Tensor]) -> Result<KernelDistance> {
        let fake = fake.to_device(Device::Cpu);
        let (mut real_parts, mut fake_parts) =
            (Parts::new(self.features.size()[0]), Parts::new(fake.size()[0]));
        let mut values = Vec::new();
        // Where every subset is the whole set, so are its kernels.
        let whole = (fake_rows[0].size()[0] == fake.size()[0])
            .then(|| mean_kernel_within(&fake.to_kind(Kind::Double)));
        for (subset, fake_rows) in self.subsets.iter().zip(fake_rows) {
            let (x, y) = (select(&self.features, &subset.rows), select(&fake, fake_rows));
            let between = kernel(&x, &y);
            let within = match &whole {
                Some(whole) => whole.index_select(0, fake_rows),
                None => mean_kernel_within(&y),
            };
            // Of each image: its mean kernel with its own set less that with the other.
            let of_real = &subset.within - between.mean_dim(1, false, Kind::Double);
            let of_fake = within - between.mean_dim(0, false, Kind::Double);
            let mean = |x: &Tensor| x.mean(Kind::Double).double_value(&[]);
            values.push(mean(&of_real) + mean(&of_fake));
            real_parts.add(&subset.rows, &of_real);
            fake_parts.add(fake_rows, &of_fake);
        }
        let subsets = values.len() as f64;
        let mean = values.iter().sum::<f64>() / subsets;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / subsets;
        let size = self.subsets[0].rows.size()[0] as f64;
        let error = 2.0 / (subsets * size)
            * (real_parts.sum_of_squares() + fake_parts.sum_of_squares()).sqrt();
        if !(mean.is_finite() && variance.is_finite() && error.is_finite()) {
            return Err(MetricError::Overflow { what: "a kernel distance" });
        }
        let interval = Interval { low: mean - NORMAL_95 * error, high: mean + NORMAL_95 * error };
        Ok(KernelDistance { mean, std: variance.sqrt(), interval })
    }
}

/// Standard deviations to either side that hold 95 % of a normal distribution.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// What every image of a set adds to the distance, over all subsets that it is in.
struct Parts(Tensor);

impl Parts {
    fn new(images: i64) -> Self {
        Self(Tensor::zeros([images], (Kind::Double, Device::Cpu)))
    }

    fn add(&mut self, rows: &Tensor, values: &Tensor) {
        let _ = self.0.index_add_(0, rows, &(values - values.mean(Kind::Double)));
    }

    fn sum_of_squares(&self) -> f64 {
        self.0.square().sum(Kind::Double).double_value(&[])
    }
}

/// `subsets` draws of `size` out of `n` rows, those of `set` 0 (real) or 1 (fake).
fn draw_subsets(n: i64, subsets: i64, size: i64, seed: u64, set: u64) -> Result<Vec<Tensor>> {
    if n < size {
        let what = "a kernel distance's subset";
        return Err(MetricError::TooFew { what, needs: size, got: n });
    }
    Ok((0..subsets as u64).map(|i| draw_rows(n, size, mix(&[seed, i, set]))).collect())
}

/// The subsets that `rows` names among `n` rows; `size` is that of the real and the fake ones.
fn check_rows(rows: &Tensor, n: i64, size: &[i64]) -> Result<Vec<Tensor>> {
    let shape = |expected: &str| MetricError::Shape {
        what: "rows of a kernel distance's subsets",
        expected: expected.to_owned(),
        got: format!("{:?} {:?}", rows.kind(), rows.size()),
    };
    let (2, Kind::Int64, true) = (size.len(), rows.kind(), rows.size() == size) else {
        return Err(shape("Int64 [subsets, subset_size], the same for both sets"));
    };
    if size[0] < 1 || size[1] < 2 {
        return Err(shape("at least one subset of two"));
    }
    let (least, most) = (rows.min().int64_value(&[]), rows.max().int64_value(&[]));
    if least < 0 || most >= n {
        return Err(shape(&format!("within 0..{n}")));
    }
    Ok(rows.to_device(Device::Cpu).unbind(0))
}

fn select(features: &Tensor, rows: &Tensor) -> Tensor {
    features.index_select(0, rows).to_kind(Kind::Double)
}

/// The mean kernel of each row of `x`, f64 `[s, d]`, with the other rows: f64 `[s]`.
fn mean_kernel_within(x: &Tensor) -> Tensor {
    let mut kernel = cube(gram(x) / x.size()[1] as f64 + 1.0);
    let _ = kernel.fill_diagonal_(0.0, false);
    kernel.mean_dim(1, false, Kind::Double) * (x.size()[0] as f64 / (x.size()[0] - 1) as f64)
}

/// (x·y / d + 1)³ of all pairs: f64 `[s, t]`.
fn kernel(x: &Tensor, y: &Tensor) -> Tensor {
    let one = Tensor::ones([1], (Kind::Double, Device::Cpu));
    cube(one.addmm(&(x / x.size()[1] as f64), &y.tr()))
}

fn cube(x: Tensor) -> Tensor {
    let mut cube = x.square();
    cube *= x;
    cube
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

    /// By hand for one subset of everything: the scatter of twice the mean kernels, over the images.
    #[test]
    fn the_interval_is_the_jackknife_s() {
        let (x, y) = (fixed_real().to_kind(Kind::Double), fixed_fake().to_kind(Kind::Double));
        let kernel = |a: &Tensor, b: &Tensor| (a.matmul(&b.tr()) / 6.0 + 1.0).pow_tensor_scalar(3);
        let sum = |x: &Tensor, dim| x.sum_dim_intlist(dim, false, Kind::Double);
        let part = |own: Tensor, other: Tensor| {
            let mean = (sum(&own, 1) - own.diagonal(0, 0, 1)) / 89.0 - other / 90.0;
            mean.var(false).double_value(&[]) * 4.0 / 90.0
        };
        let between = kernel(&x, &y);
        let variance =
            part(kernel(&x, &x), sum(&between, 1)) + part(kernel(&y, &y), sum(&between, 0));
        let got = kernel_distance(&fixed_real(), &fixed_fake(), 1, 90, 0).unwrap();
        let half = 1.959_963_984_540_054 * variance.sqrt();
        assert!((got.interval.high - got.mean - half).abs() < 1e-12, "{got:?} {half}");
        assert!((got.mean - got.interval.low - half).abs() < 1e-12, "{got:?} {half}");
    }

    /// Of 40 pairs of equal distributions at most a few are said to differ, however many subsets share their images.
    #[test]
    fn the_interval_holds_zero_for_equal_distributions() {
        let missed = (0..40).filter(|seed| {
            let (real, fake) = (features(100, 4, 2 * seed), features(100, 4, 2 * seed + 1));
            let interval = kernel_distance(&real, &fake, 30, 50, 0).unwrap().interval;
            interval.low > 0.0 || interval.high < 0.0
        });
        assert!(missed.count() <= 3);
        let interval =
            kernel_distance(&features(100, 4, 0), &(features(100, 4, 1) + 1.0), 30, 50, 0);
        assert!(interval.unwrap().interval.low > 0.0);
    }

    #[test]
    fn subsets_can_be_given() {
        let (real, fake) = (features(60, 5, 0), features(50, 5, 1) + 0.2);
        let rows = |n, set| Tensor::stack(&draw_subsets(n, 4, 30, 9, set).unwrap(), 0);
        let (of_real, of_fake) = (rows(60, 0), rows(50, 1));
        let want = kernel_distance(&real, &fake, 4, 30, 9).unwrap();
        assert_eq!(kernel_distance_in(&real, &fake, &of_real, &of_fake).unwrap(), want);
        let error = |a: &Tensor, b: &Tensor| {
            kernel_distance_in(&real, &fake, a, b).unwrap_err().to_string()
        };
        assert!(error(&of_real, &of_real).contains("within 0..50"));
        assert!(error(&of_real, &of_fake.narrow(0, 0, 3)).contains("same for both"));
        assert!(
            error(&of_real.narrow(1, 0, 1), &of_fake.narrow(1, 0, 1)).contains("subset of two")
        );
        assert!(error(&of_real.to_kind(Kind::Float), &of_fake).contains("Int64"));
    }
}
