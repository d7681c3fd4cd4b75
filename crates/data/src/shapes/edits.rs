//! Pictures before and after an edit, all else being the same.

use super::{
    captions::describe,
    draw::matching,
    grammar::{Background, Colour, Shape},
    layout,
    scene::{Scene, Second},
};
use crate::{Scenes, random::Random};
use paragone_core::mix;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an edit changes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum EditKind {
    /// The main object's colour.
    Recolour,
    /// The main object's shape.
    Reshape,
    /// Of two objects, which is where: they change sides.
    Move,
    /// The background.
    Background,
    /// A second object comes.
    Add,
    /// The second object goes.
    Remove,
}

impl EditKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Recolour, Self::Reshape, Self::Move, Self::Background, Self::Add, Self::Remove];

    /// What experiments call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Recolour => "recolour",
            Self::Reshape => "reshape",
            Self::Move => "move",
            Self::Background => "background",
            Self::Add => "add",
            Self::Remove => "remove",
        }
    }

    /// Whether it needs scenes of two objects, before or after.
    pub(super) fn needs_two(self) -> bool {
        matches!(self, Self::Move | Self::Add | Self::Remove)
    }

    /// A scene before and after the edit, neither held out, and a seed of captions that tell what changes.
    pub(super) fn scenes(self, scenes: Scenes, seed: u64) -> (Scene, Scene, u64) {
        let mut attempts = (0..).map(|attempt| mix(&[seed, self as u64, attempt]));
        let found = attempts.find_map(|seed| {
            let whole = matching(seed, |scene| {
                let fits = scenes == Scenes::All || scene.is_simple();
                fits && !scene.is_held_out() && (!self.needs_two() || scene.second.is_some())
            });
            let random = &mut Random::new(&[seed, 1]);
            let (before, after) = match self {
                Self::Recolour => {
                    let others: Vec<Colour> = other_than(whole.main.colour, Colour::ALL);
                    (whole, with_main(whole, |main| main.colour = random.pick(&others)))
                }
                Self::Reshape => {
                    let others: Vec<Shape> = other_than(whole.main.shape, Shape::ALL);
                    (whole, with_main(whole, |main| main.shape = random.pick(&others)))
                }
                Self::Move => (whole, turned(whole)?),
                Self::Background => {
                    let others: Vec<Background> = other_than(whole.background, Background::ALL);
                    (whole, Scene { background: random.pick(&others), ..whole })
                }
                Self::Add => (Scene { second: None, ..whole }, whole),
                Self::Remove => (whole, Scene { second: None, ..whole }),
            };
            let possible = |scene: &Scene| scene.in_grammar() && !scene.is_held_out();
            (possible(&before) && possible(&after)).then_some((seed, before, after))
        });
        let (seed, before, after) = found.expect("there is an edit of some scene");
        let mut captions = (0..).map(|attempt| mix(&[seed, 2, attempt]));
        let tells = |&caption: &u64| {
            let tells = |scene| self != Self::Background || describe(scene, caption).background;
            tells(&before) && tells(&after)
        };
        (before, after, captions.find(tells).expect("a quarter of captions tell it"))
    }
}

fn other_than<T: Copy + PartialEq>(value: T, all: &[T]) -> Vec<T> {
    all.iter().copied().filter(|other| *other != value).collect()
}

fn with_main(mut scene: Scene, change: impl FnOnce(&mut super::Object)) -> Scene {
    change(&mut scene.main);
    scene
}

/// The same layout of two objects in the opposite order.
fn turned(scene: Scene) -> Option<Scene> {
    let Second { relation, mut object } = scene.second?;
    let mut main = scene.main;
    let at = ((main.x, main.y), (object.x, object.y));
    let number = layout::pairs(relation, main.radius, object.radius).position(|pair| pair == at)?;
    let relation = relation.inverse();
    ((main.x, main.y), (object.x, object.y)) =
        layout::pair(relation, main.radius, object.radius, number);
    Some(Scene { main, second: Some(Second { relation, object }), ..scene })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataConfig, Dataset, shapes::Shapes};
    use tch::{Kind, Tensor};

    /// Attributes that an edit may change, and those that it must.
    fn changes(kind: EditKind) -> (&'static [usize], &'static [usize]) {
        // class, background, objects, shape, colour, size, second shape, second colour, relation
        match kind {
            EditKind::Recolour => (&[0, 4], &[4]),
            EditKind::Reshape => (&[0, 3], &[0, 3]),
            EditKind::Move => (&[8], &[8]),
            EditKind::Background => (&[1], &[1]),
            EditKind::Add | EditKind::Remove => (&[2, 6, 7, 8], &[2, 6, 7, 8]),
        }
    }

    #[test]
    fn an_edit_changes_what_it_says_and_nothing_else() {
        for kind in EditKind::ALL {
            let (may, must) = changes(kind);
            for seed in 0..500 {
                let (before, after, caption) = kind.scenes(Scenes::All, seed);
                assert_eq!(kind.scenes(Scenes::All, seed), (before, after, caption));
                for scene in [&before, &after] {
                    assert!(scene.probability() > 0.0, "{kind:?} {scene:?}");
                }
                for (i, (a, b)) in before.attributes().iter().zip(after.attributes()).enumerate() {
                    assert!(*a == b || may.contains(&i), "{kind:?} {i}");
                    assert!(*a != b || !must.contains(&i), "{kind:?} {i}");
                }
                assert_ne!(describe(&before, caption).text, describe(&after, caption).text);
            }
        }
    }

    #[test]
    fn pictures_differ_only_in_the_hole() {
        let config = DataConfig { pixel_noise: 3.0, size: Some(32), ..DataConfig::default() };
        for kind in EditKind::ALL {
            let edits = Shapes::new(&config).unwrap().edits(kind, 40).unwrap();
            let same = edits.sources.images.eq_tensor(&edits.targets.images);
            let kept = same.logical_or(&edits.hole.eq(0.0));
            assert_eq!(kept.all().int64_value(&[]), 1);
            assert_eq!(edits.hole.size(), [40, 1, 32, 32]);
            let hidden = edits.hole.eq(0.0).flatten(1, -1).any_dim(1, false);
            assert_eq!(hidden.all().int64_value(&[]), 1, "{kind:?}");
            assert_ne!(edits.sources.captions, edits.targets.captions);
            let attributes =
                |set: &crate::ImageSet| set.attributes.as_ref().unwrap().to_kind(Kind::Int64);
            let (a, b): (Tensor, Tensor) = (attributes(&edits.sources), attributes(&edits.targets));
            assert!(a.not_equal_tensor(&b).any_dim(1, false).all().int64_value(&[]) == 1);
        }
    }

    #[test]
    fn scenes_of_one_object_have_edits_of_one_object() {
        let config = DataConfig { scenes: Scenes::Simple, ..DataConfig::default() };
        let shapes = Shapes::new(&config).unwrap();
        let known: Vec<EditKind> =
            EditKind::ALL.into_iter().filter(|&kind| shapes.edits(kind, 3).is_some()).collect();
        assert_eq!(known, [EditKind::Recolour, EditKind::Reshape, EditKind::Background]);
    }
}
