//! The words of the grammar and their weights.

use serde::{Deserialize, Serialize};

/// Declares an enum with its members in order, and the name that serde and captions use.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$member_doc:meta])* $member:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$member_doc])* $member),* }

        impl $name {
            /// Every member, in order.
            pub const ALL: &[Self] = &[$(Self::$member),*];

            /// Its plain English name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$member => $text),* }
            }
        }
    };
}

words! {
    /// What is drawn. All five are told apart at 5 pixels across.
    Shape {
        /// A disc.
        Circle = "circle",
        /// An upright square.
        Square = "square",
        /// A triangle pointing up.
        Triangle = "triangle",
        /// An upright cross with equal arms.
        Cross = "cross",
        /// A circle with a hole.
        Ring = "ring",
    }
}

words! {
    /// The two halves of the colours; with the shape, the class of a scene.
    Tone {
        /// Red, orange, yellow, pink.
        Warm = "warm",
        /// Green, cyan, blue, purple.
        Cool = "cool",
    }
}

words! {
    /// Fill of an object.
    Colour {
        /// Warm.
        Red = "red",
        /// Warm.
        Orange = "orange",
        /// Warm.
        Yellow = "yellow",
        /// Warm.
        Pink = "pink",
        /// Cool.
        Green = "green",
        /// Cool.
        Cyan = "cyan",
        /// Cool.
        Blue = "blue",
        /// Cool.
        Purple = "purple",
    }
}

words! {
    /// How big an object is.
    Size {
        /// About 5 of 16 pixels across; the second object of a scene is always small.
        Small = "small",
        /// About 7.5 of 16 pixels across; the main object of two is always medium.
        Medium = "medium",
        /// About 11 of 16 pixels across.
        Large = "large",
    }
}

words! {
    /// What is behind the objects: one plain gray level, so that no object vanishes in it.
    Background {
        /// Level 0.
        Black = "black",
        /// The middle.
        Gray = "gray",
        /// Level 255.
        White = "white",
    }
}

words! {
    /// Where the main object is, seen from the second.
    Relation {
        /// To the left of the second.
        LeftOf = "left of",
        /// To the right of the second.
        RightOf = "right of",
        /// Higher than the second.
        Above = "above",
        /// Lower than the second.
        Below = "below",
    }
}

impl Colour {
    /// Whether the colour is warm or cool.
    pub fn tone(self) -> Tone {
        if self <= Self::Pink { Tone::Warm } else { Tone::Cool }
    }

    /// Red, green and blue levels.
    pub fn rgb(self) -> [u8; 3] {
        match self {
            Self::Red => [220, 30, 35],
            Self::Orange => [250, 125, 10],
            Self::Yellow => [250, 210, 10],
            Self::Pink => [250, 150, 195],
            Self::Green => [25, 150, 55],
            Self::Cyan => [50, 205, 225],
            Self::Blue => [35, 75, 220],
            Self::Purple => [140, 45, 190],
        }
    }

    /// The four colours of a tone with their probabilities.
    pub const fn weights(tone: Tone) -> [(Self, f64); 4] {
        match tone {
            Tone::Warm => {
                [(Self::Red, 0.3), (Self::Orange, 0.2), (Self::Yellow, 0.3), (Self::Pink, 0.2)]
            }
            Tone::Cool => {
                [(Self::Green, 0.3), (Self::Cyan, 0.2), (Self::Blue, 0.3), (Self::Purple, 0.2)]
            }
        }
    }

    /// Probability of the colour given its tone.
    pub fn weight(self) -> f64 {
        weight_of(&Self::weights(self.tone()), self)
    }
}

impl Background {
    /// Backgrounds with their probabilities.
    pub const WEIGHTS: [(Self, f64); 3] =
        [(Self::Black, 0.4), (Self::Gray, 0.2), (Self::White, 0.4)];

    /// The gray level of all three channels.
    pub fn level(self) -> u8 {
        match self {
            Self::Black => 0,
            Self::Gray => 128,
            Self::White => 255,
        }
    }

    /// Probability of the background.
    pub fn weight(self) -> f64 {
        weight_of(&Self::WEIGHTS, self)
    }
}

impl Size {
    /// Sizes of an object that is alone, with their probabilities.
    pub const WEIGHTS: [(Self, f64); 3] =
        [(Self::Small, 0.15), (Self::Medium, 0.35), (Self::Large, 0.5)];

    /// The three equally likely radii of this size, in 64ths of the image.
    pub const fn radii(self) -> [u8; 3] {
        match self {
            Self::Small => [9, 10, 11],
            Self::Medium => [14, 15, 16],
            Self::Large => [21, 22, 23],
        }
    }

    /// Probability of the size for an object that is alone.
    pub fn weight(self) -> f64 {
        weight_of(&Self::WEIGHTS, self)
    }
}

impl Relation {
    /// Relations with their probabilities.
    pub const WEIGHTS: [(Self, f64); 4] =
        [(Self::LeftOf, 0.25), (Self::RightOf, 0.25), (Self::Above, 0.25), (Self::Below, 0.25)];

    /// The same fact seen from the other object.
    pub fn inverse(self) -> Self {
        match self {
            Self::LeftOf => Self::RightOf,
            Self::RightOf => Self::LeftOf,
            Self::Above => Self::Below,
            Self::Below => Self::Above,
        }
    }

    /// Whether the objects lie side by side rather than one over the other.
    pub fn is_horizontal(self) -> bool {
        matches!(self, Self::LeftOf | Self::RightOf)
    }

    /// Whether the main object comes first from the left or from the top.
    pub fn main_first(self) -> bool {
        matches!(self, Self::LeftOf | Self::Above)
    }

    /// Probability of the relation.
    pub fn weight(self) -> f64 {
        weight_of(&Self::WEIGHTS, self)
    }
}

fn weight_of<T: PartialEq>(weights: &[(T, f64)], wanted: T) -> f64 {
    weights.iter().find(|(member, _)| *member == wanted).map_or(0.0, |(_, weight)| *weight)
}
