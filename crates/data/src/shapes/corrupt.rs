//! Sets of images that are off the true distribution by a known amount, in a known way.
//!
//! Within a family, a greater strength is further from the truth, by construction: so whatever claims to measure the
//! distance has to rank the strengths. Strength 0 is the truth itself.

use super::{
    density::PixelNoise,
    grammar::{Colour, Shape, Size},
    layout,
    render::{paint, render},
    scene::{NUM_CLASSES, Scene},
    stencil::object,
};
use crate::{Scenes, random::Random};
use paragone_core::mix;
use rayon::prelude::*;

/// A way to be off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Corruption {
    /// Normal noise with this standard deviation in levels.
    PixelNoise,
    /// A Gaussian blur with this standard deviation in pixels.
    Blur,
    /// This many of the ten classes are never drawn.
    MissingClasses,
    /// Classes are drawn with probabilities from 1 to e^−strength, relatively, in even steps.
    Tilt,
    /// This share of images shows what cannot be: a colour or a background that does not exist, an object too many.
    Impossible,
    /// This share of images is copied from the training set. The distribution is right; nothing in the share is new.
    Memorised,
    /// This share of images shows a combination that is held out from the data.
    HeldOut,
    /// All images show one of this many scenes: the fewer, the worse.
    Duplicates,
}

/// Where corrupted images come from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Side in pixels.
    pub side: u32,
    /// The scenes of the true distribution.
    pub scenes: Scenes,
    /// The training scenes.
    pub train: &'a [Scene],
}

/// Keeps seeds of corrupted images apart from those of the data's splits.
const STREAM: u64 = 40;

