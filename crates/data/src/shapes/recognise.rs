//! Which scene an image shows: the one whose picture is nearest, found among all ten million of them.
//!
//! The search is exact. For one background b and a colour c, placing an object changes the squared distance between image
//! x and picture by −Σ (2 α (x − b)·(c − b) − α² |c − b|²), a correlation of the coverage α with a projection of the
//! image. Two objects never overlap but in the corner of a pixel, so a scene of two costs the sum of two such terms.
//! Backgrounds and pairs of colours that cannot win, whatever the coverage, are left out by a bound that takes the best α
//! for every pixel by itself; what is within the bound on the error of all this is rendered and compared level by level.

use super::{
    grammar::{Background, Colour, Shape},
    render::render,
    scene::{Scene, Second},
    stencil::{Stencils, contrast, object},
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
        let mut views: Vec<View> =
            Background::ALL.iter().map(|&background| View::new(background, image)).collect();
        views.sort_by(|a, b| a.bound.total_cmp(&b.bound));
        for mut view in views {
            search.look(&mut view);
        }
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
    /// By colour: (x − b)·(c − b) of every pixel.
    projections: Vec<Vec<f32>>,
    /// By colour: the most that an object of it could take off a pixel's squared distance.
    most: Vec<Vec<f32>>,
    /// No picture with this background has a squared distance below this one, but for rounding.
    bound: f32,
    /// By colour, once asked for: what every shape at every place takes off the squared distance.
    gains: [Option<Vec<Vec<f32>>>; 8],
}

impl View {
    fn new(background: Background, image: &[u8]) -> Self {
        let level = f32::from(background.level());
        let plane = image.len() / 3;
        let off: Vec<f32> = image.iter().map(|&x| f32::from(x) - level).collect();
        let empty = off.iter().map(|x| x * x).sum();
        let (mut projections, mut most) = (Vec::new(), Vec::new());
        for &colour in Colour::ALL {
            let ([r, g, b], norm) = contrast(background, colour);
            let projection: Vec<f32> = (0..plane)
                .map(|i| off[i] * r + off[plane + i] * g + off[2 * plane + i] * b)
                .collect();
            // 2 α y − α² |c − b|² at its largest over α in [0, 1].
            let best = |y: &f32| {
                let share = (y / norm).clamp(0.0, 1.0);
                share * (2.0 * y - share * norm)
            };
            most.push(projection.iter().map(best).collect::<Vec<f32>>());
            projections.push(projection);
        }
        let all = |i: usize| most.iter().map(|most| most[i]).fold(0.0, f32::max);
        let bound = empty - (0..plane).map(all).sum::<f32>();
        Self { background, empty, projections, most, bound, gains: Default::default() }
    }

    /// As [`View::bound`], for objects of two colours.
    fn bound_of(&self, a: Colour, b: Colour) -> f32 {
        let (a, b) = (&self.most[a as usize], &self.most[b as usize]);
        self.empty - a.iter().zip(b).map(|(a, b)| a.max(*b)).sum::<f32>()
    }

