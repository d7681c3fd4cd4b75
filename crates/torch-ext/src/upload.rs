//! The way of numbers from the host to a device (tch's own pins with a warning on every call).

use crate::{Error, ffi};
use tch::{Device, Tensor};

/// `tensor` on `device`, sharing storage if it is there already.
///
/// To a GPU it goes by pinned memory, which libtorch keeps until the copy is made. So the host goes on meanwhile, and the GPU has
/// the next work waiting when it is done with this.
///
/// # Panics
/// If there is no such device, or no memory for it there or here.
pub fn upload(tensor: &Tensor, device: Device) -> Tensor {
    if !device.is_cuda() || tensor.device() != Device::Cpu {
        return tensor.to_device(device);
    }
    // A copy has its tensor's strides, and one that shows few numbers many times cannot be written.
    let pinned = pin(&tensor.contiguous()).expect("memory of this process can be pinned");
    pinned.to_device_(device, tensor.kind(), true, false)
}

/// A copy in pinned memory.
fn pin(tensor: &Tensor) -> Result<Tensor, Error> {
    let mut pinned = std::ptr::null_mut();
    // SAFETY: a live tensor; without a message `pinned` is a new tensor that is ours.
    unsafe {
        ffi::check("pinning", ffi::torch_ext_pin(tensor.as_ptr(), &raw mut pinned))?;
        Ok(Tensor::from_ptr(pinned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_copied() {
        let tensor = Tensor::from_slice(&[1.0f32, 2.0]);
        assert_eq!(upload(&tensor, Device::Cpu).data_ptr(), tensor.data_ptr());
    }

    #[test]
    fn without_a_gpu_there_is_no_pinned_memory() {
        if !tch::Cuda::is_available() {
            let error = pin(&Tensor::from_slice(&[1.0f32])).unwrap_err().to_string();
            assert!(error.starts_with("pinning"), "{error}");
        }
    }
}
