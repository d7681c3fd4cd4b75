//! How often what is to be seen: the true frequencies of attributes and of their combinations, and what a sampler of the
//! true distribution would show of them in n images, on average, by exact sums over binomial distributions.

use super::{
    grammar::{Background, Colour, Relation, Shape, Size},
    layout,
    scene::{NUM_CLASSES, Scene},
};
use crate::Scenes;

/// Something that a scene has one of several values of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aspect {
    /// Shape and tone of the main object.
    Class,
    /// Shape of the main object.
    Shape,
    /// Colour of the main object.
    Colour,
    /// Background.
    Background,
    /// One object, of what size, or two.
    Layout,
    /// Radius of the main object.
    Radius,
    /// Relation of two objects, or that there is one.
    Relation,
    /// Shape of the second object, or that there is none.
    SecondShape,
    /// Colour of the second object, or that there is none.
    SecondColour,
    /// Where the main object lies: in nine parts of the range it has.
    Place,
    /// Class, colour and background, with the size of an object alone or else relation and shape of the second: all that
    /// the grammar weighs, but for the colour of the second object.
    Cell,
}

const LAYOUTS: usize = Size::ALL.len() + 1;
const RELATIONS: usize = Relation::ALL.len();
const SHAPES: usize = Shape::ALL.len();
const COLOURS: usize = Colour::ALL.len();
/// Sizes of an object alone, or relations with every second shape.
const ARRANGEMENTS: usize = Size::ALL.len() + RELATIONS * SHAPES;

impl Aspect {
    /// All but [`Aspect::Cell`], which is of all of them.
    pub const MARGINALS: [Self; 10] = [
        Self::Class,
        Self::Shape,
        Self::Colour,
        Self::Background,
        Self::Layout,
        Self::Radius,
        Self::Relation,
        Self::SecondShape,
        Self::SecondColour,
        Self::Place,
    ];

    /// What reports call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Shape => "shape",
            Self::Colour => "colour",
            Self::Background => "background",
            Self::Layout => "layout",
            Self::Radius => "radius",
            Self::Relation => "relation",
            Self::SecondShape => "second_shape",
            Self::SecondColour => "second_colour",
            Self::Place => "place",
            Self::Cell => "cell",
        }
    }

    /// Number of values, those that no scene has included.
    pub fn num_values(self) -> usize {
        match self {
            Self::Class => NUM_CLASSES,
            Self::Shape => SHAPES,
            Self::Colour => COLOURS,
            Self::Background => Background::ALL.len(),
            Self::Layout => LAYOUTS,
            Self::Radius | Self::Place => 9,
            Self::Relation => RELATIONS + 1,
            Self::SecondShape => SHAPES + 1,
            Self::SecondColour => COLOURS + 1,
            Self::Cell => SHAPES * COLOURS * Background::ALL.len() * ARRANGEMENTS,
        }
    }

    /// The value that a scene of the grammar has, in `0..`[`Aspect::num_values`].
    pub fn of(self, scene: &Scene) -> usize {
        let (main, second) = (&scene.main, &scene.second);
        match self {
            Self::Class => scene.class(),
            Self::Shape => main.shape as usize,
            Self::Colour => main.colour as usize,
            Self::Background => scene.background as usize,
            Self::Layout => match second {
                None => main.size as usize,
                Some(_) => LAYOUTS - 1,
            },
            Self::Radius => {
                let radii = main.size.radii();
                3 * main.size as usize + usize::from(main.radius.saturating_sub(radii[0])).min(2)
            }
            Self::Relation => second.map_or(RELATIONS, |second| second.relation as usize),
            Self::SecondShape => second.map_or(SHAPES, |second| second.object.shape as usize),
            Self::SecondColour => second.map_or(COLOURS, |second| second.object.colour as usize),
            Self::Place => place(scene),
            Self::Cell => {
                let arrangement = match second {
                    None => main.size as usize,
                    Some(second) => {
                        let shape = second.object.shape as usize;
                        Size::ALL.len() + second.relation as usize * SHAPES + shape
                    }
                };
                let kind = main.shape as usize * COLOURS + main.colour as usize;
                let backdrop = kind * Background::ALL.len() + scene.background as usize;
                backdrop * ARRANGEMENTS + arrangement
            }
        }
    }

    /// The true probability of every value.
    pub fn frequencies(self, scenes: Scenes) -> Vec<f64> {
        let mut frequencies = vec![0.0; self.num_values()];
        for group in scenes.groups() {
            let mass = group.probability * group.count as f64;
            match (self, group.scene.second) {
                (Self::Place, None) => {
                    let along = thirds(group.scene.main.radius);
                    let share = |third: usize| along[third] / along.iter().sum::<f64>();
                    for (place, p) in frequencies.iter_mut().enumerate() {
                        *p += mass * share(place / 3) * share(place % 3);
                    }
                }
                (Self::Place, Some(_)) => frequencies.iter_mut().for_each(|p| *p += mass / 9.0),
                _ => frequencies[self.of(&group.scene)] += mass,
            }
        }
        frequencies
    }
}

