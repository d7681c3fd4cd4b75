//! Gradient penalties of the discriminator, differentiable in its parameters (double backward).

use paragone_core::Result;
use tch::{Kind, Tensor};

/// The squared norm of each image's gradient, `[n]`: |∇ₓ D(x)|², the R1 (R2 on generated images) of Mescheder et al. 2018.
///
/// `images`: a leaf with gradients on, `[n, c, h, w]`; `logits`: `[n]`, made from it, each from its own image alone. With
/// such logits the gradient of their sum holds every image's own gradient.
pub fn squared_gradient_norms(logits: &Tensor, images: &Tensor) -> Result<Tensor> {
    let total = logits.sum(logits.kind());
    let gradients = Tensor::f_run_backward(&[total], &[images], true, true)?;
    Ok(gradients[0].square().flatten(1, -1).sum_dim_intlist(1, false, images.kind()))
}

/// (|∇D(x̂)| − 1)² of each image, `[n]`: Gulrajani et al. 2017, eq. 3. Arguments as for [`squared_gradient_norms`].
pub fn one_centred(logits: &Tensor, images: &Tensor) -> Result<Tensor> {
    // The root has no derivative at 0, where an untrained network may well be.
    Ok(((squared_gradient_norms(logits, images)? + 1e-12).sqrt() - 1.0).square())
}

/// Points drawn uniformly between paired images, detached leaves with gradients on.
pub fn interpolates(real: &Tensor, fake: &Tensor) -> Tensor {
    let share = Tensor::rand([real.size()[0], 1, 1, 1], (Kind::Float, real.device()));
    real.detach().lerp_tensor(&fake.detach(), &share.to_kind(real.kind())).set_requires_grad(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    const F64: (Kind, Device) = (Kind::Double, Device::Cpu);

    /// D(x) = xᵀA x / 2 + bᵀx has the gradient (A + Aᵀ)x/2 + b.
    fn quadratic(a: &Tensor, b: &Tensor, x: &Tensor) -> Tensor {
        let x = x.flatten(1, -1);
        let values = (x.matmul(a) * &x).sum_dim_intlist(1, false, Kind::Double) / 2.0;
        values + x.matmul(b)
    }

    fn setting() -> (Tensor, Tensor, Tensor) {
        let ramp = |n: i64, phase: f64| (Tensor::arange(n, F64) * 1.7 + phase).sin();
        let x = ramp(2 * 6, 0.3).reshape([2, 1, 2, 3]).set_requires_grad(true);
        (ramp(36, 1.0).reshape([6, 6]), ramp(6, 2.0), x)
    }

    fn mean_of(
        penalty: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
        a: &Tensor,
        b: &Tensor,
        x: &Tensor,
    ) -> Tensor {
        penalty(&quadratic(a, b, x), x).unwrap().mean(Kind::Double)
    }

    #[test]
    fn value_is_the_analytic_one() {
        let (a, b, x) = setting();
        let gradient = x.flatten(1, -1).matmul(&((&a + a.tr()) / 2.0)) + &b;
        let want = gradient.square().sum_dim_intlist(1, false, Kind::Double);
        let got = squared_gradient_norms(&quadratic(&a, &b, &x), &x).unwrap();
        assert!(got.allclose(&want, 1e-12, 1e-12, false));
        let got = one_centred(&quadratic(&a, &b, &x), &x).unwrap();
        assert!(got.allclose(&(want.sqrt() - 1.0).square(), 1e-10, 1e-10, false));
    }

    #[test]
    fn parameter_gradients_are_the_finite_differences() {
        for penalty in [squared_gradient_norms, one_centred] {
            let (a, b, x) = setting();
            let a = a.set_requires_grad(true);
            mean_of(penalty, &a, &b, &x).backward();
            let step = 1e-5;
            for (row, column) in [(0, 0), (2, 5), (5, 1), (4, 4)] {
                let moved = |by: f64| {
                    let a = a.detach().copy();
                    let _ = a.get(row).get(column).g_add_scalar_(by);
                    mean_of(penalty, &a, &b, &x).double_value(&[])
                };
                let want = (moved(step) - moved(-step)) / (2.0 * step);
                let got = a.grad().double_value(&[row, column]);
                assert!((got - want).abs() < 1e-7 * want.abs().max(1.0), "{got} is not {want}");
            }
        }
    }

    #[test]
    fn interpolates_lie_between() {
        let _alone = crate::tests::alone();
        let (real, fake) = (Tensor::zeros([64, 1, 2, 2], F64), Tensor::ones([64, 1, 2, 2], F64));
        let points = interpolates(&real, &fake);
        assert!(points.requires_grad() && points.is_leaf());
        let points = points.detach();
        assert!(points.min().double_value(&[]) >= 0.0 && points.max().double_value(&[]) <= 1.0);
        // One share an image, another for each.
        let within = points.amax([1, 2, 3], false) - points.amin([1, 2, 3], false);
        assert_eq!(within.abs().max().double_value(&[]), 0.0);
        assert!(points.std(true).double_value(&[]) > 0.2);
    }
}
