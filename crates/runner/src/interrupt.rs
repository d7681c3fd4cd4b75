//! Ctrl-C: the first asks for a clean stop, the second ends the process at once.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

static ASKED: AtomicBool = AtomicBool::new(false);
static PARENT: OnceLock<u32> = OnceLock::new();

/// Exit code of a run that was interrupted: 128 + SIGINT.
pub const EXIT_INTERRUPTED: i32 = 130;

/// Starts listening for SIGINT and SIGTERM.
pub fn listen() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(EXIT_INTERRUPTED);
        }
    })
}

/// Treats the end of the parent process like a Ctrl-C, so that killing a run leaves no training behind.
pub fn follow_parent() {
    #[cfg(unix)]
    PARENT.get_or_init(std::os::unix::process::parent_id);
}

/// Whether to stop.
pub fn asked() -> bool {
    #[cfg(unix)]
    if PARENT.get().is_some_and(|&parent| std::os::unix::process::parent_id() != parent) {
        return true;
    }
    ASKED.load(Ordering::SeqCst)
}
