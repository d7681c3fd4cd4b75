use crate::{dataset::hex, random::Random};
use sha2::{Digest, Sha256};

/// Counts up when the order of a seed changes.
const VERSION: u64 = 1;

/// The order in which training sees images: an infinite sequence of indices that depends on nothing but seed and length.
///
/// It is one permutation an epoch (Fisher–Yates from (seed, epoch)), so that every image is seen as often as any other
/// after each epoch, and image `k` of training can be found without going through those before its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    seed: u64,
    len: u32,
}

impl Order {
    /// The order of `len` images.
    ///
    /// # Panics
    /// If `len` is 0 or above 2^32 − 1.
    pub fn new(seed: u64, len: u64) -> Self {
        let len = u32::try_from(len).expect("fewer than 2^32 images");
        assert!(len > 0, "an order needs an image");
        Self { seed, len }
    }

    /// Number of images in an epoch.
    pub fn len(&self) -> u64 {
        u64::from(self.len)
    }

    /// Never: an order has an image.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Every index once, in the order of an epoch.
    pub fn permutation(&self, epoch: u64) -> Vec<u32> {
        let mut random = Random::new(&[VERSION, self.seed, epoch]);
        let mut indices: Vec<u32> = (0..self.len).collect();
        for last in (1..indices.len()).rev() {
            indices.swap(last, random.below(last + 1));
        }
        indices
    }

    /// Indices from image number `first` of training on, without end.
    pub fn from_image(&self, first: u64) -> Indices {
        let (epoch, offset) = (first / self.len(), first % self.len());
        Indices { order: *self, epoch, permutation: self.permutation(epoch), next: offset as usize }
    }

    /// SHA-256 of all that decides the order: version, seed and length, in hexadecimal.
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        hash.update("paragone order");
        for number in [VERSION, self.seed, self.len()] {
            hash.update(number.to_le_bytes());
        }
        hex(&hash.finalize())
    }
}

/// The indices of an [`Order`], from some image on.
#[derive(Debug, Clone)]
pub struct Indices {
    order: Order,
    epoch: u64,
    permutation: Vec<u32>,
    next: usize,
}

impl Iterator for Indices {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        if self.next == self.permutation.len() {
            self.epoch += 1;
            self.permutation = self.order.permutation(self.epoch);
            self.next = 0;
        }
        self.next += 1;
        Some(self.permutation[self.next - 1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_epoch_is_another_permutation() {
        let order = Order::new(7, 1000);
        let epochs: Vec<Vec<u32>> = (0..3).map(|epoch| order.permutation(epoch)).collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..1000));
        }
        assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
        assert_ne!(epochs[0], Order::new(8, 1000).permutation(0));
    }

    #[test]
    fn any_image_can_be_the_first() {
        let order = Order::new(3, 17);
        let all: Vec<u32> = order.from_image(0).take(100).collect();
        for first in [0, 1, 16, 17, 18, 51, 80] {
            let rest: Vec<u32> = order.from_image(first).take(20).collect();
            assert_eq!(rest, all[first as usize..first as usize + 20]);
        }
        assert_eq!(all[17..34], order.permutation(1));
    }

    /// Every image is equally likely at every place: chi-square over 24 places × 24 images.
    #[test]
    fn permutations_are_uniform() {
        let (n, epochs) = (24u32, 24_000u64);
        let order = Order::new(1, u64::from(n));
        let mut counts = vec![0f64; (n * n) as usize];
        for epoch in 0..epochs {
            for (place, image) in order.permutation(epoch).into_iter().enumerate() {
                counts[place * n as usize + image as usize] += 1.0;
            }
        }
        let want = epochs as f64 / f64::from(n);
        let chi_square: f64 = counts.iter().map(|c| (c - want).powi(2) / want).sum();
        let freedom = f64::from((n - 1) * (n - 1));
        assert!((chi_square - freedom).abs() < 4.0 * (2.0 * freedom).sqrt(), "{chi_square}");
    }

    #[test]
    fn hash_tells_orders_apart() {
        let hash = |seed, len| Order::new(seed, len).hash();
        assert_eq!(hash(1, 2), hash(1, 2));
        assert!(hash(1, 2) != hash(2, 1) && hash(1, 2) != hash(1, 3));
    }

    /// Pins the order itself: a change of it must count up `VERSION`.
    #[test]
    fn order_is_what_it_was() {
        assert_eq!(Order::new(0, 8).permutation(0), [4, 0, 1, 5, 3, 2, 7, 6]);
    }
}
