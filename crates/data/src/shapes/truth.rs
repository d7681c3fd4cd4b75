//! What is true of a set of images of scenes: whether each is possible, whether they are new, and how often they show what.
//!
//! Scores of generators estimate such things from features. Of scenes they are known: every image is [read](Recogniser),
//! and what was read is compared with the law that the data is drawn from. Only for `shapes`.

use super::{Law, Reading, Recogniser, Scene, attributes::attributes};
use crate::Scenes;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet};
use tch::Tensor;

/// Root mean squares, in levels, up to which an image may differ from a possible scene's picture and count as one. The
/// headline's is [`TOLERANCE`].
pub const TOLERANCES: [f64; 5] = [0.0, 4.0, 8.0, 16.0, 32.0];

/// The headline's tolerance: pictures of scenes that differ in a word are further apart, with rare exceptions, and noise
/// that the eye forgives stays below.
pub const TOLERANCE: f64 = 16.0;

/// Rows and columns of the grid that positions are counted on.
const POSITIONS: u8 = 4;

/// True scores of a set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrueScores {
    /// Images in the set.
    pub images: u64,
    /// Tolerance, and share of images that are within it of a possible scene's picture.
    pub validity_by_tolerance: Vec<(f64, f64)>,
    /// Share of images within [`TOLERANCE`] of a possible scene's picture: the valid ones.
    pub validity: f64,
    /// Share of images that are as near to a scene of the grammar that never comes up, such as a held-out combination.
    pub held_out: f64,
    /// Share of valid images whose scene is no training image's; none without a valid image.
    pub novelty: Option<f64>,
    /// Different scenes among valid images, over those expected in as many true images: 1 for a perfect model.
    pub coverage: f64,
    /// Total variation distance between generated and true frequencies of combinations of class, colour, background and
    /// size or relation and second shape; what is not valid is a combination of its own. Chance alone gives
    /// [`Truth::chance`].
    pub total_variation: f64,
    /// The same for each attribute of valid images.
    pub attributes: Vec<AttributeDistance>,
}

/// How far the frequencies of an attribute's values are from the true ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttributeDistance {
    /// Such as `background`.
    pub name: String,
    /// Total variation distance in [0, 1]; none without a valid image.
    pub total_variation: Option<f64>,
}

/// What is known of the images that models learn from.
#[derive(Debug)]
pub struct Truth {
    law: Law,
    recogniser: Recogniser,
    /// Scenes of the training images.
    train: HashSet<Scene>,
    /// True probability of every combination.
    cells: HashMap<Cell, f64>,
    /// True probability of each value of each attribute.
    marginals: Vec<(String, Vec<f64>)>,
    /// Probabilities of scenes, as bits, and how many scenes have each: a few thousand for ten million scenes.
    probabilities: BTreeMap<u64, u64>,
}

/// A combination of attributes: class, colour, background, size, relation and second shape.
type Cell = [i64; 6];

impl Truth {
    /// What is known of `scenes` at `side` pixels, when models see the pictures of `train`.
    pub fn new(scenes: Scenes, side: u32, train: &[Scene]) -> Self {
        let law = Law::new(scenes);
        let mut cells: HashMap<Cell, f64> = HashMap::new();
        let mut marginals: Vec<(String, Vec<f64>)> = attributes()
            .iter()
            .map(|attribute| (attribute.name.clone(), vec![0.0; attribute.values.len()]))
            .collect();
        marginals.push(("position".to_owned(), vec![0.0; usize::from(POSITIONS).pow(2)]));
        let mut probabilities: BTreeMap<u64, u64> = BTreeMap::new();
        for (scene, p) in law.support() {
            *cells.entry(cell(&scene)).or_default() += p;
            *probabilities.entry(p.to_bits()).or_default() += 1;
            for ((_, marginal), value) in marginals.iter_mut().zip(values(&scene)) {
                marginal[value as usize] += p;
            }
        }
        let train = train.iter().copied().collect();
        Self { law, recogniser: Recogniser::new(side), train, cells, marginals, probabilities }
    }

    /// The law of the images.
    pub fn law(&self) -> &Law {
        &self.law
    }

