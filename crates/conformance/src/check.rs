use crate::Subject;
use anyhow::{Result, anyhow};
use paragone::families::{Entry, FAMILIES};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// One thing that every family must do.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// Name of the function.
    pub name: &'static str,
    /// Fails with what was expected and what was found.
    pub run: fn(&Subject) -> Result<()>,
}

/// A list of checks from the names of their functions.
macro_rules! checks {
    ($($check:ident),* $(,)?) => {
        &[$($crate::Check { name: stringify!($check), run: $check }),*]
    };
}
pub(crate) use checks;

/// A check that a family need not pass. One that it passes all the same is a failure: the waiver has to go.
#[derive(Debug, Clone, Copy)]
pub struct Waiver {
    /// Name of the family.
    pub family: &'static str,
    /// Name of the check.
    pub check: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// What is waived, of which family, and why.
const WAIVERS: &[Waiver] = &[];

/// A check that did not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Name of the family.
    pub family: &'static str,
    /// Name of the check.
    pub check: &'static str,
    /// What went wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {}", self.family, self.check, self.what)
    }
}

/// Runs checks over every registered family.
///
/// # Panics
/// With every failure, each naming family and check.
pub fn hold(checks: &[Check]) {
    assert!(!checks.is_empty() && !FAMILIES.is_empty(), "nothing to check");
    let failures: Vec<String> = FAMILIES
        .iter()
        .flat_map(|entry| failures(entry, checks, WAIVERS))
        .map(|failure| failure.to_string())
        .collect();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

/// Runs checks on one family. A panic is a failure too.
pub fn failures(entry: &'static Entry, checks: &[Check], waivers: &[Waiver]) -> Vec<Failure> {
    let _turn = turn();
    // The networks are so small that a second thread costs more than it does; and sums are then the same everywhere.
    tch::set_num_threads(1);
    let subject = Subject::new(entry);
    let outcome = |check: &Check| {
        let run = AssertUnwindSafe(|| (check.run)(&subject));
        let outcome = catch_unwind(run).unwrap_or_else(|panic| Err(anyhow!(message(&*panic))));
        let waived = waivers.iter().find(|w| w.family == entry.name && w.check == check.name);
        let what = match (outcome, waived) {
            (Ok(()), None) | (Err(_), Some(_)) => return None,
            (Ok(()), Some(waiver)) => format!("passes, but is waived: {}", waiver.reason),
            (Err(error), None) => format!("{error:#}"),
        };
        Some(Failure { family: entry.name, check: check.name, what })
    };
    checks.iter().filter_map(outcome).collect()
}

/// libtorch's generator of random numbers is one for all threads, and not safe to share.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("with no message");
    format!("panicked: {text}")
}
