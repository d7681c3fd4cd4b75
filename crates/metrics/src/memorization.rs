//! Memorization: are generated images nearer to the images a model was trained on than to others of the same kind?
//!
//! The nearest of many images is nearer than that of few, so the comparison is with as many training as held-out images:
//! Lopez-Paz & Oquab 2017 (a nearest-neighbour test of two samples) with the two samples of Meehan, Chaudhuri & Dasgupta 2020.
//! Where there are k times as many training images, a copy's original is among those compared in one draw of k only, and even
//! a set of copies has a share of no more than (1 + 1 / k) / 2. Copies are therefore also counted against all training images.
//!
//! On Fashion-MNIST, 5,000 images of which 0, 1, 10 and 100 % are copies have 1, 2, 11 and 100 % near-copies, in features and
//! in pixels. Copies shifted by a pixel need [`Space::ShiftedPixels`]. `examples/memorization_power.rs` makes the table.

use crate::{
    MetricError, Result, Space, draw_rows,
    nearest::{Nearest, nearest},
};
use paragone_core::mix;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

/// What the nearest real images say of memorization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memorization {
    /// Share of the images that are nearer to one of some training images than to any of as many held-out images, equal distances
    /// counting half, averaged over draws of them: 0.5 without memorization, 1 if every image is a copy of its own.
    pub nearer_to_train: f64,
    /// By what that share scatters, were training and held-out images drawn by lot: its standard error without memorization.
    ///
    /// From how many images each real one is the nearest of: a few real images that are near to all others, or many
    /// copies of one image, widen it. Draws are not independent, so their number does not narrow it.
    pub standard_error: f64,
    /// Standard errors from 0.5 to the share.
    pub z: f64,
    /// Share of the images suspiciously near to a training image: whose distance to the nearest of all training images over that to
    /// the nearest held-out image is less than for 99 % of the held-out images. A ratio, as blurred images are near to any.
    pub near_copies: f64,
    /// The same share of the held-out images, each compared with the others: 0.01, or less where so many are copies
    /// of training images that nothing can be nearer.
    pub near_copies_held_out: f64,
    /// Distances of the images to the nearest of as many training as held-out images, over all draws.
    pub to_train: Quantiles,
    /// Distances of the images to the nearest held-out image, over all draws.
    pub to_held_out: Quantiles,
    /// The images with the least ratios, most suspicious first.
    pub suspects: Vec<Suspect>,
}

/// A distance that 1, 10, 50, 90 and 99 % of images are within.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantiles(pub [f64; 5]);

/// An image with its nearest training and its nearest held-out image, among all of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Suspect {
    /// The image's row.
    pub image: i64,
    /// Row of the nearest training image.
    pub train: i64,
    /// Distance to it.
    pub train_distance: f64,
    /// Row of the nearest held-out image.
    pub held_out: i64,
    /// Distance to it.
    pub held_out_distance: f64,
}

/// Training and held-out images, ready for several sets to be compared with.
#[derive(Debug)]
pub struct MemorizationReference {
    space: Space,
    train: Groups,
    held_out: Groups,
    /// The ratio of distances that 1 % of held-out images are below.
    threshold: f64,
    /// The share of them that is.
    below: f64,
}

impl MemorizationReference {
    /// Prepares training and held-out images, or their features: what they are, `space` says. They are drawn into groups of
    /// as many of each by `seed`, every image into one at most.
    ///
    /// Takes memory for the pixels of a group as f32 and, for every image, of its nearest ones; time for as many
    /// distances as there are pairs of a held-out image and any other.
    ///
    /// # Errors
    /// [`MetricError::TooFew`] for no training image or less than two held-out ones; [`MetricError::Shape`] and
    /// [`MetricError::NotFinite`] for images or features that are not what `space` asks for.
    pub fn new(train: &Tensor, held_out: &Tensor, space: Space, seed: u64) -> Result<Self> {
        let ((n, _), m) = (space.check(train)?, check_like(space, held_out, train)?);
        for (what, needs, got) in [
            ("training images for memorization: it", 1, n),
            ("held-out images for memorization: it", 2, m),
        ] {
            if got < needs {
                return Err(MetricError::TooFew { what, needs, got });
            }
        }
        let size = n.min(m);
        let mut reference = Self {
            space,
            train: Groups::new(train, size, mix(&[seed, 0])),
            held_out: Groups::new(held_out, size, mix(&[seed, 1])),
            threshold: 0.0,
            below: 0.0,
        };
        let to_train = nearest_of_all(&reference.train.nearest(space, held_out));
        let ratios = ratios(&to_train, &nearest(space, held_out, held_out, true));
        reference.threshold = ratios.quantile_scalar(0.01, 0, false, "linear").double_value(&[]);
        reference.below = share_below(&ratios, reference.threshold);
        Ok(reference)
    }

