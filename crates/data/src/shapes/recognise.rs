//! Which scene an image shows: the one whose picture is nearest, found among all ten million of them.
//!
//! The search is exact. Against one background b, an object of colour c with coverage α takes
//! Σ (2 α (x − b)·(c − b) − α² |c − b|²) off the squared distance between image x and picture, and two objects, which never
//! overlap but in the corner of a pixel, the sum of two such terms. A bound on the sum over the box that the object fits
//! into comes from tables of partial sums; what cannot win is left out by it, most of it without a look at its pixels. What
//! is within the bound on the error of all this is rendered and compared level by level.

use super::{
    grammar::{Background, Colour, Shape},
    render::render,
    scene::{Scene, Second},
    stencil::{Pair, PixelBox, Stencils, contrast},
};
use crate::Scenes;
use rayon::prelude::*;

/// Finds the scenes that images show.
#[derive(Debug)]
pub struct Recogniser {
    scenes: Scenes,
    stencils: Stencils,
}

/// A scene with how far its picture is from an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Match {
    /// The scene, held out or not.
    pub scene: Scene,
    /// Σ over pixels and channels of the squared difference in levels.
    pub squared_distance: u64,
}

impl Match {
    /// Root of the mean squared difference over pixels and channels, in levels.
    pub fn rms(&self, side: u32) -> f64 {
        (self.squared_distance as f64 / f64::from(3 * side * side)).sqrt()
    }
}

/// The linear model is computed in f32: its squared distances are off by this share of the image's own at most.
const FLOAT_ERROR: f32 = 1e-5;

impl Recogniser {
    /// Made for images of `side`² pixels that are to show some of `scenes`.
    ///
    /// # Panics
    /// If `side` is none of 16, 32 and 64.
    pub fn new(side: u32, scenes: Scenes) -> Self {
        assert!([16, 32, 64].contains(&side), "shapes are 16, 32 or 64 pixels wide, not {side}");
        Self { scenes, stencils: Stencils::new(side as usize, scenes) }
    }

    /// Side of the images in pixels.
    pub fn side(&self) -> u32 {
        self.stencils.side as u32
    }

    /// The scenes that it knows.
    pub fn scenes(&self) -> Scenes {
        self.scenes
    }

    /// Levels in an image: three planes.
    pub fn levels(&self) -> usize {
        3 * self.stencils.side * self.stencils.side
    }

    /// The scene nearest to an image; of several, the likeliest.
    ///
    /// `image`: red, green and blue planes of `side`² levels, row by row.
    ///
    /// # Panics
    /// If the image has another size.
    pub fn nearest(&self, image: &[u8]) -> Match {
        let mut found = self.within(image, |best| best);
        let p = |found: &Match| self.scenes.probability(&found.scene);
        found.sort_by(|a, b| p(b).total_cmp(&p(a)));
        found[0]
    }

    /// [`Recogniser::nearest`] of each of several images, one after the other in `images`.
    pub fn nearest_of(&self, images: &[u8]) -> Vec<Match> {
        images.par_chunks(self.levels()).map(|image| self.nearest(image)).collect()
    }

    /// Probability of a picture: the sum over the scenes that are rendered to exactly these levels; 0 for an impossible
    /// one, and for one that only held-out scenes have.
    pub fn probability(&self, image: &[u8]) -> f64 {
        let found = self.within(image, |best| best);
        let exact = found.iter().filter(|found| found.squared_distance == 0);
        exact.map(|found| self.scenes.probability(&found.scene)).sum()
    }

