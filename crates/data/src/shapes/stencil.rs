//! How much of every pixel an object covers, wherever it may lie.
//!
//! An object moved by whole pixels covers, but for the last bit of a curve now and then, the same pixels moved: a few
//! thousand stencils stand for all fifty thousand places of the five shapes. A picture is, up to the rounding of the
//! rasterizer, background + coverage · (colour − background).

use super::{
    grammar::{Background, Colour, Relation, Shape, Size},
    layout::{self, SIDE},
    render::paint,
    scene::Object,
};
use crate::Scenes;
use rayon::prelude::*;
use std::collections::HashMap;

/// Most levels that a channel of a partly covered pixel differs from background + coverage · (colour − background).
pub(super) const ROUNDING: f32 = 1.0;

/// A shape of some radius at some phase of the pixel grid.
#[derive(Debug)]
pub(super) struct Stencil {
    /// Covered pixels: where in the flattened image when the stencil is at its first place, and how much, in (0, 1].
    pub covered: Vec<(usize, f32)>,
    /// Σ coverage².
    pub squares: f32,
    /// Bound on the Euclidean distance, in levels, between a picture and its linear model.
    pub rounding: f32,
}

/// All stencils at one resolution.
#[derive(Debug)]
pub(super) struct Stencils {
    pub side: usize,
    /// Radius and centre of every place of an object that is alone; those of pairs are among them.
    pub places: Vec<(u8, u8, u8)>,
    /// By place: the pixels that an object of any shape is within.
    pub boxes: Vec<PixelBox>,
    /// By place: the least Σ coverage² over the shapes.
    pub least_squares: Vec<f32>,
    /// Layouts of two objects.
    pub pairs: Vec<Pair>,
    /// The most of [`Stencil::rounding`].
    pub most_rounding: f32,
    /// The most of [`Pair::most_shared`].
    pub most_shared: f32,
    /// By shape.
    stencils: Vec<Vec<Stencil>>,
    /// By shape and place: which stencil, and by how many pixels of the flattened image it is moved.
    of_place: Vec<Vec<(usize, usize)>>,
}

/// A box of pixels; right and bottom are the first column and row beyond it.
#[derive(Debug)]
pub(super) struct PixelBox {
    pub left: u16,
    pub top: u16,
    pub right: u16,
    pub bottom: u16,
}

/// One layout of two objects.
#[derive(Debug)]
pub(super) struct Pair {
    pub relation: Relation,
    /// Places of the main and of the second object.
    pub places: (usize, usize),
    /// By shape of the main and of the second object: the Euclidean norm of the product of their coverages. Where both
    /// cover a part of one pixel, the picture is that much less than the sum of the two.
    pub shared: [[f32; 5]; 5],
    /// The most of them.
    pub most_shared: f32,
}

impl Stencils {
    pub fn new(side: usize, scenes: Scenes) -> Self {
        let sizes = match scenes {
            Scenes::All => Size::ALL,
            Scenes::Simple => &[Size::Large],
        };
        let mut places = Vec::new();
        for radius in sizes.iter().flat_map(|size| size.radii()) {
            for y in layout::positions(radius) {
                places.extend(layout::positions(radius).map(|x| (radius, x, y)));
            }
        }
        let (stencils, of_place) = Shape::ALL
            .par_iter()
            .map(|&shape| cut(shape, side, &places))
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let boxes = places.iter().map(|&place| PixelBox::around(place, side)).collect();
        let mut all = Self {
            side,
            boxes,
            least_squares: Vec::new(),
            pairs: Vec::new(),
            most_rounding: 0.0,
            most_shared: 0.0,
            places,
            stencils,
            of_place,
        };
        let least = |place: usize| {
            Shape::ALL.iter().map(|&shape| all.at(shape, place).0.squares).fold(f32::MAX, f32::min)
        };
        all.least_squares = (0..all.places.len()).map(least).collect();
        let rounding = all.stencils.iter().flatten().map(|stencil| stencil.rounding);
        all.most_rounding = rounding.fold(0.0, f32::max);
        if scenes == Scenes::All {
            all.pairs = all.pairs();
            all.most_shared = all.pairs.iter().map(|pair| pair.most_shared).fold(0.0, f32::max);
        }
        all
    }

    /// The stencil of a shape at a place, and how far it is moved.
    pub fn at(&self, shape: Shape, place: usize) -> (&Stencil, usize) {
        let (stencil, moved) = self.of_place[shape as usize][place];
        (&self.stencils[shape as usize][stencil], moved)
    }

    /// The object of a kind at a place.
    pub fn object(&self, shape: Shape, colour: Colour, place: usize) -> Object {
        let (radius, x, y) = self.places[place];
        object(shape, colour, radius, (x, y))
    }

    /// The coverage of a shape at a place: flattened pixels with how much of each.
    pub fn coverage(&self, shape: Shape, place: usize) -> impl Iterator<Item = (usize, f32)> {
        let (stencil, moved) = self.at(shape, place);
        stencil.covered.iter().map(move |&(pixel, share)| (pixel + moved, share))
    }

