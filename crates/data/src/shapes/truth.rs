//! True scores of a set of images: no network, no features, but the distribution itself.
//!
//! Every image is matched with the nearest scene there is. It is valid if that scene's picture is within a tolerance, and
//! then it has a class, a colour, a place, a probability. So the share of impossible images, what was never in the
//! training set, how much of all there is was drawn, and how far the frequencies are off are counted, not estimated.
//! Beside every score that depends on the number of images stands what a sampler of the true distribution would get with
//! as many, on average.

use super::{
    frequency::{
        Aspect, divergence, ideal_divergence, ideal_total_variation, seen, total_variation,
    },
    recognise::{Match, Recogniser},
    render::render,
    scene::Scene,
};
use crate::Scenes;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// The tolerance of validity: an image is valid if the root of the mean squared difference from a scene's picture is no
/// more than this many levels.
///
/// It lies between what must pass and what must not, as `examples/recognise.rs` shows at 16 pixels. Every impossible image
/// of [`Corruption`](super::Corruption) (a colour or a background that does not exist, an object too many) is 9.7 levels
/// or more from all scenes. And normal noise of 12 levels, which takes an image 7.7 to 12.8 levels away, leaves the very
/// scene recognised in each of 1,562 images.
pub const TOLERANCE: f64 = 8.0;

/// The distance, as [`TOLERANCE`], up to which an image that need not be valid still shows which scene it means: normal
/// noise that takes images 24.7 levels away leaves all attributes of 99 % of them recognised at 16 pixels.
pub const RECOGNISABLE: f64 = 24.0;

/// Tolerances at which validity is reported; 0 asks for the very picture.
pub const TOLERANCES: [f64; 7] = [0.0, 2.0, 4.0, 8.0, 12.0, 16.0, 32.0];

/// A score beside that of a sampler of the true distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// Of these images.
    pub value: f64,
    /// Of as many images of the true distribution, on average.
    pub ideal: f64,
}

/// Share of images within a tolerance of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Validity {
    /// Root of the mean squared difference, in levels, that an image may have from a scene's picture.
    pub tolerance: f64,
    /// Share of images that have no more.
    pub share: f64,
}

/// What is true of a set of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrueScores {
    /// Images in the set.
    pub images: u64,
    /// The tolerance within which an image counts as valid in all that follows.
    pub tolerance: f64,
    /// Share of images that show a possible scene, held-out ones included.
    pub valid: f64,
    /// The same at other tolerances.
    pub validity: Vec<Validity>,
    /// Median over images of the root of the mean squared difference from the nearest scene, in levels.
    pub median_distance: f64,
    /// Share of images that show a scene of a held-out combination: possible, but of probability 0.
    pub held_out: f64,
    /// Share of valid images whose scene is not in the training set.
    pub novelty: Option<Beside>,
    /// Different scenes among the valid images, as a share of these.
    pub distinct: Option<Beside>,
    /// Share of the cells that have a probability of which some image was seen.
    pub cells: Beside,
    /// The probability of those cells together.
    pub coverage: Beside,
    /// Total variation from the true frequencies of the cells, with invalid and held-out images as cells of
    /// probability 0: between 0 and 1.
    pub total_variation: Beside,
    /// Kullback–Leibler divergence of the valid images' cells from the true ones in nats, held-out ones left out.
    pub divergence: Option<Beside>,
    /// Share of images within [`RECOGNISABLE`] of a scene.
    pub recognisable: f64,
    /// Total variation of each attribute among the recognisable images.
    pub attributes: Option<BTreeMap<String, Beside>>,
}

/// The known distribution that images are held against.
#[derive(Debug)]
pub struct Truth {
    recogniser: Recogniser,
    train: HashSet<Scene>,
    /// Probability that an image of the true distribution shows a training scene.
    train_mass: f64,
    cells: Vec<f64>,
    marginals: Vec<(Aspect, Vec<f64>)>,
}

impl Truth {
    /// The distribution of `scenes` in images of `side`² pixels, with the scenes that models were trained on.
    ///
    /// # Panics
    /// If `side` is none of 16, 32 and 64.
    pub fn new(side: u32, scenes: Scenes, train: &[Scene]) -> Self {
        let train: HashSet<Scene> = train.iter().copied().collect();
        let marginals = Aspect::MARGINALS.map(|a| (a, a.frequencies(scenes)));
        Self {
            recogniser: Recogniser::new(side, scenes),
            train_mass: train.iter().map(|scene| scenes.probability(scene)).sum(),
            train,
            cells: Aspect::Cell.frequencies(scenes),
            marginals: marginals.into(),
        }
    }

