//! Counting floating-point operations as libtorch performs them, whatever the model.

use crate::ffi;

/// Counts two operations for every multiply-add of matrix products, convolutions and fused attention, forward, backward
/// and double backward, on all threads of the process, from its start until it is stopped or dropped.
///
/// It counts what the kernels compute: products with padding and masked attention too, and in the backward pass of fused
/// attention the scores once more. It leaves out element-wise work, sums, normalisation, indexing, and cuDNN's and
/// oneDNN's recurrent layers. Several counters may run at once; each sees everything.
#[derive(Debug)]
#[must_use = "the count ends where the counter is dropped"]
pub struct FlopCounter {
    at_start: u64,
}

impl FlopCounter {
    /// Starts to count.
    pub fn start() -> FlopCounter {
        let mut at_start = 0;
        // SAFETY: `at_start` outlives the call.
        unsafe { ffi::check("FLOP counter", ffi::torch_ext_flops_start(&mut at_start)) }
            .expect("a callback is added");
        FlopCounter { at_start }
    }

    /// Stops, and returns the floating-point operations since the start.
    pub fn stop(self) -> f64 {
        let at_start = self.at_start;
        std::mem::forget(self);
        stop().wrapping_sub(at_start) as f64
    }
}

impl Drop for FlopCounter {
    fn drop(&mut self) {
        stop();
    }
}

/// Ends one counter's use of the callback. Returns the process's total.
fn stop() -> u64 {
    let mut total = 0;
    // SAFETY: `total` outlives the call.
    unsafe { ffi::check("FLOP counter", ffi::torch_ext_flops_stop(&mut total)) }
        .expect("a callback is removed");
    total
}
