//! Where the time goes, operator by operator, by libtorch's own profiler.

use crate::{Error, ffi};
use std::{
    ffi::CString,
    marker::PhantomData,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};
use tch::Device;

/// libtorch has one profiler.
static IN_USE: AtomicBool = AtomicBool::new(false);

/// Records when each operator of this thread, and of the backward passes that it starts, began and ended and the shapes it took; on a GPU its kernels too.
///
/// There is one at a time. Recording takes some microseconds an operator.
#[derive(Debug)]
#[must_use = "the record ends where the profiler is dropped"]
pub struct Profiler {
    /// It records the thread that started it, which has to stop it.
    _not_send: PhantomData<*const ()>,
}

impl Profiler {
    /// Starts to record what is computed on the CPU, and on `device` if that is another.
    ///
    /// # Errors
    /// If there is one already, or libtorch refuses.
    pub fn start(device: Device) -> Result<Profiler, Error> {
        if IN_USE.swap(true, Ordering::AcqRel) {
            let message = "libtorch has one profiler, which is in use".to_owned();
            return Err(Error::Torch { operation: "profiler", message });
        }
        // SAFETY: takes no pointer.
        let started = unsafe {
            ffi::check("profiler", ffi::torch_ext_profiler_start(device.is_cuda().into()))
        };
        started.inspect_err(|_| IN_USE.store(false, Ordering::Release))?;
        Ok(Profiler { _not_send: PhantomData })
    }

    /// Stops, and writes a trace (JSON, for <https://ui.perfetto.dev> and `chrome://tracing`) to `path`.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn stop(self, path: &Path) -> Result<(), Error> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Torch {
            operation: "profiler",
            message: "a path has a zero byte".to_owned(),
        })?;
        std::mem::forget(self);
        stop(Some(&path))
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        // What goes wrong in throwing a record away is of no interest.
        let _ = stop(None);
    }
}

/// Ends the recording; without a path it is thrown away.
fn stop(path: Option<&CString>) -> Result<(), Error> {
    let path = path.map_or(std::ptr::null(), |path| path.as_ptr());
    // SAFETY: null, or a string that ends in a zero and outlives the call.
    let stopped = unsafe { ffi::check("profiler", ffi::torch_ext_profiler_stop(path)) };
    IN_USE.store(false, Ordering::Release);
    stopped
}
