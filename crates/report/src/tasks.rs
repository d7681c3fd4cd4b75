//! Scores of the tasks beside drawing new images: filling holes and editing.

use crate::table::Better;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Something that a task is compared with beside models, such as an image left as it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The run it is from, when several are compared.
    pub run: Option<String>,
    /// What it is.
    pub name: String,
    /// How well it fills holes.
    pub inpainting: Option<InpaintingScores>,
    /// How well it edits.
    pub editing: Option<EditingScores>,
}

/// How well holes are filled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InpaintingScores {
    /// How they are filled, or why they are not.
    pub method: String,
    /// `trained`: training showed known pixels; `zero-shot`: it did not; `baseline`: there is no training.
    pub track: String,
    /// Network calls of one image.
    pub network_calls: u64,
    /// Seconds of one image.
    pub seconds_per_image: f64,
    /// By the kind of mask; empty where holes are not filled.
    pub masks: BTreeMap<String, HoleScores>,
}

/// How well holes of one kind are filled.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoleScores {
    /// Whether training showed such masks.
    pub shown_in_training: bool,
    /// Peak signal-to-noise ratio of all holes together against the originals, in decibels.
    pub psnr: f64,
    /// The same of the mean of many completions by different seeds; `None` where only one was made.
    pub psnr_of_mean: Option<f64>,
    /// Structural similarity in the hole with the original.
    pub ssim: f64,
    /// Fréchet distance of the completed images to the training images.
    pub frechet_distance: Option<f64>,
    /// Share of completed images in which a judge finds what was asked for.
    pub accuracy: Option<f64>,
    /// Share of completed images that show what the known pixels leave possible, where that is known.
    pub possible: Option<f64>,
    /// Root mean square difference, in levels, of completions by different seeds in the hole.
    pub diversity: Option<f64>,
    /// Share of images whose known pixels are unchanged.
    pub known_pixels_kept: f64,
}

/// How well pictures are edited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditingScores {
    /// How they are edited, or why they are not.
    pub method: String,
    /// Network calls of one image, at most.
    pub network_calls: u64,
    /// Seconds of one image, over all strengths.
    pub seconds_per_image: f64,
    /// By the kind of edit; empty where nothing is edited.
    pub edits: BTreeMap<String, Vec<EditPoint>>,
}

/// How well pictures are edited in one way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EditPoint {
    /// From 0, nothing, to 1; `None`: not by an edit, but as a new image of what is asked for, or as a baseline.
    pub strength: Option<f64>,
    /// Whether only pixels near the change were free to change.
    pub masked: bool,
    /// Share of pictures that show all that was asked to change.
    pub changed: f64,
    /// Share of pictures that show all else as before.
    pub kept: f64,
    /// Share of pictures of which both is true.
    pub both: f64,
    /// Share of pictures with as many objects as asked, where that is what changes: gone is what was to be removed, and there what was
    /// to be added.
    pub object_count: Option<f64>,
    /// Mean absolute difference, in levels, of pixels that the true edit leaves alone.
    pub background_error: f64,
    /// Network calls of one image; 0 for a baseline.
    pub network_calls: u64,
    /// Seconds of one image; 0 for a baseline.
    pub seconds_per_image: f64,
}

/// Key in files, head in tables, what is good, and access: a score of holes of one kind.
pub(crate) type HoleColumn = (&'static str, &'static str, Better, fn(&HoleScores) -> Option<f64>);

pub(crate) const HOLE_SCORES: [HoleColumn; 8] = [
    ("psnr", "PSNR", Better::Higher, |holes| Some(holes.psnr)),
    ("psnr_of_mean", "PSNR of mean", Better::Higher, |holes| holes.psnr_of_mean),
    ("ssim", "SSIM", Better::Higher, |holes| Some(holes.ssim)),
    ("frechet_distance", "FD", Better::Lower, |holes| holes.frechet_distance),
    ("accuracy", "accuracy", Better::Higher, |holes| holes.accuracy),
    ("possible", "possible", Better::Higher, |holes| holes.possible),
    ("diversity", "diversity", Better::None, |holes| holes.diversity),
    ("known_pixels_kept", "known kept", Better::Higher, |holes| Some(holes.known_pixels_kept)),
];

/// The same of an edit.
pub(crate) type EditColumn = (&'static str, &'static str, Better, fn(&EditPoint) -> Option<f64>);

pub(crate) const EDIT_SCORES: [EditColumn; 8] = [
    ("changed", "changed", Better::Higher, |point| Some(point.changed)),
    ("kept", "kept", Better::Higher, |point| Some(point.kept)),
    ("both", "both", Better::Higher, |point| Some(point.both)),
    ("object_count", "object count", Better::Higher, |point| point.object_count),
    ("background_error", "background error", Better::None, |point| Some(point.background_error)),
    ("strength", "strength", Better::None, |point| point.strength),
    (NETWORK_CALLS, "calls", Better::None, |point| Some(point.network_calls as f64)),
    (SECONDS, "s/image", Better::Lower, |point| Some(point.seconds_per_image)),
];