    /// Every scene whose squared distance from an image is `limit` of the least or less.
    ///
    /// `limit` must never decrease, and give its argument or more.
    ///
    /// # Panics
    /// If the image has another size.
    pub fn within(&self, image: &[u8], limit: impl Fn(u64) -> u64) -> Vec<Match> {
        assert_eq!(image.len(), self.levels(), "a picture needs three planes");
        let mut search = Search {
            stencils: &self.stencils,
            image,
            picture: vec![0; image.len()],
            best: u64::MAX,
            limit: &limit,
            found: Vec::new(),
        };
        let view = |&background: &Background| View::new(background, image, self.stencils.side);
        let mut views: Vec<View> = Background::ALL.iter().map(view).collect();
        views.sort_by(|a, b| a.bound.total_cmp(&b.bound));
        views.iter().for_each(|view| search.look(view));
        let limit = limit(search.best);
        search.found.retain(|found| found.squared_distance <= limit);
        search.found
    }
}

/// The image against one background.
struct View {
    background: Background,
    /// Its squared distance from the empty background.
    empty: f32,
    colours: Vec<Projection>,
    /// No picture with this background has a squared distance below this one, but for rounding.
    bound: f32,
}

/// The image against one background and one colour.
struct Projection {
    colour: Colour,
    /// |c − b|².
    norm: f32,
    /// (x − b)·(c − b) of every pixel.
    along: Vec<f32>,
    /// The most that an object of the colour can take off a pixel's squared distance.
    most: Vec<f32>,
    most_in: BoxSums,
    positive_in: BoxSums,
}

impl View {
    fn new(background: Background, image: &[u8], side: usize) -> Self {
        let level = f32::from(background.level());
        let off: Vec<f32> = image.iter().map(|&x| f32::from(x) - level).collect();
        let colours: Vec<Projection> = Colour::ALL
            .iter()
            .map(|&colour| Projection::new(contrast(background, colour), colour, &off, side))
            .collect();
        let empty = off.iter().map(|x| x * x).sum();
        let most = |i: usize| colours.iter().map(|colour| colour.most[i]).fold(0.0, f32::max);
        let bound = empty - (0..side * side).map(most).sum::<f32>();
        Self { background, empty, colours, bound }
    }
}

impl Projection {
    fn new(([r, g, b], norm): ([f32; 3], f32), colour: Colour, off: &[f32], side: usize) -> Self {
        let plane = side * side;
        let dot = |i: usize| off[i] * r + off[plane + i] * g + off[2 * plane + i] * b;
        let along: Vec<f32> = (0..plane).map(dot).collect();
        // 2 α y − α² |c − b|² at its largest over α in [0, 1].
        let best = |y: &f32| {
            let share = (y / norm).clamp(0.0, 1.0);
            share * (2.0 * y - share * norm)
        };
        let most: Vec<f32> = along.iter().map(best).collect();
        let most_in = BoxSums::new(most.iter().copied(), side);
        let positive_in = BoxSums::new(along.iter().map(|y| y.max(0.0)), side);
        Self { colour, norm, along, most, most_in, positive_in }
    }

    /// What an object whose coverage has a sum of squares of `squares` or more can take off at most, in these pixels:
    /// Σ 2 α y is no more than twice the sum of what is positive.
    fn bound(&self, pixels: &PixelBox, squares: f32) -> f32 {
        let free = 2.0 * self.positive_in.sum(pixels) - self.norm * squares;
        free.min(self.most_in.sum(pixels))
    }

    /// What an object takes off.
    fn gain(&self, stencils: &Stencils, shape: Shape, place: usize) -> f32 {
        let (stencil, moved) = stencils.at(shape, place);
        let along = &self.along[moved..];
        let sum: f32 = stencil.covered.iter().map(|&(pixel, share)| share * along[pixel]).sum();
        2.0 * sum - self.norm * stencil.squares
    }
}

/// Sums of a value over any box of pixels.
struct BoxSums {
    stride: usize,
    /// Of all pixels above and to the left.
    sums: Vec<f64>,
}

