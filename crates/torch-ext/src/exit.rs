//! An end without farewells.

/// Ends the process with `code` at once: no destructors, no exit handlers.
///
/// [`std::process::exit`] runs those of libtorch, while other threads may still compute with what they take down: its
/// dispatcher, its allocator on the GPU.
pub fn exit_at_once(code: i32) -> ! {
    // SAFETY: asks nothing of the caller, and does not return.
    unsafe { libc::_exit(code) }
}
