//! Progress of a long action: a bar on a terminal, plain lines elsewhere. Both go to standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::{IsTerminal, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(15);

static PLAIN: AtomicBool = AtomicBool::new(false);

/// Reports in lines even on a terminal, for a process that shares it with others.
pub fn plain() {
    PLAIN.store(true, Ordering::Relaxed);
}

fn draws_bars() -> bool {
    !PLAIN.load(Ordering::Relaxed) && std::io::stderr().is_terminal()
}

/// Reports the progress of one action.
#[derive(Debug)]
pub struct Reporter {
    bar: Option<ProgressBar>,
    title: String,
    unit: &'static str,
    total: u64,
    /// Where this sitting began, for the rate.
    begun: (Instant, u64),
    last_line: Option<Instant>,
    message: String,
}

impl Reporter {
    /// Starts at `done` of `total` `unit`s.
    pub fn new(title: &str, unit: &'static str, done: u64, total: u64) -> Self {
        let bar = draws_bars().then(|| bar(title, unit, done, total));
        Self {
            bar,
            title: title.to_owned(),
            unit,
            total,
            begun: (Instant::now(), done),
            last_line: None,
            message: String::new(),
        }
    }

    /// Sets what stands behind the rate, such as the current losses.
    pub fn message(&mut self, message: String) {
        if let Some(bar) = &self.bar {
            bar.set_message(message.clone());
        }
        self.message = message;
    }

    /// `done` units are made.
    pub fn set(&mut self, done: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        // The first line waits too, so that short actions stay silent.
        let last = self.last_line.get_or_insert_with(Instant::now);
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            self.line(done);
        }
    }

    /// Ends the report.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, done: u64) {
        let (start, first) = self.begun;
        let rate = (done - first) as f64 / start.elapsed().as_secs_f64().max(1e-9);
        let left =
            Duration::from_secs((self.total.saturating_sub(done) as f64 / rate.max(1e-9)) as u64);
        let _ = writeln!(
            std::io::stderr(),
            "{}: {done} of {} {}, {rate:.1}/s, {} left {}",
            self.title,
            self.total,
            self.unit,
            indicatif::HumanDuration(left),
            self.message,
        );
    }
}

fn bar(title: &str, unit: &'static str, done: u64, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(4));
    let template = format!(
        "{{prefix:>16}} {{bar:30}} {{human_pos}}/{{human_len}} {unit} {{per_sec}} {{eta}} left {{msg}}"
    );
    bar.set_style(
        ProgressStyle::with_template(&template).expect("a constant template").progress_chars("━╸ "),
    );
    bar.set_prefix(title.to_owned());
    bar.set_position(done);
    bar.reset_eta();
    bar
}
