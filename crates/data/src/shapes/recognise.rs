//! Reading the scene off a picture: the scene of the grammar whose picture is nearest.
//!
//! A picture is b + a (c − b) in every pixel, with background b, the object's colour c and the share a of the pixel that
//! it covers. So the squared distance of an image x to it, up to a constant, is
//!
//! ```text
//! S(a, c, b) = |c − b|² Σ a² − 2 (c − b) · Σ a (x − b)
//! ```
//!
//! and one matrix product with all 49,605 coverages (five shapes, nine radii, every place) scores every scene of one object.
//! Two objects do not overlap but for pixels that both touch, so their scores add. The best candidates are then drawn and
//! compared level by level. For pictures of scenes this finds the scene, which a test shows; for other images it finds the
//! nearest scene unless rounding in the renderer, or a shared pixel, decides between two.

use super::{
    grammar::{Background, Colour, Relation, Shape, Size},
    layout,
    render::{coverage, render},
    scene::{Object, Scene, Second},
};
use rayon::prelude::*;
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// What was read off an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The nearest scene, and others that have the same picture, if any do.
    pub scenes: Vec<Scene>,
    /// Root mean square of the differences between image and picture, in levels.
    pub rms: f64,
    /// The largest of them.
    pub max: u8,
}

/// Reads scenes off images of one size.
#[derive(Debug)]
pub struct Recogniser {
    side: u32,
    /// What covers the pixels: objects of red colour, one a row of `masks`.
    objects: Vec<Object>,
    /// f32 `[m, 256]`: coverages in [0, 1], averaged to 16 × 16 pixels.
    masks: Tensor,
    /// f32 `[24, 3]`: −2 (c − b) for every background and, within it, every colour.
    directions: Tensor,
    /// f32 `[24, m]`: what S has beside −2 (c − b) · Σ a x.
    constants: Tensor,
    /// Rows of the main and the second object, i64 `[p]` each, for every layout of every two shapes.
    mains: Tensor,
    seconds: Tensor,
    relations: Vec<Relation>,
}

/// Pixels along an edge at which candidates are sought; larger images are averaged down to it.
const COARSE: i64 = 16;
/// Images searched at once.
const BATCH: i64 = 8;
/// Candidates of one object, and of two, that are drawn and compared.
const CANDIDATES: i64 = 12;

/// A background with the rows of `masks` that lie before it, each in its best colour.
struct Candidate {
    background: Background,
    /// Row and best colour, of one object or two.
    objects: Vec<(usize, Colour)>,
    /// How the first is related to the second.
    relation: Option<Relation>,
}

impl Recogniser {
    /// For images of `side` pixels, a multiple of 16.
    ///
    /// # Panics
    /// For any other side.
    pub fn new(side: u32) -> Self {
        assert!(side > 0 && side.is_multiple_of(COARSE as u32), "{side} is no multiple of 16");
        let objects: Vec<Object> = all_objects().collect();
        let levels: Vec<Vec<u8>> = objects.par_iter().map(|o| coverage(o, side)).collect();
        let (m, side_) = (objects.len() as i64, i64::from(side));
        let masks = Tensor::from_slice(&levels.concat()).reshape([m, 1, side_, side_]);
        let masks = coarse(&masks).flatten(1, -1) / 255.0;
        let row: HashMap<(Shape, u8, u8, u8), i64> =
            objects.iter().zip(0..).map(|(o, i)| ((o.shape, o.radius, o.x, o.y), i)).collect();
        let (mut mains, mut seconds, mut relations) = (Vec::new(), Vec::new(), Vec::new());
        for &relation in Relation::ALL {
            for (main, second) in radii() {
                for (a, b) in layout::pairs(relation, main, second) {
                    for &shape in Shape::ALL {
                        for &other in Shape::ALL {
                            mains.push(row[&(shape, main, a.0, a.1)]);
                            seconds.push(row[&(other, second, b.0, b.1)]);
                            relations.push(relation);
                        }
                    }
                }
            }
        }
        let (directions, constants) = scoring(&masks);
        Self {
            side,
            objects,
            masks,
            directions,
            constants,
            mains: Tensor::from_slice(&mains),
            seconds: Tensor::from_slice(&seconds),
            relations,
        }
    }