/// One of nine parts. Of two objects: three places across the relation, and three shifts of the second against the main.
fn place(scene: &Scene) -> usize {
    let main = &scene.main;
    match &scene.second {
        None => {
            let third = |at: u8| {
                let from = usize::from(at.saturating_sub(main.radius + 1));
                (3 * from / usize::from(layout::num_positions(main.radius))).min(2)
            };
            3 * third(main.y) + third(main.x)
        }
        Some(second) => {
            let (main, other) = match second.relation.is_horizontal() {
                true => (main.y, second.object.y),
                false => (main.x, second.object.x),
            };
            let shift = (usize::from(other) + 8).saturating_sub(usize::from(main)) / 8;
            3 * (usize::from(main.saturating_sub(26)) / 6).min(2) + shift.min(2)
        }
    }
}

/// Number of positions in each third of an axis.
fn thirds(radius: u8) -> [f64; 3] {
    let positions = usize::from(layout::num_positions(radius));
    let mut counts = [0.0; 3];
    (0..positions).for_each(|from| counts[3 * from / positions] += 1.0);
    counts
}

/// E f(k) for the number k of images of n that show what has probability p: the sum over k of a binomial distribution.
///
/// Terms of less than e^-45 of the largest are left out.
pub fn binomial_mean(n: u64, p: f64, f: impl Fn(f64) -> f64) -> f64 {
    if n == 0 || p <= 0.0 {
        return f(0.0);
    }
    if p >= 1.0 {
        return f(n as f64);
    }
    let mode = ((n as f64 + 1.0) * p).floor().min(n as f64);
    let (mut weights, mut sum) = (0.0, 0.0);
    let mut add = |k: f64, weight: f64| {
        weights += weight;
        sum += weight * f(k);
    };
    let (n, odds, least) = (n as f64, p / (1.0 - p), (-45f64).exp());
    // P(k + 1) / P(k) = (n − k) / (k + 1) · p / (1 − p), from the mode both ways.
    let (mut k, mut weight) = (mode, 1.0);
    while weight > least && k <= n {
        add(k, weight);
        weight *= (n - k) / (k + 1.0) * odds;
        k += 1.0;
    }
    let (mut k, mut weight) = (mode, 1.0);
    while k > 0.0 {
        weight *= k / (n - k + 1.0) / odds;
        k -= 1.0;
        if weight <= least {
            break;
        }
        add(k, weight);
    }
    sum / weights
}

/// 1 − (1 − p)ⁿ: the probability that n images show what has probability p.
pub fn seen(n: u64, p: f64) -> f64 {
    if p >= 1.0 { f64::from(u8::from(n > 0)) } else { -(n as f64 * (-p).ln_1p()).exp_m1() }
}

/// Total variation between counts of n images and probabilities: half the sum of the differences.
///
/// Images that are in no cell count as a cell of probability 0.
pub fn total_variation(counts: &[f64], n: u64, p: &[f64]) -> f64 {
    let missing = n as f64 - counts.iter().sum::<f64>();
    let apart: f64 = counts.iter().zip(p).map(|(count, p)| (count / n as f64 - p).abs()).sum();
    0.5 * (apart + missing / n as f64)
}

/// The mean of [`total_variation`] over sets of n images of the true distribution.
pub fn ideal_total_variation(n: u64, p: &[f64]) -> f64 {
    let n = n.max(1);
    p.iter().map(|&p| 0.5 * binomial_mean(n, p, |k| (k / n as f64 - p).abs())).sum()
}

