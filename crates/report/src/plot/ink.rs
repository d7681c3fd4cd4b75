//! Colours and shapes that tell models apart: those of Okabe & Ito (2008), safe for colour-blind eyes, each with a shape.

use plotters::{
    backend::SVGBackend,
    prelude::IntoDrawingArea,
    style::{RGBColor, ShapeStyle},
};

/// A colour by its role. The page's style sheet says how it looks in light and dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// Text and axes.
    Text,
    /// What stands back: units, rulers, notes.
    Muted,
    /// Lines of the grid.
    Grid,
    /// A model, by its place in the table.
    Model(usize),
}

/// Models that have colours of their own; further ones begin again, with other shapes.
pub const COLOURS: usize = 8;
/// Number of shapes; it has no divisor in common with the rounds of colours, so that pairs repeat late.
const SHAPES: usize = 7;

impl Ink {
    /// A stand-in that the plotting library can write.
    pub fn rgb(self) -> RGBColor {
        match self {
            Self::Text => RGBColor(1, 2, 0),
            Self::Muted => RGBColor(1, 2, 1),
            Self::Grid => RGBColor(1, 2, 2),
            Self::Model(index) => RGBColor(1, 3, (index % COLOURS) as u8),
        }
    }

    /// Puts the style sheet's colours in the place of the stand-ins.
    pub fn themed(svg: &str) -> String {
        let models = (0..COLOURS).map(Self::Model);
        let all = [Self::Text, Self::Muted, Self::Grid].into_iter().chain(models);
        all.fold(svg.to_owned(), |svg, ink| {
            let RGBColor(r, g, b) = ink.rgb();
            svg.replace(&format!("#{r:02X}{g:02X}{b:02X}"), &ink.css())
        })
    }

    fn css(self) -> String {
        match self {
            Self::Text => "currentColor".to_owned(),
            Self::Muted => "var(--muted)".to_owned(),
            Self::Grid => "var(--grid)".to_owned(),
            Self::Model(index) => format!("var(--model-{})", index % COLOURS),
        }
    }

    /// Filled.
    pub fn filled(self) -> ShapeStyle {
        ShapeStyle { color: self.rgb().into(), filled: true, stroke_width: 0 }
    }

    /// As a line.
    pub fn line(self, width: u32, opacity: f64) -> ShapeStyle {
        use plotters::style::Color;
        ShapeStyle { color: self.rgb().mix(opacity), filled: false, stroke_width: width }
    }
}

/// Corners of the shape of a model's marks, around (0, 0); empty for a circle.
pub fn shape(model: usize, size: f64) -> Vec<(i32, i32)> {
    let turned = |corners: usize, turn: f64, size: f64| -> Vec<(f64, f64)> {
        let angle = |i: usize| (i as f64 / corners as f64 + turn) * std::f64::consts::TAU;
        (0..corners).map(|i| (size * angle(i).cos(), size * angle(i).sin())).collect()
    };
    let star = |points: usize, turn: f64, inner: f64| -> Vec<(f64, f64)> {
        let outside = turned(points, turn, 1.25 * size);
        let inside = turned(points, turn + 0.5 / points as f64, inner * size);
        outside.into_iter().zip(inside).flat_map(|(a, b)| [a, b]).collect()
    };
    // Sizes such that areas look alike.
    let corners = match model % SHAPES {
        0 => Vec::new(),
        1 => turned(4, 0.125, 1.25 * size),
        2 => turned(3, -0.25, 1.4 * size),
        3 => turned(4, 0.0, 1.35 * size),
        4 => turned(3, 0.25, 1.4 * size),
        5 => star(4, 0.125, 0.45),
        _ => star(5, -0.25, 0.55),
    };
    corners.into_iter().map(|(x, y)| (x.round() as i32, y.round() as i32)).collect()
}

/// A model's line and mark, for a legend.
pub fn swatch(model: usize) -> String {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (60, 32)).into_drawing_area();
        let line = plotters::element::PathElement::new(
            vec![(2, 16), (58, 16)],
            Ink::Model(model).line(5, 1.0),
        );
        let drawn = area
            .draw(&line)
            .and_then(|()| super::draw_mark(&area, (30, 16), model, 10.0))
            .and_then(|()| area.present());
        drawn.expect("a string takes every character");
    }
    let svg = svg.trim_end().replacen("<svg ", "<svg class=\"swatch\" aria-hidden=\"true\" ", 1);
    Ink::themed(&svg)
}
