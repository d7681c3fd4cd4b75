//! Cross-entropy in one pass.

use crate::{Error, ffi};
use std::ptr;
use tch::Tensor;

/// What the softmax of each row of `logits` gives its target, as -ln: f32 `[n]`, or f64 if the logits are.
///
/// `logits` are `[n, classes]`, `targets` i64 `[n]` in `0..classes`. On the CPU, if 16 divides `classes` and those of a row lie side by
/// side, logits in f32 and bf16 are read as they are and computed with in f32; that cannot be differentiated twice.
///
/// # Errors
/// If the shapes, kinds or devices do not fit together or, on the CPU, a target is none of the classes.
pub fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor, Error> {
    let mut losses = ptr::null_mut();
    // SAFETY: pointers to live tensors; without a message `losses` is a new tensor that is ours.
    unsafe {
        let message =
            ffi::torch_ext_cross_entropy(logits.as_ptr(), targets.as_ptr(), &raw mut losses);
        ffi::check("cross_entropy", message)?;
        Ok(Tensor::from_ptr(losses))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::largest_difference;
    use tch::{Device, Kind, Reduction};

    fn composed(logits: &Tensor, targets: &Tensor) -> Tensor {
        let precise = logits.to_kind(Kind::Double);
        precise.cross_entropy_loss(targets, None::<Tensor>, Reduction::None, -100, 0.0)
    }

    #[test]
    fn is_the_loss_both_ways() {
        // f64 and numbers of classes that 16 does not divide have no kernel.
        for (kind, tolerance) in
            [(Kind::Double, 1e-12), (Kind::Float, 2e-6), (Kind::BFloat16, 1e-2)]
        {
            for classes in [256, 32, 10] {
                // Whole rows, and every second one of as many again.
                let wide = Tensor::randn([2 * 300, classes], (Kind::Double, Device::Cpu)) * 5.0;
                let rows = wide.view([300, 2, classes]).select(1, 1);
                for logits in [wide.narrow(0, 0, 300), rows] {
                    let logits = logits.to_kind(kind).set_requires_grad(true);
                    let targets = Tensor::randint(classes, [300], (Kind::Int64, Device::Cpu));
                    let (got, want) =
                        (cross_entropy(&logits, &targets).unwrap(), composed(&logits, &targets));
                    let result = if kind == Kind::Double { Kind::Double } else { Kind::Float };
                    assert_eq!((got.kind(), got.size()), (result, vec![300]));
                    assert!(largest_difference(&got, &want) < tolerance);
                    let weight = Tensor::randn_like(&want);
                    let slope = |losses: Tensor| {
                        let total = (losses * &weight).sum(Kind::Double);
                        Tensor::run_backward(&[total], &[&logits], false, false).remove(0)
                    };
                    let (got, want) = (slope(got), slope(want));
                    assert_eq!((got.kind(), got.size()), (kind, want.size()));
                    assert!(largest_difference(&got, &want) < tolerance);
                }
            }
        }
    }

    #[test]
    fn extreme_logits_have_finite_losses_and_no_number_gives_none() {
        let logits = Tensor::zeros([4, 32], (Kind::Float, Device::Cpu));
        for (row, value) in [(0, 1e30), (1, -1e30), (2, f64::NEG_INFINITY), (3, f64::NAN)] {
            let _ = logits.get(row).narrow(0, 7, 1).fill_(value);
        }
        let targets = Tensor::from_slice(&[7_i64, 3, 3, 3]);
        // What all logits of a row share has no effect.
        let shared = Tensor::full([1, 32], 1e6, (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let loss = cross_entropy(&shared, &targets.narrow(0, 0, 1)).unwrap();
        assert!((loss.double_value(&[0]) - 32_f64.ln()).abs() < 1e-6);
        loss.backward();
        assert!(shared.grad().sum(Kind::Float).double_value(&[]).abs() < 1e-6);
        let losses: Vec<f64> = cross_entropy(&logits, &targets).unwrap().try_into().unwrap();
        let among_31 = 31_f64.ln();
        assert!(losses[0] == 0.0 && losses[3].is_nan(), "{losses:?}");
        assert!(losses[1..3].iter().all(|x| (x - among_31).abs() < 1e-5), "{losses:?}");
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let logits = Tensor::zeros([4, 32], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let targets = |values: &[i64]| Tensor::from_slice(values);
        assert!(cross_entropy(&logits, &targets(&[0, 1, 2])).is_err());
        assert!(cross_entropy(&logits, &targets(&[0, 1, 2, 3]).to_kind(Kind::Int)).is_err());
        assert!(cross_entropy(&logits.get(0), &targets(&[0])).is_err());
        for wrong in [32, -1, -100] {
            for logits in [&logits, &logits.to_kind(Kind::Double)] {
                let refused = cross_entropy(logits, &targets(&[0, 1, wrong, 2])).unwrap_err();
                assert!(refused.to_string().contains("none of 32 classes"), "{refused}");
            }
        }
        let loss = cross_entropy(&logits, &targets(&[0; 4])).unwrap().sum(Kind::Float);
        let twice = Tensor::f_run_backward(&[loss], &[&logits], true, true).unwrap_err();
        assert!(twice.to_string().contains("cannot be differentiated twice"), "{twice}");
    }
}
