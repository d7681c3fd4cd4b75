//! CUDA, opened at run time: a program links the CPU's libtorch only, so one binary serves machines with and without.

use crate::{Error, ffi, tf32};
use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};
use tch::Device;

/// What CUDA tensors need first, then what libtorch would later look for by bare name, which fails unless its folder is
/// on the loader's path. Opened here by full path, the bare name finds it.
const LIBRARIES: [&str; 3] = ["libtorch_cuda.so", "libtorch_cuda_linalg.so", "libcaffe2_nvrtc.so"];

/// Opens libtorch's CUDA libraries, from the folder of the libtorch_cpu in use.
///
/// Call it before anything asks about CUDA: libtorch answers the first such question for good. A success says that the
/// libraries are there, not that a device is: ask `tch::Cuda` after. From then on f32 is computed as f32 ([`crate::Tf32`]).
///
/// # Errors
/// [`Error::NoCuda`] if this libtorch was installed without CUDA, [`Error::NoDriver`] if the machine has no driver of
/// NVIDIA's, another if libtorch's libraries cannot be opened.
pub fn open_cuda() -> Result<(), Error> {
    let folder = libtorch_folder()?;
    let libraries = LIBRARIES.map(|name| folder.join(name));
    if !libraries[0].exists() {
        return Err(Error::NoCuda { missing: libraries[0].clone() });
    }
    // libcaffe2_nvrtc links the driver; asked first, the answer is clear and the big libraries stay closed.
    open(Path::new("libcuda.so.1")).map_err(|message| Error::NoDriver { message })?;
    for library in libraries.into_iter().filter(|library| library.exists()) {
        open(&library).map_err(|message| Error::OpenCuda { library, message })?;
    }
    tf32::set(false)?;
    Ok(())
}

/// Waits until `device` has done all that was asked of it. The CPU always has.
pub fn synchronize(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}

/// Whether the current CUDA device has arithmetic in bf16; `false` where CUDA is not open.
pub(crate) fn computes_in_bf16() -> bool {
    let mut computes = 0;
    // SAFETY: `computes` outlives the call.
    let told = unsafe {
        ffi::check("bf16 on CUDA", ffi::torch_ext_cuda_computes_in_bf16(&raw mut computes))
    };
    told.is_ok() && computes != 0
}

/// The most bytes that tensors have taken at once on a CUDA device; `None` where none have been there.
pub(crate) fn peak_bytes(index: usize) -> Option<u64> {
    let mut bytes = 0;
    // SAFETY: `bytes` outlives the call; an index that is no device's is an error.
    let told = unsafe {
        ffi::check(
            "memory of CUDA",
            ffi::torch_ext_cuda_peak_bytes(index.try_into().ok()?, &raw mut bytes),
        )
    };
    told.ok().and_then(|()| bytes.try_into().ok())
}

fn libtorch_folder() -> Result<PathBuf, Error> {
    // SAFETY: returns null or a string of its own for us to free.
    let path = unsafe { ffi::take_string(ffi::torch_ext_libtorch_cpu_path()) };
    let folder = path.as_deref().map(Path::new).and_then(Path::parent);
    folder.map(Path::to_owned).ok_or(Error::Unlocated)
}

/// Opens a library for as long as the process lives, or gives the loader's message.
fn open(library: &Path) -> Result<(), String> {
    let path = CString::new(library.as_os_str().as_bytes())
        .expect("no zero in a path of ours or the loader's");
    // SAFETY: the path ends in a zero; the library is libtorch's or the driver, made to be opened like this.
    unsafe { ffi::take_string(ffi::torch_ext_open_library(path.as_ptr())) }.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_is_found_where_it_was_loaded_from() {
        assert!(libtorch_folder().unwrap().join("libtorch_cpu.so").exists());
    }

    #[test]
    fn without_cuda_says_what_is_missing() {
        match (open_cuda(), libtorch_folder().unwrap().join("libtorch_cuda.so")) {
            (Ok(()) | Err(Error::NoDriver { .. }), library) => assert!(library.exists()),
            (Err(Error::NoCuda { missing }), library) => {
                assert_eq!(missing, library);
                assert!(!library.exists());
            }
            (Err(error), _) => panic!("{error}"),
        }
    }

    #[test]
    fn a_library_that_cannot_be_opened_says_why() {
        let message = open(Path::new("/nowhere/libnothing.so")).unwrap_err();
        assert!(message.starts_with("/nowhere/libnothing.so: "), "{message}");
    }

    #[test]
    fn without_cuda_nothing_is_known_of_a_device() {
        if tch::Cuda::is_available() {
            return;
        }
        assert!(!computes_in_bf16());
        assert_eq!(peak_bytes(0), None);
    }

    #[test]
    fn the_cpu_needs_no_waiting() {
        synchronize(Device::Cpu);
    }
}