/// Kullback–Leibler divergence of counts from probabilities in nats: Σ k/n ln(k / np). Counts where p is 0 are left out.
pub fn divergence(counts: &[f64], p: &[f64]) -> Option<f64> {
    let possible = || counts.iter().zip(p).filter(|(count, p)| **p > 0.0 && **count > 0.0);
    let n: f64 = possible().map(|(count, _)| count).sum();
    (n > 0.0).then(|| possible().map(|(count, p)| count / n * (count / n / p).ln()).sum())
}

/// The mean of [`divergence`] over sets of n images of the true distribution: about (cells − 1) / 2n.
pub fn ideal_divergence(n: u64, p: &[f64]) -> f64 {
    let n = n.max(1);
    let term = |k: f64, p: f64| if k == 0.0 { 0.0 } else { k / n as f64 * (k / n as f64 / p).ln() };
    p.iter().filter(|p| **p > 0.0).map(|&p| binomial_mean(n, p, |k| term(k, p))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::{draw, world::simple_pictures};

    /// Of one class of shapes, against a sum over its scenes; of all attributes, that they sum to one.
    #[test]
    fn frequencies_are_sums_over_scenes() {
        for attribute in Aspect::MARGINALS.into_iter().chain([Aspect::Cell]) {
            let mut want = vec![0.0; attribute.num_values()];
            for (scene, _) in simple_pictures() {
                want[attribute.of(scene)] += Scenes::Simple.probability(scene);
            }
            let got = attribute.frequencies(Scenes::Simple);
            let apart = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(apart < 1e-9, "{}: {apart}", attribute.name());
            let sum: f64 = attribute.frequencies(Scenes::All).iter().sum();
            assert!((sum - 1.0).abs() < 1e-9, "{}: {sum}", attribute.name());
        }
    }

    /// Counts of draws have the total variation and the divergence that their exact means say.
    #[test]
    fn draws_are_as_far_off_as_expected() {
        let n = 20_000;
        let drawn: Vec<Scene> = (0..n).map(draw::scene).collect();
        for attribute in Aspect::MARGINALS.into_iter().chain([Aspect::Cell]) {
            let p = attribute.frequencies(Scenes::All);
            let mut counts = vec![0.0; attribute.num_values()];
            drawn.iter().for_each(|scene| counts[attribute.of(scene)] += 1.0);
            let (got, want) = (total_variation(&counts, n, &p), ideal_total_variation(n, &p));
            assert!(got < 2.5 * want && got > want / 8.0, "{}: {got} {want}", attribute.name());
            if attribute == Aspect::Cell {
                assert!((got / want - 1.0).abs() < 0.05, "{got} {want}");
                let (got, want) = (divergence(&counts, &p).unwrap(), ideal_divergence(n, &p));
                assert!((got / want - 1.0).abs() < 0.08, "{got} {want}");
            }
        }
    }

    /// By sums of fractions of whole numbers.
    #[test]
    fn binomial_means_are_exact() {
        let deviation = |n: u64, p: f64| binomial_mean(n, p, |k| (k - n as f64 * p).abs());
        assert!((deviation(10, 0.3) - 1.120_677_314_4).abs() < 1e-12);
        assert!((deviation(1000, 0.004) - 1.559_804_995_308_732).abs() < 1e-9);
        assert!((binomial_mean(10_000, 0.37, |k| k) - 3700.0).abs() < 1e-6);
        assert_eq!(binomial_mean(7, 1.0, |k| k), 7.0);
        assert!((seen(3, 0.5) - 0.875).abs() < 1e-15 && seen(0, 1.0) == 0.0);
        assert!((seen(10, 1e-17) - 1e-16).abs() < 1e-25);
    }

    #[test]
    fn divergences_by_hand() {
        assert_eq!(total_variation(&[2.0, 0.0, 1.0], 4, &[0.5, 0.5, 0.0]), 0.5);
        assert!(
            (divergence(&[3.0, 1.0, 5.0], &[0.5, 0.5, 0.0]).unwrap() - 0.130_812_035_941_136_97)
                .abs()
                < 1e-12
        );
        assert_eq!(divergence(&[0.0, 4.0], &[1.0, 0.0]), None);
    }
}
