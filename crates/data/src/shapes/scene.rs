//! Scenes and how likely they are.
//!
//! A scene is drawn in four steps: its class, uniformly; then colour, background, and one object or two, by the weights
//! of the grammar; then the layout, uniformly; and if it [is held out](Scene::is_held_out), all but the class again. So
//! P(scene) = P(class) · w(scene | class) / Z(class), with Z the weight that is not held out, which a sum over a few
//! hundred combinations of attributes gives exactly.

use super::{
    grammar::{Background, Colour, Relation, Shape, Size, Tone},
    layout,
};
use serde::{Deserialize, Serialize};
use std::sync::OnceLock;

/// Number of classes: every shape in every tone.
pub const NUM_CLASSES: usize = Shape::ALL.len() * Tone::ALL.len();

/// Probability that a scene has two objects.
pub(super) const TWO_OBJECTS: f64 = 0.3;

/// One object. Positions and radii are in 64ths of the image's side, so that a scene means the same at every resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Object {
    /// What it is.
    pub shape: Shape,
    /// Its fill.
    pub colour: Colour,
    /// Its size in words.
    pub size: Size,
    /// Its size in 64ths: the shape fits into a square of twice this side.
    pub radius: u8,
    /// Centre, in 64ths from the left.
    pub x: u8,
    /// Centre, in 64ths from the top.
    pub y: u8,
}

/// The smaller object of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Second {
    /// Where the main object is, seen from this one.
    pub relation: Relation,
    /// This object; it differs from the main one in shape or colour.
    pub object: Object,
}

/// All there is to know about an image of the `shapes` data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scene {
    /// What is behind the objects.
    pub background: Background,
    /// The only object, or the bigger one; it decides the class.
    pub main: Object,
    /// The smaller object of two.
    pub second: Option<Second>,
}

/// Combinations of attributes that no training, validation or test scene has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldOut {
    /// An object, main or second, of this shape and colour.
    Object(Shape, Colour),
    /// An object of the first shape that is so related to one of the last shape, whichever is the main one.
    Pair(Shape, Relation, Shape),
}

/// The held-out combinations: objects never seen in that colour, and shapes never seen in that order.
pub const HELD_OUT: [HeldOut; 6] = [
    HeldOut::Object(Shape::Triangle, Colour::Purple),
    HeldOut::Object(Shape::Square, Colour::Orange),
    HeldOut::Object(Shape::Ring, Colour::Green),
    HeldOut::Object(Shape::Cross, Colour::Pink),
    HeldOut::Pair(Shape::Circle, Relation::Above, Shape::Triangle),
    HeldOut::Pair(Shape::Ring, Relation::LeftOf, Shape::Cross),
];

impl HeldOut {
    fn matches(self, main: (Shape, Colour), second: Option<(Relation, (Shape, Colour))>) -> bool {
        match self {
            Self::Object(shape, colour) => {
                main == (shape, colour) || second.is_some_and(|(_, o)| o == (shape, colour))
            }
            Self::Pair(a, relation, b) => second.is_some_and(|(found, (shape, _))| {
                (main.0, found, shape) == (a, relation, b)
                    || (main.0, found, shape) == (b, relation.inverse(), a)
            }),
        }
    }
}

impl Object {
    /// Shape and colour.
    pub fn kind(&self) -> (Shape, Colour) {
        (self.shape, self.colour)
    }
}

impl Scene {
    /// Class id in `0..`[`NUM_CLASSES`]: shape and tone of the main object, warm before cool.
    pub fn class(&self) -> usize {
        class_of(self.main.shape, self.main.colour.tone())
    }

    /// Whether the scene has one of the [`HELD_OUT`] combinations.
    pub fn is_held_out(&self) -> bool {
        let second = self.second.map(|s| (s.relation, s.object.kind()));
        is_held_out(self.main.kind(), second)
    }

    /// Whether `scenes: simple` has the scene, held out or not: it is one large object.
    pub(super) fn is_simple(&self) -> bool {
        self.second.is_none() && self.main.size == Size::Large
    }

