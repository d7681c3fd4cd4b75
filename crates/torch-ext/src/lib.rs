//! The thin bridge to what `tch` leaves out of libtorch: a fused AdamW, layers and losses of one pass each, operations on lists of
//! tensors, autocast on every device, TF32, copies to a device that nobody waits for, a FLOP counter, a profiler, CUDA opened at run
//! time, bytes shared without a copy, two facts about memory, and a way out.
//!
//! The only crate with `unsafe`. Its C++ side is in `cpp/`, one job a file; no C++ exception gets past it.

mod adamw;
mod autocast;
mod bytes;
mod cross_entropy;
mod cuda;
mod error;
mod exit;
mod ffi;
mod flops;
mod gate;
mod lists;
mod logistic_mixture;
mod memory;
mod norm_silu;
mod profiler;
mod tf32;
mod upload;

pub use adamw::AdamW;
pub use autocast::{Autocast, computes_in_bf16};
pub use bytes::{Bytes, map_file};
pub use cross_entropy::cross_entropy;
pub use cuda::{open_cuda, synchronize};
pub use error::Error;
pub use exit::exit_at_once;
pub use flops::FlopCounter;
pub use gate::bias_gate;
pub use lists::{clear_gradients, lerp, norm, scale};
pub use logistic_mixture::logistic_mixture;
pub use memory::{peak_memory_bytes, tune_allocator};
pub use norm_silu::norm_silu;
pub use profiler::Profiler;
pub use tf32::Tf32;
pub use upload::upload;

/// The largest difference of two tensors, over the largest value of the second.
#[cfg(test)]
fn largest_difference(a: &tch::Tensor, b: &tch::Tensor) -> f64 {
    let [a, b] = [a, b].map(|t| t.to_kind(tch::Kind::Double));
    ((a - &b).abs().max() / b.abs().max()).double_value(&[])
}