impl BoxSums {
    fn new(values: impl Iterator<Item = f32>, side: usize) -> Self {
        let stride = side + 1;
        let mut sums = vec![0.0; stride * stride];
        let mut row = 0.0;
        for (i, value) in values.enumerate() {
            let (y, x) = (i / side, i % side);
            row = if x == 0 { 0.0 } else { row } + f64::from(value);
            sums[(y + 1) * stride + x + 1] = sums[y * stride + x + 1] + row;
        }
        Self { stride, sums }
    }

    fn sum(&self, PixelBox { left, top, right, bottom }: &PixelBox) -> f32 {
        let at = |y: &u16, x: &u16| self.sums[usize::from(*y) * self.stride + usize::from(*x)];
        (at(bottom, right) - at(bottom, left) - at(top, right) + at(top, left)) as f32
    }
}

/// A search for everything within a limit.
struct Search<'a> {
    stencils: &'a Stencils,
    image: &'a [u8],
    picture: Vec<u8>,
    best: u64,
    limit: &'a dyn Fn(u64) -> u64,
    found: Vec<Match>,
}

impl Search<'_> {
    /// Whether a scene at this squared distance under the linear model may be wanted, if the model is off by `error`
    /// (a Euclidean distance) at most.
    fn may_be(&self, squared_distance: f32, empty: f32, error: f32) -> bool {
        if self.best == u64::MAX {
            return true;
        }
        let limit = ((self.limit)(self.best) as f32).sqrt() + error;
        squared_distance <= limit * limit + FLOAT_ERROR * empty + 1.0
    }

    fn look(&mut self, view: &View) {
        let error = 2.0 * self.stencils.most_rounding;
        let shared = self.stencils.most_shared * norm(view);
        if self.may_be(view.bound, view.empty, error + shared) {
            self.look_for_one(view);
            self.look_for_two(view);
        }
    }

    fn look_for_one(&mut self, view: &View) {
        let (stencils, empty, error) = (self.stencils, view.empty, self.stencils.most_rounding);
        let mut colours: Vec<(f32, &Projection)> = view
            .colours
            .iter()
            .map(|colour| (empty - colour.most.iter().sum::<f32>(), colour))
            .collect();
        colours.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (bound, projection) in colours {
            if !self.may_be(bound, empty, error) {
                continue;
            }
            let scene = |shape: Shape, place: usize| {
                let object = stencils.object(shape, projection.colour, place);
                Scene { background: view.background, main: object, second: None }
            };
            let (mut most, mut later) = (f32::NEG_INFINITY, Vec::new());
            for (place, pixels) in stencils.boxes.iter().enumerate() {
                let least = stencils.least_squares[place];
                if !self.may_be(empty - projection.bound(pixels, least), empty, error) {
                    continue;
                }
                for &shape in Shape::ALL {
                    let (stencil, _) = stencils.at(shape, place);
                    let bound = projection.bound(pixels, stencil.squares);
                    if !self.may_be(empty - bound, empty, error) {
                        continue;
                    }
                    let gain = projection.gain(stencils, shape, place);
                    if gain > most {
                        most = gain;
                        self.compare(scene(shape, place));
                    } else if self.may_be(empty - gain, empty, error) {
                        later.push((gain, shape, place));
                    }
                }
            }
            for (gain, shape, place) in later {
                if self.may_be(empty - gain, empty, error) {
                    self.compare(scene(shape, place));
                }
            }
        }
    }

    fn look_for_two(&mut self, view: &View) {
        let (stencils, empty) = (self.stencils, view.empty);
        let norm = norm(view);
        let rounding = 2.0 * stencils.most_rounding;
        let bounds: Vec<[f32; 8]> = stencils
            .boxes
            .iter()
            .zip(&stencils.least_squares)
            .map(|(pixels, &least)| {
                std::array::from_fn(|colour| view.colours[colour].bound(pixels, least))
            })
            .collect();
        let tops: Vec<f32> =
            bounds.iter().map(|of| of.iter().copied().fold(f32::MIN, f32::max)).collect();
        let mut gains = Gains { view, stencils, known: vec![[None; 8]; bounds.len()] };

        // The most promising first: what they turn out to be leaves out most of the others.
        let promise = |pair: &Pair| tops[pair.places.0] + tops[pair.places.1];
        let error = |pair: &Pair| rounding + norm * pair.most_shared;
        let mut pairs: Vec<(f32, &Pair)> = stencils
            .pairs
            .iter()
            .map(|pair| (promise(pair), pair))
            .filter(|&(promise, pair)| self.may_be(empty - promise, empty, error(pair)))
            .collect();
        pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (promise, pair) in pairs {
            let error = error(pair);
            if !self.may_be(empty - promise, empty, error) {
                continue;
            }
            let mut of = |place: usize, other: usize| -> Vec<(Colour, [f32; 5])> {
                let wanted = (0..8).filter(|&colour| {
                    self.may_be(empty - bounds[place][colour] - tops[other], empty, error)
                });
                wanted
                    .map(|colour| (view.colours[colour].colour, gains.of(place, colour)))
                    .collect()
            };
            let mains = of(pair.places.0, pair.places.1);
            let seconds = of(pair.places.1, pair.places.0);
            let mut all = Vec::new();
            for (a, main_gains) in &mains {
                for (b, second_gains) in &seconds {
                    for &main in Shape::ALL {
                        for &second in Shape::ALL {
                            let gain = main_gains[main as usize] + second_gains[second as usize];
                            let shared = norm * pair.shared[main as usize][second as usize];
                            if (main, a) != (second, b)
                                && self.may_be(empty - gain, empty, rounding + shared)
                            {
                                all.push((gain, shared, (main, *a), (second, *b)));
                            }
                        }
                    }
                }
            }
            all.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (gain, shared, main, second) in all {
                if self.may_be(empty - gain, empty, rounding + shared) {
                    let main = stencils.object(main.0, main.1, pair.places.0);
                    let object = stencils.object(second.0, second.1, pair.places.1);
                    let second = Some(Second { relation: pair.relation, object });
                    self.compare(Scene { background: view.background, main, second });
                }
            }
        }
    }

    fn compare(&mut self, scene: Scene) {
        render(&scene, self.stencils.side as u32, &mut self.picture);
        let squared_distance = squared_distance(self.image, &self.picture);
        self.best = self.best.min(squared_distance);
        if squared_distance <= (self.limit)(self.best) {
            self.found.push(Match { scene, squared_distance });
        }
    }
}