    /// What finds the scenes.
    pub fn recogniser(&self) -> &Recogniser {
        &self.recogniser
    }

    /// The true scores of images, given the scene nearest to each: [`Recogniser::nearest_of`].
    ///
    /// # Panics
    /// If there is no image.
    pub fn scores(&self, nearest: &[Match], tolerance: f64) -> TrueScores {
        assert!(!nearest.is_empty(), "no image has no score");
        let n = nearest.len() as u64;
        let share = |count: usize| count as f64 / n as f64;
        let mut distances: Vec<f64> =
            nearest.iter().map(|found| found.rms(self.recogniser.side())).collect();
        let valid: Vec<&Scene> = nearest
            .iter()
            .zip(&distances)
            .filter(|(_, distance)| **distance <= tolerance)
            .map(|(found, _)| &found.scene)
            .collect();
        let within = |tolerance: f64| distances.iter().filter(|d| **d <= tolerance).count();
        let validity = TOLERANCES
            .map(|tolerance| Validity { tolerance, share: share(within(tolerance)) })
            .into();
        distances.sort_by(f64::total_cmp);
        let recognisable: Vec<&Scene> = nearest
            .iter()
            .filter(|found| found.rms(self.recogniser.side()) <= tolerance.max(RECOGNISABLE))
            .map(|found| &found.scene)
            .collect();
        let held_out = valid.iter().filter(|scene| scene.is_held_out()).count();
        let counts = count(Aspect::Cell, &valid);
        let covered = |count: &f64, p: &f64| *count > 0.0 && *p > 0.0;
        let possible = self.cells.iter().filter(|p| **p > 0.0).count() as f64;
        let both = || counts.iter().zip(&self.cells);
        let expected = |f: &dyn Fn(f64) -> f64| self.cells.iter().map(|&p| f(p)).sum::<f64>();
        TrueScores {
            images: n,
            tolerance,
            valid: share(valid.len()),
            validity,
            median_distance: distances[distances.len() / 2],
            held_out: share(held_out),
            novelty: self.novelty(&valid),
            distinct: self.distinct(&valid),
            cells: Beside {
                value: both().filter(|(count, p)| covered(count, p)).count() as f64 / possible,
                ideal: expected(&|p| seen(n, p)) / possible,
            },
            coverage: Beside {
                value: both().filter(|(count, p)| covered(count, p)).map(|(_, p)| p).sum::<f64>()
                    + 0.0,
                ideal: expected(&|p| p * seen(n, p)),
            },
            total_variation: Beside {
                value: total_variation(&counts, n, &self.cells),
                ideal: ideal_total_variation(n, &self.cells),
            },
            divergence: divergence(&counts, &self.cells).map(|value| Beside {
                value,
                ideal: ideal_divergence((valid.len() - held_out) as u64, &self.cells),
            }),
            recognisable: share(recognisable.len()),
            attributes: self.attributes(&recognisable),
        }
    }

    /// Whether each completion shows a scene that its known pixels leave possible: one that has a probability, whose picture has the
    /// known pixels and is as near to the made ones as valid images are, the latter taken by themselves.
    ///
    /// `images`: red, green and blue planes of `side`² levels, one image after the other. `known`: for each pixel of each image
    /// whether it is known. Tolerances are roots of mean squared differences in levels.
    ///
    /// # Panics
    /// If there are not as many masks as images.
    pub fn possible_completions(
        &self,
        images: &[u8],
        known: &[bool],
        [of_known, of_made]: [f64; 2],
    ) -> Vec<bool> {
        let levels = self.recogniser.levels();
        assert_eq!(images.len(), 3 * known.len(), "a mask for each image");
        let images = images.par_chunks(levels).zip(known.par_chunks(levels / 3));
        let possible = |(image, known): (&[u8], &[bool])| {
            let number = known.iter().filter(|known| **known).count();
            let most = |tolerance: f64, pixels: usize| tolerance.powi(2) * (3 * pixels) as f64;
            let (of_known, of_made) = (most(of_known, number), most(of_made, known.len() - number));
            // Nothing farther away can be within both.
            let bound = (of_known + of_made) as u64;
            let mut picture = vec![0; levels];
            self.recogniser.within(image, |best| best.max(bound)).iter().any(|found| {
                render(&found.scene, self.recogniser.side(), &mut picture);
                let mut errors = [0.0; 2];
                for (i, (&a, &b)) in image.iter().zip(&picture).enumerate() {
                    errors[usize::from(!known[i % known.len()])] +=
                        f64::from(a.abs_diff(b)).powi(2);
                }
                let likely = self.recogniser.scenes().probability(&found.scene) > 0.0;
                likely && errors[0] <= of_known && errors[1] <= of_made
            })
        };
        images.map(possible).collect()
    }

