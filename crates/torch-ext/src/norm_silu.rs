//! Group normalisation, FiLM and SiLU in one operation.

use crate::{Error, ffi};
use std::ptr;
use tch::{Tensor, nn::GroupNorm};

/// Epsilon of [`GroupNorm`], which does not tell its own.
const EPS: f64 = 1e-5;

/// `silu(norm(x) (1 + scale) + shift)` of features `[n, c, h, w]`: group normalisation (Wu & He 2018), the scales and
/// shifts of each image and channel (FiLM, Perez et al. 2018), SiLU.
///
/// `film` is `[n, 2c]`, scales before shifts; without it only the layer's own apply. `norm` has weights, biases and the default
/// epsilon. On the CPU, in f32 and bf16, this goes over the features fewer times than the four operations and keeps their input alone
/// for the way back; the result lies channels last, as convolutions there like it, and cannot be differentiated twice. Elsewhere it is
/// the four operations.
///
/// # Errors
/// If the shapes or devices do not fit together or a tensor is undefined.
pub fn norm_silu(x: &Tensor, norm: &GroupNorm, film: Option<&Tensor>) -> Result<Tensor, Error> {
    let pointer = |tensor: Option<&Tensor>| tensor.map_or(ptr::null(), Tensor::as_ptr);
    let [weight, bias, film] = [norm.ws.as_ref(), norm.bs.as_ref(), film].map(pointer);
    let (groups, mut y) = (norm.num_groups, ptr::null_mut());
    // SAFETY: pointers to live tensors or null; without a message `y` is a new tensor that is ours.
    unsafe {
        let message =
            ffi::torch_ext_norm_silu(x.as_ptr(), groups, weight, bias, film, EPS, &raw mut y);
        ffi::check("norm_silu", message)?;
        Ok(Tensor::from_ptr(y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::largest_difference;
    use tch::{Device, Kind, nn};

    /// A layer of 24 channels in 8 groups, features with a mean and a spread of their own, and scales and shifts, all of
    /// which want gradients.
    fn example(kind: Kind) -> (nn::VarStore, GroupNorm, Tensor, Tensor) {
        let mut vars = nn::VarStore::new(Device::Cpu);
        let config = nn::GroupNormConfig {
            ws_init: nn::Init::Uniform { lo: 0.5, up: 1.5 },
            bs_init: nn::Init::Uniform { lo: -1.0, up: 1.0 },
            ..Default::default()
        };
        let norm = nn::group_norm(vars.root(), 8, 24, config);
        if kind == Kind::Double {
            vars.double();
        }
        let options = (Kind::Float, Device::Cpu);
        let x = Tensor::randn([3, 24, 5, 7], options) * 2.0 + 3.0;
        let film = Tensor::randn([3, 48], options);
        let leaf = |x: Tensor| x.to_kind(kind).detach().set_requires_grad(true);
        (vars, norm, leaf(x), leaf(film))
    }

    /// The definition, in the kind of its inputs.
    fn composed(x: &Tensor, norm: &GroupNorm, film: Option<&Tensor>) -> Tensor {
        let parameter = |p: &Option<Tensor>| p.as_ref().unwrap().to_kind(x.kind());
        let (weight, bias) = (parameter(&norm.ws), parameter(&norm.bs));
        let normal = Tensor::group_norm(x, norm.num_groups, Some(&weight), Some(&bias), EPS, false);
        match film {
            None => normal.silu(),
            Some(film) => {
                let halves = film.unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
                (normal * (&halves[0] + 1.0) + &halves[1]).silu()
            }
        }
    }

    #[test]
    fn is_the_four_operations_both_ways() {
        // f64 has no kernel: there it is the operations one by one.
        for (kind, tolerance) in
            [(Kind::Double, 1e-12), (Kind::Float, 3e-6), (Kind::BFloat16, 2e-2)]
        {
            for with_film in [false, true] {
                let (_vars, norm, x, film) = example(kind);
                let film = with_film.then_some(&film);
                let precise = |t: &Tensor| t.to_kind(Kind::Double);
                let y = norm_silu(&x, &norm, film).unwrap();
                let want = composed(&precise(&x), &norm, film.map(precise).as_ref());
                assert_eq!((y.kind(), y.size()), (kind, want.size()));
                assert!(largest_difference(&y, &want) < tolerance);

                let weight = Tensor::randn_like(&want);
                let mut inputs = vec![&x, norm.ws.as_ref().unwrap(), norm.bs.as_ref().unwrap()];
                inputs.extend(film);
                let slopes = |y: &Tensor| {
                    let total = (precise(y) * &weight).sum(Kind::Double);
                    Tensor::run_backward(&[total], &inputs, false, false)
                };
                for (i, (got, want)) in slopes(&y).iter().zip(&slopes(&want)).enumerate() {
                    assert_eq!((got.kind(), got.size()), (want.kind(), want.size()));
                    let off = largest_difference(got, want);
                    assert!(off < tolerance, "gradient {i} of {kind:?} is off by {off}");
                }
            }
        }
    }

    /// What convolutions hand on lies channels last, what is cut out of it has gaps, and there may be no image at all.
    #[test]
    fn features_may_lie_in_any_order() {
        let (_vars, norm, x, film) = example(Kind::Float);
        let wider = Tensor::cat(&[&x, &x], 1).permute([0, 2, 3, 1]).contiguous();
        let wider = wider.permute([0, 3, 1, 2]);
        for x in [&x, &wider.narrow(1, 0, 24), &wider.narrow(1, 0, 24).narrow(0, 0, 0)] {
            let x = x.detach().set_requires_grad(true);
            let film = film.narrow(0, 0, x.size()[0]);
            let slope = |y: &Tensor| {
                Tensor::run_backward(&[y.sin().sum(Kind::Float)], &[&x], false, false).remove(0)
            };
            let y = norm_silu(&x, &norm, Some(&film)).unwrap();
            let want = composed(&x, &norm, Some(&film));
            assert!(y.allclose(&want, 1e-5, 1e-5, false));
            assert!(slope(&y).allclose(&slope(&want), 1e-4, 1e-5, false));
        }
    }

    /// Features far from zero, and ones that are all alike, lose no digits that the definition keeps.
    #[test]
    fn is_as_exact_where_features_hardly_differ() {
        let (_vars, norm, x, _) = example(Kind::Float);
        for x in [x.detach() * 0.1 + 20.0, x.full_like(7.0)] {
            let y = tch::no_grad(|| norm_silu(&x, &norm, None).unwrap());
            let want = tch::no_grad(|| composed(&x.to_kind(Kind::Double), &norm, None));
            assert!(largest_difference(&y, &want) < 1e-3);
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let (_vars, norm, x, film) = example(Kind::Float);
        assert!(norm_silu(&x.narrow(1, 0, 16), &norm, None).is_err());
        assert!(norm_silu(&x, &norm, Some(&film.narrow(1, 0, 24))).is_err());
        assert!(norm_silu(&x.get(0), &norm, None).is_err());
        let y = norm_silu(&x, &norm, None).unwrap().sum(Kind::Float);
        let twice = Tensor::f_run_backward(&[y], &[&x], true, true).unwrap_err();
        assert!(twice.to_string().contains("cannot be differentiated twice"), "{twice}");
    }
}
