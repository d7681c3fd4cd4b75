//! What a training does every so many seconds, or at every such share of its plan.

use crate::config::Interval;
use std::time::{Duration, Instant};

/// Tells when it is time to do something again.
#[derive(Debug)]
pub enum Due {
    EverySteps(u64),
    Every { period: Duration, last: Instant },
}

impl Due {
    /// Due every so many seconds from now on, or at every such share of `steps`.
    pub fn new(interval: Interval, steps: u64) -> Self {
        match interval {
            Interval::Share(share) => Self::EverySteps(((share * steps as f64) as u64).max(1)),
            Interval::Seconds(seconds) => {
                // More seconds than a duration holds: never.
                let period = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
                Self::Every { period, last: Instant::now() }
            }
        }
    }

    /// Whether it is time after `step` steps; if so, the clock starts again.
    pub fn now(&mut self, step: u64) -> bool {
        match self {
            Self::EverySteps(steps) => step.is_multiple_of(*steps),
            Self::Every { period, last } => {
                let due = last.elapsed() >= *period;
                if due {
                    *last = Instant::now();
                }
                due
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_a_plan_are_multiples_of_a_number_of_steps() {
        let mut due = Due::new(Interval::Share(0.25), 10);
        let steps: Vec<u64> = (1..=10).filter(|&step| due.now(step)).collect();
        assert_eq!(steps, [2, 4, 6, 8, 10]);
        // Of less than a step: at every one.
        let mut due = Due::new(Interval::Share(0.01), 10);
        assert!((1..=10).all(|step| due.now(step)));
    }

    #[test]
    fn the_clock_starts_again_when_time_was_up() {
        let mut due = Due::new(Interval::Seconds(3600.0), 10);
        assert!(!due.now(1));
        let Due::Every { last, .. } = &mut due else { panic!("{due:?}") };
        *last -= Duration::from_secs(3600);
        assert!(due.now(2));
        assert!(!due.now(3));
        assert!(!Due::new(Interval::Seconds(1e300), 10).now(1));
    }
}
