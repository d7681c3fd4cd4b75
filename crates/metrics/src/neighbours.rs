//! Scores from nearest neighbours: precision and recall (Kynkäänniemi et al. 2019, eq. 1), density and coverage (Naeem et
//! al. 2020, eq. 3 and 5).
//!
//! Distances come from matrix products in f64, tile by tile: so memory stays small for any number of images, and what is
//! compared is still in the cache. They are rounded to f32 before they are compared: a pair then has one distance,
//! whichever tile or product it comes from, which decides the ties in sets that share images. As in the `prdc` package a
//! ball does not include its border, and an image is no neighbour of itself.

use crate::{
    MetricError, Result,
    moments::{check_features, check_pair},
};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// Fidelity and diversity by nearest-neighbour balls; each in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PrecisionRecall {
    /// Share of fake images inside any real image's ball.
    pub precision: f64,
    /// Share of real images inside any fake image's ball.
    pub recall: f64,
}

/// Fidelity and diversity that single outliers cannot raise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DensityCoverage {
    /// Real balls around a fake image, on average, divided by k: near 1 for a perfect model, and not bounded by it.
    pub density: f64,
    /// Share of real images with a fake one in their ball, in [0, 1].
    pub coverage: f64,
}

/// Precision and recall with balls that reach to the `k`-th neighbour (the paper's k is 3).
///
/// `real`, `fake`: features, any float kind, `[n, d]` and `[m, d]`. Take n = m: all four scores depend on both counts.
///
/// # Errors
/// [`MetricError::TooFew`] if a set has no k + 1 images, [`MetricError::Option`] for k < 1; [`MetricError::Shape`] and
/// [`MetricError::NotFinite`] for the features.
pub fn precision_recall(real: &Tensor, fake: &Tensor, k: i64) -> Result<PrecisionRecall> {
    Ok(RealBalls::new(real, k, k)?.score(fake)?.0)
}

/// Density and coverage with balls that reach to the `k`-th neighbour (the paper's k is 5).
///
/// # Errors
/// As [`precision_recall`].
pub fn density_coverage(real: &Tensor, fake: &Tensor, k: i64) -> Result<DensityCoverage> {
    Ok(RealBalls::new(real, k, k)?.score(fake)?.1)
}

/// Real images with their balls, to score several sets against.
#[derive(Debug)]
pub(crate) struct RealBalls {
    points: Points,
    precision_k: i64,
    density_k: i64,
    /// f32 `[n, 1]`: squared radii for precision.
    precision_radii: Tensor,
    /// f32 `[n, 1]`: squared radii for density and coverage.
    density_radii: Tensor,
}

impl RealBalls {
    pub(crate) fn new(real: &Tensor, precision_k: i64, density_k: i64) -> Result<Self> {
        for (key, value) in [("precision_recall_k", precision_k), ("density_coverage_k", density_k)]
        {
            if value < 1 {
                return Err(MetricError::Option { key, value, least: 1 });
            }
        }
        let (n, _) = check_features(real)?;
        at_least(n, precision_k.max(density_k) + 1)?;
        let real = real.to_device(Device::Cpu);
        let points = Points::new(&real, real.mean_dim(0, true, Kind::Double))?;
        let radii = points.squared_radii(precision_k.max(density_k));
        Ok(Self {
            precision_radii: radii.narrow(1, precision_k - 1, 1),
            density_radii: radii.narrow(1, density_k - 1, 1),
            points,
            precision_k,
            density_k,
        })
    }