impl Corruption {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::PixelNoise,
        Self::Blur,
        Self::MissingClasses,
        Self::Tilt,
        Self::Impossible,
        Self::HeldOut,
        Self::Duplicates,
        Self::Memorised,
    ];

    /// What reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::PixelNoise => "pixel_noise",
            Self::Blur => "blur",
            Self::MissingClasses => "missing_classes",
            Self::Tilt => "tilt",
            Self::Impossible => "impossible",
            Self::Memorised => "memorised",
            Self::HeldOut => "held_out",
            Self::Duplicates => "duplicates",
        }
    }

    /// What it does, as a reader of a report is told.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::PixelNoise => {
                "normal noise on every pixel; its standard deviation, of 255 levels"
            }
            Self::Blur => "a Gaussian blur; its standard deviation",
            Self::MissingClasses => "classes that are never drawn",
            Self::Tilt => {
                "classes drawn with probabilities that fall evenly from 1 to e^−strength, relatively"
            }
            Self::Impossible => {
                "a share of images shows what cannot be: a colour or a background that does not exist, an object too many"
            }
            Self::Memorised => {
                "a share of images is copied from the training set: the distribution is right, but nothing is new"
            }
            Self::HeldOut => "a share of images shows a combination that never occurs in the data",
            Self::Duplicates => "every image shows one of a few scenes",
        }
    }

    /// What a strength is.
    pub fn unit(self) -> &'static str {
        match self {
            Self::PixelNoise => "levels",
            Self::Blur => "pixels",
            Self::MissingClasses => "of 10 classes",
            Self::Tilt => "nats",
            Self::Impossible | Self::Memorised | Self::HeldOut => "of the images",
            Self::Duplicates => "scenes",
        }
    }

    /// Graded strengths, the mildest first.
    pub fn strengths(self) -> [f64; 4] {
        match self {
            Self::PixelNoise => [2.0, 4.0, 8.0, 16.0],
            Self::Blur => [0.4, 0.5, 0.65, 0.9],
            Self::MissingClasses => [1.0, 2.0, 4.0, 8.0],
            Self::Tilt => [0.5, 1.0, 2.0, 4.0],
            Self::Impossible => [0.02, 0.05, 0.1, 0.3],
            Self::Memorised => [0.25, 0.5, 0.75, 1.0],
            Self::HeldOut => [0.05, 0.1, 0.3, 1.0],
            Self::Duplicates => [1000.0, 300.0, 100.0, 30.0],
        }
    }

    /// `n` images, one after the other, as red, green and blue planes of levels: a pure function of all arguments. The
    /// first images of a larger set are the smaller set.
    ///
    /// # Panics
    /// If copies are asked for and there is no training scene.
    pub fn images(self, source: &Source<'_>, strength: f64, seed: u64, n: usize) -> Vec<u8> {
        let levels = (3 * source.side * source.side) as usize;
        let mut images = vec![0; n * levels];
        images.par_chunks_mut(levels).enumerate().for_each(|(i, image)| {
            self.draw(source, strength, seed, i as u64, image);
        });
        images
    }

    fn draw(self, source: &Source<'_>, strength: f64, seed: u64, i: u64, image: &mut [u8]) {
        let truth = |i: u64| source.scenes.draw(mix(&[seed, STREAM, i]));
        if strength == 0.0 {
            return render(&truth(i), source.side, image);
        }
        // What happens to an image does not depend on which scene it would have been.
        let random = &mut Random::new(&[seed, STREAM + 1, i]);
        let chosen = random.unit() < strength;
        let scene = match self {
            Self::MissingClasses => {
                let missing = |class: usize| (class + (seed % 10) as usize) % NUM_CLASSES;
                redrawn(source, seed, i, |scene, _| missing(scene.class()) as f64 >= strength)
            }
            Self::Tilt => {
                let step = strength / (NUM_CLASSES - 1) as f64;
                let weight = |class: usize| (-step * class as f64).exp();
                redrawn(source, seed, i, |scene, unit| unit < weight(scene.class()))
            }
            Self::Memorised if chosen => source.train[random.below(source.train.len())],
            Self::HeldOut if chosen => source.scenes.draw_held_out(mix(&[seed, STREAM + 2, i])),
            Self::Duplicates => truth(random.below(strength as usize) as u64),
            _ => truth(i),
        };
        if self == Self::Impossible && chosen {
            return impossible(&scene, source.side, random, image);
        }
        render(&scene, source.side, image);
        match self {
            Self::PixelNoise => {
                PixelNoise::add(strength, mix(&[seed, STREAM + 3, i]), image);
            }
            Self::Blur => blur(image, source.side as usize, strength),
            _ => {}
        }
    }
}

/// The first scene that is wanted, of those that would stand at image `i`.
fn redrawn(source: &Source<'_>, seed: u64, i: u64, wanted: impl Fn(&Scene, f64) -> bool) -> Scene {
    let random = &mut Random::new(&[seed, STREAM + 4, i]);
    loop {
        let scene = source.scenes.draw(random.next());
        if wanted(&scene, random.unit()) {
            return scene;
        }
    }
}

/// A fill that no colour and no background of the grammar is near to.
const BROWN: [u8; 3] = [110, 85, 60];

/// A gray halfway between two backgrounds.
const DIM: u8 = 64;

/// A picture like the scene's, but for one thing that the grammar does not have.
fn impossible(scene: &Scene, side: u32, random: &mut Random, image: &mut [u8]) {
    let second = scene.second.as_ref().map(|second| &second.object);
    let objects = [Some(&scene.main), second].into_iter().flatten();
    let painted = objects.map(|object| (object, object.colour.rgb()));
    let level = scene.background.level();
    match random.below(3) {
        0 => paint(level, painted.map(|(object, _)| (object, BROWN)), side, image),
        1 => paint(DIM, painted, side, image),
        _ => {
            let kind = (random.pick(Shape::ALL), random.pick(Colour::ALL));
            let radius = random.pick(&Size::Small.radii());
            let extra = object(kind.0, kind.1, radius, free_corner(scene, radius));
            paint(level, painted.chain([(&extra, kind.1.rgb())]), side, image);
        }
    }
}

