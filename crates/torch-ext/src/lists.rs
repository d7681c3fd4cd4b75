//! One operation on all tensors of a list: on a GPU a few kernel launches where there would be one a tensor.

use crate::{Error, ffi};
use std::ptr;
use tch::Tensor;

/// Takes the gradients away from leaf tensors: the next backward pass gives them its own, where it would add them to zeros.
///
/// # Errors
/// If a tensor is undefined.
pub fn clear_gradients(tensors: &[Tensor]) -> Result<(), Error> {
    // SAFETY: an array of so many pointers to live tensors.
    unsafe {
        let message =
            ffi::torch_ext_clear_gradients(ffi::pointers(tensors).as_ptr(), tensors.len());
        ffi::check("clear_gradients", message)
    }
}

/// The Euclidean norm of all values of the tensors together, a scalar on their device.
///
/// # Errors
/// If there is no tensor, or one is undefined.
pub fn norm(tensors: &[Tensor]) -> Result<Tensor, Error> {
    let mut norm = ptr::null_mut();
    // SAFETY: an array of so many pointers to live tensors; without a message `norm` is a new tensor that is ours.
    unsafe {
        let pointers = ffi::pointers(tensors);
        let message = ffi::torch_ext_norm(pointers.as_ptr(), tensors.len(), &raw mut norm);
        ffi::check("norm", message)?;
        Ok(Tensor::from_ptr(norm))
    }
}

/// Multiplies all tensors in place by a scalar on their device.
///
/// # Errors
/// If there is no tensor, one is undefined, or `factor` is not one number.
pub fn scale(tensors: &[Tensor], factor: &Tensor) -> Result<(), Error> {
    // SAFETY: an array of so many pointers to live tensors, and one more.
    unsafe {
        let pointers = ffi::pointers(tensors);
        let message = ffi::torch_ext_scale(pointers.as_ptr(), tensors.len(), factor.as_ptr());
        ffi::check("scale", message)
    }
}

/// Brings every tensor of `from` in place a share of the way to its counterpart in `to`.
///
/// # Errors
/// If the lists do not fit together or a tensor is undefined.
pub fn lerp(from: &[Tensor], to: &[Tensor], share: f64) -> Result<(), Error> {
    if to.len() != from.len() {
        return Err(Error::Length { list: "to", expected: from.len(), got: to.len() });
    }
    // SAFETY: two arrays of so many pointers to live tensors.
    unsafe {
        let (from, to) = (ffi::pointers(from), ffi::pointers(to));
        let message = ffi::torch_ext_lerp(from.as_ptr(), to.as_ptr(), from.len(), share);
        ffi::check("lerp", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(tch::Kind::Double).flatten(0, -1)).expect("a flat tensor")
    }

    #[test]
    fn norms_are_those_of_all_values() {
        let tensors =
            [Tensor::from_slice(&[3.0f32, 0.0]), Tensor::from_slice(&[[4.0f32], [12.0]].concat())];
        assert_eq!(values(&norm(&tensors).unwrap()), [13.0]);
        scale(&tensors, &Tensor::from(0.5f32)).unwrap();
        assert_eq!(values(&tensors[1]), [2.0, 6.0]);
        assert!(norm(&[]).is_err() && norm(&[Tensor::new()]).is_err());
        assert!(scale(&tensors, &Tensor::from_slice(&[1.0f32, 2.0])).is_err());
    }

    #[test]
    fn averages_go_a_share_of_the_way() {
        let average = [Tensor::from_slice(&[0.0f32, 8.0]), Tensor::from(4.0f32)];
        let trained = [Tensor::from_slice(&[4.0f32, 0.0]), Tensor::from(4.0f32)];
        lerp(&average, &trained, 0.25).unwrap();
        assert_eq!(values(&average[0]), [1.0, 6.0]);
        assert_eq!(values(&average[1]), [4.0]);
        lerp(&[], &[], 0.5).unwrap();
        let error = lerp(&average, &trained[..1], 0.5).unwrap_err().to_string();
        assert_eq!(error, "to has 1 tensors for 2 parameters");
        assert!(lerp(&average, &[Tensor::new(), Tensor::new()], 0.5).is_err());
    }

    #[test]
    fn cleared_gradients_are_not_added_to() {
        let x = Tensor::from_slice(&[1.0f32, 2.0]).set_requires_grad(true);
        let untouched = Tensor::from(1.0f32).set_requires_grad(true);
        let both = [x.shallow_clone(), untouched.shallow_clone()];
        for _ in 0..2 {
            clear_gradients(&both).unwrap();
            assert!(!x.grad().defined());
            (&x * &x).sum(tch::Kind::Float).backward();
            assert_eq!(values(&x.grad()), [2.0, 4.0]);
        }
        assert!(!untouched.grad().defined());
        assert!(clear_gradients(&[Tensor::new()]).is_err());
    }
}