    pub(crate) fn score(&self, fake: &Tensor) -> Result<(PrecisionRecall, DensityCoverage)> {
        let (n, m) = check_pair(&self.points.features(), fake)?;
        at_least(m, self.precision_k + 1)?;
        let fake_points =
            Points::new(&fake.to_device(Device::Cpu), self.points.centre.shallow_clone())?;
        let fake_radii =
            fake_points.squared_radii(self.precision_k).narrow(1, self.precision_k - 1, 1);

        let none = |count| Tensor::zeros([count], (Kind::Bool, Device::Cpu));
        let (precise, recalled, covered) = (none(m), none(n), none(n));
        let mut balls = 0;
        for real in parts(n, ROWS) {
            let rows = self.points.rows_to_compare(real);
            let within = |radii: &Tensor, distances: &Tensor| distances.lt_tensor(&real.of(radii));
            for fake in parts(m, COLUMNS) {
                let distances = fake_points.squared_distances(&rows, fake);
                let inside = within(&self.precision_radii, &distances);
                let _ = fake.of(&precise).logical_or_(&inside.any_dim(0, false));
                let inside = distances.lt_tensor(&fake.of(&fake_radii).tr());
                let _ = real.of(&recalled).logical_or_(&inside.any_dim(1, false));
                let inside = within(&self.density_radii, &distances);
                let _ = real.of(&covered).logical_or_(&inside.any_dim(1, false));
                balls += count(&inside);
            }
        }
        let share = |part: i64, of: i64| part as f64 / of as f64;
        Ok((
            PrecisionRecall {
                precision: share(count(&precise), m),
                recall: share(count(&recalled), n),
            },
            DensityCoverage {
                density: share(balls, m * self.density_k),
                coverage: share(count(&covered), n),
            },
        ))
    }
}

/// Feature vectors about a common centre.
#[derive(Debug)]
struct Points {
    /// f64 `[1, d]`.
    centre: Tensor,
    /// f64 `[n, d + 2]`: of y, that is y, 1 and |y|².
    rows: Tensor,
    /// The squared distance below which a pair is one point: what rounding leaves of zero.
    zero: f64,
}

/// Rows that are to be compared with others.
#[derive(Debug)]
struct ToCompare {
    /// f64 `[len, d + 2]`: of x, -2 x, |x|² and 1, so that the product with a row of [`Points`] is |x|² + |y|² - 2 x·y.
    rows: Tensor,
    zero: f64,
}

impl Points {
    /// `features`: any float kind `[n, d]`. The centre is that of the real features: a large common offset would cost digits.
    fn new(features: &Tensor, centre: Tensor) -> Result<Self> {
        let (n, d) = features.size2().expect("a matrix");
        let rows = Tensor::ones([n, d + 2], (Kind::Double, Device::Cpu));
        let mut centred = rows.narrow(1, 0, d);
        centred.copy_(features); // without a second copy in f64
        centred -= &centre;
        for part in parts(n, ROWS) {
            let squares = part.of(&centred).square().sum_dim_intlist(1, true, Kind::Double);
            part.of(&rows).narrow(1, d + 1, 1).copy_(&squares);
        }
        let largest = rows.select(1, d + 1).max().double_value(&[]);
        // Squared distances, at most four times the largest norm, are compared in f32.
        let comparable = largest < f64::from(f32::MAX) / 4.0;
        if !comparable {
            return Err(MetricError::Overflow { what: "a score from nearest neighbours" });
        }
        Ok(Self { centre, rows, zero: 1e-13 * largest })
    }

    /// f64 `[n, d]`.
    fn features(&self) -> Tensor {
        self.rows.narrow(1, 0, self.centre.size()[1])
    }

    fn rows_to_compare(&self, part: Part) -> ToCompare {
        let d = self.centre.size()[1];
        let rows = part.of(&self.rows);
        let [one, norm] = [d, d + 1].map(|column| rows.narrow(1, column, 1));
        // The factor is a power of two: exact.
        ToCompare {
            rows: Tensor::cat(&[rows.narrow(1, 0, d) * -2.0, norm, one], 1),
            zero: self.zero,
        }
    }

    /// Squared distances of others to some of these: f32 `[rows, part]`.
    fn squared_distances(&self, others: &ToCompare, part: Part) -> Tensor {
        let distances = others.rows.matmul(&part.of(&self.rows).tr()).to_kind(Kind::Float);
        distances.threshold(self.zero.max(others.zero), 0.0)
    }

    /// Squared distances of each point to its nearest k others, ascending: f32 `[n, k]`.
    fn squared_radii(&self, k: i64) -> Tensor {
        let n = self.rows.size()[0];
        let radii = Tensor::empty([n, k], (Kind::Float, Device::Cpu));
        for part in parts(n, ROWS) {
            let rows = self.rows_to_compare(part);
            let near = |columns| with_the_least(&self.squared_distances(&rows, columns), k + 1);
            let near = Tensor::cat(&parts(n, COLUMNS).map(near).collect::<Vec<_>>(), 1);
            // The point itself comes first.
            let nearest = near.topk(k + 1, 1, false, true).0.narrow(1, 1, k);
            part.of(&radii).copy_(&nearest);
        }
        radii
    }
}

