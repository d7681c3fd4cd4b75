//! `shapes`: small scenes whose every attribute, caption and probability is known, drawn on the fly.

mod attributes;
mod captions;
mod corrupt;
mod density;
mod draw;
mod edits;
mod frequency;
mod grammar;
mod layout;
mod recognise;
mod render;
mod scene;
mod stencil;
mod truth;
mod world;

pub use attributes::attributes;
pub use captions::{Description, describe};
pub use corrupt::{Corruption, Source};
pub use density::{PixelNoise, TrueBits, log_probability, true_bits_per_dim};
pub use draw::{any_scene, held_out_scene, scene, scenes, simple_scene};
pub use edits::EditKind;
pub use frequency::Aspect;
pub use grammar::{Background, Colour, Relation, Shape, Size, Tone};
pub use recognise::{Match, Recogniser};
use render::coverage;
pub use render::render;
pub use scene::{HELD_OUT, HeldOut, NUM_CLASSES, Object, Scene, Second, class_names};
pub use truth::{Beside, RECOGNISABLE, TOLERANCE, TOLERANCES, TrueScores, Truth, Validity};

use crate::{DataConfig, DataError, Dataset, Edits, ImageSet, Scenes, Split, dataset::Parts};
use paragone_core::{Attribute, ImageShape, mix};
use rayon::prelude::*;
use tch::{Kind, Tensor};

/// Counts up when scenes, pictures or captions of a seed change, because then the data is other data.
const VERSION: u64 = 1;

/// Sizes of the splits unless the configuration says otherwise.
const TRAIN_IMAGES: u64 = 60_000;
const TEST_IMAGES: u64 = 10_000;

/// Images of a [lesson](Dataset::lesson), and the number of their stream of seeds, which no split draws from.
const LESSON_IMAGES: u64 = 60_000;
const LESSONS: u64 = 3;

/// The stream of seeds of edits.
const EDITS: u64 = 4;

/// The `shapes` data at one resolution.
#[derive(Debug, Clone)]
pub struct Shapes {
    side: u32,
    scenes: Scenes,
    noise: Option<PixelNoise>,
    parts: Parts,
    class_names: Vec<String>,
}

impl Shapes {
    /// The data that a configuration asks for.
    ///
    /// # Errors
    /// [`DataError::InvalidConfig`] if `size` is none of 16 (the default), 32 and 64.
    pub fn new(config: &DataConfig) -> Result<Self, DataError> {
        let side = config.size.unwrap_or(16);
        if ![16, 32, 64].contains(&side) {
            return Err(DataError::invalid("size", side, "must be 16, 32 or 64 for shapes"));
        }
        let parts = Parts::new(config);
        let noise = (config.pixel_noise > 0.0).then(|| PixelNoise::new(config.pixel_noise));
        let (side, scenes) = (side as u32, config.scenes);
        Ok(Self { side, scenes, noise, parts, class_names: class_names() })
    }

    /// The noise on every pixel, if there is some.
    pub fn noise(&self) -> Option<&PixelNoise> {
        self.noise.as_ref()
    }

