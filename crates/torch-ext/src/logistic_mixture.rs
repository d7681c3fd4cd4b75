//! A mixture of discretized logistics in one pass.

use crate::{Error, ffi};
use std::{ops::RangeInclusive, ptr};
use tch::Tensor;

/// Log-probability in nats of each pixel's levels under a mixture of discretized logistics (Salimans et al. 2017, section 2): f32
/// `[n, h, w]`.
///
/// `params`, f32 `[n, p, h, w]` on the CPU, quickest channels last, are of each pixel the logits of the `components`; the c means of each in
/// turn; then the c log-scales of each, cut to their range; then the c (c - 1) / 2 couplings of each, which tanh brings to (-1, 1): of channel
/// 1 on 0, 2 on 0, 2 on 1, and so on. `levels` is i64 `[n, c, h, w]` in `0..256`, with c at most 4. Cannot be differentiated twice.
///
/// # Errors
/// If the shapes, kinds or devices are others.
pub fn logistic_mixture(
    params: &Tensor,
    levels: &Tensor,
    components: i64,
    log_scales: RangeInclusive<f64>,
) -> Result<Tensor, Error> {
    let mut log_probs = ptr::null_mut();
    // SAFETY: pointers to live tensors; without a message `log_probs` is a new tensor that is ours.
    unsafe {
        let message = ffi::torch_ext_logistic_mixture(
            params.as_ptr(),
            levels.as_ptr(),
            components,
            *log_scales.start(),
            *log_scales.end(),
            &raw mut log_probs,
        );
        ffi::check("logistic_mixture", message)?;
        Ok(Tensor::from_ptr(log_probs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn what_does_not_fit_is_an_error() {
        let zeros = |size: &[i64], kind| Tensor::zeros(size, (kind, Device::Cpu));
        let params = zeros(&[2, 20, 4, 3], Kind::Float).set_requires_grad(true);
        let levels = zeros(&[2, 3, 4, 3], Kind::Int64);
        let refused = |params: &Tensor, levels: &Tensor, components| {
            logistic_mixture(params, levels, components, -7.0..=7.0).unwrap_err().to_string()
        };
        assert!(refused(&params, &levels, 3).contains("3 components have 30 parameters"));
        assert!(refused(&params, &levels.narrow(0, 0, 1), 2).contains("takes parameters"));
        assert!(refused(&params, &levels.to_kind(Kind::Int), 2).contains("i64"));
        assert!(refused(&params.to_kind(Kind::Double), &levels, 2).contains("f32"));
        assert!(refused(&params, &levels.repeat([1, 2, 1, 1]), 2).contains("1 to 4 channels"));
        let got = logistic_mixture(&params, &levels, 2, -7.0..=7.0).unwrap().sum(Kind::Float);
        let twice = Tensor::f_run_backward(&[got], &[&params], true, true).unwrap_err();
        assert!(twice.to_string().contains("cannot be differentiated twice"), "{twice}");
    }
}
