//! What can go wrong in this crate.

use std::path::PathBuf;
use tch::{Device, Kind};

/// What can go wrong in this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// libtorch refused an operation.
    #[error("{operation}: {message}")]
    Torch {
        /// What was asked of it.
        operation: &'static str,
        /// What it said, without its backtrace.
        message: String,
    },
    /// Lists that run in parallel have different lengths.
    #[error("{list} has {got} tensors for {expected} parameters")]
    Length {
        /// The list that does not fit.
        list: &'static str,
        /// The number of parameters.
        expected: usize,
        /// The length of the list.
        got: usize,
    },
    /// Autocast knows CPU and CUDA, bfloat16 and half.
    #[error("autocast to {kind:?} on {device:?} is not supported")]
    Autocast {
        /// The device asked for.
        device: Device,
        /// The kind asked for; `None` is off.
        kind: Option<Kind>,
    },
    /// The libtorch in use was installed without CUDA.
    #[error("this libtorch has no CUDA: {} does not exist", missing.display())]
    NoCuda {
        /// The library that would be there.
        missing: PathBuf,
    },
    /// The machine has no driver for NVIDIA's GPUs.
    #[error("this machine has no NVIDIA driver: {message}")]
    NoDriver {
        /// What the loader said of the driver's library.
        message: String,
    },
    /// A library of CUDA's is there but cannot be opened.
    #[error("cannot open {}: {message}", library.display())]
    OpenCuda {
        /// The library.
        library: PathBuf,
        /// What the loader said.
        message: String,
    },
    /// The running libtorch cannot be located, so neither can its CUDA libraries.
    #[error("cannot tell where libtorch_cpu.so was loaded from")]
    Unlocated,
}