    /// The scenes of a split, in the order of its images.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn scenes(&self, split: Split) -> Result<Vec<Scene>, DataError> {
        let seeds = self.seeds(split)?;
        let of: fn(u64) -> Scene = match (split, self.scenes) {
            (Split::HeldOut, Scenes::All) => held_out_scene,
            (Split::HeldOut, Scenes::Simple) => draw::simple_held_out_scene,
            (_, Scenes::All) => scene,
            (_, Scenes::Simple) => simple_scene,
        };
        Ok(seeds.into_par_iter().map(of).collect())
    }

    /// One seed an image; those of different splits are disjoint.
    fn seeds(&self, split: Split) -> Result<Vec<u64>, DataError> {
        let rows = match split {
            Split::Train | Split::Validation => {
                let train = self.parts.train_images.unwrap_or(TRAIN_IMAGES);
                self.parts.train_or_validation(self.name(), split, train)?
            }
            Split::Test | Split::HeldOut => 0..self.parts.test_images.unwrap_or(TEST_IMAGES),
        };
        let stream = match split {
            Split::Train | Split::Validation => 0,
            Split::Test => 1,
            Split::HeldOut => 2,
        };
        Ok(rows.map(|row| mix(&[VERSION, stream, row])).collect())
    }

    /// Seeds of a [lesson](Dataset::lesson): none is any split's, nor any other lesson's.
    fn lesson_seeds(number: u64) -> Vec<u64> {
        let rows = number * LESSON_IMAGES..(number + 1) * LESSON_IMAGES;
        rows.map(|row| mix(&[VERSION, LESSONS, row])).collect()
    }

    /// Pictures of scenes with everything that is known of them; a seed draws a picture's noise, another its caption.
    fn described(&self, scenes: &[Scene], seeds: &[u64], captions: &[u64]) -> ImageSet {
        let descriptions: Vec<Description> =
            scenes.par_iter().zip(captions).map(|(scene, &seed)| describe(scene, seed)).collect();
        let asked: Vec<i64> = scenes
            .iter()
            .zip(&descriptions)
            .flat_map(|(scene, description)| scene.asked(description))
            .flatten()
            .collect();
        let n = scenes.len() as i64;
        let asked = Tensor::from_slice(&asked).reshape([n, 2, -1]);
        let side = i64::from(self.side);
        let mut objects = vec![0; (n * side * side) as usize];
        let rows = objects.par_chunks_mut((side * side) as usize);
        rows.zip(scenes).for_each(|(row, scene)| coverage(&scene.main, self.side, row));
        let objects = Tensor::from_slice(&objects).reshape([n, 1, side, side]);
        let captions = descriptions.into_iter().map(|description| description.text).collect();
        self.picture(scenes, seeds, Some(captions)).with_asked(asked).with_objects(objects)
    }

    /// Pictures, classes and attributes of scenes; each scene's seed draws its noise.
    fn picture(&self, scenes: &[Scene], seeds: &[u64], captions: Option<Vec<String>>) -> ImageSet {
        let mut pixels = vec![0; scenes.len() * self.shape().numel() as usize];
        let rows = pixels.par_chunks_mut(self.shape().numel() as usize);
        rows.zip(scenes).zip(seeds).for_each(|((row, scene), seed)| {
            render(scene, self.side, row);
            if let Some(noise) = &self.noise {
                noise.apply(mix(&[*seed, 2]), row);
            }
        });
        let classes = scenes.iter().map(|scene| scene.class() as i64).collect();
        let values: Vec<i64> = scenes.iter().flat_map(Scene::attributes).collect();
        let values = Tensor::from_slice(&values).reshape([scenes.len() as i64, -1]);
        ImageSet::new(&pixels, self.shape(), Some(classes), captions).with_attributes(values)
    }
}

impl Dataset for Shapes {
    fn name(&self) -> &str {
        "shapes"
    }

    fn shape(&self) -> ImageShape {
        let side = i64::from(self.side);
        ImageShape { channels: 3, height: side, width: side }
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn load(&self, split: Split) -> Result<ImageSet, DataError> {
        let (scenes, seeds) = (self.scenes(split)?, self.seeds(split)?);
        let captions: Vec<u64> = seeds.iter().map(|seed| mix(&[*seed, 1])).collect();
        Ok(self.described(&scenes, &seeds, &captions))
    }

    fn has_captions(&self) -> bool {
        true
    }

    fn attributes(&self) -> Vec<Attribute> {
        attributes()
    }

    fn edits(&self, kind: EditKind, n: u64) -> Option<Edits> {
        if kind.needs_two() && self.scenes == Scenes::Simple {
            return None;
        }
        let seeds: Vec<u64> = (0..n).map(|row| mix(&[VERSION, EDITS, row])).collect();
        let pairs: Vec<(Scene, Scene, u64)> =
            seeds.par_iter().map(|&seed| kind.scenes(self.scenes, seed)).collect();
        let captions: Vec<u64> = pairs.iter().map(|(.., captions)| *captions).collect();
        let set = |of: fn(&(Scene, Scene, u64)) -> Scene| {
            self.described(&pairs.iter().map(of).collect::<Vec<_>>(), &seeds, &captions)
        };
        let (sources, targets) = (set(|pair| pair.0), set(|pair| pair.1));
        let differ = sources.images.not_equal_tensor(&targets.images).any_dim(1, true);
        let near = differ.to_kind(Kind::Float).max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false);
        Some(Edits { sources, targets, hole: near.neg() + 1.0 })
    }