    /// Images in a group: as many training as held-out images are compared.
    pub fn group_size(&self) -> i64 {
        self.train.size
    }

    /// Compares `images`, of the kind that training images are, and names the `suspects` most suspicious ones.
    ///
    /// # Errors
    /// [`MetricError::TooFew`] for no image, [`MetricError::Shape`] and [`MetricError::NotFinite`] as
    /// [`MemorizationReference::new`].
    pub fn score(&self, images: &Tensor, suspects: usize) -> Result<Memorization> {
        let n = check_like(self.space, images, &self.train.images)?;
        if n < 1 {
            return Err(MetricError::TooFew { what: "memorization", needs: 1, got: n });
        }
        let train = self.train.nearest(self.space, images);
        let held_out = self.held_out.nearest(self.space, images);
        // Groups of the same size, each in a draw at least once.
        let (t, h) = (self.train.full(), self.held_out.full());
        let draws: Vec<(&Nearest, &Nearest)> =
            (0..t.max(h)).map(|i| (&train[i % t], &held_out[i % h])).collect();
        let mean = |of: &dyn Fn(&Nearest, &Nearest) -> f64| {
            draws.iter().map(|(train, held_out)| of(train, held_out)).sum::<f64>()
                / draws.len() as f64
        };
        let share =
            mean(&|train, held_out| nearer(train, held_out).mean(Kind::Double).double_value(&[]));
        let error = mean(&|train, held_out| self.standard_error(train, held_out));
        let all = |groups: &[Nearest]| {
            quantiles(groups.iter().map(|group| group.distances.shallow_clone()).collect())
        };
        let (to_train, to_held_out) = (nearest_of_all(&train), nearest_of_all(&held_out));
        let ratios = ratios(&to_train, &to_held_out);
        Ok(Memorization {
            nearer_to_train: share,
            standard_error: error,
            z: if error > 0.0 { (share - 0.5) / error } else { 0.0 },
            near_copies: share_below(&ratios, self.threshold),
            near_copies_held_out: self.below,
            to_train: all(&train[..t]),
            to_held_out: all(&held_out[..h]),
            suspects: most_suspicious(&ratios, &to_train, &to_held_out, suspects),
        })
    }

    /// The standard deviation of the share of images nearer to train, over all ways to call half of the real images training
    /// images: that of a sum over half of the numbers of images that each real one is nearest to.
    fn standard_error(&self, train: &Nearest, held_out: &Nearest) -> f64 {
        let size = self.train.size;
        let nearer = nearer(train, held_out);
        // Of each real image: the images it is nearest to.
        let wins = |rows: &Tensor, weights: &Tensor, groups: &Groups| {
            rows.bincount(Some(weights), groups.images.size()[0]).square().sum(Kind::Double)
        };
        let squares = wins(&train.rows, &nearer, &self.train)
            + wins(&held_out.rows, &(-&nearer + 1.0), &self.held_out);
        let (n, all) = (nearer.size()[0] as f64, 2.0 * size as f64);
        let variance = (squares.double_value(&[]) - n * n / all) / (all - 1.0);
        (variance.max(0.0) * size as f64 / 2.0).sqrt() / n
    }
}

/// Images in random groups of one size, and a smaller one with those that are left.
#[derive(Debug)]
struct Groups {
    images: Tensor,
    /// i64 `[n]`.
    order: Tensor,
    size: i64,
}

impl Groups {
    fn new(images: &Tensor, size: i64, seed: u64) -> Self {
        let n = images.size()[0];
        Self { images: images.shallow_clone(), order: draw_rows(n, n, seed), size }
    }

    /// Groups of the full size: the first ones.
    fn full(&self) -> usize {
        (self.order.size()[0] / self.size) as usize
    }

    /// The nearest to each of `images` in every group. One group at a time is taken apart.
    fn nearest(&self, space: Space, images: &Tensor) -> Vec<Nearest> {
        self.order
            .split(self.size, 0)
            .iter()
            .map(|group| {
                let rows = group.to_device(self.images.device());
                let found = nearest(space, images, &self.images.index_select(0, &rows), false);
                Nearest { rows: group.index_select(0, &found.rows), ..found }
            })
            .collect()
    }
}

/// Checks images for being of the kind that `like` is. Returns how many there are.
fn check_like(space: Space, images: &Tensor, like: &Tensor) -> Result<i64> {
    let (n, shape) = space.check(images)?;
    if shape == like.size()[1..] {
        return Ok(n);
    }
    let text = |shape: &[i64]| {
        format!("[n, {}]", shape.iter().map(i64::to_string).collect::<Vec<_>>().join(", "))
    };
    Err(MetricError::Shape {
        what: "images to compare",
        expected: text(&like.size()[1..]),
        got: text(&shape),
    })
}

