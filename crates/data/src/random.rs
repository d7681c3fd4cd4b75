//! A small random generator for what must be a pure function of a few numbers: SplitMix64 (Steele, Lea & Flood 2014).

use paragone_core::mix;

/// A stream of random values, fixed by the numbers it was made from.
#[derive(Debug, Clone)]
pub(crate) struct Random(u64);

impl Random {
    pub fn new(parts: &[u64]) -> Self {
        Self(mix(parts))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..n`. The bias is below n / 2^64 (Lemire 2019 without its rejection step).
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }

    /// Uniform in [0, 1), on a grid of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Any of `choices`, equally likely.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Any of `choices`, as likely as its weight; weights are positive and need not sum to one.
    pub fn weighted<T: Copy>(&mut self, choices: &[(T, f64)]) -> T {
        let total: f64 = choices.iter().map(|(_, weight)| weight).sum();
        let mut left = self.unit() * total;
        for &(choice, weight) in choices {
            if left < weight {
                return choice;
            }
            left -= weight;
        }
        choices[choices.len() - 1].0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs for state 1234567, as published with the reference implementation's test vectors.
    #[test]
    fn splitmix_known_answers() {
        let mut random = Random(1_234_567);
        let got: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(
            got,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn weights_are_kept() {
        let mut random = Random::new(&[3]);
        let n = 100_000;
        let hits = (0..n).filter(|_| random.weighted(&[(true, 3.0), (false, 1.0)])).count() as f64;
        // Standard error 0.0014.
        assert!((hits / f64::from(n) - 0.75).abs() < 0.006, "{hits}");
    }
}