    fn lesson(&self, number: u64) -> Option<ImageSet> {
        let seeds = Self::lesson_seeds(number);
        let scenes: Vec<Scene> = seeds.par_iter().map(|seed| any_scene(*seed)).collect();
        Some(self.picture(&scenes, &seeds, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn shapes(config: DataConfig) -> Shapes {
        Shapes::new(&config).expect("a valid configuration")
    }

    fn small() -> DataConfig {
        DataConfig { train_images: Some(7000), test_images: Some(300), ..DataConfig::default() }
    }

    #[test]
    fn loading_twice_gives_the_same_images() {
        let shapes = shapes(small());
        let (a, b) = (shapes.load(Split::Test).unwrap(), shapes.load(Split::Test).unwrap());
        assert_eq!(a.hash, b.hash);
        assert!(a.images.equal(&b.images));
        assert_eq!(a.captions, b.captions);
        assert_eq!(a.images.size(), [300, 3, 16, 16]);
        assert_ne!(a.hash, shapes.load(Split::HeldOut).unwrap().hash);
    }

    #[test]
    fn splits_have_disjoint_seeds() {
        let config = DataConfig { validation: true, ..DataConfig::default() };
        let shapes = shapes(config);
        let splits = [Split::Train, Split::Validation, Split::Test, Split::HeldOut];
        let seeds: Vec<Vec<u64>> = splits.iter().map(|s| shapes.seeds(*s).unwrap()).collect();
        assert_eq!(seeds.iter().map(Vec::len).collect::<Vec<_>>(), [55_000, 5_000, 10_000, 10_000]);
        let lessons: Vec<Vec<u64>> = (0..2).map(Shapes::lesson_seeds).collect();
        let all: HashSet<_> = seeds.iter().chain(&lessons).flatten().collect();
        assert_eq!(all.len(), 80_000 + 2 * 60_000);
    }

    #[test]
    fn validation_is_the_end_of_train() {
        let whole = shapes(small()).scenes(Split::Train).unwrap();
        let cut = shapes(DataConfig { validation: true, ..small() });
        assert_eq!(cut.scenes(Split::Train).unwrap(), whole[..2000]);
        assert_eq!(cut.scenes(Split::Validation).unwrap(), whole[2000..]);
        assert!(matches!(
            shapes(small()).load(Split::Validation),
            Err(DataError::NoSuchSplit { .. })
        ));
    }

    #[test]
    fn classes_are_equally_frequent() {
        let mut counts = [0f64; NUM_CLASSES];
        for scene in shapes(DataConfig::default()).scenes(Split::Train).unwrap() {
            counts[scene.class()] += 1.0;
        }
        // Binomial with mean 6,000 and standard deviation 73.
        assert!(counts.iter().all(|n| (n - 6000.0).abs() < 330.0), "{counts:?}");
    }

    #[test]
    fn simple_scenes_are_one_large_object_of_every_class() {
        let simple = shapes(DataConfig { scenes: Scenes::Simple, ..small() });
        let scenes = simple.scenes(Split::Train).unwrap();
        assert!(scenes.iter().all(|s| s.second.is_none() && s.main.size == Size::Large));
        assert!(scenes.iter().all(|s| !s.is_held_out()));
        let classes: HashSet<usize> = scenes.iter().map(Scene::class).collect();
        assert_eq!(classes.len(), NUM_CLASSES);
        let held_out = simple.scenes(Split::HeldOut).unwrap();
        assert!(held_out.iter().all(|s| s.is_simple() && s.is_held_out()));
    }

    #[test]
    fn attributes_come_with_the_images() {
        let shapes = shapes(small());
        let names = shapes.attributes();
        for split in [Split::Test, Split::HeldOut] {
            let set = shapes.load(split).unwrap();
            let labels = set.labels().unwrap();
            assert_eq!(labels.size(), [300, names.len() as i64]);
            assert!(labels.select(1, 0).equal(set.classes.as_ref().unwrap()));
        }
    }

    #[test]
    fn lessons_show_what_is_held_out_and_many_pairs() {
        let n = 20_000;
        let scenes: Vec<Scene> =
            Shapes::lesson_seeds(0).into_iter().take(n).map(any_scene).collect();
        let share = |of: fn(&Scene) -> bool| {
            scenes.iter().filter(|scene| of(scene)).count() as f64 / n as f64
        };
        // Binomial with standard deviation 0.0035.
        assert!((share(|scene| scene.second.is_some()) - 0.5).abs() < 0.015);
        assert!((0.1..0.2).contains(&share(Scene::is_held_out)));
        assert!(share(|scene| scene.is_held_out() && scene.second.is_none()) > 0.02);
    }

    #[test]
    fn noise_is_of_its_size_and_leaves_scenes_and_captions() {
        let (clean, noisy) = (shapes(small()), shapes(DataConfig { pixel_noise: 3.0, ..small() }));
        assert_eq!(clean.scenes(Split::Test).unwrap(), noisy.scenes(Split::Test).unwrap());
        let (clean, noisy) = (clean.load(Split::Test).unwrap(), noisy.load(Split::Test).unwrap());
        assert_eq!(clean.captions, noisy.captions);
        // On gray nothing is clamped: the first pixel of a row is background.
        let corner =
            |set: &ImageSet| set.images.select(3, 0).select(2, 0).to_kind(tch::Kind::Float);
        let (clean, noisy) = (corner(&clean), corner(&noisy));
        let apart = (noisy - &clean).masked_select(&clean.eq(128));
        let sigma = apart.std(true).double_value(&[]);
        assert!(apart.numel() > 100 && (sigma - 3.0).abs() < 0.6, "{sigma} of {}", apart.numel());
    }

    #[test]
    fn other_sizes_are_refused() {
        let error = Shapes::new(&DataConfig { size: Some(28), ..small() }).unwrap_err();
        assert!(error.to_string().contains("size is 28"), "{error}");
    }
}