    /// Reads the scenes off images, u8 `[n, 3, side, side]` on the host.
    pub fn read(&self, images: &Tensor) -> Vec<Reading> {
        self.recogniser.read(images)
    }

    /// True scores of images that were read.
    ///
    /// # Panics
    /// Without an image.
    pub fn score(&self, readings: &[Reading]) -> TrueScores {
        assert!(!readings.is_empty(), "a set without an image");
        let n = readings.len() as f64;
        let share = |count: usize| count as f64 / n;
        let possible: Vec<Option<Scene>> = readings.iter().map(|r| self.possible(r)).collect();
        let valid: Vec<Scene> = possible
            .iter()
            .zip(readings)
            .filter(|(_, reading)| reading.rms <= TOLERANCE)
            .filter_map(|(scene, _)| *scene)
            .collect();
        let within = |tolerance: f64| {
            let near = possible.iter().zip(readings);
            near.filter(|(scene, r)| scene.is_some() && r.rms <= tolerance).count()
        };
        let impossible = possible.iter().zip(readings);
        let held_out = impossible.filter(|(s, r)| s.is_none() && r.rms <= TOLERANCE).count();
        let new = valid.iter().filter(|scene| !self.train.contains(scene)).count();
        let different: HashSet<&Scene> = valid.iter().collect();
        TrueScores {
            images: readings.len() as u64,
            validity_by_tolerance: TOLERANCES.map(|t| (t, share(within(t)))).to_vec(),
            validity: share(valid.len()),
            held_out: share(held_out),
            novelty: (!valid.is_empty()).then(|| new as f64 / valid.len() as f64),
            coverage: different.len() as f64 / self.expected_different(n),
            total_variation: self.total_variation(&valid, n),
            attributes: self.attributes(&valid),
        }
    }

    /// The total variation distance of combinations that `n` true images have on average: chance, and no fault.
    ///
    /// Of a combination of probability p, the mean absolute deviation of a binomial share (De Moivre; Diaconis & Zabell
    /// 1991, theorem 1).
    pub fn chance(&self, n: u64) -> f64 {
        self.cells.values().map(|&p| mean_deviation(n, p)).sum::<f64>() / 2.0
    }

    /// Bits per dimension of exact pictures of possible scenes under the law: what no model can fall below on average over
    /// true images. None for any other image, whose probability is 0.
    pub fn bits_per_dim(&self, reading: &Reading) -> Option<f64> {
        let p: f64 = reading.scenes.iter().map(|scene| self.law.probability(scene)).sum();
        let dims = 3.0 * f64::from(self.recogniser.side()).powi(2);
        (reading.max == 0 && p > 0.0).then(|| -p.log2() / dims)
    }

    /// The most probable scene that was read, if it is possible.
    fn possible(&self, reading: &Reading) -> Option<Scene> {
        let p = |scene: &Scene| self.law.probability(scene);
        let likely = reading.scenes.iter().copied().max_by(|a, b| p(a).total_cmp(&p(b)))?;
        (p(&likely) > 0.0).then_some(likely)
    }

    /// Different scenes that `n` true images show on average.
    fn expected_different(&self, n: f64) -> f64 {
        let of = |(&bits, &count): (&u64, &u64)| {
            // 1 - (1 - p)^n without losing digits.
            count as f64 * -(n * (-f64::from_bits(bits)).ln_1p()).exp_m1()
        };
        self.probabilities.iter().map(of).sum()
    }

    fn total_variation(&self, valid: &[Scene], n: f64) -> f64 {
        let mut counts: HashMap<Cell, f64> = HashMap::new();
        for scene in valid {
            *counts.entry(cell(scene)).or_default() += 1.0;
        }
        let of_cell =
            |(cell, p): (&Cell, &f64)| (counts.get(cell).copied().unwrap_or(0.0) / n - p).abs();
        // Every valid scene is in a cell of positive probability; the rest of the images is in one of probability 0.
        let invalid = (n - valid.len() as f64) / n;
        (self.cells.iter().map(of_cell).sum::<f64>() + invalid) / 2.0
    }

