//! Ctrl-C: the first asks for a clean stop, the second ends the process at once.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Exit code of a run that was interrupted: 128 + SIGINT.
pub const EXIT_INTERRUPTED: i32 = 130;

/// Starts listening for SIGINT and SIGTERM.
pub fn listen() -> Result<(), ctrlc::Error> {
    ctrlc::set_handler(|| {
        ASKED.store(true, Ordering::SeqCst);
        // Signals alone count: a parent that passes the first Ctrl-C on may be faster than the signal itself.
        static SIGNALLED: AtomicBool = AtomicBool::new(false);
        if SIGNALLED.swap(true, Ordering::SeqCst) {
            torch_ext::exit_at_once(EXIT_INTERRUPTED);
        }
    })
}

/// Treats the end of standard input like a Ctrl-C. The parent holds its other end: it ends when the parent closes it or,
/// however that happens, ends itself. So no stopped run leaves training behind.
pub fn follow_parent() {
    thread::spawn(|| {
        // An input that cannot be read has ended, too.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        ASKED.store(true, Ordering::SeqCst);
    });
}

/// Whether to stop.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}
