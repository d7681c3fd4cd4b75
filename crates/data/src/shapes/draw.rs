//! Drawing scenes at random, and listing all of them.

use super::grammar::Shape;
use super::{
    grammar::{Background, Colour, Relation, Size},
    layout,
    scene::{NUM_CLASSES, Object, Scene, Second, TWO_OBJECTS, kind_of_class, kinds},
};
use crate::random::Random;
use paragone_core::mix;

/// The scene of a seed, as training, validation and test images show it: with [`Scene::probability`].
pub fn scene(seed: u64) -> Scene {
    matching(seed, |scene| !scene.is_held_out())
}

/// The scene of a seed among those of one large object, none of them held out.
pub fn simple_scene(seed: u64) -> Scene {
    matching(seed, |scene| scene.is_simple() && !scene.is_held_out())
}

/// The scene of a seed among those that are held out.
pub fn held_out_scene(seed: u64) -> Scene {
    matching(seed, Scene::is_held_out)
}

/// The scene of a seed among all, held-out ones as likely as the grammar's weights make them; half of the scenes have two
/// objects, so that what learns from them sees each attribute of the second object often.
pub fn any_scene(seed: u64) -> Scene {
    let two = mix(&[seed, 1]).is_multiple_of(2);
    matching(seed, |scene| scene.second.is_some() == two)
}

/// The scene of a seed among those of one large object that are held out; its class is one that has such.
pub(super) fn simple_held_out_scene(seed: u64) -> Scene {
    let random = &mut Random::new(&[seed]);
    loop {
        let scene = of_class(random.below(NUM_CLASSES), random);
        if scene.is_simple() && scene.is_held_out() {
            return scene;
        }
    }
}

/// Every scene of the grammar, once; about ten million, held-out ones (of probability 0) included.
pub fn scenes() -> impl Iterator<Item = Scene> {
    kinds().flat_map(|kind| {
        Background::ALL.iter().flat_map(move |&background| {
            let alone = alone(kind).map(move |main| Scene { background, main, second: None });
            let pairs = kinds().filter(move |other| *other != kind).flat_map(move |other| {
                pairs(kind, other).map(move |(main, second)| Scene {
                    background,
                    main,
                    second: Some(second),
                })
            });
            alone.chain(pairs)
        })
    })
}

pub(super) fn matching(seed: u64, wanted: impl Fn(&Scene) -> bool) -> Scene {
    let mut random = Random::new(&[seed]);
    let class = random.below(NUM_CLASSES);
    loop {
        let scene = of_class(class, &mut random);
        if wanted(&scene) {
            return scene;
        }
    }
}

fn of_class(class: usize, random: &mut Random) -> Scene {
    let (shape, tone) = kind_of_class(class);
    let kind = (shape, random.weighted(&Colour::weights(tone)));
    let background = random.weighted(&Background::WEIGHTS);
    if random.unit() >= TWO_OBJECTS {
        let size = random.weighted(&Size::WEIGHTS);
        let radius = random.pick(&size.radii());
        let mut place =
            || radius + 1 + random.below(usize::from(layout::num_positions(radius))) as u8;
        let (x, y) = (place(), place());
        return Scene { background, main: object(kind, size, radius, (x, y)), second: None };
    }
    let other = loop {
        let other = any_kind(random);
        if other != kind {
            break other;
        }
    };
    let relation = random.weighted(&Relation::WEIGHTS);
    let radii = (random.pick(&Size::Medium.radii()), random.pick(&Size::Small.radii()));
    let at = layout::pair(relation, radii.0, radii.1, random.below(layout::NUM_PAIRS));
    let (main, second) = two(kind, other, relation, radii, at);
    Scene { background, main, second: Some(second) }
}

fn any_kind(random: &mut Random) -> (Shape, Colour) {
    let (shape, tone) = kind_of_class(random.below(NUM_CLASSES));
    (shape, random.weighted(&Colour::weights(tone)))
}

fn object((shape, colour): (Shape, Colour), size: Size, radius: u8, (x, y): (u8, u8)) -> Object {
    Object { shape, colour, size, radius, x, y }
}

