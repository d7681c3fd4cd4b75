//! How long to train: a budget of images, seconds or FLOPs becomes a number of steps before step 0, and stays it.

use super::Trainer;
use crate::config::{Budget, Precision};
use anyhow::Result;
use paragone_core::{Batch, StepContext};
use serde::{Deserialize, Serialize};
use std::time::Instant;
use tch::Device;

/// The plan of one model's training, saved so that a resumed or repeated run is the same run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Optimiser steps to make.
    pub steps: u64,
    /// Images in a step.
    pub batch_size: u64,
    /// Multiply-adds times two of training, per image; measured on one cycle of phases and losses.
    pub flops_per_image: f64,
    /// Seconds per image that a budget in seconds was divided by; absent for other budgets.
    pub seconds_per_image: Option<f64>,
    /// Trained values.
    pub parameters: i64,
    /// Arithmetic, for this device: another device would round otherwise. Auto in plans from before it was written down.
    #[serde(default)]
    pub precision: Precision,
    /// CPU threads: sums differ between thread counts, so a resumed run needs the same.
    pub threads: i32,
    /// `cpu` or `cuda`.
    pub device: String,
    /// Version of libtorch: its kernels' sums differ, too.
    pub libtorch: String,
    /// Hash of the order in which images are shown.
    pub order_hash: String,
}

impl Plan {
    /// Images to see.
    pub fn images(&self) -> u64 {
        self.steps * self.batch_size
    }

    /// Images seen over images planned, before step `step`.
    pub fn progress(&self, step: u64) -> f64 {
        step as f64 / self.steps.max(1) as f64
    }
}

/// What throw-away steps showed.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Training FLOPs per image.
    pub flops_per_image: f64,
    /// Training seconds per image; 0 unless it was asked for.
    pub seconds_per_image: f64,
}

/// Steps before the timed ones, in which libtorch allocates and compiles.
const WARM_UP: u64 = 3;
/// Share of a budget in seconds, and most seconds, that timing may take.
const TIMING: (f64, f64) = (0.02, 10.0);

/// Steps timed at once, at least.
const FEWEST_TIMED: u64 = 4;
/// Longest cycle that is measured whole; what comes more seldom counts as if it came this often.
const LONGEST_CYCLE: u64 = 128;

/// Counts and, for a budget in seconds, times throw-away steps of a throw-away trainer over whole cycles of phases and losses.
pub fn measure(
    mut trainer: Trainer,
    budget: &Budget,
    device: Device,
    mut next_batch: impl FnMut() -> Batch,
) -> Result<Measured> {
    let cycle = trainer.phases().map(|phase| phase.every).fold(trainer.model().loss_cycle(), lcm);
    let cycle = cycle.min(LONGEST_CYCLE);
    let mut step = 0;
    let mut images = 0;
    let mut make = |trainer: &mut Trainer, steps: u64| -> Result<u64> {
        let mut seen = 0;
        for _ in 0..steps {
            let batch = next_batch();
            let context = StepContext { step, images, progress: 0.5 };
            trainer.step(&batch, &context)?;
            step += 1;
            seen += batch.len() as u64;
            images += batch.len() as u64;
        }
        torch_ext::synchronize(device);
        Ok(seen)
    };

    let counter = torch_ext::FlopCounter::start();
    let counted = make(&mut trainer, cycle)?;
    let flops_per_image = counter.stop() / counted as f64;
    let Budget::Seconds(seconds) = *budget else {
        return Ok(Measured { flops_per_image, seconds_per_image: 0.0 });
    };

    make(&mut trainer, WARM_UP)?;
    let limit = (TIMING.0 * seconds).min(TIMING.1);
    let start = Instant::now();
    let mut timings = Vec::new();
    while timings.is_empty() || start.elapsed().as_secs_f64() < limit {
        let begun = Instant::now();
        let seen = make(&mut trainer, FEWEST_TIMED.next_multiple_of(cycle))?;
        timings.push(begun.elapsed().as_secs_f64() / seen as f64);
    }
    Ok(Measured { flops_per_image, seconds_per_image: median(timings) })
}

/// The upper median: a hiccup of the machine moves it little.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Steps that a budget buys, at least one.
pub fn steps(budget: &Budget, batch_size: u64, measured: &Measured) -> u64 {
    let images = match *budget {
        Budget::Images(images) => return images.div_ceil(batch_size).max(1),
        Budget::Seconds(seconds) => seconds / measured.seconds_per_image,
        Budget::Flops(flops) => flops / measured.flops_per_image,
    };
    ((images / batch_size as f64).round() as u64).max(1)
}

fn lcm(a: u64, b: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    a / gcd(a, b) * b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_become_steps() {
        let measured = Measured { flops_per_image: 1e6, seconds_per_image: 0.01 };
        assert_eq!(steps(&Budget::Images(1000), 128, &measured), 8);
        assert_eq!(steps(&Budget::Seconds(12.8), 128, &measured), 10);
        assert_eq!(steps(&Budget::Flops(1.28e9), 128, &measured), 10);
        assert_eq!(steps(&Budget::Seconds(0.001), 128, &measured), 1);
    }

    #[test]
    fn a_hiccup_is_no_median() {
        assert_eq!(median(vec![0.3, 0.1, 9.0, 0.2]), 0.3);
        assert_eq!(median(vec![0.1]), 0.1);
    }

    #[test]
    fn cycles_are_whole() {
        assert_eq!(lcm(4, 6), 12);
        assert_eq!(lcm(1, 5), 5);
    }
}