pub(crate) const NETWORK_CALLS: &str = "network_calls";
pub(crate) const SECONDS: &str = "seconds_per_image";

/// Background error, in levels, at which edits are compared.
pub const BACKGROUND_ERROR: f64 = 4.0;

/// Which of a model's edits of a kind stands for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// Without a mask, at [`BACKGROUND_ERROR`].
    AtError,
    /// With a mask, the strength that is best for both.
    Masked,
    /// A new image of what was asked for.
    New,
}

impl InpaintingScores {
    /// Nothing scored yet.
    pub fn new(method: String, track: &str) -> Self {
        Self {
            method,
            track: track.to_owned(),
            network_calls: 0,
            seconds_per_image: 0.0,
            masks: BTreeMap::new(),
        }
    }
}

impl EditingScores {
    /// Nothing scored yet.
    pub fn new(method: String) -> Self {
        Self { method, network_calls: 0, seconds_per_image: 0.0, edits: BTreeMap::new() }
    }

    /// The edit of a kind, free or within a mask, at the strength at which most are right, the least of several; `None` if it was
    /// not scored.
    pub fn best(&self, kind: &str, masked: bool) -> Option<EditPoint> {
        let scored = self.edits.get(kind)?.iter();
        let points = scored.filter(|point| point.strength.is_some() && point.masked == masked);
        let better = |best: EditPoint, next: EditPoint| {
            if next.both > best.both { next } else { best }
        };
        points.copied().reduce(better)
    }

    /// The edit of a kind that stands for all of them.
    pub(crate) fn of(&self, kind: &str, chosen: Chosen) -> Option<EditPoint> {
        let points = self.edits.get(kind)?;
        match chosen {
            Chosen::AtError => self.at_background_error(kind, BACKGROUND_ERROR),
            Chosen::Masked => self.best(kind, true),
            Chosen::New => points.iter().find(|point| point.strength.is_none()).copied(),
        }
    }

    /// One kind of edit without a mask at a given background error: what lies between the strengths whose errors are nearest, as
    /// much of the picture being changed as that error allows. `None` if even the least strength errs more.
    pub fn at_background_error(&self, kind: &str, error: f64) -> Option<EditPoint> {
        let points = self.edits.get(kind)?;
        let mut curve: Vec<&EditPoint> =
            points.iter().filter(|p| p.strength.is_some() && !p.masked).collect();
        curve.sort_by(|a, b| a.background_error.total_cmp(&b.background_error));
        let above = curve.iter().position(|point| point.background_error > error);
        match above {
            Some(0) => None,
            None => curve.last().map(|&&last| last),
            Some(above) => {
                let (low, high) = (curve[above - 1], curve[above]);
                let share =
                    (error - low.background_error) / (high.background_error - low.background_error);
                let between = |of: fn(&EditPoint) -> f64| of(low) + share * (of(high) - of(low));
                Some(EditPoint {
                    strength: Some(between(|p| p.strength.unwrap_or(1.0))),
                    masked: false,
                    changed: between(|p| p.changed),
                    kept: between(|p| p.kept),
                    both: between(|p| p.both),
                    object_count: low
                        .object_count
                        .and(high.object_count)
                        .map(|_| between(|p| p.object_count.unwrap_or(0.0))),
                    background_error: error,
                    network_calls: low.network_calls.max(high.network_calls),
                    seconds_per_image: between(|p| p.seconds_per_image),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_compared_at_one_background_error() {
        let point = |strength, changed, background_error| EditPoint {
            strength,
            masked: false,
            changed,
            kept: 1.0 - changed,
            both: 0.0,
            object_count: Some(changed),
            background_error,
            network_calls: 2,
            seconds_per_image: 0.5,
        };
        let mut scores = EditingScores::new("any".to_owned());
        let masked = EditPoint { masked: true, ..point(Some(0.3), 1.0, 4.5) };
        let points = vec![
            point(None, 1.0, 30.0),
            point(Some(0.2), 0.1, 2.0),
            point(Some(0.6), 0.9, 10.0),
            point(Some(0.4), 0.5, 4.0),
            masked,
        ];
        scores.edits.insert("recolour".to_owned(), points);
        let at = |error| scores.at_background_error("recolour", error);
        assert_eq!(at(1.0), None);
        assert_eq!(at(2.0).unwrap().changed, 0.1);
        let between = at(7.0).unwrap();
        assert!((between.changed - 0.7).abs() < 1e-12 && (between.kept - 0.3).abs() < 1e-12);
        assert!((between.object_count.unwrap() - 0.7).abs() < 1e-12);
        assert_eq!((between.network_calls, between.seconds_per_image), (2, 0.5));
        assert!((between.strength.unwrap() - 0.5).abs() < 1e-12);
        assert_eq!(at(50.0).unwrap().changed, 0.9);
        assert_eq!(scores.at_background_error("move", 5.0), None);
    }
}
