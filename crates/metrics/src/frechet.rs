//! Fréchet distance between Gaussians fitted to features: |μ1 - μ2|² + tr(C1 + C2 - 2 (C1 C2)^½). Dowson & Landau 1982,
//! eq. 4; as a score of generators: Heusel et al. 2017.

use crate::{Moments, Result, moments::dimension_mismatch};
use tch::{Kind, Tensor};

/// The Fréchet distance (squared, as the field reports it) of two sets of features; 0 or more.
///
/// The trace of the root is the sum of the roots of the eigenvalues of Lᵀ C2 L with C1 = L Lᵀ: a symmetric problem, which
/// is real and stable where an iterative root of C1 C2 is neither. Defined for singular covariances too: fewer images than
/// dimensions, constant features.
///
/// # Errors
/// [`MetricError::TooFew`](crate::MetricError::TooFew) for less than two images in a set,
/// [`MetricError::Shape`](crate::MetricError::Shape) if the dimensions differ.
pub fn frechet_distance(real: &Moments, fake: &Moments) -> Result<f64> {
    if real.dim() != fake.dim() {
        return Err(dimension_mismatch(real.dim(), fake.dim()));
    }
    let (c1, c2) = (real.covariance()?, fake.covariance()?);
    let means = (real.mean() - fake.mean()).square().sum(Kind::Double).double_value(&[]);
    let traces = c1.trace().double_value(&[]) + c2.trace().double_value(&[]);
    let distance = means + traces - 2.0 * trace_of_root(&c1, &c2)?;
    // Below zero there is only rounding.
    Ok(distance.max(0.0))
}

/// tr (C1 C2)^½ of two symmetric positive semi-definite matrices.
fn trace_of_root(c1: &Tensor, c2: &Tensor) -> Result<f64> {
    let factor = factor(c1)?;
    let product = factor.tr().matmul(c2).matmul(&factor);
    let symmetric = (&product + product.tr()) * 0.5;
    let eigenvalues = symmetric.f_linalg_eigvalsh("L")?;
    Ok(eigenvalues.clamp_min(0.0).sqrt().sum(Kind::Double).double_value(&[]))
}

/// L with C = L Lᵀ: by Cholesky, or, where C is singular, from its eigenvectors.
fn factor(c: &Tensor) -> Result<Tensor> {
    let (lower, info) = c.f_linalg_cholesky_ex(false, false)?;
    if info.int64_value(&[]) == 0 {
        return Ok(lower);
    }
    let (eigenvalues, eigenvectors) = c.f_linalg_eigh("L")?;
    Ok(eigenvectors * eigenvalues.clamp_min(0.0).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        MetricError,
        testing::{features, fixed_fake, fixed_real},
    };

    fn distance(real: &Tensor, fake: &Tensor) -> f64 {
        frechet_distance(&Moments::of(real).unwrap(), &Moments::of(fake).unwrap()).unwrap()
    }

    fn assert_close(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() < tolerance, "{got} is not {want}");
    }

    /// By scipy 1.17's `linalg.sqrtm` of the product of `numpy.cov`s.
    #[test]
    fn agrees_with_scipy() {
        assert_close(distance(&fixed_real(), &fixed_fake()), 0.148_993_400_124_748_6, 1e-9);
    }

    /// Where covariances are diagonal, the distance is Σ (σ1 - σ2)² + |μ1 - μ2|².
    #[test]
    fn agrees_with_the_closed_form_of_diagonal_covariances() {
        // ±s e_i for every i: variance 2 s² / (2d - 1) in each direction.
        let cross = |s: f64, at: f64| {
            let axes = Tensor::eye(5, (Kind::Double, tch::Device::Cpu)) * s;
            Tensor::cat(&[&axes, &-&axes], 0) + at
        };
        let sigma = |s: f64| (2.0 * s * s / 9.0).sqrt();
        let want = 5.0 * (sigma(3.0) - sigma(1.0)).powi(2) + 5.0 * 0.5f64.powi(2);
        assert_close(distance(&cross(3.0, 1.0), &cross(1.0, 1.5)), want, 1e-12);
    }

    #[test]
    fn is_zero_for_equal_sets_and_symmetric() {
        let (real, fake) = (features(400, 32, 0), features(400, 32, 1) * 1.2);
        assert_close(distance(&real, &real), 0.0, 1e-6);
        assert_close(distance(&real, &fake), distance(&fake, &real), 1e-8);
        assert!(distance(&real, &fake) > 0.1);
    }

    /// Neither a common shift nor a rotation of both sets changes it.
    #[test]
    fn is_invariant_under_isometries() {
        let (real, fake) = (features(400, 8, 0), features(300, 8, 1) + 0.3);
        let (rotation, _) = Tensor::linalg_qr(&features(8, 8, 2).to_kind(Kind::Double), "reduced");
        let moved = |x: &Tensor| x.to_kind(Kind::Double).matmul(&rotation) + 1e3;
        assert_close(distance(&moved(&real), &moved(&fake)), distance(&real, &fake), 1e-8);
    }

    /// tr (C1 C2)^½ is the nuclear norm of A Bᵀ for centred, scaled features A and B, however few.
    #[test]
    fn fewer_images_than_dimensions_are_no_special_case() {
        let (real, fake) = (features(20, 50, 0), features(30, 50, 1) * 1.5);
        let scaled = |x: &Tensor| {
            let x = x.to_kind(Kind::Double);
            let n = x.size()[0];
            (&x - x.mean_dim(0, true, Kind::Double)) / ((n - 1) as f64).sqrt()
        };
        let (a, b) = (scaled(&real), scaled(&fake));
        let squares = |x: &Tensor| x.square().sum(Kind::Double).double_value(&[]);
        let nuclear = a.matmul(&b.tr()).svd(true, true).1.sum(Kind::Double).double_value(&[]);
        let apart = real.mean_dim(0, false, Kind::Double) - fake.mean_dim(0, false, Kind::Double);
        let want = squares(&apart) + squares(&a) + squares(&b) - 2.0 * nuclear;
        assert_close(distance(&real, &fake), want, 1e-4);
    }

    #[test]
    fn constant_features_are_defined() {
        let constant = Tensor::ones([10, 4], (Kind::Float, tch::Device::Cpu));
        assert_close(distance(&constant, &(&constant * 3.0)), 16.0, 1e-12);
        let real = features(100, 4, 0);
        let spread = Moments::of(&real).unwrap().covariance().unwrap().trace().double_value(&[]);
        let apart = (real.to_kind(Kind::Double).mean_dim(0, false, Kind::Double) - 1.0).square();
        let want = spread + apart.sum(Kind::Double).double_value(&[]);
        assert_close(distance(&real, &constant), want, 1e-9);
        assert_close(distance(&constant, &real), want, 1e-9);
    }

    #[test]
    fn what_has_no_distance_is_named() {
        let (one, some) =
            (Moments::of(&features(1, 4, 0)).unwrap(), Moments::of(&features(9, 4, 0)).unwrap());
        let error = frechet_distance(&one, &some).unwrap_err();
        assert_eq!(error.to_string(), "a covariance needs at least 2 images, but got 1");
        let other = Moments::of(&features(9, 5, 0)).unwrap();
        let error = frechet_distance(&some, &other).unwrap_err();
        assert!(matches!(error, MetricError::Shape { .. }), "{error}");
    }
}