    /// Probability that a training, validation or test image of `scenes: all` shows this scene; 0 if it is held out or not
    /// of the grammar. `scenes: simple` draws from its subset with the same odds.
    ///
    /// Sums to one over [`scenes`](super::scenes).
    pub fn probability(&self) -> f64 {
        if self.is_held_out() || !self.in_grammar() {
            return 0.0;
        }
        let (colour, background) = (self.main.colour.weight(), self.background.weight());
        let rest = match self.second {
            None => {
                let positions = f64::from(layout::num_positions(self.main.radius)).powi(2);
                (1.0 - TWO_OBJECTS) * self.main.size.weight() / 3.0 / positions
            }
            Some(Second { relation, object }) => {
                let layouts = (9 * layout::NUM_PAIRS) as f64;
                TWO_OBJECTS * second_weight(self.main.kind(), object.kind()) * relation.weight()
                    / layouts
            }
        };
        colour * background * rest / kept_weights()[self.class()] / NUM_CLASSES as f64
    }

    /// Whether the grammar has the scene, held out or not.
    pub(super) fn in_grammar(&self) -> bool {
        let fits = |object: &Object| object.size.radii().contains(&object.radius);
        match &self.second {
            None => {
                let range = layout::positions(self.main.radius);
                fits(&self.main) && range.contains(&self.main.x) && range.contains(&self.main.y)
            }
            Some(Second { relation, object }) => {
                let found = ((self.main.x, self.main.y), (object.x, object.y));
                fits(&self.main)
                    && fits(object)
                    && (self.main.size, object.size) == (Size::Medium, Size::Small)
                    && self.main.kind() != object.kind()
                    && layout::pairs(*relation, self.main.radius, object.radius).any(|p| p == found)
            }
        }
    }
}

/// Names of the classes, such as "warm circle", by id.
pub fn class_names() -> Vec<String> {
    (0..NUM_CLASSES)
        .map(kind_of_class)
        .map(|(shape, tone)| format!("{} {}", tone.name(), shape.name()))
        .collect()
}

/// Class id of a main object.
pub(super) fn class_of(shape: Shape, tone: Tone) -> usize {
    shape as usize * Tone::ALL.len() + tone as usize
}

/// Shape and tone of a class id.
pub(super) fn kind_of_class(class: usize) -> (Shape, Tone) {
    (Shape::ALL[class / Tone::ALL.len()], Tone::ALL[class % Tone::ALL.len()])
}

pub(super) fn is_held_out(
    main: (Shape, Colour),
    second: Option<(Relation, (Shape, Colour))>,
) -> bool {
    HELD_OUT.iter().any(|held_out| held_out.matches(main, second))
}

/// Probability of the second object's shape and colour given the main one's: never the same.
fn second_weight(main: (Shape, Colour), second: (Shape, Colour)) -> f64 {
    let weight = |(_, colour): (Shape, Colour)| colour.weight() / NUM_CLASSES as f64;
    if main == second { 0.0 } else { weight(second) / (1.0 - weight(main)) }
}

/// For each class, the weight of its scenes that are not held out: Z.
fn kept_weights() -> &'static [f64; NUM_CLASSES] {
    static WEIGHTS: OnceLock<[f64; NUM_CLASSES]> = OnceLock::new();
    WEIGHTS.get_or_init(|| {
        std::array::from_fn(|class| {
            let (shape, tone) = kind_of_class(class);
            let kept = |(colour, weight): (Colour, f64)| weight * kept_weight((shape, colour));
            Colour::weights(tone).into_iter().map(kept).sum()
        })
    })
}

fn kept_weight(main: (Shape, Colour)) -> f64 {
    let mut weight = if is_held_out(main, None) { 0.0 } else { 1.0 - TWO_OBJECTS };
    for (relation, p) in Relation::WEIGHTS {
        for second in kinds() {
            if !is_held_out(main, Some((relation, second))) {
                weight += TWO_OBJECTS * p * second_weight(main, second);
            }
        }
    }
    weight
}

/// Every shape in every colour.
pub(super) fn kinds() -> impl Iterator<Item = (Shape, Colour)> {
    Shape::ALL.iter().flat_map(|&shape| Colour::ALL.iter().map(move |&colour| (shape, colour)))
}
