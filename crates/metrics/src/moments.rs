//! Mean and covariance of features, accumulated in f64 batch by batch.
//!
//! Merging follows Chan, Golub & LeVeque 1979, eq. 2.1: sums of squares are kept about each part's own mean, so nothing
//! cancels where the mean is large against the spread.

use crate::{MetricError, Result};
use tch::{Device, Kind, Tensor};

/// The first two moments of a set of feature vectors.
#[derive(Debug)]
pub struct Moments {
    count: i64,
    /// f64 `[d]`.
    mean: Tensor,
    /// f64 `[d, d]`: the sum of (x - mean)(x - mean)ᵀ.
    scatter: Tensor,
}

/// Rows that are checked, or converted to f64, at once.
const CHUNK: i64 = 4096;

impl Moments {
    /// The moments of no vector of `dim` numbers; add to it with [`Moments::update`].
    pub fn empty(dim: i64) -> Self {
        let options = (Kind::Double, Device::Cpu);
        Self {
            count: 0,
            mean: Tensor::zeros([dim], options),
            scatter: Tensor::zeros([dim, dim], options),
        }
    }

    /// The moments of `features`, any float kind `[n, d]`.
    ///
    /// # Errors
    /// [`MetricError::Shape`] if it is no matrix, [`MetricError::NotFinite`] naming the first row with a NaN or infinity.
    pub fn of(features: &Tensor) -> Result<Self> {
        let mut moments = Self::empty(check_features(features)?.1);
        moments.add_rows(features);
        Ok(moments)
    }

    /// Adds the rows of `features`, any float kind `[n, d]`.
    ///
    /// # Errors
    /// As [`Moments::of`]; then nothing is added.
    pub fn update(&mut self, features: &Tensor) -> Result<()> {
        let (_, dim) = check_features(features)?;
        if dim != self.dim() {
            return Err(dimension_mismatch(self.dim(), dim));
        }
        self.add_rows(features);
        Ok(())
    }

    /// Adds rows that are known to be finite and of this dimension.
    fn add_rows(&mut self, features: &Tensor) {
        let n = features.size()[0];
        for start in (0..n).step_by(CHUNK as usize) {
            let rows = features.narrow(0, start, CHUNK.min(n - start)).to_device(Device::Cpu);
            let rows = rows.to_kind(Kind::Double);
            let mean = rows.mean_dim(0, false, Kind::Double);
            let centred = rows - &mean;
            let scatter = gram(&centred.tr());
            self.add(&Self { count: centred.size()[0], mean, scatter });
        }
    }

    /// Adds the vectors that `other` is of, as if all had been one set.
    ///
    /// # Errors
    /// [`MetricError::Shape`] if the dimensions differ.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if other.dim() != self.dim() {
            return Err(dimension_mismatch(self.dim(), other.dim()));
        }
        self.add(other);
        Ok(())
    }

    fn add(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (n, m) = (self.count as f64, other.count as f64);
        let apart = &other.mean - &self.mean;
        self.scatter += &other.scatter;
        let _ = self.scatter.addr_(&(&apart * (n * m / (n + m))), &apart);
        self.mean = &self.mean + apart * (m / (n + m));
        self.count += other.count;
    }

    /// The moments of the vectors that are not in `part`, a part of these with fewer of them.
    pub(crate) fn without(&self, part: &Self) -> Self {
        let (all, rest) = (self.count as f64, (self.count - part.count) as f64);
        // From the part's mean to that of the rest, times the rest's share, is from the part's mean to the common one.
        let apart = &self.mean - &part.mean;
        let mean = &self.mean + &apart * (part.count as f64 / rest);
        let between = apart.outer(&apart) * (part.count as f64 * all / rest);
        let scatter = &self.scatter - &part.scatter - between;
        Self { count: self.count - part.count, mean, scatter }
    }

    /// Number of vectors.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// Numbers in a vector: d.
    pub fn dim(&self) -> i64 {
        self.mean.size()[0]
    }

    /// Mean, f64 `[d]`; zero if there is no vector.
    pub fn mean(&self) -> Tensor {
        self.mean.shallow_clone()
    }

    /// Unbiased covariance, f64 `[d, d]`.
    ///
    /// # Errors
    /// [`MetricError::TooFew`] for less than two vectors.
    pub fn covariance(&self) -> Result<Tensor> {
        if self.count < 2 {
            return Err(MetricError::TooFew { what: "a covariance", needs: 2, got: self.count });
        }
        Ok(&self.scatter / (self.count - 1) as f64)
    }
}

/// x xᵀ, f64 `[n, n]`, of x, f64 `[n, d]`. Only what is on one side of the diagonal is computed, strip by strip, and mirrored: in
/// many dimensions half the work of a plain product.
pub(crate) fn gram(x: &Tensor) -> Tensor {
    const STRIP: i64 = 256;
    let n = x.size()[0];
    let gram = Tensor::empty([n, n], (Kind::Double, Device::Cpu));
    for start in (0..n).step_by(STRIP as usize) {
        let (len, rest) = (STRIP.min(n - start), n - start);
        let mut strip = gram.narrow(0, start, len).narrow(1, start, rest);
        let columns = x.narrow(0, start, rest).tr();
        strip.copy_(&x.narrow(0, start, len).matmul(&columns));
        let below = rest - len;
        let mut mirrored = gram.narrow(0, start + len, below).narrow(1, start, len);
        mirrored.copy_(&strip.narrow(1, len, below).tr());
    }
    gram
}

