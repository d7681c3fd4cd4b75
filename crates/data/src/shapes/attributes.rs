//! What there is to read in a picture: the scene's class and every word of the grammar that it shows, as numbers.

use super::{
    grammar::{Background, Colour, Relation, Shape, Size},
    scene::{Scene, class_names},
};
use paragone_core::Attribute;

/// The attributes of every scene, in the order of [`Scene::attributes`]. What a lone object lacks has the value "none".
pub fn attributes() -> Vec<Attribute> {
    let shapes: Vec<_> = Shape::ALL.iter().map(|shape| shape.name()).collect();
    let colours: Vec<_> = Colour::ALL.iter().map(|colour| colour.name()).collect();
    let relations: Vec<_> = Relation::ALL.iter().map(|relation| relation.name()).collect();
    let or_none = |names: &[&'static str]| [&["none"], names].concat();
    vec![
        Attribute::new(Attribute::CLASS, class_names()),
        Attribute::new("background", Background::ALL.iter().map(|background| background.name())),
        Attribute::new("objects", ["one", "two"]),
        Attribute::new("main shape", shapes.iter().copied()),
        Attribute::new("main colour", colours.iter().copied()),
        Attribute::new("main size", Size::ALL.iter().map(|size| size.name())),
        Attribute::new("second shape", or_none(&shapes)),
        Attribute::new("second colour", or_none(&colours)),
        Attribute::new("relation", or_none(&relations)),
    ]
}

impl Scene {
    /// Values of [`attributes`](super::attributes), in their order.
    pub fn attributes(&self) -> [i64; 9] {
        let second = |value: Option<i64>| value.map_or(0, |value| value + 1);
        [
            self.class() as i64,
            self.background as i64,
            i64::from(self.second.is_some()),
            self.main.shape as i64,
            self.main.colour as i64,
            self.main.size as i64,
            second(self.second.map(|s| s.object.shape as i64)),
            second(self.second.map(|s| s.object.colour as i64)),
            second(self.second.map(|s| s.relation as i64)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::scene::{Object, Second};

    #[test]
    fn numbers_stand_for_the_words_of_the_scene() {
        let object =
            |shape, colour, size, radius, x| Object { shape, colour, size, radius, x, y: 32 };
        let main = object(Shape::Cross, Colour::Cyan, Size::Medium, 15, 44);
        let small = object(Shape::Ring, Colour::Red, Size::Small, 10, 14);
        let second = Some(Second { relation: Relation::RightOf, object: small });
        let words = |scene: &Scene| -> Vec<String> {
            let values = scene.attributes();
            assert_eq!(values.len(), attributes().len());
            attributes().iter().zip(values).map(|(a, v)| a.values[v as usize].clone()).collect()
        };
        let pair = Scene { background: Background::White, main, second };
        let two = "cool cross, white, two, cross, cyan, medium, ring, red, right of";
        assert_eq!(words(&pair).join(", "), two);
        let lone = Scene { background: Background::Black, second: None, ..pair };
        let one = "cool cross, black, one, cross, cyan, medium, none, none, none";
        assert_eq!(words(&lone).join(", "), one);
    }
}