    /// Pixels along an edge of the images.
    pub fn side(&self) -> u32 {
        self.side
    }

    /// The nearest scene of every image, held-out ones included. `images`: u8 `[n, 3, side, side]` on the host.
    ///
    /// # Panics
    /// For any other kind or size.
    pub fn read(&self, images: &Tensor) -> Vec<Reading> {
        let side = i64::from(self.side);
        assert_eq!((images.kind(), &images.size()[1..]), (Kind::Uint8, &[3, side, side][..]));
        let n = images.size()[0];
        let batches = (0..n).step_by(BATCH as usize).map(|i| images.narrow(0, i, BATCH.min(n - i)));
        batches.flat_map(|batch| self.read_batch(&batch)).collect()
    }

    fn read_batch(&self, images: &Tensor) -> Vec<Reading> {
        let candidates = self.candidates(images);
        let levels = Vec::<u8>::try_from(images.flatten(0, -1)).expect("u8 on the host");
        let pixels = levels.len() / candidates.len();
        let (objects, side) = (&self.objects, self.side);
        let of_image = |(image, candidates): (&[u8], Vec<Candidate>)| {
            nearest(image, side, candidates.iter().filter_map(|candidate| candidate.scene(objects)))
        };
        levels.par_chunks(pixels).zip(candidates).map(of_image).collect()
    }

    /// The best candidates of one and of two objects for every image.
    fn candidates(&self, images: &Tensor) -> Vec<Vec<Candidate>> {
        let n = images.size()[0];
        // [n, 3, 256] -> [n, 3, m]: Σ a x
        let x = coarse(images).flatten(2, -1);
        let products = x.matmul(&self.masks.tr());
        // [n, 24, m] -> [n, 3, m]: S, and the least over colours with the colour that has it
        let scores = self.constants.unsqueeze(0).baddbmm(
            &self.directions.expand([n, -1, -1], false),
            &products,
            1.0,
            1.0,
        );
        let scores = scores.unflatten(1, [Background::ALL.len() as i64, -1]);
        let (best, colours) = scores.min_dim(2, false);
        let (mut alone, mut paired) = (Vec::new(), Vec::new());
        for (i, background) in Background::ALL.iter().enumerate() {
            let best = best.select(1, i as i64);
            // What no object explains.
            let unexplained = (&x - f64::from(background.level())).square();
            let rest = unexplained.sum_dim_intlist([1i64, 2].as_slice(), false, Kind::Float);
            let rest = rest.unsqueeze(1);
            let two = best.index_select(1, &self.mains) + best.index_select(1, &self.seconds);
            paired.push(&rest + two);
            alone.push(&rest + best);
        }
        let mut found: Vec<Vec<Candidate>> = (0..n).map(|_| Vec::new()).collect();
        for (scores, is_pair) in [(alone, false), (paired, true)] {
            let columns = scores[0].size()[1];
            // [n, 3 columns]
            let (_, best) = Tensor::cat(&scores, 1).topk(CANDIDATES, 1, false, true);
            for (i, found) in found.iter_mut().enumerate() {
                for k in 0..CANDIDATES {
                    let at = best.int64_value(&[i as i64, k]);
                    let (background, column) = ((at / columns) as usize, at % columns);
                    let object = |row: i64| {
                        let colour = colours.int64_value(&[i as i64, background as i64, row]);
                        (row as usize, Colour::ALL[colour as usize])
                    };
                    let objects = match is_pair {
                        false => vec![object(column)],
                        true => vec![
                            object(self.mains.int64_value(&[column])),
                            object(self.seconds.int64_value(&[column])),
                        ],
                    };
                    found.push(Candidate {
                        background: Background::ALL[background],
                        objects,
                        relation: is_pair.then(|| self.relations[column as usize]),
                    });
                }
            }
        }
        found
    }
}

