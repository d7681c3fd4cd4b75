//! A bias and a gate in one pass.

use crate::{Error, ffi};
use std::ptr;
use tch::Tensor;

/// `x + bias`, and its first half of the channels times the sigmoid of the second (Dauphin et al. 2017): `[n, 2c, h, w]` and `[n, c, h, w]`.
///
/// `x` is f32 or bf16 `[n, 2c, h, w]`; `bias` is `[n, 2c, 1, 1]`, or as large as `x`. On the CPU both results are channels last, as
/// convolutions there like them, and cannot be differentiated twice.
///
/// # Errors
/// If the shapes do not fit together or a tensor is undefined.
pub fn bias_gate(x: &Tensor, bias: &Tensor) -> Result<(Tensor, Tensor), Error> {
    let (mut sum, mut gated) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: pointers to live tensors; without a message `sum` and `gated` are new tensors that are ours.
    unsafe {
        let (x, bias) = (x.as_ptr(), bias.as_ptr());
        let message = ffi::torch_ext_bias_gate(x, bias, &raw mut sum, &raw mut gated);
        ffi::check("bias_gate", message)?;
        Ok((Tensor::from_ptr(sum), Tensor::from_ptr(gated)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
        let [a, b] = [a, b].map(|t| t.to_kind(Kind::Double));
        ((a - &b).abs().max() / b.abs().max()).double_value(&[])
    }

    #[test]
    fn is_a_sum_and_its_gate_both_ways() {
        let normal = |size: &[i64]| Tensor::randn(size, (Kind::Double, Device::Cpu));
        // f64 has no kernel: there it is the operations one by one.
        for (kind, tolerance) in
            [(Kind::Double, 1e-14), (Kind::Float, 1e-6), (Kind::BFloat16, 2e-2)]
        {
            for [h, w] in [[1, 1], [5, 7]] {
                let leaf = |x: Tensor| x.to_kind(kind).set_requires_grad(true);
                let (x, bias) = (leaf(normal(&[3, 20, 5, 7])), leaf(normal(&[3, 20, h, w])));
                let (sum, gated) = bias_gate(&x, &bias).unwrap();
                let precise = x.to_kind(Kind::Double) + bias.to_kind(Kind::Double);
                let want = [precise.shallow_clone(), precise.glu(1)];
                for (got, want) in [&sum, &gated].into_iter().zip(&want) {
                    assert_eq!((got.kind(), got.size()), (kind, want.size()));
                    assert!(largest_difference(got, want) < tolerance);
                }
                // Of either result, and of both.
                let weights = [normal(&want[0].size()), normal(&want[1].size())];
                for used in [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]] {
                    let slopes = |results: [&Tensor; 2]| {
                        let parts =
                            results.iter().zip(&weights).zip(used).filter(|part| part.1 > 0.0);
                        let total: Tensor = parts
                            .map(|((result, weight), _)| {
                                (result.to_kind(Kind::Double) * weight).sum(Kind::Double)
                            })
                            .sum();
                        Tensor::run_backward(&[total], &[&x, &bias], true, false)
                    };
                    let (got, want) = (slopes([&sum, &gated]), slopes([&want[0], &want[1]]));
                    for (got, want) in got.iter().zip(&want) {
                        assert_eq!((got.kind(), got.size()), (kind, want.size()));
                        let off = largest_difference(got, want);
                        assert!(off < tolerance, "{kind:?} {used:?}: {off}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let ones = |size: &[i64]| Tensor::ones(size, (Kind::Float, Device::Cpu));
        assert!(bias_gate(&ones(&[2, 5, 3, 3]), &ones(&[2, 5, 1, 1])).is_err());
        assert!(bias_gate(&ones(&[2, 6, 3, 3]), &ones(&[2, 4, 1, 1])).is_err());
        assert!(bias_gate(&ones(&[2, 6, 3, 3]), &ones(&[2, 6, 3, 1])).is_err());
    }
}
