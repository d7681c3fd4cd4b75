//! What a person might say of a scene: several templates and synonyms; which object is left and which right is in the
//! order of the words alone.

use super::{
    grammar::{Background, Colour, Relation, Shape, Size},
    scene::{Object, Scene},
};
use crate::random::Random;

/// A caption, and what of its scene it tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The caption.
    pub text: String,
    /// Whether it names the background.
    pub background: bool,
    /// Whether it says how large the main object is.
    pub main_size: bool,
    /// Whether it says how large the second object is.
    pub second_size: bool,
}

/// A caption of the scene: the same one for the same seed, true whatever the seed. Shapes, colours and the relation of two
/// objects are always told.
pub fn describe(scene: &Scene, seed: u64) -> Description {
    let random = &mut Random::new(&[seed]);
    let (what, main_size, second_size) = match &scene.second {
        None => {
            let (text, size) = alone(&scene.main, random);
            (text, size, false)
        }
        Some(second) => pair(&scene.main, second.relation, &second.object, random),
    };
    let (text, background) = match random.below(4) {
        0 => (format!("{what} {}", behind(scene.background, random)), true),
        1 => {
            let opening = random.pick(&["a picture of", "an image of", "a drawing of"]);
            (format!("{opening} {what}"), false)
        }
        _ => (what, false),
    };
    Description { text, background, main_size, second_size }
}

/// Words for an object, and whether they say its size.
type Phrase = (String, bool);

fn alone(object: &Object, random: &mut Random) -> Phrase {
    let (noun, size) = noun_phrase(object, random);
    match random.below(3) {
        0 => (format!("{noun} {}", place(object, random)), size),
        _ => (noun, size),
    }
}

/// Words for two objects, and whether they say the main one's size and the second one's.
fn pair(
    main: &Object,
    relation: Relation,
    second: &Object,
    random: &mut Random,
) -> (String, bool, bool) {
    // Half of the captions begin with the second object, which turns the relation round.
    let turned = random.below(2) != 0;
    let (a, relation, b) =
        if turned { (second, relation.inverse(), main) } else { (main, relation, second) };
    let ((a, a_size), (b, b_size)) = (noun_phrase(a, random), noun_phrase(b, random));
    let text = match random.below(3) {
        0 => format!("{b} with {a} {}", beside(relation)),
        _ => format!("{a} {} {b}", related(relation, random)),
    };
    if turned { (text, b_size, a_size) } else { (text, a_size, b_size) }
}

fn related(relation: Relation, random: &mut Random) -> &'static str {
    random.pick(match relation {
        Relation::LeftOf => &["left of", "to the left of", "on the left side of"],
        Relation::RightOf => &["right of", "to the right of", "on the right side of"],
        Relation::Above => &["above", "over", "higher than"],
        Relation::Below => &["below", "under", "lower than"],
    })
}

fn beside(relation: Relation) -> &'static str {
    match relation {
        Relation::LeftOf => "to its left",
        Relation::RightOf => "to its right",
        Relation::Above => "above it",
        Relation::Below => "below it",
    }
}

fn noun_phrase(object: &Object, random: &mut Random) -> Phrase {
    let size = random.pick(match object.size {
        Size::Small => &["small", "little", "tiny"],
        Size::Medium => &["", "", "medium"],
        Size::Large => &["large", "big", "huge"],
    });
    // A size that is not said is not wrong.
    let size = if random.below(3) == 0 { "" } else { size };
    let (colour, shape) = (colour_word(object.colour, random), shape_word(object.shape, random));
    let words = if size.is_empty() {
        format!("{colour} {shape}")
    } else {
        format!("{size} {colour} {shape}")
    };
    let article = if words.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    (format!("{article} {words}"), !size.is_empty())
}

fn colour_word(colour: Colour, random: &mut Random) -> &'static str {
    match colour {
        Colour::Cyan => random.pick(&["cyan", "turquoise"]),
        Colour::Purple => random.pick(&["purple", "violet"]),
        plain => plain.name(),
    }
}

fn shape_word(shape: Shape, random: &mut Random) -> &'static str {
    match shape {
        Shape::Circle => random.pick(&["circle", "disc"]),
        Shape::Square => random.pick(&["square", "box"]),
        Shape::Cross => random.pick(&["cross", "plus sign"]),
        Shape::Ring => random.pick(&["ring", "hoop"]),
        Shape::Triangle => "triangle",
    }
}

fn behind(background: Background, random: &mut Random) -> String {
    let colour = match background {
        Background::Gray => random.pick(&["gray", "grey"]),
        plain => plain.name(),
    };
    match random.below(3) {
        0 => format!("on {colour}"),
        1 => format!("on a {colour} background"),
        _ => format!("against a {colour} background"),
    }
}

