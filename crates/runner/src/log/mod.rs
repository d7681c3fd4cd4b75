//! What training writes while it runs: `metrics.jsonl`, TensorBoard events, and progress for whoever watches.

mod events;
mod metrics;
mod progress;

pub use events::Events;
pub use metrics::{MetricsLog, Record};
pub use progress::{Reporter, plain};

/// Says something that a user should know and nothing depends on, on standard error.
pub fn note(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "note: {text}");
}