/// Some of each row of `x`, `[n, m]`, among them its `count` least.
///
/// They are in the groups of columns whose least numbers are the `count` least of all groups'; so only these need be sorted.
fn with_the_least(x: &Tensor, count: i64) -> Tensor {
    const GROUP: i64 = 32;
    let (n, m) = x.size2().expect("a matrix");
    let groups = m / GROUP;
    if groups <= count {
        return x.shallow_clone();
    }
    let grouped = x.narrow(1, 0, groups * GROUP).reshape([n, GROUP, groups]);
    let chosen = grouped.amin([1], true).topk(count, 2, false, false).1;
    let members = grouped.gather(2, &chosen.expand([n, GROUP, count], false), false);
    let rest = x.narrow(1, groups * GROUP, m - groups * GROUP);
    Tensor::cat(&[members.reshape([n, GROUP * count]), rest], 1)
}

/// Rows of a tile of distances.
const ROWS: i64 = 256;
/// Its columns: with these rows 2 MB in f64.
const COLUMNS: i64 = 1024;

/// Some of many rows.
#[derive(Debug, Clone, Copy)]
struct Part {
    start: i64,
    len: i64,
}

impl Part {
    /// These rows of `all`, which share its memory.
    fn of(self, all: &Tensor) -> Tensor {
        all.narrow(0, self.start, self.len)
    }
}

/// The parts that `n` rows fall into, of `len` each but for the last.
fn parts(n: i64, len: i64) -> impl Iterator<Item = Part> {
    (0..n).step_by(len as usize).map(move |start| Part { start, len: len.min(n - start) })
}

fn count(mask: &Tensor) -> i64 {
    mask.count_nonzero(None::<i64>).int64_value(&[])
}