    fn novelty(&self, valid: &[&Scene]) -> Option<Beside> {
        let new = valid.iter().filter(|scene| !self.train.contains(scene)).count();
        let value = new as f64 / valid.len() as f64;
        (!valid.is_empty()).then_some(Beside { value, ideal: 1.0 - self.train_mass })
    }

    fn distinct(&self, valid: &[&Scene]) -> Option<Beside> {
        let n = valid.len() as f64;
        let different = valid.iter().collect::<HashSet<_>>().len() as f64;
        let groups = self.recogniser.scenes().groups();
        let expected =
            groups.map(|group| group.count as f64 * seen(valid.len() as u64, group.probability));
        (n > 0.0).then(|| Beside { value: different / n, ideal: expected.sum::<f64>() / n })
    }

    fn attributes(&self, scenes: &[&Scene]) -> Option<BTreeMap<String, Beside>> {
        let n = scenes.len() as u64;
        let of = |(attribute, p): &(Aspect, Vec<f64>)| {
            let beside = Beside {
                value: total_variation(&count(*attribute, scenes), n, p),
                ideal: ideal_total_variation(n, p),
            };
            (attribute.name().to_owned(), beside)
        };
        (n > 0).then(|| self.marginals.iter().map(of).collect())
    }
}

fn count(attribute: Aspect, scenes: &[&Scene]) -> Vec<f64> {
    let mut counts = vec![0.0; attribute.num_values()];
    scenes.iter().for_each(|scene| counts[attribute.of(scene)] += 1.0);
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::{Corruption, PixelNoise, Source};

    fn train(scenes: Scenes) -> Vec<Scene> {
        (0..3000).map(|seed| scenes.draw(seed)).collect()
    }

    fn scores(truth: &Truth, train: &[Scene], corruption: Corruption, strength: f64) -> TrueScores {
        let source = Source { side: 16, scenes: truth.recogniser.scenes(), train };
        let images = corruption.images(&source, strength, 0, 600);
        truth.scores(&truth.recogniser.nearest_of(&images), TOLERANCE)
    }

    #[test]
    fn true_images_score_as_the_ideal() {
        let train = train(Scenes::All);
        let truth = Truth::new(16, Scenes::All, &train);
        let got = scores(&truth, &train, Corruption::PixelNoise, 0.0);
        assert_eq!((got.valid, got.validity[0].share, got.median_distance), (1.0, 1.0, 0.0));
        assert_eq!(got.held_out, 0.0);
        let near = |beside: Beside, tolerance: f64| {
            assert!((beside.value - beside.ideal).abs() < tolerance, "{beside:?}");
        };
        near(got.novelty.unwrap(), 0.01);
        near(got.distinct.unwrap(), 0.01);
        near(got.cells, 0.02);
        near(got.coverage, 0.04);
        near(got.total_variation, 0.03);
        near(got.divergence.unwrap(), 0.1);
        for (name, beside) in got.attributes.unwrap() {
            assert!(beside.value < 3.0 * beside.ideal, "{name}: {beside:?}");
        }
    }

    #[test]
    fn every_corruption_shows_where_it_should() {
        let train = train(Scenes::Simple);
        let truth = Truth::new(16, Scenes::Simple, &train);
        let of = |corruption, strength| scores(&truth, &train, corruption, strength);
        let noisy = of(Corruption::PixelNoise, 16.0);
        assert!(noisy.valid < 0.1 && noisy.validity[6].share > 0.99, "{noisy:?}");
        let memorised = of(Corruption::Memorised, 0.5);
        assert!((memorised.novelty.unwrap().value - 0.5).abs() < 0.06, "{memorised:?}");
        assert!((memorised.total_variation.value - memorised.total_variation.ideal).abs() < 0.03);
        let missing = of(Corruption::MissingClasses, 5.0).attributes.unwrap();
        assert!((missing["class"].value - 0.5).abs() < 0.04 && missing["background"].value < 0.06);
        let impossible = of(Corruption::Impossible, 0.3);
        assert!((impossible.valid - 0.7).abs() < 0.05, "{impossible:?}");
        assert!(impossible.total_variation.value > 0.3);
        let held_out = of(Corruption::HeldOut, 0.3);
        assert!((held_out.held_out - 0.3).abs() < 0.05 && held_out.valid == 1.0);
        let duplicates = of(Corruption::Duplicates, 100.0);
        assert!((duplicates.distinct.unwrap().value - 1.0 / 6.0).abs() < 0.01, "{duplicates:?}");
        assert!(duplicates.coverage.value < 0.8 && duplicates.coverage.ideal > 0.95);
        assert!(of(Corruption::Tilt, 4.0).attributes.unwrap()["class"].value > 0.3);
        assert!(of(Corruption::Blur, 0.9).valid < 0.2);
    }

    /// The lower half is made.
    #[test]
    fn completions_are_possible_by_what_is_known_of_them() {
        let truth = Truth::new(16, Scenes::All, &[]);
        let known: Vec<bool> = (0..256).map(|i| i < 128).collect();
        let picture = |scene: &Scene| {
            let mut picture = vec![0; 768];
            render(scene, 16, &mut picture);
            picture
        };
        let with_hole = |scene: &Scene, made: &dyn Fn(usize, u8) -> u8| -> Vec<u8> {
            let picture = picture(scene).into_iter().enumerate();
            picture.map(|(i, x)| if i % 256 < 128 { x } else { made(i, x) }).collect()
        };
        let possible =
            |image: &[u8]| truth.possible_completions(image, &known, [0.0, TOLERANCE]) == [true];
        for seed in 0..40 {
            let scene = Scenes::All.draw(seed);
            assert!(possible(&picture(&scene)));
            let off = |levels: u8| {
                possible(&with_hole(&scene, &|_, x| x.checked_add(levels).unwrap_or(x - levels)))
            };
            // 10 levels in half of an image are 7 in the whole of it.
            assert!(off(7) && !off(10));
            // The ground goes on as it began.
            let other = scene.background.level().wrapping_add(100);
            assert!(!possible(&with_hole(&scene, &|_, _| other)));
            // No scene has the known pixels.
            let mut image = picture(&scene);
            image[0] ^= 1;
            assert!(!possible(&image));
            assert!(!possible(&picture(&Scenes::All.draw_held_out(seed))));
        }
    }

    #[test]
    fn images_of_nothing_have_no_frequencies() {
        let truth = Truth::new(16, Scenes::Simple, &[]);
        let image = vec![90u8; 768];
        let got = truth.scores(&truth.recogniser.nearest_of(&image), TOLERANCE);
        assert_eq!(got.valid, 0.0);
        assert!((got.total_variation.value - 1.0).abs() < 1e-9, "{got:?}");
        assert_eq!(
            (got.novelty, got.distinct, got.divergence, got.attributes),
            (None, None, None, None)
        );
    }

    /// What [`TOLERANCE`] and [`RECOGNISABLE`] are chosen by. `examples/recognise.rs` has the whole measurement.
    #[test]
    fn tolerances_are_between_what_passes_and_what_must_not() {
        let recogniser = Recogniser::new(16, Scenes::All);
        let drawn: Vec<Scene> = (0..150).map(|seed| Scenes::All.draw(seed)).collect();
        let source = Source { side: 16, scenes: Scenes::All, train: &[] };
        let impossible = Corruption::Impossible.images(&source, 1.0, 3, 150);
        let least = recogniser.nearest_of(&impossible).iter().map(|m| m.squared_distance).min();
        assert!((least.unwrap() as f64 / 768.0).sqrt() > 1.15 * TOLERANCE);
        let recognised = |sigma: f64| {
            let noise = PixelNoise::new(sigma);
            let mut images = vec![0; 150 * 768];
            for (i, image) in images.chunks_mut(768).enumerate() {
                render(&drawn[i], 16, image);
                noise.apply(i as u64, image);
            }
            let found = recogniser.nearest_of(&images);
            let distance = found.iter().map(|m| m.rms(16)).sum::<f64>() / 150.0;
            let right = found.iter().zip(&drawn).filter(|(m, scene)| m.scene == **scene).count();
            (distance, right)
        };
        let (distance, right) = recognised(12.0);
        assert!(distance > TOLERANCE && right == 150, "{distance} {right}");
        let (distance, right) = recognised(29.4);
        assert!((distance - RECOGNISABLE).abs() < 1.0 && right > 140, "{distance} {right}");
    }
}
