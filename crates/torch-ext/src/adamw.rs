//! AdamW in one kernel launch for all parameters. Loshchilov & Hutter 2019, algorithm 2, with the schedule in `lr`.

use crate::{Error, ffi};
use tch::Tensor;

/// The hyper-parameters of one fused AdamW update.
///
/// All state (moments and step counts) is the caller's, so a checkpoint can hold it like any other tensor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// The learning rate of this update.
    pub lr: f64,
    /// The decay rates of the first and of the second moment.
    pub betas: (f64, f64),
    /// Decoupled weight decay: parameters shrink by `lr * weight_decay` before the step.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

impl AdamW {
    /// Updates parameters and state in place, without recording gradients.
    ///
    /// The lists run in parallel; entry i of each has the shape and device of parameter i. The moments also have its kind
    /// and memory layout (make them with `zeros_like`); a gradient of another kind or layout is converted. Steps are f32
    /// scalars, no two of them the same tensor; each is incremented first, so the first update wants 0.
    ///
    /// `skip`: an f32 scalar on the parameters' device. Where it is 1, nothing changes; the host need not know.
    ///
    /// # Errors
    /// If the lists do not fit together or a tensor is undefined. Then nothing has changed.
    pub fn update(
        &self,
        params: &[Tensor],
        grads: &[Tensor],
        exp_avgs: &[Tensor],
        exp_avg_sqs: &[Tensor],
        steps: &[Tensor],
        skip: Option<&Tensor>,
    ) -> Result<(), Error> {
        let lists = [
            ("grads", grads),
            ("exp_avgs", exp_avgs),
            ("exp_avg_sqs", exp_avg_sqs),
            ("steps", steps),
        ];
        for (list, tensors) in lists {
            if tensors.len() != params.len() {
                return Err(Error::Length { list, expected: params.len(), got: tensors.len() });
            }
        }
        let skip = skip.map_or(std::ptr::null(), Tensor::as_ptr);
        // SAFETY: five arrays of `params.len()` pointers to live tensors, and one that may be null; the other side checks the
        // tensors themselves.
        unsafe {
            let message = ffi::torch_ext_adamw(
                ffi::pointers(params).as_ptr(),
                ffi::pointers(grads).as_ptr(),
                ffi::pointers(exp_avgs).as_ptr(),
                ffi::pointers(exp_avg_sqs).as_ptr(),
                ffi::pointers(steps).as_ptr(),
                params.len(),
                skip,
                self.lr,
                self.betas.0,
                self.betas.1,
                self.weight_decay,
                self.eps,
            );
            ffi::check("AdamW", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    const OPTIONS: (Kind, Device) = (Kind::Float, Device::Cpu);

    /// Moments and step of a new parameter.
    fn fresh(param: &Tensor) -> [Tensor; 3] {
        [param.zeros_like(), param.zeros_like(), Tensor::zeros([], OPTIONS)]
    }

    fn update_one(
        optimizer: &AdamW,
        param: &Tensor,
        grad: &Tensor,
        state: &[Tensor; 3],
    ) -> Result<(), Error> {
        let one = |tensor: &Tensor| [tensor.shallow_clone()];
        let [exp_avg, exp_avg_sq, step] = state;
        optimizer.update(&one(param), &one(grad), &one(exp_avg), &one(exp_avg_sq), &one(step), None)
    }

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).expect("a flat tensor")
    }

    fn assert_close(got: &Tensor, want: &[f64], tolerance: f64) {
        for (got, want) in values(got).iter().zip(want) {
            assert!((got - want).abs() <= tolerance * want.abs().max(1.0), "{got} is not {want}");
        }
    }

    /// With a constant gradient the corrected moments are g and g², so every step is closed form.
    #[test]
    fn constant_gradient_follows_the_closed_form() {
        let optimizer = AdamW { lr: 0.01, betas: (0.9, 0.99), weight_decay: 0.1, eps: 1e-3 };
        let (start, gradient) = ([1.5, -0.7, 0.0, 3.0], [0.2, -4.0, 1e-3, -0.05]);
        let param = Tensor::from_slice(&start).set_requires_grad(true);
        let grad = Tensor::from_slice(&gradient);
        let state = fresh(&param);
        let mut want = start;
        for _ in 0..50 {
            update_one(&optimizer, &param, &grad, &state).unwrap();
            for (p, g) in want.iter_mut().zip(gradient) {
                *p = *p * (1.0 - 0.01 * 0.1) - 0.01 * g / (f64::abs(g) + 1e-3);
            }
        }
        assert_close(&param, &want, 1e-12);
        assert_eq!(values(&state[2]), [50.0]);
        assert!(param.requires_grad() && param.is_leaf());
    }

    /// Numbers of a plain f64 implementation in Python, which `torch.optim.AdamW` repeats to 1e-7:
    ///
    /// ```python
    /// for t, g in enumerate(grads, 1):
    ///     p -= lr * wd * p; m += (1 - b1) * (g - m); v += (1 - b2) * (g * g - v)
    ///     p -= lr * (m / (1 - b1**t)) / ((v / (1 - b2**t)) ** 0.5 + eps)
    /// ```
    #[test]
    fn changing_gradients_give_golden_values() {
        let optimizer = AdamW { lr: 0.1, betas: (0.9, 0.95), weight_decay: 0.05, eps: 1e-8 };
        let params = [Tensor::from_slice(&[0.5f32, -1.0]), Tensor::from_slice(&[2.0f32])];
        let grads = [
            ([1.0f32, -0.1], [3.0f32]),
            ([-0.5, 0.2], [0.0]),
            ([0.25, 0.0], [-30.0]),
            ([2.0, 5.0], [0.7]),
        ];
        let [exp_avgs, exp_avg_sqs, steps] =
            [0, 1, 2].map(|i| params.iter().map(|p| fresh(p)[i].copy()).collect::<Vec<_>>());
        for (first, second) in grads {
            let grads = [Tensor::from_slice(&first), Tensor::from_slice(&second)];
            optimizer.update(&params, &grads, &exp_avgs, &exp_avg_sqs, &steps, None).unwrap();
        }
        assert_close(&params[0], &GOLDEN_PARAMS_0, 1e-6);
        assert_close(&params[1], &GOLDEN_PARAMS_1, 1e-6);
        assert_close(&exp_avgs[0], &GOLDEN_EXP_AVG_0, 1e-6);
        assert_close(&exp_avg_sqs[0], &GOLDEN_EXP_AVG_SQ_0, 1e-6);
    }
    const GOLDEN_PARAMS_0: [f64; 2] = [0.2675474434, -1.0028816434];
    const GOLDEN_PARAMS_1: [f64; 1] = [1.8973025868];
    const GOLDEN_EXP_AVG_0: [f64; 2] = [0.2549000000, 0.5089100000];
    const GOLDEN_EXP_AVG_SQ_0: [f64; 2] = [0.2571187500, 1.2522336875];

    /// The kernel walks raw memory: an expanded gradient has less of it than the parameter.
    #[test]
    fn gradients_of_any_layout_and_kind_are_the_same_gradients() {
        let optimizer = AdamW { lr: 0.1, betas: (0.9, 0.99), weight_decay: 0.0, eps: 1e-8 };
        let dense = Tensor::from_slice(&[1.0f32, -2.0, 4.0, -8.0, 16.0, -32.0]).reshape([3, 2]);
        let expanded = Tensor::from_slice(&[1.0f32, -2.0]).expand([3, 2], false);
        let transposed = dense.tr().contiguous().tr();
        for grad in
            [expanded, transposed, dense.to_kind(Kind::BFloat16), dense.to_kind(Kind::Double)]
        {
            let (a, b) = (Tensor::ones([3, 2], OPTIONS), Tensor::ones([3, 2], OPTIONS));
            update_one(&optimizer, &a, &grad, &fresh(&a)).unwrap();
            update_one(&optimizer, &b, &grad.to_kind(Kind::Float).contiguous(), &fresh(&b))
                .unwrap();
            assert_eq!(a, b, "{grad:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_changes_nothing() {
        let optimizer = AdamW { lr: 0.1, betas: (0.9, 0.99), weight_decay: 0.1, eps: 1e-8 };
        let param = Tensor::ones([2, 3], OPTIONS);
        let state = fresh(&param);
        let expect = |param: &Tensor, grad: &Tensor, state: &[Tensor; 3], part: &str| {
            let error = update_one(&optimizer, param, grad, state).unwrap_err().to_string();
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        };
        let grad = Tensor::ones([2, 3], OPTIONS);
        expect(&param, &Tensor::new(), &state, "undefined");
        expect(&param, &Tensor::ones([2], OPTIONS), &state, "has shape [2, 3], its gradient [2]");
        expect(
            &param,
            &grad,
            &[grad.zeros_like(), Tensor::zeros([3, 2], OPTIONS), state[2].copy()],
            "differ in shape",
        );
        expect(
            &param,
            &grad,
            &[grad.zeros_like(), grad.to_kind(Kind::Double), state[2].copy()],
            "differ in kind",
        );
        expect(
            &param,
            &grad,
            &[grad.zeros_like(), grad.zeros_like(), Tensor::from(0i64)],
            "is not one f32",
        );
        expect(
            &Tensor::ones([2], OPTIONS).expand([2, 2], false),
            &Tensor::ones([2, 2], OPTIONS),
            &state,
            "a view with gaps",
        );
        let skip = Tensor::from(1i64);
        let [one, exp_avg, exp_avg_sq, step] =
            [&param, &state[0], &state[1], &state[2]].map(|tensor| [tensor.shallow_clone()]);
        let error = optimizer
            .update(&one, &[grad.shallow_clone()], &exp_avg, &exp_avg_sq, &step, Some(&skip))
            .unwrap_err()
            .to_string();
        assert!(error.contains("skip is not one f32"), "{error}");
        let error =
            optimizer.update(&[param.shallow_clone()], &[], &[], &[], &[], None).unwrap_err();
        assert_eq!(error.to_string(), "grads has 0 tensors for 1 parameters");
        assert_eq!(param, Tensor::ones([2, 3], OPTIONS));
        assert_eq!(values(&state[2]), [0.0]);
    }

    /// An update that is skipped is none: the next one goes on from the one before.
    #[test]
    fn a_skipped_update_changes_nothing() {
        let optimizer = AdamW { lr: 0.1, betas: (0.9, 0.99), weight_decay: 0.1, eps: 1e-8 };
        let grads = [[1.0f32, -2.0], [50.0, f32::INFINITY], [0.5, 3.0]];
        let trained = |skips: &[Option<f32>]| {
            let param = [Tensor::from_slice(&[0.5f32, -1.0])];
            let [exp_avg, exp_avg_sq, step] = fresh(&param[0]).map(|tensor| [tensor]);
            for (grad, skip) in grads.iter().zip(skips) {
                let Some(skip) = skip else { continue };
                let (grad, skip) = ([Tensor::from_slice(grad)], Tensor::from(*skip));
                optimizer.update(&param, &grad, &exp_avg, &exp_avg_sq, &step, Some(&skip)).unwrap();
            }
            [param, exp_avg, exp_avg_sq, step].map(|[tensor]| values(&tensor))
        };
        let skipped = trained(&[Some(0.0), Some(1.0), Some(0.0)]);
        assert_eq!(skipped, trained(&[Some(0.0), None, Some(0.0)]));
        assert_eq!(skipped[3], [2.0]);
        assert!(trained(&[Some(0.0); 3])[0].iter().any(|value| !value.is_finite()));
    }

    #[test]
    fn no_parameters_is_no_work() {
        AdamW { lr: 0.1, betas: (0.9, 0.99), weight_decay: 0.1, eps: 1e-8 }
            .update(&[], &[], &[], &[], &[], None)
            .unwrap();
    }
}
