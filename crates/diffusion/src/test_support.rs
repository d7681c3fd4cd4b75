//! What the tests of several modules need.

use paragone_core::{DataSpec, ImageShape};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// libtorch's CPU generator is global and not thread-safe, so tests that draw from it take turns.
pub fn lock() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn spec(channels: i64, height: i64, width: i64) -> DataSpec {
    DataSpec {
        shape: ImageShape { channels, height, width },
        num_classes: 10,
        text: None,
        known_pixels: false,
        mean: -0.4,
        std: 0.7,
    }
}