/// Where the object's centre lies: the image in nine cells, the middle ones 8 of 64 wide so that "left" is visibly left.
fn place(object: &Object, random: &mut Random) -> String {
    let third = |at: u8| match at {
        0..28 => 0,
        28..=36 => 1,
        _ => 2,
    };
    let edge = match (third(object.x), third(object.y)) {
        (1, 1) => {
            return random.pick(&["in the middle", "in the center", "in the centre"]).to_owned();
        }
        (0, 1) => "left",
        (2, 1) => "right",
        (1, 0) => return random.pick(&["at the top", "near the top"]).to_owned(),
        (1, _) => return random.pick(&["at the bottom", "near the bottom"]).to_owned(),
        (0, 0) => "upper left",
        (_, 0) => "upper right",
        (0, _) => "lower left",
        _ => "lower right",
    };
    match random.below(2) {
        0 if edge.contains(' ') => format!("in the {edge} corner"),
        0 => format!("on the {edge} side"),
        _ if edge.contains(' ') => format!("in the {edge}"),
        _ => format!("on the {edge}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::{draw, scene::Second};
    use std::collections::HashSet;

    fn caption(scene: &Scene, seed: u64) -> String {
        describe(scene, seed).text
    }

    fn pair_scene() -> Scene {
        let object =
            |shape, colour, size, radius, x| Object { shape, colour, size, radius, x, y: 32 };
        Scene {
            background: Background::Black,
            main: object(Shape::Square, Colour::Blue, Size::Medium, 15, 44),
            second: Some(Second {
                relation: Relation::RightOf,
                object: object(Shape::Circle, Colour::Red, Size::Small, 10, 14),
            }),
        }
    }

    #[test]
    fn one_scene_has_many_captions_and_all_say_who_is_left() {
        let captions: HashSet<String> =
            (0..2000).map(|seed| caption(&pair_scene(), seed)).collect();
        assert!(captions.len() > 300, "{}", captions.len());
        for text in captions {
            let at = |words: &[&str]| words.iter().filter_map(|w| text.find(w)).min();
            let circle = at(&["circle", "disc"]).unwrap_or_else(|| panic!("{text}"));
            let square = at(&["square", "box"]).unwrap_or_else(|| panic!("{text}"));
            assert!(text.contains("red") && text.contains("blue"), "{text}");
            // "its": the later object is beside the earlier one; otherwise the earlier is beside the later.
            let earlier_is_circle = (circle < square) != text.contains("its");
            let says_left = text.contains("left");
            assert!(says_left != text.contains("right"), "{text}");
            assert_eq!(earlier_is_circle, says_left, "{text}");
        }
    }

    #[test]
    fn captions_are_plain_english() {
        let mut vocabulary = HashSet::new();
        for seed in 0..20_000 {
            let text = caption(&draw::scene(seed), seed);
            assert!(!text.contains("  ") && text.trim() == text, "{text:?}");
            let words: Vec<&str> = text.split(' ').collect();
            for pair in words.windows(2) {
                let vowel = pair[1].starts_with(['a', 'e', 'i', 'o', 'u']);
                assert!(pair[0] != "a" || !vowel, "{text}");
                assert!(pair[0] != "an" || vowel, "{text}");
            }
            assert!(words.len() <= 20, "{text}");
            vocabulary.extend(words.into_iter().map(str::to_owned));
        }
        assert!((50..100).contains(&vocabulary.len()), "{}", vocabulary.len());
    }

    #[test]
    fn descriptions_know_what_they_say() {
        let sizes = ["small", "little", "tiny", "medium", "large", "big", "huge"];
        let backgrounds = ["background", "on black", "on gray", "on grey", "on white"];
        for seed in 0..20_000 {
            let scene = draw::scene(seed);
            let said = describe(&scene, seed);
            let names_one = |words: &[&str]| words.iter().any(|word| said.text.contains(word));
            assert_eq!(said.background, names_one(&backgrounds), "{said:?}");
            assert_eq!(said.main_size || said.second_size, names_one(&sizes), "{said:?}");
            if scene.second.is_some() {
                // The main object of two is medium, the other one small.
                assert_eq!(said.main_size, names_one(&["medium"]), "{said:?}");
            }
        }
    }

    #[test]
    fn a_caption_never_contradicts_its_scene() {
        for seed in 0..20_000 {
            let scene = draw::scene(seed);
            let text = caption(&scene, seed);
            let objects = [Some(scene.main), scene.second.map(|s| s.object)];
            let said = |word: &str| text.split(' ').any(|w| w == word);
            for colour in Colour::ALL.iter().filter(|c| said(c.name())) {
                assert!(objects.iter().flatten().any(|o| o.colour == *colour), "{text}: {scene:?}");
            }
            for shape in Shape::ALL.iter().filter(|s| said(s.name())) {
                assert!(objects.iter().flatten().any(|o| o.shape == *shape), "{text}: {scene:?}");
            }
            for background in Background::ALL.iter().filter(|b| said(b.name())) {
                assert_eq!(*background, scene.background, "{text}");
            }
        }
    }
}