/// The nearest among all groups.
fn nearest_of_all(groups: &[Nearest]) -> Nearest {
    let stacked = |of: &dyn Fn(&Nearest) -> Tensor| {
        Tensor::stack(&groups.iter().map(of).collect::<Vec<_>>(), 0)
    };
    let (distances, group) = stacked(&|nearest| nearest.distances.shallow_clone()).min_dim(0, true);
    let rows = stacked(&|nearest| nearest.rows.shallow_clone()).gather(0, &group, false);
    Nearest { distances: distances.squeeze_dim(0), rows: rows.squeeze_dim(0) }
}

/// 1 where train is nearer, 0 where held-out is, 0.5 where neither: f64 `[n]`.
fn nearer(train: &Nearest, held_out: &Nearest) -> Tensor {
    ((&held_out.distances - &train.distances).sign() + 1.0) * 0.5
}

/// Distances to train over those to held-out; 1 where both are zero.
fn ratios(train: &Nearest, held_out: &Nearest) -> Tensor {
    let ratios = &train.distances / &held_out.distances;
    ratios.nan_to_num(1.0, f64::MAX, f64::MIN)
}

fn share_below(ratios: &Tensor, threshold: f64) -> f64 {
    ratios.lt(threshold).to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
}

fn quantiles(distances: Vec<Tensor>) -> Quantiles {
    let sorted = Tensor::cat(&distances, 0).sort(0, false).0;
    let last = (sorted.size()[0] - 1) as f64;
    Quantiles(
        [0.01, 0.1, 0.5, 0.9, 0.99].map(|q| sorted.double_value(&[(q * last).round() as i64])),
    )
}

