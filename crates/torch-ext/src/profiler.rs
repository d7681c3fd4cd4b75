//! Where the time goes, operator by operator, by libtorch's own profiler.

use crate::{Error, ffi};
use std::{ffi::CString, os::unix::ffi::OsStrExt, path::Path};
use tch::Device;

/// Records when each operator of this thread, and of the backward passes that it starts, began and ended and the shapes it took; on a GPU its kernels too.
///
/// There is one at a time. Recording takes some microseconds an operator.
#[derive(Debug)]
#[must_use = "the record ends where the profiler is dropped"]
pub struct Profiler(());

impl Profiler {
    /// Starts to record what is computed on the CPU, and on `device` if that is another.
    pub fn start(device: Device) -> Result<Profiler, Error> {
        // SAFETY: takes no pointer.
        unsafe { ffi::check("profiler", ffi::torch_ext_profiler_start(device.is_cuda().into()))? };
        Ok(Profiler(()))
    }

    /// Stops, and writes a trace (JSON, for <https://ui.perfetto.dev> and `chrome://tracing`) to `path`.
    pub fn stop(self, path: &Path) -> Result<(), Error> {
        let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Torch {
            operation: "profiler",
            message: "a path has a zero byte".to_owned(),
        })?;
        std::mem::forget(self);
        // SAFETY: `name` ends in a zero and outlives the call.
        unsafe { ffi::check("profiler", ffi::torch_ext_profiler_stop(name.as_ptr())) }
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        // SAFETY: null is no file. What goes wrong in throwing a record away is of no interest.
        let _ = unsafe { ffi::check("profiler", ffi::torch_ext_profiler_stop(std::ptr::null())) };
    }
}