/// What objects take off, each computed when it is first asked for: a place is one of many pairs.
struct Gains<'a> {
    view: &'a View,
    stencils: &'a Stencils,
    /// By place, colour and shape.
    known: Vec<[Option<[f32; 5]>; 8]>,
}

impl Gains<'_> {
    /// By shape, at a place, of the view's colour of that number.
    fn of(&mut self, place: usize, colour: usize) -> [f32; 5] {
        let projection = &self.view.colours[colour];
        *self.known[place][colour].get_or_insert_with(|| {
            std::array::from_fn(|shape| projection.gain(self.stencils, Shape::ALL[shape], place))
        })
    }
}

/// The largest distance of a colour from the background.
fn norm(view: &View) -> f32 {
    view.colours.iter().map(|colour| colour.norm).fold(0.0, f32::max).sqrt()
}

/// Σ of the squared differences in levels.
pub(super) fn squared_distance(a: &[u8], b: &[u8]) -> u64 {
    a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        random::Random,
        shapes::{draw, stencil::object, world::simple_pictures},
    };

    fn picture(scene: &Scene, side: u32) -> Vec<u8> {
        let mut out = vec![0; (3 * side * side) as usize];
        render(scene, side, &mut out);
        out
    }

    #[test]
    fn every_scene_is_found_from_its_picture() {
        for (side, scenes, n) in
            [(16, Scenes::All, 300), (16, Scenes::Simple, 300), (32, Scenes::All, 20)]
        {
            let recogniser = Recogniser::new(side, scenes);
            (0..n).into_par_iter().for_each(|seed| {
                for scene in [scenes.draw(seed), scenes.draw_held_out(seed)] {
                    let found = recogniser.within(&picture(&scene, side), |best| best);
                    assert!(found.iter().all(|found| found.squared_distance == 0));
                    assert!(found.iter().any(|found| found.scene == scene), "{scene:?}");
                }
            });
        }
    }

    /// Against a look at every simple scene there is, for images near to one, far from all, and mixed.
    #[test]
    fn the_nearest_is_the_nearest_of_all() {
        let recogniser = Recogniser::new(16, Scenes::Simple);
        let random = &mut Random::new(&[5]);
        for seed in 0..12 {
            let mut image = picture(&draw::scene(seed), 16);
            let strength = [0, 20, 90, 255][seed as usize % 4];
            for level in &mut image {
                let noise = random.below(2 * strength + 1) as i64 - strength as i64;
                *level = (i64::from(*level) + noise).clamp(0, 255) as u8;
            }
            let mut distances: Vec<u64> =
                simple_pictures().par_iter().map(|(_, p)| squared_distance(&image, p)).collect();
            distances.sort_unstable();
            let got = recogniser.nearest(&image);
            assert_eq!(got.squared_distance, distances[0], "seed {seed}");
            let wide = recogniser.within(&image, |best| best + best / 8 + 40_000);
            let limit = distances[0] + distances[0] / 8 + 40_000;
            let want = distances.iter().filter(|distance| **distance <= limit).count();
            assert_eq!(wide.len(), want, "seed {seed}");
        }
    }

    /// Scenes of two objects against a look at every layout, shape and background in their colours.
    #[test]
    fn the_nearest_of_pairs_is_the_nearest_of_all() {
        let recogniser = Recogniser::new(16, Scenes::All);
        let random = &mut Random::new(&[6]);
        let wanted = |scene: &Scene| scene.second.is_some();
        for scene in (0..).map(draw::scene).filter(wanted).take(3) {
            let mut image = picture(&scene, 16);
            for level in &mut image {
                let noise = random.below(121) as i64 - 60;
                *level = (i64::from(*level) + noise).clamp(0, 255) as u8;
            }
            let got = recogniser.nearest(&image);
            let second = scene.second.unwrap();
            let mut least = u64::MAX;
            for &main in Shape::ALL {
                for &other in Shape::ALL {
                    for pair in &recogniser.stencils.pairs {
                        let at = |place: usize| recogniser.stencils.places[place];
                        let ((r, x, y), (q, u, v)) = (at(pair.places.0), at(pair.places.1));
                        let main = object(main, scene.main.colour, r, (x, y));
                        let object = object(other, second.object.colour, q, (u, v));
                        if main.kind() != object.kind() {
                            let second = Some(Second { relation: pair.relation, object });
                            let scene = Scene { main, second, ..scene };
                            least = least.min(squared_distance(&image, &picture(&scene, 16)));
                        }
                    }
                }
            }
            assert!(got.squared_distance <= least, "{} against {least}", got.squared_distance);
            assert_eq!(got.scene.main.kind(), scene.main.kind());
        }
    }

    #[test]
    fn probabilities_of_pictures_are_those_of_scenes() {
        let recogniser = Recogniser::new(16, Scenes::All);
        for seed in 0..20 {
            let scene = draw::scene(seed);
            let mut image = picture(&scene, 16);
            let p = recogniser.probability(&image);
            assert!(p >= scene.probability() && p < 1e-3, "{p}");
            assert_eq!(recogniser.probability(&picture(&draw::held_out_scene(seed), 16)), 0.0);
            image[300] ^= 1;
            assert_eq!(recogniser.probability(&image), 0.0);
        }
    }
}
