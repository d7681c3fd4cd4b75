//! Which scenes there are to be seen, and how often: the whole grammar, or its simple scenes.

use super::{
    draw,
    grammar::{Background, Colour, Relation, Size},
    layout,
    scene::{NUM_CLASSES, Object, Scene, Second, is_held_out, kinds},
    stencil::object,
};
use crate::Scenes;
use std::sync::OnceLock;

/// Scenes that differ in nothing but where their objects are: all of them are equally likely.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// One of them.
    pub scene: Scene,
    /// How many they are.
    pub count: usize,
    /// The probability of each.
    pub probability: f64,
}

impl Scenes {
    /// Whether a scene belongs to these: is of the grammar, held out or not, and simple where only such are.
    pub fn contains(self, scene: &Scene) -> bool {
        self.has_layout(scene) && scene.in_grammar()
    }

    /// Probability that a training, validation or test image shows the scene; 0 for one that is held out.
    ///
    /// Sums to one over [`scenes`](super::scenes).
    pub fn probability(self, scene: &Scene) -> f64 {
        match self {
            Self::All => scene.probability(),
            Self::Simple if self.has_layout(scene) => {
                // The class is drawn first, so what is left out makes the rest of its class more likely.
                scene.probability() / simple_share()[scene.class()]
            }
            Self::Simple => 0.0,
        }
    }

    /// The scene of a seed, drawn with [`Scenes::probability`].
    pub fn draw(self, seed: u64) -> Scene {
        match self {
            Self::All => draw::scene(seed),
            Self::Simple => draw::simple_scene(seed),
        }
    }

    /// The scene of a seed among those that are held out from these.
    pub fn draw_held_out(self, seed: u64) -> Scene {
        match self {
            Self::All => draw::held_out_scene(seed),
            Self::Simple => draw::simple_held_out_scene(seed),
        }
    }

    pub(super) fn has_layout(self, scene: &Scene) -> bool {
        self == Self::All || (scene.second.is_none() && scene.main.size == Size::Large)
    }

    /// Every group of these scenes that are not held out.
    pub(super) fn groups(self) -> impl Iterator<Item = Group> {
        let of_kind = kinds().flat_map(|kind| {
            Background::ALL.iter().flat_map(move |&background| {
                let alone = Size::ALL.iter().flat_map(|size| size.radii()).map(move |radius| {
                    let main = object(kind.0, kind.1, radius, (radius + 1, radius + 1));
                    let count = usize::from(layout::num_positions(radius)).pow(2);
                    (Scene { background, main, second: None }, count)
                });
                let pairs = kinds().filter(move |other| *other != kind).flat_map(move |other| {
                    pairs().map(move |(relation, radii)| {
                        let at = layout::pair(relation, radii.0, radii.1, 0);
                        let object =
                            |kind: (_, Colour), radius, at| object(kind.0, kind.1, radius, at);
                        let second = Second { relation, object: object(other, radii.1, at.1) };
                        let main: Object = object(kind, radii.0, at.0);
                        (Scene { background, main, second: Some(second) }, layout::NUM_PAIRS)
                    })
                });
                alone.chain(pairs)
            })
        });
        of_kind.filter(move |(scene, _)| self.has_layout(scene) && !scene.is_held_out()).map(
            move |(scene, count)| Group { scene, count, probability: self.probability(&scene) },
        )
    }
}

/// Relations with radii of the main and of the second object.
pub(super) fn pairs() -> impl Iterator<Item = (Relation, (u8, u8))> {
    Relation::ALL.iter().flat_map(|&relation| {
        Size::Medium.radii().into_iter().flat_map(move |main| {
            Size::Small.radii().into_iter().map(move |second| (relation, (main, second)))
        })
    })
}

/// For each class, the probability that one of its scenes is simple.
fn simple_share() -> &'static [f64; NUM_CLASSES] {
    static SHARES: OnceLock<[f64; NUM_CLASSES]> = OnceLock::new();
    SHARES.get_or_init(|| {
        let mut shares = [0.0; NUM_CLASSES];
        for background in Background::ALL {
            for (shape, colour) in kinds().filter(|&kind| !is_held_out(kind, None)) {
                for radius in Size::Large.radii() {
                    let main = object(shape, colour, radius, (radius + 1, radius + 1));
                    let scene = Scene { background: *background, main, second: None };
                    let places = f64::from(layout::num_positions(radius)).powi(2);
                    shares[scene.class()] += scene.probability() * places;
                }
            }
        }
        shares.map(|share| share * NUM_CLASSES as f64)
    })
}