    fn pairs(&self) -> Vec<Pair> {
        let place = |radius: u8, (x, y): (u8, u8)| {
            let found = self.places.iter().position(|place| *place == (radius, x, y));
            found.expect("objects of pairs lie where single ones may")
        };
        let mut pairs = Vec::new();
        for &relation in Relation::ALL {
            for main in Size::Medium.radii() {
                for second in Size::Small.radii() {
                    for (a, b) in layout::pairs(relation, main, second) {
                        let places = (place(main, a), place(second, b));
                        let shared = self.shared(places);
                        let most_shared = shared.iter().flatten().copied().fold(0.0, f32::max);
                        pairs.push(Pair { relation, places, shared, most_shared });
                    }
                }
            }
        }
        pairs
    }

    fn shared(&self, (main, second): (usize, usize)) -> [[f32; 5]; 5] {
        let mut plane = vec![0f32; self.side * self.side];
        let mut shared = [[0.0; 5]; 5];
        for &a in Shape::ALL {
            plane.fill(0.0);
            self.coverage(a, main).for_each(|(pixel, share)| plane[pixel] = share);
            for &b in Shape::ALL {
                let squares =
                    self.coverage(b, second).map(|(pixel, share)| (plane[pixel] * share).powi(2));
                shared[a as usize][b as usize] = squares.sum::<f32>().sqrt();
            }
        }
        shared
    }
}

/// The stencils of a shape, and for every place which of them is there and how far moved.
fn cut(shape: Shape, side: usize, places: &[(u8, u8, u8)]) -> (Vec<Stencil>, Vec<(usize, usize)>) {
    let step = usize::from(SIDE) / side;
    let mut picture = vec![0; 3 * side * side];
    let mut found: HashMap<Vec<(usize, u8)>, usize> = HashMap::new();
    let (mut stencils, mut of_place) = (Vec::<Stencil>::new(), Vec::new());
    // Row by row, so that the first place of a stencil is its first in the flattened image too.
    for &(radius, x, y) in places {
        let object = object(shape, Colour::Red, radius, (x, y));
        paint(0, [(&object, [255; 3])], side as u32, &mut picture);
        let levels = picture[..side * side].iter().copied().enumerate();
        let covered: Vec<(usize, u8)> = levels.filter(|(_, level)| *level > 0).collect();
        let corner = usize::from(y - radius) / step * side + usize::from(x - radius) / step;
        let relative = covered.iter().map(|(pixel, level)| (pixel - corner, *level)).collect();
        let index = *found.entry(relative).or_insert_with(|| {
            stencils.push(Stencil::new(&covered));
            stencils.len() - 1
        });
        of_place.push((index, covered[0].0 - stencils[index].covered[0].0));
    }
    (stencils, of_place)
}

impl Stencil {
    fn new(covered: &[(usize, u8)]) -> Self {
        let covered: Vec<(usize, f32)> =
            covered.iter().map(|&(pixel, level)| (pixel, f32::from(level) / 255.0)).collect();
        let partly = covered.iter().filter(|(_, share)| *share < 1.0).count();
        Self {
            squares: covered.iter().map(|(_, share)| share * share).sum(),
            rounding: ROUNDING * (3.0 * partly as f32).sqrt(),
            covered,
        }
    }
}

impl PixelBox {
    fn around((radius, x, y): (u8, u8, u8), side: usize) -> Self {
        let step = u16::from(SIDE) / side as u16;
        let [radius, x, y] = [radius, x, y].map(u16::from);
        Self {
            left: (x - radius) / step,
            top: (y - radius) / step,
            right: (x + radius).div_ceil(step),
            bottom: (y + radius).div_ceil(step),
        }
    }
}

/// An object of the size that its radius belongs to.
///
/// # Panics
/// If no size has this radius.
pub(super) fn object(shape: Shape, colour: Colour, radius: u8, (x, y): (u8, u8)) -> Object {
    let size = Size::ALL.iter().find(|size| size.radii().contains(&radius));
    Object { shape, colour, size: *size.expect("a radius of the grammar"), radius, x, y }
}

/// Red, green and blue from the background to the colour, and the square of that distance.
pub(super) fn contrast(background: Background, colour: Colour) -> ([f32; 3], f32) {
    let level = f32::from(background.level());
    let towards = colour.rgb().map(|channel| f32::from(channel) - level);
    (towards, towards.iter().map(|x| x * x).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over every shape, place, colour and background at 16 pixels: moved stencils are what the renderer draws.
    #[test]
    fn pictures_are_linear_in_coverage_to_a_level() {
        let stencils = Stencils::new(16, Scenes::All);
        assert_eq!(stencils.places.len(), 9921);
        let mut picture = vec![0; 768];
        let mut worst = 0f32;
        for &shape in Shape::ALL {
            for (place, &(radius, x, y)) in stencils.places.iter().enumerate() {
                // Every place with one pair of colours, and every pair of colours with some places.
                let all = place % 97 == 0;
                for &background in Background::ALL {
                    for &colour in Colour::ALL.iter().take(if all { 8 } else { 1 }) {
                        let object = object(shape, colour, radius, (x, y));
                        paint(background.level(), [(&object, colour.rgb())], 16, &mut picture);
                        let mut linear = [f32::from(background.level()); 768];
                        let (towards, _) = contrast(background, colour);
                        for (pixel, share) in stencils.coverage(shape, place) {
                            for (channel, towards) in towards.iter().enumerate() {
                                linear[channel * 256 + pixel] += share * towards;
                            }
                        }
                        for (linear, level) in linear.iter().zip(&picture) {
                            worst = worst.max((linear - f32::from(*level)).abs());
                        }
                    }
                }
            }
        }
        assert!(worst <= ROUNDING && worst > 0.2, "{worst}");
    }
}
