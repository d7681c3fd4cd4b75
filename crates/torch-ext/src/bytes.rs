//! Bytes that tensors, loops and files share without a copy.

use std::{fs::File, io, ops::Deref, path::Path};
use tch::{Device, Kind, Tensor};

/// The bytes of a u8 tensor on the host, for loops on any thread.
///
/// They are the tensor's own memory: whoever writes to the tensor while this lives races with its readers.
#[derive(Debug)]
pub struct Bytes(Tensor);

// SAFETY: nothing but reading its bytes can be done with the tensor, which is neither resized nor freed meanwhile.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// The elements of `tensor` in row-major order; copied only if they do not lie so.
    ///
    /// # Panics
    /// If they are not u8 on the host.
    pub fn of(tensor: &Tensor) -> Self {
        assert_eq!((tensor.kind(), tensor.device()), (Kind::Uint8, Device::Cpu), "bytes, here");
        Self(tensor.contiguous())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let len = self.0.numel();
        if len == 0 {
            return &[];
        }
        // SAFETY: a contiguous tensor of this many bytes, which lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.0.data_ptr().cast(), len) }
    }
}

/// The bytes of a file, u8 `[len]`, mapped: read from it when they are first looked at, and taken out of memory by the
/// system when it is short of it. The mapping stays to the end of the process; writing to the tensor ends it at once, and so
/// does reading what somebody has cut off the file meanwhile.
///
/// # Errors
/// If the file cannot be opened or mapped; an empty one cannot.
pub fn map_file(path: &Path) -> io::Result<Tensor> {
    let file = File::open(path)?;
    // SAFETY: a mapping of memory that only the system's pages stand behind; the function's documentation says what others must
    // not do to the file.
    let map = Box::leak(Box::new(unsafe { memmap2::Mmap::map(&file)? }));
    let size = [map.len() as i64];
    // SAFETY: the mapping is never undone.
    Ok(unsafe { Tensor::from_blob(map.as_ptr(), &size, &[1], Kind::Uint8, Device::Cpu) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_the_tensor_itself() {
        let tensor = Tensor::from_slice(&[1u8, 2, 3, 4, 5, 6]).reshape([2, 3]);
        let bytes = Bytes::of(&tensor);
        assert_eq!(bytes.as_ptr().cast_mut().cast(), tensor.data_ptr());
        assert_eq!(*bytes, [1, 2, 3, 4, 5, 6]);
        assert_eq!(*Bytes::of(&tensor.tr()), [1, 4, 2, 5, 3, 6]);
        assert!(Bytes::of(&tensor.narrow(0, 0, 0)).is_empty());
    }

    #[test]
    fn a_mapped_file_reads_as_its_bytes() {
        let path = std::env::temp_dir().join(format!("torch-ext-bytes-{}", std::process::id()));
        std::fs::write(&path, [7, 8, 9]).unwrap();
        let mapped = map_file(&path).unwrap();
        assert_eq!(*Bytes::of(&mapped), [7, 8, 9]);
        assert_eq!(mapped.sum(Kind::Int64).int64_value(&[]), 24);
        std::fs::remove_file(&path).unwrap();
        assert!(map_file(&path).is_err());
    }
}
