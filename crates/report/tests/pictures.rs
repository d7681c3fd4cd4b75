//! Grids and strips, pixel by pixel.

use image::{Rgb, RgbImage};
use paragone_report::{GridOptions, Row, comparison_grid, film_strip, sample_grid};
use tch::{Kind, Tensor};

const WHITE: Rgb<u8> = Rgb([255; 3]);

/// Gray images of one level each, u8 `[levels, 1, 2, 2]`.
fn flat(levels: &[u8]) -> Tensor {
    Tensor::from_slice(levels).view([-1, 1, 1, 1]).expand([-1, 1, 2, 2], false)
}

fn row(label: &str, images: Tensor) -> Row {
    Row { label: label.into(), images }
}

fn bare(scale: u32) -> GridOptions {
    GridOptions { scale: Some(scale), gap: 1, row_gap: 2, margin: 1, reference_rows: 0 }
}

/// One character a pixel: `.` white, `#` black, `?` else.
fn drawn(picture: &RgbImage) -> Vec<String> {
    picture
        .rows()
        .map(|row| {
            row.map(|pixel| match pixel.0 {
                [255, 255, 255] => '.',
                [0, 0, 0] => '#',
                _ => '?',
            })
            .collect()
        })
        .collect()
}

#[test]
fn a_small_grid_letter_for_letter() {
    let step = Tensor::from_slice(&[0u8, 255, 0, 0]).view([1, 1, 2, 2]);
    let black = flat(&[0, 0]);
    let rows = [row("", Tensor::cat(&[&step, &step, &step], 0)), row("", black)];
    let picture = comparison_grid(&rows, &[], 2, &bare(1));
    assert_eq!(
        drawn(&picture),
        [
            ".......", // margin
            ".#..#..", // first row, first line
            ".##.##.", ".......", // gap
            ".#.....", // its second line
            ".##....", ".......", // row gap
            ".......", ".##.##.", // second row
            ".##.##.", ".......",
        ]
    );
}

#[test]
fn pixels_become_squares_and_colours_stay() {
    let colour = Tensor::from_slice(&[10u8, 20, 30]).view([1, 3, 1, 1]);
    let picture = comparison_grid(&[row("", colour)], &[], 1, &bare(5));
    assert_eq!(picture.dimensions(), (7, 7));
    for (x, y, pixel) in picture.enumerate_pixels() {
        let inside = (1..6).contains(&x) && (1..6).contains(&y);
        assert_eq!(*pixel, if inside { Rgb([10, 20, 30]) } else { WHITE }, "{x}, {y}");
    }
}

#[test]
fn images_are_scaled_to_about_84_pixels() {
    for (side, want) in [(16, 80), (28, 84), (32, 96), (64, 64), (300, 300)] {
        let images = Tensor::zeros([2, 1, side, side], (Kind::Uint8, tch::Device::Cpu));
        let options = GridOptions { margin: 0, gap: 4, ..GridOptions::default() };
        let picture = comparison_grid(&[row("", images)], &[], 2, &options);
        assert_eq!(picture.dimensions(), (2 * want + 4, want), "{side}");
    }
}

fn ink(picture: &RgbImage, xs: std::ops::Range<u32>, ys: std::ops::Range<u32>) -> usize {
    ys.flat_map(|y| xs.clone().map(move |x| (x, y)))
        .filter(|(x, y)| picture.get_pixel(*x, *y).0[0] < 128)
        .count()
}

#[test]
fn labels_stand_above_and_to_the_left() {
    let white = Tensor::ones([3, 1, 28, 28], (Kind::Uint8, tch::Device::Cpu)) * 255;
    let rows = [row("real", white.shallow_clone()), row("", white)];
    let names = ["Bag".to_string(), "a small red circle".to_string()];
    let options = GridOptions { reference_rows: 0, ..GridOptions::default() };
    let picture = comparison_grid(&rows, &names, 3, &options);
    let (width, height) = picture.dimensions();
    let images = 3 * 84 + 2 * 4;
    let left = width - options.margin - images;
    let top = height - options.margin - 2 * 84 - options.row_gap;
    // Column labels: above their own columns only, in the lower of two lines where one is enough.
    assert!(ink(&picture, left..left + 84, 0..top) > 30);
    assert_eq!(ink(&picture, left..left + 84, 0..top / 2), 0);
    assert!(ink(&picture, left + 88..left + 172, 0..top / 2) > 30);
    assert_eq!(ink(&picture, left + 176..width, 0..top), 0);
    // Row label: beside the first row, in the middle of its height.
    assert!(ink(&picture, 0..left, top + 32..top + 52) > 30);
    assert_eq!(ink(&picture, 0..left, top + 56..height), 0);
    assert_eq!(ink(&picture, left..width, top..height), 0);
}

#[test]
fn long_labels_stay_inside() {
    let rows = [row("diffusion-num_timesteps=1000,schedule=unscaled-linear", flat(&[0]))];
    let picture = comparison_grid(&rows, &["supercalifragilistic".into()], 1, &bare(3));
    let (width, height) = picture.dimensions();
    assert!(width < 200, "{width}");
    // The label is taller than the images: nothing is cut off at the top or the bottom.
    assert_eq!(ink(&picture, 0..width, 0..1) + ink(&picture, 0..width, height - 1..height), 0);
}

#[test]
fn a_rule_sets_real_images_apart() {
    let rows = [row("", flat(&[0])), row("", flat(&[0]))];
    let with = comparison_grid(&rows, &[], 1, &GridOptions { reference_rows: 1, ..bare(1) });
    let without = comparison_grid(&rows, &[], 1, &bare(1));
    assert!(with.height() > without.height());
    let ruled =
        |picture: &RgbImage| drawn(picture).iter().filter(|line| line.contains('?')).count();
    assert_eq!((ruled(&with), ruled(&without)), (1, 0));
}

#[test]
fn samples_stand_in_reading_order() {
    let levels: Vec<u8> = (0..5).map(|i| i * 50).collect();
    let picture = sample_grid(&flat(&levels), 2);
    // 2 pixels a side at 28 times: 56; margin 8, gap 2.
    for (i, level) in levels.iter().enumerate() {
        let (x, y) = (8 + 58 * (i as u32 % 2), 8 + 58 * (i as u32 / 2));
        assert_eq!(picture.get_pixel(x, y).0, [*level; 3]);
        assert_eq!(picture.get_pixel(x + 55, y + 55).0, [*level; 3]);
        assert_eq!(*picture.get_pixel(x + 56, y + 56), WHITE);
    }
    assert_eq!(picture.dimensions(), (16 + 114, 16 + 172));
}

#[test]
fn time_runs_from_left_to_right() {
    let frames = [flat(&[0, 10]), flat(&[100, 110]), flat(&[200, 210])];
    let labels: Vec<String> = ["0 %", "50 %", "100 %"].map(String::from).to_vec();
    let picture = film_strip(&frames, &labels);
    let (width, height) = picture.dimensions();
    let (left, top) = (width - 18 - 3 * 84 - 2 * 4, height - 18 - 2 * 84 - 4);
    for (x, y, level) in [(0, 0, 0), (1, 0, 100), (2, 0, 200), (0, 1, 10), (2, 1, 210)] {
        let pixel = picture.get_pixel(left + x * 88 + 40, top + y * 88 + 40);
        assert_eq!(pixel.0, [level; 3], "{x}, {y}");
    }
    assert!(ink(&picture, left + 176..left + 260, 0..top) > 30);
}