fn most_suspicious(
    ratios: &Tensor,
    train: &Nearest,
    held_out: &Nearest,
    count: usize,
) -> Vec<Suspect> {
    let order = ratios.argsort_stable(true, 0, false);
    let order = order.narrow(0, 0, order.size()[0].min(count as i64)).to_device(Device::Cpu);
    let suspect = |image: i64| Suspect {
        image,
        train: train.rows.int64_value(&[image]),
        train_distance: train.distances.double_value(&[image]),
        held_out: held_out.rows.int64_value(&[image]),
        held_out_distance: held_out.distances.double_value(&[image]),
    };
    order.iter::<i64>().expect("rows are whole numbers").map(suspect).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::features;

    /// 900 training, 300 held-out and 300 further images, and of these with so many replaced by training images.
    fn with_copies(copies: i64) -> (Memorization, Vec<i64>) {
        let (train, held_out) = (features(900, 6, 0), features(300, 6, 1));
        let reference = MemorizationReference::new(&train, &held_out, Space::Features, 0).unwrap();
        assert_eq!(reference.group_size(), 300);
        let rows = draw_rows(900, copies, 5);
        let images = Tensor::cat(&[train.index_select(0, &rows), features(300 - copies, 6, 2)], 0);
        (reference.score(&images, 5).unwrap(), Vec::try_from(rows).unwrap())
    }

    #[test]
    fn more_copies_are_more_memorization() {
        let [none, few, some, all] = [0, 3, 30, 300].map(with_copies);
        assert!(none.0.z.abs() < 2.5 && none.0.near_copies < 0.03, "{none:?}");
        // Every third draw has a given copy's original.
        assert!(few.0.near_copies > none.0.near_copies, "{few:?}");
        assert!(some.0.near_copies >= 0.1 && some.0.nearer_to_train > none.0.nearer_to_train);
        assert!(all.0.near_copies == 1.0 && all.0.z > 4.0, "{all:?}");
        for (result, rows) in [&few, &some, &all] {
            let suspect = result.suspects[2];
            assert_eq!(suspect.train_distance, 0.0);
            assert_eq!(suspect.train, rows[suspect.image as usize]);
            assert!(suspect.held_out_distance > 0.0);
        }
    }

    /// Points on a line: distances, ties and shares by hand.
    #[test]
    fn four_points_by_hand() {
        let line = |x: &[f32]| Tensor::from_slice(x).reshape([-1, 1]);
        let (train, held_out) = (line(&[0.0, 10.0]), line(&[2.0, 13.0]));
        let reference = MemorizationReference::new(&train, &held_out, Space::Features, 0).unwrap();
        // 0 is a copy; 1 lies between 0 and 2; 13 is held-out; 11 is nearer to 10.
        let result = reference.score(&line(&[0.0, 1.0, 13.0, 11.0]), 1).unwrap();
        assert_eq!(result.nearer_to_train, 2.5 / 4.0);
        // The real images are nearest to 1.5, 1, 0.5 and 1 of them: the sums of every two, which might be the training images.
        let halves = [1.5 + 1.0, 1.5 + 0.5, 1.5 + 1.0, 1.0 + 0.5, 1.0 + 1.0, 0.5 + 1.0f64];
        let variance = halves.iter().map(|half| (half / 4.0 - 0.5).powi(2)).sum::<f64>() / 6.0;
        assert!((result.standard_error - variance.sqrt()).abs() < 1e-12);
        assert!((result.z - 0.125 / variance.sqrt()).abs() < 1e-12);
        let first = Suspect {
            image: 0,
            train: 0,
            train_distance: 0.0,
            held_out: 0,
            held_out_distance: 2.0,
        };
        assert_eq!(result.suspects, [first]);
    }

    /// One image a thousand times is one piece of evidence.
    #[test]
    fn a_collapsed_set_proves_nothing() {
        let (train, held_out) = (features(300, 6, 0), features(300, 6, 1));
        let reference = MemorizationReference::new(&train, &held_out, Space::Features, 0).unwrap();
        let image = features(1, 6, 2).expand([1000, 6], false);
        let result = reference.score(&image, 0).unwrap();
        assert!((result.nearer_to_train - 0.5).abs() == 0.5 && result.z.abs() < 1.01, "{result:?}");
    }

    /// As often as not, images of the same kind are nearer to train: z is a standard normal number.
    #[test]
    fn z_is_calibrated() {
        let z: Vec<f64> = (0..40)
            .map(|seed| {
                let set = |which: u64| features(100, 4, 3 * seed + which);
                let (train, held_out) = (set(0), set(1));
                MemorizationReference::new(&train, &held_out, Space::Features, 0)
                    .and_then(|reference| reference.score(&set(2), 0))
                    .unwrap()
                    .z
            })
            .collect();
        let mean = z.iter().sum::<f64>() / 40.0;
        let variance = z.iter().map(|z| z * z).sum::<f64>() / 40.0;
        assert!(mean.abs() < 0.5 && (0.5..1.7).contains(&variance), "{mean} {variance}");
    }

    #[test]
    fn few_training_images_are_compared_with_as_few_held_out() {
        let (train, held_out) = (features(50, 4, 0), features(420, 4, 1));
        let reference = MemorizationReference::new(&train, &held_out, Space::Features, 0).unwrap();
        assert_eq!((reference.group_size(), reference.held_out.full()), (50, 8));
        let result = reference.score(&features(400, 4, 2), 0).unwrap();
        assert!(result.z.abs() < 3.0 && result.to_train.0[2] > 0.0, "{result:?}");
        assert!(reference.score(&train, 0).unwrap().z > 4.0);
    }

    #[test]
    fn what_cannot_be_compared_is_named() {
        let x = features(5, 4, 0);
        let of = |train: &Tensor, held_out: &Tensor, space| {
            MemorizationReference::new(train, held_out, space, 0)
        };
        let error = |result: Result<MemorizationReference>| result.unwrap_err().to_string();
        assert!(error(of(&x, &x.narrow(0, 0, 1), Space::Features)).contains("at least 2 images"));
        assert!(error(of(&x.narrow(0, 0, 0), &x, Space::Features)).contains("at least 1 images"));
        assert_eq!(
            error(of(&x, &features(5, 3, 0), Space::Features)),
            "images to compare must be [n, 4], but is [n, 3]"
        );
        assert!(error(of(&x, &x, Space::Pixels)).contains("Uint8"));
        assert!(error(of(&(&x / 0.0), &x, Space::Features)).contains("not finite"));
        let reference = of(&x, &x, Space::Features).unwrap();
        assert!(reference.score(&x.narrow(0, 0, 0), 0).is_err());
        assert!(reference.score(&features(5, 3, 0), 0).is_err());
    }

    /// Where held-out images are copies of training images, nothing is NaN and nothing is suspicious.
    #[test]
    fn equal_sets_are_defined() {
        let x = features(50, 4, 0);
        let reference = MemorizationReference::new(&x, &x, Space::Features, 0).unwrap();
        let result = reference.score(&x, 3).unwrap();
        assert_eq!((result.nearer_to_train, result.near_copies), (0.5, 0.0));
        assert!(result.z.abs() < 1e-6 && result.standard_error.is_finite(), "{result:?}");
        let same = x.narrow(0, 0, 1).expand([50, 4], false).contiguous();
        let reference = MemorizationReference::new(&same, &same, Space::Features, 0).unwrap();
        let result = reference.score(&same, 3).unwrap();
        assert_eq!((result.nearer_to_train, result.z, result.near_copies), (0.5, 0.0, 0.0));
    }
}
