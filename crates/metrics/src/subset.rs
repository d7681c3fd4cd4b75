//! Deterministic draws of rows without replacement.

use paragone_core::mix;
use tch::Tensor;

/// `k` different rows out of `0..n` in random order, i64 `[k]`: a pure function of its arguments on every machine.
///
/// # Panics
/// If `k > n`.
pub fn draw_rows(n: i64, k: i64, seed: u64) -> Tensor {
    assert!(k <= n, "cannot draw {k} different rows from {n}");
    // The first k steps of a Fisher-Yates shuffle.
    let mut rows: Vec<i64> = (0..n).collect();
    for i in 0..k as usize {
        rows.swap(i, i + below(n as u64 - i as u64, &[seed, i as u64]) as usize);
    }
    Tensor::from_slice(&rows[..k as usize])
}

/// A number in `0..bound` from 64 well-mixed bits; its bias, bound / 2^64, is beyond notice.
pub(crate) fn below(bound: u64, parts: &[u64]) -> u64 {
    ((u128::from(mix(parts)) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_different_and_all_come_up() {
        let rows = Vec::<i64>::try_from(draw_rows(100, 100, 3)).unwrap();
        let mut sorted = rows.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
        assert_ne!(rows, sorted);
    }

    #[test]
    fn fewer_rows_are_the_first_of_more() {
        assert!(draw_rows(50, 50, 1).narrow(0, 0, 7).equal(&draw_rows(50, 7, 1)));
        assert!(!draw_rows(50, 7, 1).equal(&draw_rows(50, 7, 2)));
    }

    /// Each of 10 rows is among 3 drawn with probability 0.3: 600 of 2,000 draws, standard deviation 20.
    #[test]
    fn rows_are_equally_likely() {
        let mut counts = [0i32; 10];
        for seed in 0..2000 {
            for row in Vec::<i64>::try_from(draw_rows(10, 3, seed)).unwrap() {
                counts[row as usize] += 1;
            }
        }
        assert!(counts.iter().all(|count| (count - 600).abs() < 90), "{counts:?}");
    }
}
