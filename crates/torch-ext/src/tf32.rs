//! TF32: f32 of which a CUDA GPU, from Ampere on, multiplies the first ten bits of mantissa only.

use crate::{Error, ffi};

/// TF32 allowed in convolutions and products of f32 on CUDA, until dropped: then what was before is restored.
///
/// A setting of the whole program, also of the threads that differentiate. libtorch begins with it allowed in convolutions;
/// [`crate::open_cuda`] ends that, so that f32 is f32 wherever nobody asks for less.
#[derive(Debug)]
#[must_use = "the setting ends where the guard is dropped"]
pub struct Tf32 {
    before: bool,
}

impl Tf32 {
    /// Allows TF32.
    ///
    /// # Errors
    /// If libtorch does not take the setting.
    pub fn allow() -> Result<Tf32, Error> {
        Ok(Tf32 { before: set(true)? })
    }
}

impl Drop for Tf32 {
    fn drop(&mut self) {
        // It was the setting before, so libtorch takes it again.
        let restored = set(self.before);
        debug_assert!(restored.is_ok(), "{restored:?}");
    }
}

/// Sets it for good, and says what was before.
pub(crate) fn set(allowed: bool) -> Result<bool, Error> {
    let mut before = 0;
    // SAFETY: `before` outlives the call.
    unsafe { ffi::check("TF32", ffi::torch_ext_tf32(allowed.into(), &mut before))? };
    Ok(before != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One test, for the setting is the program's.
    #[test]
    fn nests_and_restores() {
        let first = set(false).unwrap();
        {
            let _allowed = Tf32::allow().unwrap();
            {
                let _again = Tf32::allow().unwrap();
                assert!(set(true).unwrap());
            }
            assert!(set(true).unwrap());
            assert!(set(false).unwrap());
            assert!(!set(true).unwrap());
        }
        assert!(!set(first).unwrap());
    }
}
