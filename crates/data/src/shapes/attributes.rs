//! What there is to read in a picture: the scene's class and every word of the grammar that it shows, as numbers.

use super::{
    captions::Description,
    grammar::{Background, Colour, Relation, Shape, Size},
    scene::{Scene, class_names, class_of},
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

impl Scene {
    /// What a caption of the scene asks for, as values of [`attributes`](super::attributes), -1 where it leaves them open, in two
    /// ways of reading it: unless a size tells which object is the main one, it may be either.
    pub fn asked(&self, description: &Description) -> [[i64; 9]; 2] {
        let [class, background, objects, shape, colour, size, other_shape, other_colour, relation] =
            self.attributes();
        let told = |told: bool, value: i64| if told { value } else { -1 };
        let background = told(description.background, background);
        let size = told(description.main_size, size);
        let Some(second) = &self.second else {
            return [[class, background, objects, shape, colour, size, -1, -1, -1]; 2];
        };
        let as_drawn =
            [class, background, objects, shape, colour, size, other_shape, other_colour, relation];
        if description.main_size || description.second_size {
            return [as_drawn; 2];
        }
        let turned = [
            class_of(second.object.shape, second.object.colour.tone()) as i64,
            background,
            objects,
            second.object.shape as i64,
            second.object.colour as i64,
            -1,
            shape + 1,
            colour + 1,
            second.relation.inverse() as i64 + 1,
        ];
        [as_drawn, turned]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::{
        captions::describe,
        draw,
        scene::{Object, Second},
    };

    #[test]
    fn what_is_asked_is_what_the_scene_shows_in_one_of_two_readings() {
        let mut turned = 0;
        for seed in 0..5000 {
            let scene = draw::scene(seed);
            let said = describe(&scene, seed);
            let [first, second] = scene.asked(&said);
            let shown = scene.attributes();
            assert!(first.iter().zip(shown).all(|(asked, shown)| [-1, shown].contains(asked)));
            assert_eq!(first[1] < 0, !said.background);
            assert_eq!(first[5] < 0, !said.main_size);
            turned += i32::from(first != second);
        }
        // Two objects in three of ten scenes; the sizes of neither are told in 7 of 27.
        assert!(turned > 100, "{turned}");
    }

    #[test]
    fn turned_round_the_second_object_is_the_main_one() {
        let object =
            |shape, colour, size, radius, x| Object { shape, colour, size, radius, x, y: 32 };
        let main = object(Shape::Cross, Colour::Cyan, Size::Medium, 15, 44);
        let small = object(Shape::Ring, Colour::Red, Size::Small, 10, 14);
        let second = Some(Second { relation: Relation::RightOf, object: small });
        let scene = Scene { background: Background::White, main, second };
        let mut said = describe(&scene, 0);
        (said.background, said.main_size, said.second_size) = (false, false, false);
        // Also the picture of a red ring, the main object, left of a small cyan cross.
        let other = Scene {
            main: Object { size: Size::Medium, radius: 15, ..small },
            second: Some(Second {
                relation: Relation::LeftOf,
                object: Object { size: Size::Small, radius: 10, ..main },
            }),
            ..scene
        };
        let [_, turned] = scene.asked(&said);
        let [as_drawn, _] = other.asked(&said);
        assert_eq!(turned, as_drawn);
        said.second_size = true;
        let [as_drawn, turned] = scene.asked(&said);
        assert_eq!(turned, as_drawn);
    }

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
