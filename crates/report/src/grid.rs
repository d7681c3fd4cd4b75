//! Images side by side: families against each other, samples of one model, a process in time.

use crate::{
    canvas::{Canvas, Images},
    text::{Label, SIZES, fitted},
};
use image::RgbImage;
use tch::Tensor;

/// Images of one origin, such as a family's samples.
#[derive(Debug)]
pub struct Row {
    /// What stands to the left.
    pub label: String,
    /// u8 `[n, c, h, w]`. More images than the grid has columns go on in further lines.
    pub images: Tensor,
}

/// How a grid looks; lengths in pixels of the picture.
#[derive(Debug, Clone)]
pub struct GridOptions {
    /// Side of the square that stands for a pixel; by default such that images are about 84 wide.
    pub scale: Option<u32>,
    /// Space between images.
    pub gap: u32,
    /// Space between the rows of two origins.
    pub row_gap: u32,
    /// Space around everything.
    pub margin: u32,
    /// Rows at the top that others are compared with, such as real images: a rule sets them apart.
    pub reference_rows: usize,
}

impl Default for GridOptions {
    fn default() -> Self {
        Self { scale: None, gap: 4, row_gap: 14, margin: 18, reference_rows: 1 }
    }
}

/// Width that images are scaled to, about.
const CELL: u32 = 84;
/// The same where only one model's samples are shown.
const SMALL_CELL: u32 = 56;
/// Least space between labels above neighbouring columns, beside the gap between images.
const AIR: u32 = 4;
/// Width that labels at the left are wrapped to.
const SIDE: u32 = 132;
/// Space between labels and images.
const LABEL_GAP: u32 = 10;

/// Families against each other: one row each (of several lines if it has more images than there are `columns`), each
/// column the same condition and seed.
///
/// `column_labels` stand above the columns; there may be fewer than columns, or none. All images have one size.
pub fn comparison_grid(
    rows: &[Row],
    column_labels: &[String],
    columns: usize,
    options: &GridOptions,
) -> RgbImage {
    let images: Vec<Images> = rows.iter().map(|row| Images::of(&row.images)).collect();
    let labels: Vec<String> = rows.iter().map(|row| row.label.clone()).collect();
    draw(&images, &labels, column_labels, columns, CELL, options)
}

/// Images in reading order, `columns` to a line. `images`: u8 `[n, c, h, w]`.
pub fn sample_grid(images: &Tensor, columns: usize) -> RgbImage {
    let options =
        GridOptions { gap: 2, row_gap: 2, margin: 8, reference_rows: 0, ..GridOptions::default() };
    let images = [Images::of(images)];
    draw(&images, &[], &[], columns.min(images[0].count), SMALL_CELL, &options)
}

/// A process in time: one row an image, one column a frame.
///
/// `frames`: u8 `[n, c, h, w]` each, all of one shape, in the order of time; `labels` stand above them.
pub fn film_strip(frames: &[Tensor], labels: &[String]) -> RgbImage {
    let options = GridOptions { row_gap: 4, reference_rows: 0, ..GridOptions::default() };
    // [frames, n, c, h, w] read image by image.
    let images: Vec<Images> = match frames.first() {
        None => Vec::new(),
        Some(frame) => {
            let all = Tensor::stack(frames, 1);
            (0..frame.size()[0]).map(|row| Images::of(&all.get(row))).collect()
        }
    };
    draw(&images, &[], labels, frames.len(), CELL, &options)
}

/// Where images go, from the top left corner of the first.
#[derive(Debug)]
struct Layout {
    columns: usize,
    scale: u32,
    cell_width: u32,
    cell_height: u32,
    /// Top and bottom of each row.
    rows: Vec<(u32, u32)>,
    gap: u32,
}

impl Layout {
    fn new(
        images: &[Images],
        labels: &[Label],
        columns: usize,
        cell: u32,
        options: &GridOptions,
    ) -> Self {
        let (width, height) = images.first().map_or((1, 1), |images| (images.width, images.height));
        for other in images {
            let size = (other.width, other.height);
            assert_eq!(size, (width, height), "images of a grid have one size");
        }
        let nearest = || (f64::from(cell) / f64::from(width)).round() as u32;
        let scale = options.scale.unwrap_or_else(nearest).max(1);
        let (columns, cell_height, gap) = (columns.max(1), height * scale, options.gap);
        let mut rows = Vec::new();
        let mut top = 0;
        for (index, images) in images.iter().enumerate() {
            let lines = images.count.div_ceil(columns) as u32;
            let high = (lines * (cell_height + gap)).saturating_sub(gap);
            let bottom = top + high.max(labels.get(index).map_or(0, Label::height));
            rows.push((top, bottom));
            let times = if index + 1 == options.reference_rows { 2 } else { 1 };
            top = bottom + times * options.row_gap;
        }
        Self { columns, scale, cell_width: width * scale, cell_height, rows, gap }
    }

    fn width(&self) -> u32 {
        self.columns as u32 * (self.cell_width + self.gap) - self.gap
    }

    fn height(&self) -> u32 {
        self.rows.last().map_or(0, |(_, bottom)| *bottom)
    }

    fn corner(&self, row: usize, index: usize) -> (u32, u32) {
        let (line, column) = ((index / self.columns) as u32, (index % self.columns) as u32);
        let top = self.rows[row].0 + line * (self.cell_height + self.gap);
        (column * (self.cell_width + self.gap), top)
    }
}

fn draw(
    images: &[Images],
    row_labels: &[String],
    column_labels: &[String],
    columns: usize,
    cell: u32,
    options: &GridOptions,
) -> RgbImage {
    let beside: Vec<Label> =
        row_labels.iter().map(|text| Label::wrapped(text, SIZES[0], SIDE)).collect();
    let layout = Layout::new(images, &beside, columns, cell, options);
    let above = fitted(column_labels, layout.cell_width.saturating_sub(AIR).max(1));
    let room = |size: u32| if size == 0 { 0 } else { size + LABEL_GAP };
    let header = above.iter().map(Label::height).max().unwrap_or(0);
    let left = options.margin + room(beside.iter().map(Label::width).max().unwrap_or(0));
    let top = options.margin + room(header);
    let right = left + layout.width();
    let mut canvas = Canvas::new(right + options.margin, top + layout.height() + options.margin);
    for (column, label) in above.iter().take(layout.columns).enumerate() {
        let start = left + column as u32 * (layout.cell_width + layout.gap);
        for (down, line) in label.placed() {
            // Labels stand on the images, centred.
            let indent = layout.cell_width.saturating_sub(line.width()) / 2;
            let y = options.margin + header - label.height() + down;
            canvas.write(line, start + indent, y, start + layout.cell_width);
        }
    }
    for (row, images) in images.iter().enumerate() {
        for index in 0..images.count {
            let (x, y) = layout.corner(row, index);
            canvas.put(images, index, left + x, top + y, layout.scale);
        }
        let (first, last) = layout.rows[row];
        if let Some(label) = beside.get(row) {
            let y = top + (first + last - label.height()) / 2;
            for (down, line) in label.placed() {
                let end = left - LABEL_GAP;
                canvas.write(line, end - line.width().min(end), y + down, end);
            }
        }
        if let Some((next, _)) = layout.rows.get(row + 1)
            && row + 1 == options.reference_rows
        {
            canvas.rule(options.margin, right, top + (last + next) / 2);
        }
    }
    canvas.finish()
}
