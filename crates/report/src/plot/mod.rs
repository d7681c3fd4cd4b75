//! Plots as SVG that takes its colours from the page around it.

mod axis;
mod ink;

pub use axis::{Axis, written};
pub use ink::{Ink, swatch};

use crate::ReportError;
use plotters::{
    backend::SVGBackend,
    chart::ChartBuilder,
    coord::Shift,
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    element::{Circle, PathElement, Polygon, Text},
    style::{
        Color, FontDesc, FontFamily, FontStyle, IntoTextStyle, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// One plot, drawn by [`Plot::svg`].
#[derive(Debug)]
pub struct Plot {
    /// What it shows, for those who do not see it.
    pub title: String,
    /// The axis below.
    pub x: Axis,
    /// The axis to the left.
    pub y: Axis,
    /// Heights of known things, named at the right.
    pub rulers: Vec<(String, f64)>,
    /// What is drawn, from back to front.
    pub items: Vec<Item>,
    /// Height over that of an ordinary plot.
    pub height: f64,
}

/// Something on a plot, in the plot's coordinates.
#[derive(Debug)]
pub enum Item {
    /// A line; `faint` where another tells the story.
    Line {
        /// Its colour.
        ink: Ink,
        /// Its corners.
        points: Vec<(f64, f64)>,
        /// Whether it stands back.
        faint: bool,
    },
    /// The area between two heights.
    Band {
        /// Its colour.
        ink: Ink,
        /// Abscissa, lower and upper end.
        points: Vec<(f64, f64, f64)>,
    },
    /// A model's mark.
    Mark {
        /// The model's place in the table.
        model: usize,
        /// Where.
        at: (f64, f64),
        /// How it looks.
        look: Look,
    },
    /// A short horizontal or vertical stroke: a reference value.
    Stroke {
        /// Where.
        at: (f64, f64),
        /// Whether it stands upright.
        upright: bool,
    },
    /// A short text beside a place.
    Note {
        /// The text.
        text: String,
        /// Where.
        at: (f64, f64),
    },
}

/// How a mark looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// One of many.
    Small,
    /// One that counts.
    Plain,
    /// The one that counts, in a ring.
    Ringed,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

// Lengths are in units of the picture; it is about half as many pixels wide on a screen.
const WIDTH: u32 = 880;
const HEIGHT: f64 = 580.0;
const TEXT: f64 = 33.0;
const SMALL_TEXT: f64 = 28.0;
/// Width of a character of small text, about.
const CHARACTER: f64 = 13.0;
/// Least distance between the names of rulers.
const LEADING: i32 = 27;
/// Room of names at the right.
const RULER_ROOM: u32 = 186;

impl Plot {
    /// Draws it.
    ///
    /// # Errors
    /// [`ReportError::Plot`] with what the plotting library says.
    pub fn svg(&self) -> Result<String, ReportError> {
        let mut svg = String::new();
        let height = (HEIGHT * self.height).round() as u32;
        let drawn = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        self.draw(&drawn).map_err(|error| ReportError::Plot {
            title: self.title.clone(),
            reason: error.to_string(),
        })?;
        drop(drawn);
        let head = format!("<svg width=\"{WIDTH}\" height=\"{height}\" ");
        let title = crate::html::escaped(&self.title);
        let (_, body) = svg.split_once(&head).unwrap_or(("", &svg));
        let body = body.replacen('>', &format!(">\n<title>{title}</title>"), 1);
        Ok(Ink::themed(&format!("<svg class=\"plot\" role=\"img\" aria-label=\"{title}\" {body}")))
    }

    fn draw(&self, area: &Area<'_>) -> Drawn {
        let side = CHARACTER * self.y.widest() as f64 + 22.0;
        let side = side + if self.y.label.is_empty() { 0.0 } else { TEXT };
        let mut chart = ChartBuilder::on(area)
            .margin_top(14)
            .margin_left(4)
            .margin_right(if self.rulers.is_empty() { 24 } else { RULER_ROOM })
            .x_label_area_size(if self.x.label.is_empty() { 40 } else { 78 })
            .y_label_area_size(side as u32)
            .build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let (x, y) = (self.x.clone(), self.y.clone());
        chart
            .configure_mesh()
            .x_labels(x.len())
            .y_labels(y.len())
            .bold_line_style(Ink::Grid.line(2, 1.0))
            .light_line_style(Ink::Grid.line(2, 0.4))
            .axis_style(Ink::Muted.line(2, 1.0))
            .label_style(style(SMALL_TEXT, Ink::Muted))
            .axis_desc_style(style(TEXT, Ink::Text))
            .x_label_formatter(&|value| x.text(*value))
            .y_label_formatter(&|value| y.text(*value))
            .x_desc(&self.x.label)
            .y_desc(&self.y.label)
            .draw()?;
        let place = |at: (f64, f64)| chart.backend_coord(&at);
        let (xs, ys) = chart.plotting_area().get_pixel_range();
        self.draw_rulers(area, (xs.start, xs.end), (ys.start, ys.end), &|height| {
            chart.backend_coord(&(0.0, height)).1
        })?;
        for item in &self.items {
            draw_item(area, item, &place)?;
        }
        area.present()
    }

    /// Thin lines across the plot, named at their right ends; names that would meet move apart.
    fn draw_rulers(
        &self,
        area: &Area<'_>,
        (left, right): (i32, i32),
        (top, bottom): (i32, i32),
        height: &dyn Fn(f64) -> i32,
    ) -> Drawn {
        let mut rulers: Vec<(i32, &str)> =
            self.rulers.iter().map(|(name, value)| (height(*value), name.as_str())).collect();
        rulers.sort_unstable();
        let names = apart(&rulers.iter().map(|(y, _)| *y).collect::<Vec<_>>(), (top, bottom));
        for ((y, name), name_y) in rulers.into_iter().zip(names) {
            for start in (left..right).step_by(14) {
                let dash = vec![(start, y), ((start + 7).min(right), y)];
                area.draw(&PathElement::new(dash, Ink::Muted.line(2, 0.55)))?;
            }
            let hook = vec![(right, y), (right + 6, y), (right + 14, name_y)];
            area.draw(&PathElement::new(hook, Ink::Muted.line(2, 0.55)))?;
            let style = anchored(SMALL_TEXT - 2.0, Ink::Muted, HPos::Left, VPos::Center);
            area.draw(&Text::new(name.to_owned(), (right + 20, name_y), style))?;
        }
        Ok(())
    }
}

fn draw_item(area: &Area<'_>, item: &Item, place: &dyn Fn((f64, f64)) -> (i32, i32)) -> Drawn {
    match item {
        Item::Line { ink, points, faint } => {
            let points: Vec<(i32, i32)> = points.iter().map(|at| place(*at)).collect();
            let style = if *faint { ink.line(3, 0.45) } else { ink.line(5, 1.0) };
            area.draw(&PathElement::new(points, style))
        }
        Item::Band { ink, points } => {
            let low = points.iter().map(|(x, low, _)| place((*x, *low)));
            let high = points.iter().rev().map(|(x, _, high)| place((*x, *high)));
            let outline: Vec<(i32, i32)> = low.chain(high).collect();
            area.draw(&Polygon::new(outline, ink.rgb().mix(0.18)))
        }
        Item::Mark { model, at, look } => {
            let at = place(*at);
            let size = if *look == Look::Small { 8.0 } else { 11.0 };
            draw_mark(area, at, *model, size)?;
            if *look == Look::Ringed {
                area.draw(&Circle::new(at, 22, Ink::Model(*model).line(3, 1.0)))?;
            }
            Ok(())
        }
        Item::Stroke { at, upright } => {
            let (x, y) = place(*at);
            let (dx, dy) = if *upright { (0, 13) } else { (13, 0) };
            let ends = vec![(x - dx, y - dy), (x + dx, y + dy)];
            area.draw(&PathElement::new(ends, Ink::Text.line(4, 1.0)))
        }
        Item::Note { text, at } => {
            let (x, y) = place(*at);
            let right =
                f64::from(x) + CHARACTER * text.chars().count() as f64 > f64::from(WIDTH) - 30.0;
            let (horizontal, dx) = if right { (HPos::Right, -16) } else { (HPos::Left, 16) };
            let (vertical, dy) = if y < 40 { (VPos::Top, 12) } else { (VPos::Bottom, -12) };
            let style = anchored(SMALL_TEXT - 4.0, Ink::Muted, horizontal, vertical);
            area.draw(&Text::new(text.clone(), (x + dx, y + dy), style))
        }
    }
}

/// A model's mark at a place in units of the picture.
fn draw_mark(area: &Area<'_>, (x, y): (i32, i32), model: usize, size: f64) -> Drawn {
    let corners = ink::shape(model, size);
    let filled = Ink::Model(model).filled();
    if corners.is_empty() {
        area.draw(&Circle::new((x, y), size.round() as i32, filled))
    } else {
        let corners: Vec<(i32, i32)> =
            corners.into_iter().map(|(dx, dy)| (x + dx, y + dy)).collect();
        area.draw(&Polygon::new(corners, filled))
    }
}

fn style(size: f64, ink: Ink) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::SansSerif, size, FontStyle::Normal);
    font.color(&ink.rgb()).into_text_style(&(WIDTH, HEIGHT as u32))
}