/// Every simple scene, held out or not, with its picture at 16 pixels.
#[cfg(test)]
pub(super) fn simple_pictures() -> &'static [(Scene, Vec<u8>)] {
    use rayon::prelude::*;
    static PICTURES: OnceLock<Vec<(Scene, Vec<u8>)>> = OnceLock::new();
    PICTURES.get_or_init(|| {
        let places: Vec<(u8, u8, u8)> = Size::Large
            .radii()
            .into_iter()
            .flat_map(|radius| {
                let line = move || layout::positions(radius);
                line().flat_map(move |y| line().map(move |x| (radius, x, y)))
            })
            .collect();
        let looks = kinds().flat_map(|kind| Background::ALL.iter().map(move |&b| (kind, b)));
        let looks: Vec<_> = looks.collect();
        let of_look = |&((shape, colour), background): &((_, _), Background)| {
            let picture = |&(radius, x, y): &(u8, u8, u8)| {
                let main = object(shape, colour, radius, (x, y));
                let scene = Scene { background, main, second: None };
                let mut picture = vec![0; 768];
                super::render(&scene, 16, &mut picture);
                (scene, picture)
            };
            places.iter().map(picture).collect::<Vec<_>>()
        };
        looks.par_iter().flat_map_iter(of_look).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn simple_scenes_are_all_there_and_no_two_look_the_same() {
        let sum: f64 =
            simple_pictures().iter().map(|(scene, _)| Scenes::Simple.probability(scene)).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{sum}");
        let different: std::collections::HashSet<&Vec<u8>> =
            simple_pictures().iter().map(|(_, picture)| picture).collect();
        assert_eq!(different.len(), 40 * 3 * (21 * 21 + 19 * 19 + 17 * 17));
    }

    #[test]
    fn groups_hold_all_the_probability() {
        for (scenes, count) in [(Scenes::All, 120 - 12), (Scenes::Simple, 120 - 12)] {
            let sum: f64 = scenes.groups().map(|g| g.probability * g.count as f64).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{scenes:?}: {sum}");
            // Kinds and backgrounds of large objects alone, at three radii.
            let large = |g: &Group| g.scene.second.is_none() && g.scene.main.size == Size::Large;
            assert_eq!(scenes.groups().filter(large).count(), 3 * count);
        }
        assert_eq!(Scenes::Simple.groups().count(), 324);
    }

    #[test]
    fn simple_scenes_are_drawn_with_their_probability() {
        let n = 100_000;
        let mut seen: HashMap<_, f64> = HashMap::new();
        for seed in 0..n {
            let scene = Scenes::Simple.draw(seed);
            assert!(Scenes::Simple.contains(&scene));
            *seen.entry((scene.main.kind(), scene.background)).or_default() += 1.0;
        }
        let mut expected: HashMap<_, f64> = HashMap::new();
        for group in Scenes::Simple.groups() {
            *expected.entry((group.scene.main.kind(), group.scene.background)).or_default() +=
                group.probability * group.count as f64 * n as f64;
        }
        let chi_square: f64 =
            expected.iter().map(|(cell, want)| (seen[cell] - want).powi(2) / want).sum();
        let freedom = (expected.len() - 1) as f64;
        assert!((chi_square - freedom).abs() < 4.0 * (2.0 * freedom).sqrt(), "{chi_square}");
    }

    #[test]
    fn held_out_scenes_are_of_the_grammar_and_never_drawn() {
        for scenes in [Scenes::All, Scenes::Simple] {
            for seed in 0..2000 {
                let scene = scenes.draw_held_out(seed);
                assert!(scenes.contains(&scene) && scenes.probability(&scene) == 0.0);
            }
        }
        assert!(
            !Scenes::Simple.contains(&(0..).map(draw::scene).find(|s| s.second.is_some()).unwrap())
        );
    }
}
