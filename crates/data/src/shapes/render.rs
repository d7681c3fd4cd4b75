//! Pictures of scenes, anti-aliased.

use super::{
    grammar::Shape,
    layout::SIDE,
    scene::{Object, Scene},
};
use tiny_skia::{Color, FillRule, Paint, Path, PathBuilder, Pixmap, Rect, Transform};

/// Writes the picture of a scene: `out` gets red, green and blue planes of `side`² levels each, row by row.
///
/// # Panics
/// If `out` is not of length 3 · `side`².
pub fn render(scene: &Scene, side: u32, out: &mut [u8]) {
    let objects = [Some(&scene.main), scene.second.as_ref().map(|s| &s.object)];
    let painted = objects.into_iter().flatten().map(|object| (object, object.colour.rgb()));
    paint(scene.background.level(), painted, side, out);
}

/// As [`render`], with any gray level behind any objects of any colour, later ones over earlier ones.
pub(super) fn paint<'a>(
    level: u8,
    objects: impl IntoIterator<Item = (&'a Object, [u8; 3])>,
    side: u32,
    out: &mut [u8],
) {
    let plane = (side * side) as usize;
    assert_eq!(out.len(), 3 * plane, "a picture needs three planes");
    let mut canvas = Pixmap::new(side, side).expect("the side is positive and small");
    canvas.fill(Color::from_rgba8(level, level, level, 255));
    for (object, rgb) in objects {
        draw(object, rgb, &mut canvas);
    }
    for (i, pixel) in canvas.pixels().iter().enumerate() {
        out[i] = pixel.red();
        out[plane + i] = pixel.green();
        out[2 * plane + i] = pixel.blue();
    }
}

/// Writes where an object is, `side`² levels row by row: 255 for a pixel that it covers, 0 for one that it does not touch.
pub(super) fn coverage(object: &Object, side: u32, out: &mut [u8]) {
    let mut canvas = Pixmap::new(side, side).expect("the side is positive and small");
    draw(object, [255; 3], &mut canvas);
    canvas.pixels().iter().zip(out).for_each(|(pixel, out)| *out = pixel.alpha());
}

fn draw(object: &Object, [red, green, blue]: [u8; 3], canvas: &mut Pixmap) {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color_rgba8(red, green, blue, 255);
    let scale = canvas.width() as f32 / f32::from(SIDE);
    let path = outline(object).expect("every shape has an area");
    canvas.fill_path(&path, &paint, FillRule::EvenOdd, Transform::from_scale(scale, scale), None);
}

/// The outline in 64ths. Proportions make the five shapes about equally heavy to the eye; edges along the pixel grid lie
/// on whole 64ths, because the rasterizer takes four samples a pixel each way.
fn outline(object: &Object) -> Option<Path> {
    let [x, y, r] = [object.x, object.y, object.radius].map(f32::from);
    let mut path = PathBuilder::new();
    match object.shape {
        Shape::Circle => path.push_circle(x, y, r),
        Shape::Ring => {
            path.push_circle(x, y, r);
            path.push_circle(x, y, 0.55 * r);
        }
        Shape::Square => {
            let half = (0.88 * r).round();
            path.push_rect(Rect::from_xywh(x - half, y - half, 2.0 * half, 2.0 * half)?);
        }
        Shape::Triangle => {
            let base = y + (0.8 * r).round();
            polygon(&mut path, &[(x, y - r), (x + r, base), (x - r, base)]);
        }
        Shape::Cross => {
            let arm = (0.34 * r).round();
            polygon(
                &mut path,
                &[
                    (x - arm, y - r),
                    (x + arm, y - r),
                    (x + arm, y - arm),
                    (x + r, y - arm),
                    (x + r, y + arm),
                    (x + arm, y + arm),
                    (x + arm, y + r),
                    (x - arm, y + r),
                    (x - arm, y + arm),
                    (x - r, y + arm),
                    (x - r, y - arm),
                    (x - arm, y - arm),
                ],
            );
        }
    }
    path.finish()
}

fn polygon(path: &mut PathBuilder, corners: &[(f32, f32)]) {
    path.move_to(corners[0].0, corners[0].1);
    for &(x, y) in &corners[1..] {
        path.line_to(x, y);
    }
    path.close();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::grammar::{Background, Colour, Size};

    fn large(shape: Shape) -> Scene {
        let main =
            Object { shape, colour: Colour::Red, size: Size::Large, radius: 22, x: 32, y: 32 };
        Scene { background: Background::White, main, second: None }
    }

    /// Sum over pixels of the share that the object covers, from the green plane, in 64ths squared.
    fn area(shape: Shape, side: u32) -> f64 {
        let plane = (side * side) as usize;
        let mut out = vec![0; 3 * plane];
        render(&large(shape), side, &mut out);
        let [_, green, _] = Colour::Red.rgb().map(f64::from);
        let covered = |level: &u8| (255.0 - f64::from(*level)) / (255.0 - green);
        let pixels: f64 = out[plane..2 * plane].iter().map(covered).sum();
        pixels * (64.0 / f64::from(side)).powi(2)
    }

    /// The area of every shape is known; anti-aliasing keeps it at any resolution, to its four samples a pixel.
    #[test]
    fn areas_are_those_of_the_geometry() {
        let disc = std::f64::consts::PI * 22.0 * 22.0;
        for (shape, want) in [
            (Shape::Circle, disc),
            (Shape::Ring, disc * (1.0 - 0.55 * 0.55)),
            (Shape::Square, 38.0 * 38.0),
            (Shape::Triangle, 44.0 * 40.0 / 2.0),
            (Shape::Cross, 2.0 * 14.0 * 44.0 - 14.0 * 14.0),
        ] {
            for side in [16, 32, 64] {
                let got = area(shape, side);
                assert!((got / want - 1.0).abs() < 0.05, "{shape:?} at {side}: {got} not {want}");
            }
        }
    }

    #[test]
    fn pixels_are_where_the_scene_says() {
        let mut out = vec![0; 3 * 32 * 32];
        render(&large(Shape::Ring), 32, &mut out);
        let pixel = |x: usize, y: usize| [0, 1, 2].map(|c| out[c * 1024 + y * 32 + x]);
        assert_eq!(pixel(0, 0), [255; 3]);
        assert_eq!(pixel(16, 16), [255; 3], "the hole of the ring");
        assert_eq!(pixel(16, 7), Colour::Red.rgb());
        assert_eq!(pixel(24, 16), Colour::Red.rgb());
    }
}