fn at_least(got: i64, needs: i64) -> Result<()> {
    if got < needs {
        return Err(MetricError::TooFew { what: "a score from nearest neighbours", needs, got });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{features, fixed_fake, fixed_real};

    /// By the `prdc` package 0.2: `compute_prdc(real, fake, nearest_k=3)`.
    #[test]
    fn agrees_with_prdc() {
        let (real, fake) = (fixed_real(), fixed_fake());
        let of = |k| {
            (precision_recall(&real, &fake, k).unwrap(), density_coverage(&real, &fake, k).unwrap())
        };
        let (precision_recall, density_coverage) = of(3);
        assert_eq!(
            precision_recall,
            PrecisionRecall { precision: 89.0 / 90.0, recall: 39.0 / 90.0 }
        );
        assert_eq!(
            density_coverage,
            DensityCoverage { density: 352.0 / 270.0, coverage: 37.0 / 90.0 }
        );
        let (precision_recall, density_coverage) = of(5);
        assert_eq!(precision_recall, PrecisionRecall { precision: 1.0, recall: 54.0 / 90.0 });
        assert_eq!(
            density_coverage,
            DensityCoverage { density: 692.0 / 450.0, coverage: 64.0 / 90.0 }
        );
    }

    /// Points on a line at 0, 1, 3, 7: the radii for k = 1 are 1, 1, 2, 4.
    #[test]
    fn four_points_by_hand() {
        let line = |x: &[f32]| Tensor::from_slice(x).reshape([-1, 1]);
        let real = line(&[0.0, 1.0, 3.0, 7.0]);
        // 0.5 is in the balls of 0 and 1, 4 in those of 3 and 7, 12 in none; 5 on the border of 3's and in 7's.
        let fake = line(&[0.5, 4.0, 12.0, 5.0]);
        let scores = density_coverage(&real, &fake, 1).unwrap();
        assert_eq!(scores, DensityCoverage { density: 5.0 / 4.0, coverage: 1.0 });
        // Fake radii: 3.5, 1, 7, 1. Their balls hold 0, 1 and 3 (0.5's) and 7 (12's).
        let scores = precision_recall(&real, &fake, 1).unwrap();
        assert_eq!(scores, PrecisionRecall { precision: 0.75, recall: 1.0 });
    }

    /// More rows and columns than a tile has, and last tiles that are not full.
    #[test]
    fn tiles_do_not_show() {
        let (real, fake) = (features(1100, 5, 0), features(1300, 5, 1) * 1.1);
        let distances = |x: &Tensor, y: &Tensor| {
            let apart = x.to_kind(Kind::Double).unsqueeze(1) - y.to_kind(Kind::Double).unsqueeze(0);
            apart.square().sum_dim_intlist(2, false, Kind::Double)
        };
        let radii = |x: &Tensor| distances(x, x).topk(4, 1, false, true).0.narrow(1, 3, 1);
        let (inside_real, inside_fake) = (
            distances(&real, &fake).lt_tensor(&radii(&real)),
            distances(&real, &fake).lt_tensor(&radii(&fake).tr()),
        );
        let share = |mask: &Tensor| count(mask) as f64 / mask.numel() as f64;
        let scores = precision_recall(&real, &fake, 3).unwrap();
        assert_eq!(scores.precision, share(&inside_real.any_dim(0, false)));
        assert_eq!(scores.recall, share(&inside_fake.any_dim(1, false)));
        let scores = density_coverage(&real, &fake, 3).unwrap();
        assert_eq!(scores.density, count(&inside_real) as f64 / 3900.0);
        assert_eq!(scores.coverage, share(&inside_real.any_dim(1, false)));
    }

    #[test]
    fn invariant_under_order_shift_and_scale() {
        let (real, fake) = (features(300, 6, 0), features(300, 6, 1) * 1.3);
        let of =
            |real: &Tensor, fake: &Tensor| RealBalls::new(real, 3, 5).unwrap().score(fake).unwrap();
        let want = of(&real, &fake);
        assert_eq!(of(&real.flip([0i64]), &fake.flip([0i64])), want);
        assert_eq!(of(&(&real * 4.0), &(&fake * 4.0)), want);
        let offset = |x: &Tensor| x.to_kind(Kind::Double) + 1e4;
        assert_eq!(of(&offset(&real), &offset(&fake)), want);
    }

    /// A copy lies in its original's ball; no image lies in that of its k-th neighbour only by rounding.
    #[test]
    fn a_copy_of_the_real_set_is_inside_everywhere() {
        let real = features(1000, 16, 0);
        let (precision_recall, density_coverage) =
            RealBalls::new(&real, 3, 5).unwrap().score(&real).unwrap();
        assert_eq!(precision_recall, PrecisionRecall { precision: 1.0, recall: 1.0 });
        // Each ball holds its centre and the k - 1 neighbours that are not on its border.
        assert_eq!(density_coverage, DensityCoverage { density: 1.0, coverage: 1.0 });
    }

    #[test]
    fn collapse_costs_recall_and_coverage_and_noise_precision() {
        let real = features(500, 4, 0);
        let of = |fake: &Tensor| RealBalls::new(&real, 3, 5).unwrap().score(fake).unwrap();
        let collapsed = of(&(real.narrow(0, 0, 1) + features(500, 4, 1) * 1e-3));
        assert!(
            collapsed.0.precision == 1.0
                && collapsed.0.recall < 0.01
                && collapsed.1.coverage < 0.05
        );
        let far = of(&(features(500, 4, 1) * 20.0));
        assert!(far.0.precision < 0.2 && far.1.density < 0.1, "{far:?}");
        // All in one point: no ball has a radius, so nothing is inside.
        let point = of(&real.narrow(0, 0, 1).expand([500, 4], false));
        assert_eq!(point.0.recall, 0.0);
        assert_eq!(point.0.precision, 1.0);
    }

    #[test]
    fn too_little_is_named() {
        let (three, four) = (features(3, 2, 0), features(4, 2, 0));
        let error = precision_recall(&three, &four, 3).unwrap_err().to_string();
        assert_eq!(error, "a score from nearest neighbours needs at least 4 images, but got 3");
        assert!(precision_recall(&four, &three, 3).is_err());
        assert!(precision_recall(&four, &four, 3).is_ok());
        assert!(density_coverage(&four, &four, 0).is_err());
        assert!(density_coverage(&four, &features(4, 3, 0), 1).is_err());
    }
}
