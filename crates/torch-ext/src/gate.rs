//! A bias and a gate in one pass.

use crate::{Error, ffi};
use std::ptr;
use tch::Tensor;

/// `x + bias`, and its first half of the channels times the sigmoid of the second (Dauphin et al. 2017): `[n, 2c, h, w]` and `[n, c, h, w]`.
///
/// `x` is `[n, 2c, h, w]`; `bias` is `[n, 2c, 1, 1]`, or as large as `x`. Both results are of the kind of `x`. On the CPU, in f32 and
/// bf16, they come from one pass, lie channels last, as convolutions there like them, and cannot be differentiated twice.
///
/// # Errors
/// If the shapes or devices do not fit together or a tensor is undefined.
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
    use crate::largest_difference;
    use tch::{Device, Kind};

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

    /// What convolutions hand on lies channels last, what is cut out of it has gaps, and there may be no image at all.
    #[test]
    fn features_may_lie_in_any_order() {
        let normal = |size: &[i64]| Tensor::randn(size, (Kind::Float, Device::Cpu));
        let plain = normal(&[3, 20, 5, 7]);
        let last = plain.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
        for x in [&plain, &last, &last.narrow(1, 4, 12), &last.narrow(0, 0, 0)] {
            let x = x.detach().set_requires_grad(true);
            let bias = normal(&[x.size()[0], x.size()[1], 1, 1]);
            let (sum, gated) = bias_gate(&x, &bias).unwrap();
            let slopes = |results: [&Tensor; 2]| {
                let total = results[0].sin().sum(Kind::Float) + results[1].cos().sum(Kind::Float);
                Tensor::run_backward(&[total], &[&x], true, false).remove(0)
            };
            let want = &x + &bias;
            let want_slope = slopes([&want, &want.glu(1)]);
            assert!(sum.allclose(&want, 1e-6, 1e-6, false));
            assert!(gated.allclose(&want.glu(1), 1e-6, 1e-6, false));
            assert!(slopes([&sum, &gated]).allclose(&want_slope, 1e-5, 1e-6, false));
        }
    }

    #[test]
    fn not_a_number_stays_none() {
        // One whose bits are all low ones.
        let odd = f32::from_bits(0x7fc0_0001);
        let x = Tensor::from_slice(&[1.0, 2.0, odd, -odd]).reshape([1, 4, 1, 1]);
        let (_, gated) = bias_gate(&x, &x.zeros_like()).unwrap();
        assert!(bool::try_from(gated.isnan().all()).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let ones = |size: &[i64]| Tensor::ones(size, (Kind::Float, Device::Cpu));
        assert!(bias_gate(&ones(&[2, 5, 3, 3]), &ones(&[2, 5, 1, 1])).is_err());
        assert!(bias_gate(&ones(&[2, 6, 3, 3]), &ones(&[2, 4, 1, 1])).is_err());
        assert!(bias_gate(&ones(&[2, 6, 3, 3]), &ones(&[2, 6, 3, 1])).is_err());
    }
}