/// `(n, d)` of a matrix of finite features.
pub(crate) fn check_features(features: &Tensor) -> Result<(i64, i64)> {
    let [n, dim] = features.size()[..] else {
        return Err(MetricError::Shape {
            what: "features",
            expected: "[n, d]".into(),
            got: format!("{:?}", features.size()),
        });
    };
    for start in (0..n).step_by(CHUNK as usize) {
        let rows = features.narrow(0, start, CHUNK.min(n - start));
        let bad = rows.isfinite().all_dim(1, false).logical_not();
        if bad.any().int64_value(&[]) != 0 {
            let first = bad.to_kind(Kind::Uint8).argmax(0, false).int64_value(&[]);
            return Err(MetricError::NotFinite { row: start + first });
        }
    }
    Ok((n, dim))
}

/// Checks two matrices of finite features of one dimension. Returns the numbers of rows.
pub(crate) fn check_pair(real: &Tensor, fake: &Tensor) -> Result<(i64, i64)> {
    let ((n, real_dim), (m, fake_dim)) = (check_features(real)?, check_features(fake)?);
    if real_dim == fake_dim { Ok((n, m)) } else { Err(dimension_mismatch(real_dim, fake_dim)) }
}

pub(crate) fn dimension_mismatch(expected: i64, got: i64) -> MetricError {
    MetricError::Shape {
        what: "features",
        expected: format!("[n, {expected}]"),
        got: format!("[n, {got}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::features;

    fn assert_close(got: &Tensor, want: &Tensor, tolerance: f64) {
        let apart = (got - want).abs().max().double_value(&[]);
        assert!(apart < tolerance, "{apart} apart");
    }

    fn assert_same(got: &Moments, want: &Moments) {
        assert_eq!(got.count(), want.count());
        assert_close(&got.mean(), &want.mean(), 1e-10);
        assert_close(&got.covariance().unwrap(), &want.covariance().unwrap(), 1e-10);
    }

    #[test]
    fn are_those_of_the_definition() {
        let x = features(500, 6, 0);
        let moments = Moments::of(&x).unwrap();
        assert_close(&moments.mean(), &x.mean_dim(0, false, Kind::Double), 1e-12);
        assert_close(
            &moments.covariance().unwrap(),
            &x.to_kind(Kind::Double).tr().cov(1, None::<&Tensor>, None::<&Tensor>),
            1e-12,
        );
    }

    #[test]
    fn strips_make_the_whole_product() {
        for (n, dim) in [(0, 3), (1, 1), (256, 40), (300, 40), (513, 7)] {
            let x = features(n, dim, 0).to_kind(Kind::Double);
            let gram = gram(&x);
            assert_eq!(gram.size(), [n, n]);
            assert!(gram.allclose(&x.matmul(&x.tr()), 1e-12, 1e-12, false), "{n} × {dim}");
        }
    }

    #[test]
    fn parts_merge_into_the_whole() {
        let x = features(500, 6, 0);
        let whole = Moments::of(&x).unwrap();
        let mut parts = Moments::empty(6);
        for (start, len) in [(0, 1), (1, 199), (200, 300), (500, 0)] {
            parts.update(&x.narrow(0, start, len)).unwrap();
        }
        assert_same(&parts, &whole);
        let mut left = Moments::of(&x.narrow(0, 0, 123)).unwrap();
        left.merge(&Moments::of(&x.narrow(0, 123, 377)).unwrap()).unwrap();
        assert_same(&left, &whole);
    }

    #[test]
    fn a_part_can_be_taken_out() {
        let x = features(500, 6, 0).to_kind(Kind::Double) + 1e4;
        let of = |start, len| Moments::of(&x.narrow(0, start, len)).unwrap();
        assert_same(&of(0, 500).without(&of(0, 77)), &of(77, 423));
    }

    /// Sums of raw squares would lose all but three digits here.
    #[test]
    fn a_large_mean_costs_no_digits() {
        let x = features(20_000, 3, 0).to_kind(Kind::Double);
        let far = Moments::of(&(&x + 1e6)).unwrap().covariance().unwrap();
        assert_close(&far, &Moments::of(&x).unwrap().covariance().unwrap(), 1e-9);
    }

    #[test]
    fn faulty_features_are_named_and_change_nothing() {
        let bad = features(5, 3, 0);
        let _ = bad.get(3).get(1).fill_(f64::NAN);
        let mut moments = Moments::of(&features(5, 3, 1)).unwrap();
        let before = moments.mean();
        let error = moments.update(&bad).unwrap_err().to_string();
        assert_eq!(error, "the features of image 3 are not finite");
        assert!(moments.mean().equal(&before) && moments.count() == 5);
        let error = moments.update(&features(5, 4, 0)).unwrap_err().to_string();
        assert_eq!(error, "features must be [n, 3], but is [n, 4]");
        assert!(Moments::of(&bad.flatten(0, -1)).is_err());
    }
}