/// The centre of an object of this radius in the corner that is furthest from the scene's objects.
fn free_corner(scene: &Scene, radius: u8) -> (u8, u8) {
    let (near, far) = (*layout::positions(radius).start(), *layout::positions(radius).end());
    let objects = [Some(&scene.main), scene.second.as_ref().map(|second| &second.object)];
    let room = |&(x, y): &(u8, u8)| {
        let distance = |object: &super::Object| {
            let (dx, dy) = (f64::from(object.x.abs_diff(x)), f64::from(object.y.abs_diff(y)));
            dx.hypot(dy) - f64::from(object.radius)
        };
        objects.iter().flatten().map(|object| distance(object)).fold(f64::INFINITY, f64::min)
    };
    let corners = [(near, near), (far, near), (near, far), (far, far)];
    corners.into_iter().max_by(|a, b| room(a).total_cmp(&room(b))).expect("four corners")
}

/// Gaussian blur by rows and columns; beyond the border, the image goes on as it ends.
fn blur(image: &mut [u8], side: usize, sigma: f64) {
    let reach = (4.0 * sigma).ceil() as isize;
    let weight = |d: isize| (-(d * d) as f64 / (2.0 * sigma * sigma)).exp();
    let total: f64 = (-reach..=reach).map(weight).sum();
    let at = |i: usize, d: isize| (i as isize + d).clamp(0, side as isize - 1) as usize;
    for plane in image.chunks_mut(side * side) {
        let mut rows = vec![0.0; side * side];
        for (i, out) in rows.iter_mut().enumerate() {
            let (y, x) = (i / side, i % side);
            let sum = |d| weight(d) * f64::from(plane[y * side + at(x, d)]);
            *out = (-reach..=reach).map(sum).sum::<f64>() / total;
        }
        for (i, level) in plane.iter_mut().enumerate() {
            let (y, x) = (i / side, i % side);
            let sum = |d| weight(d) * rows[at(y, d) * side + x];
            *level = ((-reach..=reach).map(sum).sum::<f64>() / total).round() as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_functions_of_their_arguments() {
        let train: Vec<Scene> = (0..50).map(|seed| Scenes::All.draw(seed)).collect();
        let source = Source { side: 16, scenes: Scenes::All, train: &train };
        let truth = Corruption::Blur.images(&source, 0.0, 3, 40);
        for corruption in Corruption::ALL {
            let of = |strength, seed, n| corruption.images(&source, strength, seed, n);
            let strongest = corruption.strengths()[3];
            assert_eq!(of(0.0, 3, 40), truth, "{corruption:?}");
            assert_eq!(of(strongest, 3, 40), of(strongest, 3, 60)[..40 * 768], "{corruption:?}");
            assert_ne!(of(strongest, 3, 40), of(strongest, 4, 40), "{corruption:?}");
            assert_ne!(of(strongest, 3, 40), truth, "{corruption:?}");
            let strengths = corruption.strengths();
            let milder =
                |a: f64, b: f64| if corruption == Corruption::Duplicates { a > b } else { a < b };
            assert!(strengths.windows(2).all(|pair| milder(pair[0], pair[1])), "{corruption:?}");
        }
    }

    /// A point spreads as the product of two normal densities; what is flat stays.
    #[test]
    fn a_blur_is_gaussian() {
        let mut image = vec![0u8; 768];
        image[8 * 16 + 8] = 255;
        image[256..512].fill(77);
        blur(&mut image, 16, 0.8);
        assert!(image[256..512].iter().all(|level| *level == 77));
        let ratio = f64::from(image[8 * 16 + 9]) / f64::from(image[8 * 16 + 8]);
        assert!((ratio - (-0.5f64 / 0.64).exp()).abs() < 0.02, "{ratio}");
        let sum: u32 = image[..256].iter().map(|level| u32::from(*level)).sum();
        assert!((250..=260).contains(&sum), "{sum}");
    }
}