    fn gains(&mut self, colour: Colour, stencils: &Stencils) -> &[Vec<f32>] {
        let (_, norm) = contrast(self.background, colour);
        let projection = &self.projections[colour as usize];
        self.gains[colour as usize].get_or_insert_with(|| {
            let mut sums = vec![0f32; projection.len()];
            let of_shape = |shape: &Shape| {
                let mut gains = vec![0f32; stencils.places.len()];
                for stencil in &stencils.stencils[*shape as usize] {
                    let (last, _) = stencil.at[stencil.at.len() - 1];
                    let sums = &mut sums[..=last];
                    sums.fill(0.0);
                    for &(pixel, share) in &stencil.covered {
                        let window = &projection[pixel..=pixel + last];
                        for (sum, y) in sums.iter_mut().zip(window) {
                            *sum += share * y;
                        }
                    }
                    for &(moved, place) in &stencil.at {
                        gains[place] = 2.0 * sums[moved] - norm * stencil.squares;
                    }
                }
                gains
            };
            Shape::ALL.iter().map(of_shape).collect()
        })
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

    fn look(&mut self, view: &mut View) {
        // No coverage has a greater error than all pixels partly covered.
        let error = super::stencil::ROUNDING * (self.image.len() as f32).sqrt();
        if !self.may_be(view.bound, view.empty, error) {
            return;
        }
        let colours = Colour::ALL.iter();
        let mut single: Vec<(f32, Colour)> =
            colours.clone().map(|&colour| (view.bound_of(colour, colour), colour)).collect();
        single.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (bound, colour) in single {
            if self.may_be(bound, view.empty, error) {
                self.look_for_one(view, colour);
            }
        }
        if self.stencils.pairs.is_empty() {
            return;
        }
        let mut double: Vec<(f32, Colour, Colour)> = colours
            .clone()
            .flat_map(|&a| colours.clone().map(move |&b| (a, b)))
            .filter(|(a, b)| a <= b)
            .map(|(a, b)| (view.bound_of(a, b), a, b))
            .collect();
        double.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (bound, a, b) in double {
            // Where two objects share a pixel, the sum of both takes off too much: that is weighed below.
            let error = error + self.most_shared() * norm(view.background, a, b);
            if self.may_be(bound, view.empty, error) {
                view.gains(a, self.stencils);
                view.gains(b, self.stencils);
                self.look_for_two(view, a, b);
                if a != b {
                    self.look_for_two(view, b, a);
                }
            }
        }
    }

    fn most_shared(&self) -> f32 {
        self.stencils.most_shared
    }

    fn look_for_one(&mut self, view: &mut View, colour: Colour) {
        let (background, empty) = (view.background, view.empty);
        let stencils = self.stencils;
        let gains = view.gains(colour, stencils);
        let scene = |shape: Shape, place: usize| {
            let (radius, x, y) = stencils.places[place];
            Scene { background, main: object(shape, colour, radius, (x, y)), second: None }
        };
        // The best by the model first, since all others are measured by it.
        let best = |gains: &Vec<f32>| {
            (0..gains.len()).max_by(|&a, &b| gains[a].total_cmp(&gains[b])).expect("there are places")
        };
        let tops: Vec<usize> = gains.iter().map(best).collect();
        let top = |shape: &&Shape| gains[**shape as usize][tops[**shape as usize]];
        let shape = *Shape::ALL.iter().max_by(|a, b| top(a).total_cmp(&top(b))).expect("shapes");
        let first = (shape, tops[shape as usize]);
        self.compare(scene(first.0, first.1));
        for &shape in Shape::ALL {
            let most = stencils.most_rounding(shape);
            for (place, gain) in gains[shape as usize].iter().enumerate() {
                if self.may_be(empty - gain, empty, most) && (shape, place) != first {
                    self.compare(scene(shape, place));
                }
            }
        }
    }

    /// Scenes with a main object of colour `a` and a second one of colour `b`, whose gains are known.
    fn look_for_two(&mut self, view: &View, a: Colour, b: Colour) {
        let (background, empty) = (view.background, view.empty);
        let stencils = self.stencils;
        let gains = |colour: Colour| view.gains[colour as usize].as_ref().expect("computed before");
        let (main, second) = (gains(a), gains(b));
        let norm = norm(background, a, b);
        let most = |gains: &[Vec<f32>], place: usize| {
            gains.iter().map(|gains| gains[place]).fold(f32::MIN, f32::max)
        };
        let rounding = 2.0 * Shape::ALL.iter().map(|&s| stencils.most_rounding(s)).fold(0.0, f32::max);
        let gain_of = |pair: &super::stencil::Pair| {
            most(main, pair.places.0) + most(second, pair.places.1)
        };
        let all: Vec<f32> = stencils.pairs.iter().map(gain_of).collect();
        let mut order: Vec<usize> = (0..all.len())
            .filter(|&i| self.may_be(empty - all[i], empty, rounding + norm * stencils.pairs[i].most_shared()))
            .collect();
        order.sort_by(|&i, &j| all[j].total_cmp(&all[i]));
        for i in order {
            let pair = &stencils.pairs[i];
            if !self.may_be(empty - all[i], empty, rounding + norm * pair.most_shared()) {
                continue;
            }
            for &main_shape in Shape::ALL {
                for &second_shape in Shape::ALL {
                    if (main_shape, a) == (second_shape, b) {
                        continue;
                    }
                    let gain = main[main_shape as usize][pair.places.0]
                        + second[second_shape as usize][pair.places.1];
                    let shared = pair.shared[main_shape as usize][second_shape as usize];
                    if self.may_be(empty - gain, empty, rounding + norm * shared) {
                        let object = |shape, colour, place: usize| {
                            let (radius, x, y) = stencils.places[place];
                            object(shape, colour, radius, (x, y))
                        };
                        let main = object(main_shape, a, pair.places.0);
                        let object = object(second_shape, b, pair.places.1);
                        let second = Some(Second { relation: pair.relation, object });
                        self.compare(Scene { background, main, second });
                    }
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

/// The larger distance of two colours from the background.
fn norm(background: Background, a: Colour, b: Colour) -> f32 {
    contrast(background, a).1.max(contrast(background, b).1).sqrt()
}

/// Σ of the squared differences in levels.
pub(super) fn squared_distance(a: &[u8], b: &[u8]) -> u64 {
    a.iter().zip(b).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{random::Random, shapes::{draw, scenes}};

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
        let all: Vec<Vec<u8>> = scenes()
            .filter(|scene| Scenes::Simple.has_layout(scene))
            .map(|scene| picture(&scene, 16))
            .collect();
        let random = &mut Random::new(&[5]);
        for seed in 0..24 {
            let mut image = picture(&draw::scene(seed), 16);
            let strength = [0, 20, 90, 255][seed as usize % 4];
            for level in &mut image {
                let noise = random.below(2 * strength + 1) as i64 - strength as i64;
                *level = (i64::from(*level) + noise).clamp(0, 255) as u8;
            }
            let mut distances: Vec<u64> =
                all.par_iter().map(|picture| squared_distance(&image, picture)).collect();
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