fn two(
    kind: (Shape, Colour),
    other: (Shape, Colour),
    relation: Relation,
    radii: (u8, u8),
    at: ((u8, u8), (u8, u8)),
) -> (Object, Second) {
    let main = object(kind, Size::Medium, radii.0, at.0);
    (main, Second { relation, object: object(other, Size::Small, radii.1, at.1) })
}

fn alone(kind: (Shape, Colour)) -> impl Iterator<Item = Object> {
    let sized = Size::ALL.iter().flat_map(|&size| size.radii().map(|radius| (size, radius)));
    sized.flat_map(move |(size, radius)| {
        layout::positions(radius).flat_map(move |y| {
            layout::positions(radius).map(move |x| object(kind, size, radius, (x, y)))
        })
    })
}

fn pairs(kind: (Shape, Colour), other: (Shape, Colour)) -> impl Iterator<Item = (Object, Second)> {
    let radii = Size::Medium.radii().into_iter();
    let radii = radii.flat_map(|main| Size::Small.radii().map(move |second| (main, second)));
    radii.flat_map(move |radii| {
        Relation::ALL.iter().flat_map(move |&relation| {
            layout::pairs(relation, radii.0, radii.1)
                .map(move |at| two(kind, other, relation, radii, at))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one() {
        let (mut sum, mut held_out, mut count) = (0.0, 0u64, 0u64);
        for scene in scenes() {
            let p = scene.probability();
            assert_eq!(p == 0.0, scene.is_held_out(), "{scene:?}");
            sum += p;
            held_out += u64::from(p == 0.0);
            count += 1;
        }
        assert!((sum - 1.0).abs() < 1e-9, "{sum} over {count}");
        assert!(held_out > 0 && held_out < count / 4);
    }

    #[test]
    fn scenes_outside_the_grammar_are_impossible() {
        let known = scene(5);
        assert!(known.probability() > 0.0);
        let mut moved = known;
        moved.main.x = 0;
        assert_eq!(moved.probability(), 0.0);
        let mut grown = known;
        grown.main.radius = 30;
        assert_eq!(grown.probability(), 0.0);
    }

    /// Pearson's chi-square of drawn scenes against their probabilities, over (class, colour, background, size or
    /// relation with the second object's shape).
    #[test]
    fn frequencies_match_probabilities() {
        use std::collections::HashMap;
        type Cell = (usize, Colour, Background, Option<Size>, Option<(Relation, Shape)>);
        let cell = |scene: &Scene| -> Cell {
            let second = scene.second.map(|s| (s.relation, s.object.shape));
            let size = second.is_none().then_some(scene.main.size);
            (scene.class(), scene.main.colour, scene.background, size, second)
        };
        let mut expected: HashMap<Cell, f64> = HashMap::new();
        let all: Vec<Scene> = scenes().filter(|scene| !scene.is_held_out()).collect();
        for run in all.chunk_by(|a, b| cell(a) == cell(b)) {
            *expected.entry(cell(&run[0])).or_default() +=
                run.iter().map(Scene::probability).sum::<f64>();
        }
        let n = 400_000u64;
        let mut seen: HashMap<Cell, f64> = HashMap::new();
        for seed in 0..n {
            *seen.entry(cell(&scene(seed))).or_default() += 1.0;
        }
        let chi_square: f64 = expected
            .iter()
            .map(|(cell, p)| {
                let want = p * n as f64;
                assert!(want > 5.0, "too few draws for {cell:?}");
                (seen.get(cell).copied().unwrap_or(0.0) - want).powi(2) / want
            })
            .sum();
        assert!(seen.keys().all(|cell| expected.contains_key(cell)));
        // Mean k − 1 and standard deviation sqrt(2 (k − 1)): four of them are a chance of about 1 in 20,000.
        let freedom = (expected.len() - 1) as f64;
        assert!((chi_square - freedom).abs() < 4.0 * (2.0 * freedom).sqrt(), "{chi_square}");
    }

    #[test]
    fn training_has_no_held_out_combination_and_the_held_out_set_only_such() {
        for seed in 0..20_000 {
            assert!(!scene(seed).is_held_out());
            assert!(held_out_scene(seed).is_held_out());
        }
    }
}