fn anchored(size: f64, ink: Ink, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    style(size, ink).pos(Pos::new(horizontal, vertical))
}

/// Rising heights moved as little as keeps them [`LEADING`] apart and within limits.
fn apart(heights: &[i32], (top, bottom): (i32, i32)) -> Vec<i32> {
    let mut moved = heights.to_vec();
    // Pairs that are too close share the move; a few rounds settle chains of them.
    for _ in 0..100 {
        for i in 1..moved.len() {
            let short = LEADING - (moved[i] - moved[i - 1]);
            if short > 0 {
                moved[i - 1] -= short / 2;
                moved[i] += short - short / 2;
            }
        }
        if let Some(over) = moved.last().map(|last| last - bottom).filter(|over| *over > 0) {
            *moved.last_mut().expect("there is one") -= over;
        }
        if let Some(first) = moved.first_mut() {
            *first = (*first).max(top);
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(title: &str) -> Plot {
        Plot {
            title: title.to_owned(),
            x: Axis::log("seconds", [1.0, 100.0].into_iter()).unwrap(),
            y: Axis::linear("distance", [0.0, 10.0].into_iter()).unwrap(),
            rulers: vec![("blur".into(), 5.0)],
            items: vec![
                Item::Line {
                    ink: Ink::Model(0),
                    points: vec![(1.0, 10.0), (100.0, 0.0)],
                    faint: false,
                },
                Item::Mark { model: 1, at: (10.0, 5.0), look: Look::Ringed },
            ],
            height: 1.0,
        }
    }

    #[test]
    fn a_plot_is_drawn_in_the_page_s_colours() {
        let svg = plot("a < b").svg().unwrap();
        let parsed = roxmltree::Document::parse(&svg).unwrap();
        let title = parsed
            .descendants()
            .find(|node| node.has_tag_name(("http://www.w3.org/2000/svg", "title")));
        assert_eq!(title.and_then(|node| node.text()), Some("a < b"));
        for want in ["var(--model-0)", "var(--model-1)", "currentColor", ">\nblur\n<", ">\n100\n<"]
        {
            assert!(svg.contains(want), "{want} in {svg}");
        }
        // No stand-in is left.
        assert!(!svg.contains("\"#0"), "{svg}");
        assert_eq!(svg, plot("a < b").svg().unwrap());
    }

    #[test]
    fn the_middle_of_the_data_is_in_the_middle_of_the_plot() {
        let svg = plot("").svg().unwrap();
        let line = svg.lines().find(|l| l.contains("polyline") && l.contains("--model-0")).unwrap();
        let points = line.split("points=\"").nth(1).unwrap().split('"').next().unwrap();
        let numbers: Vec<f64> = points.split([' ', ',']).filter_map(|n| n.parse().ok()).collect();
        let square =
            svg.lines().find(|l| l.contains("polygon") && l.contains("--model-1")).unwrap();
        let corner = square.split("points=\"").nth(1).unwrap().split([',', ' ']).take(6);
        let corner: Vec<f64> = corner.filter_map(|n| n.parse().ok()).collect();
        // The mark at (10, 5) halves the line from (1, 10) to (100, 0); its opposite corners are equally far.
        let middle = ((numbers[0] + numbers[2]) / 2.0, (numbers[1] + numbers[3]) / 2.0);
        assert!(((corner[0] + corner[4]) / 2.0 - middle.0).abs() <= 1.0, "{line} {square}");
        assert!(((corner[1] + corner[5]) / 2.0 - middle.1).abs() <= 1.0, "{line} {square}");
    }

    #[test]
    fn names_of_rulers_move_apart() {
        let moved = apart(&[100, 105, 110, 400, 598], (0, 600));
        assert!(moved.windows(2).all(|pair| pair[1] - pair[0] >= LEADING - 1), "{moved:?}");
        assert_eq!(moved[3], 400);
        assert!(moved.iter().all(|y| (0..=600).contains(y)));
    }

    #[test]
    fn a_legend_shows_what_a_plot_draws() {
        assert!(swatch(1).contains("var(--model-1)") && swatch(1).contains("polygon"));
        assert!(swatch(0).contains("circle"));
        assert_ne!(swatch(0), swatch(8));
    }
}