impl Candidate {
    /// The scene that it stands for; none if its objects are the same twice, which no scene has.
    fn scene(&self, objects: &[Object]) -> Option<Scene> {
        let coloured = |&(row, colour): &(usize, Colour)| Object { colour, ..objects[row] };
        let main = coloured(&self.objects[0]);
        let second = self.relation.zip(self.objects.get(1));
        let second = second.map(|(relation, object)| Second { relation, object: coloured(object) });
        let same = second.is_some_and(|second| second.object.kind() == main.kind());
        (!same).then_some(Scene { background: self.background, main, second })
    }
}

/// The scene whose picture is nearest to an image, and those with the same picture.
fn nearest(image: &[u8], side: u32, scenes: impl Iterator<Item = Scene>) -> Reading {
    let mut picture = vec![0; image.len()];
    let mut best: Option<(u64, u8, Vec<u8>)> = None;
    let mut found: Vec<Scene> = Vec::new();
    for scene in scenes {
        render(&scene, side, &mut picture);
        let apart = image.iter().zip(&picture).map(|(a, b)| a.abs_diff(*b));
        let (sum, max) =
            apart.fold((0, 0), |(sum, max), d| (sum + u64::from(d).pow(2), d.max(max)));
        match &best {
            Some((least, ..)) if sum > *least => {}
            Some((least, _, same)) if sum == *least && picture == *same => {
                if !found.contains(&scene) {
                    found.push(scene);
                }
            }
            Some((least, ..)) if sum == *least => {}
            _ => {
                best = Some((sum, max, picture.clone()));
                found = vec![scene];
            }
        }
    }
    let (sum, max, _) = best.expect("there are candidates");
    Reading { scenes: found, rms: (sum as f64 / image.len() as f64).sqrt(), max }
}

/// For every background and colour, what S multiplies Σ a x with, and the rest of S for every mask.
fn scoring(masks: &Tensor) -> (Tensor, Tensor) {
    let sums = masks.sum_dim_intlist(1, false, Kind::Float);
    let squares = masks.square().sum_dim_intlist(1, false, Kind::Float);
    let (mut directions, mut constants) = (Vec::new(), Vec::new());
    for background in Background::ALL {
        let b = f64::from(background.level());
        for colour in Colour::ALL {
            let apart = colour.rgb().map(|level| f64::from(level) - b);
            let (sum, square) =
                (apart.iter().sum::<f64>(), apart.iter().map(|c| c * c).sum::<f64>());
            directions.extend(apart.map(|c| -2.0 * c as f32));
            constants.push(&squares * square + &sums * (2.0 * b * sum));
        }
    }
    (Tensor::from_slice(&directions).reshape([-1, 3]), Tensor::stack(&constants, 0))
}

/// Every shape at every place, in every size, in red.
fn all_objects() -> impl Iterator<Item = Object> {
    let sized = Size::ALL.iter().flat_map(|&size| size.radii().map(|radius| (size, radius)));
    let shaped = sized.flat_map(|sized| Shape::ALL.iter().map(move |&shape| (shape, sized)));
    shaped.flat_map(|(shape, (size, radius))| {
        layout::positions(radius).flat_map(move |y| {
            layout::positions(radius).map(move |x| Object {
                shape,
                colour: Colour::Red,
                size,
                radius,
                x,
                y,
            })
        })
    })
}

/// Radii of the main and the second object of two.
fn radii() -> impl Iterator<Item = (u8, u8)> {
    let mains = Size::Medium.radii().into_iter();
    mains.flat_map(|main| Size::Small.radii().map(move |second| (main, second)))
}

/// u8 `[n, c, h, w]` -> f32 `[n, c, 16, 16]`, averaged.
fn coarse(images: &Tensor) -> Tensor {
    let images = images.to_device(Device::Cpu).to_kind(Kind::Float);
    images.adaptive_avg_pool2d([COARSE, COARSE])
}
