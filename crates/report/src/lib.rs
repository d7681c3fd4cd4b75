//! What an experiment shows: grids of images, film strips, tables of scores, a page of it all, and the files they are
//! saved in.
//!
//! Nothing here prints or computes a score. Images are u8 `[n, c, h, w]` tensors with one or three channels; pictures are
//! [`RgbImage`](image::RgbImage)s, saved as PNG by [`save_png`].

mod canvas;
mod csv;
mod error;
mod grid;
mod html;
mod plot;
mod png;
mod results;
mod seeds;
mod table;
mod tabulate;
mod tasks;
mod text;
mod tidy;

pub use canvas::picture;
pub use error::ReportError;
pub use grid::{GridOptions, Row, comparison_grid, film_strip, sample_grid};
pub use html::{Figure, LearningCurve, Page, Section, html};
pub use png::save_png;
pub use results::{
    BitsPerDim, BySplit, CalibrationRow, CaptionScores, ClassScore, Curves, FeatureScores,
    FrontierPoint, Memorization, ModelRow, PointScores, Results, Sampling, SamplingPoint, Score,
    Scores, Training, TrainingPoint, Truth,
};
pub use seeds::SeedGroup;
pub use table::{Better, Cell, Column, Table, TableRow};
pub use tasks::{Baseline, EditPoint, EditingScores, HoleScores, InpaintingScores};