    fn attributes(&self, valid: &[Scene]) -> Vec<AttributeDistance> {
        let mut counts: Vec<Vec<f64>> =
            self.marginals.iter().map(|(_, marginal)| vec![0.0; marginal.len()]).collect();
        for scene in valid {
            for (counts, value) in counts.iter_mut().zip(values(scene)) {
                counts[value as usize] += 1.0;
            }
        }
        let n = valid.len() as f64;
        let distance = |((name, marginal), counts): (&(String, Vec<f64>), Vec<f64>)| {
            let apart = counts.iter().zip(marginal).map(|(count, p)| (count / n - p).abs());
            let total_variation = (!valid.is_empty()).then(|| apart.sum::<f64>() / 2.0);
            AttributeDistance { name: name.clone(), total_variation }
        };
        self.marginals.iter().zip(counts).map(distance).collect()
    }
}

fn cell(scene: &Scene) -> Cell {
    let second = |value: Option<i64>| value.map_or(-1, |value| value);
    [
        scene.class() as i64,
        scene.main.colour as i64,
        scene.background as i64,
        scene.main.size as i64,
        second(scene.second.map(|s| s.relation as i64)),
        second(scene.second.map(|s| s.object.shape as i64)),
    ]
}

/// The values of a scene's attributes, and the place of its main object on a grid.
fn values(scene: &Scene) -> impl Iterator<Item = i64> {
    let place = |coordinate: u8| i64::from(coordinate / (64 / POSITIONS));
    let position = place(scene.main.y) * i64::from(POSITIONS) + place(scene.main.x);
    scene.attributes().into_iter().chain([position])
}

/// E |X/n - p| of a binomial X: 2 v (1 - p) b(v) / n with v the least integer above n p, and b its probability.
fn mean_deviation(n: u64, p: f64) -> f64 {
    let (count, v) = (n as f64, (n as f64 * p).floor() + 1.0);
    if p <= 0.0 || p >= 1.0 {
        return 0.0;
    }
    let log_choose = ln_factorial(count) - ln_factorial(v) - ln_factorial(count - v);
    let log_b = log_choose + v * p.ln() + (count - v) * (-p).ln_1p();
    2.0 * v * (1.0 - p) * log_b.exp() / count
}

