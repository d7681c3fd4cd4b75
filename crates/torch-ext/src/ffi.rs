//! The functions of `cpp/`, and the messages they return.

use crate::Error;
use std::ffi::{CStr, c_char};
use tch::Tensor;
use torch_sys::C_tensor;

/// The state of autocast for one kind of device on this thread. In C++: `AutocastState`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AutocastState {
    pub enabled: i32,
    pub kind: i32,
    pub cache: i32,
}

unsafe extern "C" {
    pub fn torch_ext_adamw(
        params: *const *mut C_tensor,
        grads: *const *mut C_tensor,
        exp_avgs: *const *mut C_tensor,
        exp_avg_sqs: *const *mut C_tensor,
        steps: *const *mut C_tensor,
        n: usize,
        skip: *const C_tensor,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> *mut c_char;
    pub fn torch_ext_autocast_emulate() -> *mut c_char;
    pub fn torch_ext_autocast_get(cuda: i32, state: *mut AutocastState) -> *mut c_char;
    pub fn torch_ext_autocast_set(cuda: i32, state: *const AutocastState) -> *mut c_char;
    pub fn torch_ext_flops_start(so_far: *mut u64) -> *mut c_char;
    pub fn torch_ext_flops_stop(so_far: *mut u64) -> *mut c_char;
    pub fn torch_ext_clear_gradients(tensors: *const *mut C_tensor, n: usize) -> *mut c_char;
    pub fn torch_ext_norm(
        tensors: *const *mut C_tensor,
        n: usize,
        norm: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub fn torch_ext_scale(
        tensors: *const *mut C_tensor,
        n: usize,
        factor: *const C_tensor,
    ) -> *mut c_char;
    pub fn torch_ext_lerp(
        from: *const *mut C_tensor,
        to: *const *mut C_tensor,
        n: usize,
        share: f64,
    ) -> *mut c_char;
    pub fn torch_ext_bias_gate(
        x: *const C_tensor,
        bias: *const C_tensor,
        sum: *mut *mut C_tensor,
        gated: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub fn torch_ext_cross_entropy(
        logits: *const C_tensor,
        targets: *const C_tensor,
        losses: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub fn torch_ext_logistic_mixture(
        params: *const C_tensor,
        levels: *const C_tensor,
        components: i64,
        low: f64,
        high: f64,
        log_probs: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub fn torch_ext_norm_silu(
        x: *const C_tensor,
        groups: i64,
        weight: *const C_tensor,
        bias: *const C_tensor,
        film: *const C_tensor,
        eps: f64,
        y: *mut *mut C_tensor,
    ) -> *mut c_char;
    pub fn torch_ext_profiler_start(cuda: i32) -> *mut c_char;
    pub fn torch_ext_profiler_stop(path: *const c_char) -> *mut c_char;
    pub fn torch_ext_pin(tensor: *const C_tensor, pinned: *mut *mut C_tensor) -> *mut c_char;
    pub fn torch_ext_tf32(allowed: i32, before: *mut i32) -> *mut c_char;
    pub fn torch_ext_libtorch_cpu_path() -> *mut c_char;
    pub fn torch_ext_open_library(path: *const c_char) -> *mut c_char;
    pub fn torch_ext_cuda_computes_in_bf16(computes: *mut i32) -> *mut c_char;
    pub fn torch_ext_cuda_peak_bytes(device: i32, bytes: *mut i64) -> *mut c_char;
}

/// Takes over a string that C++ allocated; null is none.
///
/// # Safety
/// `string` is null, or came from `malloc`, ends in a zero and is used by nobody else.
pub unsafe fn take_string(string: *mut c_char) -> Option<String> {
    if string.is_null() {
        return None;
    }
    // SAFETY: not null, so as the caller promises.
    unsafe {
        let owned = CStr::from_ptr(string).to_string_lossy().into_owned();
        libc::free(string.cast());
        Some(owned)
    }
}

/// Turns what a function of `cpp/` returned into a result.
///
/// # Safety
/// As for [`take_string`].
pub unsafe fn check(operation: &'static str, message: *mut c_char) -> Result<(), Error> {
    // SAFETY: the caller's promise is passed on.
    match unsafe { take_string(message) } {
        None => Ok(()),
        Some(message) => Err(Error::Torch { operation, message }),
    }
}

/// Pointers to the C++ tensors behind `tensors`, valid as long as these are.
pub fn pointers(tensors: &[Tensor]) -> Vec<*mut C_tensor> {
    tensors.iter().map(|tensor| tensor.as_ptr().cast_mut()).collect()
}
