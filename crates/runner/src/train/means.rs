//! What the steps since the last record say of themselves, on average.

use super::State;
use crate::log::Record;
use std::collections::BTreeMap;
use tch::Tensor;

/// Running sums of scalars, kept on the device between two records.
#[derive(Debug, Default)]
pub struct Means {
    /// Seconds that the steps took.
    pub seconds: f64,
    steps: u64,
    sums: BTreeMap<String, (Tensor, u64)>,
}

impl Means {
    /// Adds what a step says of itself; the values stay where they are.
    pub fn add(&mut self, scalars: Vec<(String, Tensor)>) {
        self.steps += 1;
        for (name, value) in scalars {
            match self.sums.get_mut(&name) {
                Some((sum, count)) => {
                    *sum += value;
                    *count += 1;
                }
                None => {
                    self.sums.insert(name, (value.detach().copy(), 1));
                }
            }
        }
    }

    /// Whether no step has been added since the last record.
    pub fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// The names whose sums are not finite. Waits for the device.
    pub fn not_finite(&self) -> Vec<String> {
        let bad = |sum: &Tensor| !sum.double_value(&[]).is_finite();
        self.sums.iter().filter(|(_, (sum, _))| bad(sum)).map(|(name, _)| name.clone()).collect()
    }

    /// The record of the steps since the last one, of `batch_size` images each. Waits for the device.
    pub fn take(&mut self, state: &State, batch_size: u64) -> Record {
        let mean = |(sum, count): (Tensor, u64)| sum.double_value(&[]) / count as f64;
        let taken = std::mem::take(self);
        Record {
            step: state.step,
            images: state.images,
            seconds: state.seconds,
            images_per_second: (taken.steps * batch_size) as f64 / taken.seconds.max(1e-9),
            scalars: taken.sums.into_iter().map(|(name, sum)| (name, mean(sum))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalars(values: &[(&str, f64)]) -> Vec<(String, Tensor)> {
        values.iter().map(|&(name, value)| (name.to_owned(), Tensor::from(value))).collect()
    }

    #[test]
    fn a_scalar_of_some_steps_is_averaged_over_these() {
        let mut means = Means::default();
        assert!(means.is_empty());
        means.add(scalars(&[("loss", 1.0), ("penalty", 4.0)]));
        means.add(scalars(&[("loss", 2.0)]));
        means.seconds = 0.5;
        let state = State { step: 7, images: 56, ..State::default() };
        let record = means.take(&state, 8);
        let want = [("loss".to_owned(), 1.5), ("penalty".to_owned(), 4.0)];
        assert_eq!(record.scalars, BTreeMap::from(want));
        assert_eq!((record.step, record.images, record.images_per_second), (7, 56, 32.0));
        assert!(means.is_empty() && means.seconds == 0.0);
    }

    #[test]
    fn what_is_not_finite_is_named() {
        let mut means = Means::default();
        means.add(scalars(&[("a", f64::NAN), ("b", 1.0), ("c", 0.0)]));
        means.add(scalars(&[("a", 1.0), ("b", 1.0), ("c", f64::INFINITY)]));
        assert_eq!(means.not_finite(), ["a", "c"]);
    }
}