/// ln n!, by Stirling's series from 20 on: to 1e-12.
fn ln_factorial(n: f64) -> f64 {
    if n < 20.0 {
        return (1..=n as u64).map(|i| (i as f64).ln()).sum();
    }
    let series = 1.0 / (12.0 * n) - 1.0 / (360.0 * n.powi(3)) + 1.0 / (1260.0 * n.powi(5));
    n * n.ln() - n + 0.5 * (2.0 * std::f64::consts::PI * n).ln() + series
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        DataConfig, Dataset, Split,
        shapes::{Shapes, scene},
    };

    fn shapes(scenes: Scenes, n: u64) -> Shapes {
        let config = DataConfig {
            scenes,
            train_images: Some(n),
            test_images: Some(n),
            ..DataConfig::default()
        };
        Shapes::new(&config).expect("a valid configuration")
    }

    fn images(shapes: &Shapes, split: Split) -> Tensor {
        shapes.load(split).expect("a split").images
    }

    /// Every picture gives back its scene, or one with the same picture; so do held-out scenes.
    #[test]
    fn pictures_are_read_exactly() {
        let shapes = shapes(Scenes::All, 400);
        let recogniser = Recogniser::new(16);
        for split in [Split::Test, Split::HeldOut] {
            let scenes = shapes.scenes(split).expect("scenes");
            let readings = recogniser.read(&images(&shapes, split));
            for (scene, reading) in scenes.iter().zip(readings) {
                assert_eq!((reading.rms, reading.max), (0.0, 0), "{scene:?}");
                assert!(reading.scenes.contains(scene), "{scene:?} was read as {reading:?}");
            }
        }
    }

    #[test]
    fn noise_does_not_hide_the_words_of_a_scene() {
        let shapes = shapes(Scenes::All, 100);
        let set = images(&shapes, Split::Test);
        tch::manual_seed(0);
        let noise = Tensor::randn_like(&set.to_kind(tch::Kind::Float)) * 8.0;
        let noisy = (set.to_kind(tch::Kind::Float) + noise).round().clamp(0.0, 255.0);
        let readings = Recogniser::new(16).read(&noisy.to_kind(tch::Kind::Uint8));
        let scenes = shapes.scenes(Split::Test).expect("scenes");
        let words = |scene: &Scene| scene.attributes();
        let right = scenes.iter().zip(&readings).filter(|(s, r)| words(s) == words(&r.scenes[0]));
        assert!(right.count() >= 97);
        assert!(readings.iter().all(|r| r.rms > 3.0 && r.rms < 9.0), "{readings:?}");
    }

    #[test]
    fn true_images_score_as_they_should() {
        let n = 1000;
        let shapes = shapes(Scenes::Simple, n);
        let train = shapes.scenes(Split::Train).expect("scenes");
        let truth = Truth::new(Scenes::Simple, 16, &train);
        let readings = truth.read(&images(&shapes, Split::Test));
        let scores = truth.score(&readings);
        assert_eq!((scores.validity, scores.held_out), (1.0, 0.0));
        assert_eq!(scores.validity_by_tolerance[0], (0.0, 1.0));
        assert!((scores.coverage - 1.0).abs() < 0.03, "{scores:?}");
        assert!((scores.total_variation / truth.chance(n) - 1.0).abs() < 0.25, "{scores:?}");
        assert!(scores.attributes.iter().all(|a| a.total_variation.unwrap() < 0.05), "{scores:?}");
        let bits: Vec<f64> = readings.iter().filter_map(|r| truth.bits_per_dim(r)).collect();
        let mean = bits.iter().sum::<f64>() / n as f64;
        assert_eq!(bits.len() as u64, n);
        assert!(mean > 0.01 && mean < 0.03, "{mean}");

        // Copies are valid, and none of them is new.
        let copies = truth.score(&truth.read(&images(&shapes, Split::Train)));
        assert_eq!((copies.validity, copies.novelty), (1.0, Some(0.0)));
        assert!(scores.novelty.unwrap() > 0.8);
    }

    #[test]
    fn faults_are_seen() {
        let simple = shapes(Scenes::Simple, 300);
        let truth = Truth::new(Scenes::Simple, 16, &[]);
        // One class, one scene, other scenes, no scene.
        let test = images(&simple, Split::Test);
        let one =
            truth.score(&truth.read(&test.narrow(0, 0, 1).expand([300, 3, 16, 16], false).copy()));
        assert_eq!(one.validity, 1.0);
        assert!(one.coverage < 0.01 && one.total_variation > 0.9, "{one:?}");
        let held_out = truth.score(&truth.read(&images(&shapes(Scenes::All, 300), Split::HeldOut)));
        assert_eq!((held_out.validity, held_out.held_out), (0.0, 1.0));
        let noise = Tensor::randint(256, [50, 3, 16, 16], (tch::Kind::Uint8, tch::Device::Cpu));
        let noise = truth.score(&truth.read(&noise));
        assert_eq!((noise.validity, noise.held_out, noise.novelty), (0.0, 0.0, None));
        assert!((noise.total_variation - 1.0).abs() < 1e-9, "{noise:?}");
    }

    /// n = 3, p = 1/4: X is 0, 1, 2, 3 with 27, 27, 9, 1 of 64.
    #[test]
    fn mean_deviations_by_hand() {
        let want =
            (27.0 * 0.25 + 27.0 * (1.0 / 3.0 - 0.25) + 9.0 * (2.0 / 3.0 - 0.25) + 0.75) / 64.0;
        assert!((mean_deviation(3, 0.25) - want).abs() < 1e-12);
        assert!(
            (ln_factorial(25.0) - (1..=25).map(|i| f64::from(i).ln()).sum::<f64>()).abs() < 1e-10
        );
    }

    #[test]
    fn the_size_of_images_does_not_matter() {
        for side in [32, 64] {
            let mut pixels = vec![0; 3 * (side * side) as usize];
            let recogniser = Recogniser::new(side);
            for seed in 0..20 {
                let scene = scene(seed);
                super::super::render(&scene, side, &mut pixels);
                let side = i64::from(side);
                let image = Tensor::from_slice(&pixels).reshape([1, 3, side, side]);
                assert!(recogniser.read(&image)[0].scenes.contains(&scene), "{scene:?} at {side}");
            }
        }
    }
}
