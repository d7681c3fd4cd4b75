//! Scores of the tasks beside drawing new images: a line a model for a terminal, and every one as CSV.

use crate::{
    Baseline, CaptionScores, EditingScores, HoleScores, InpaintingScores, ModelRow, Results,
    table::{Better, Cell, Column, Table, TableRow},
    tabulate::Builder,
    tasks::{Chosen, EDIT_SCORES, HOLE_SCORES, NETWORK_CALLS, SECONDS},
};
use std::collections::BTreeMap;

/// What stands for captions: the share of images that show all that theirs say, or where captions are names the share whose own is
/// the first of a hundred.
const CAPTIONS: [&str; 2] = ["all", "first of 100"];

/// A column: its name, a model's value, and why a model may have none.
type Summary = (&'static str, fn(&ModelRow) -> Option<f64>, &'static str);

const NOT_DONE: &str = "it does not do the task, or not every kind of it";
const ERRS_MORE: &str =
    "every edit of some kind errs more outside what was to change, or it makes none";

/// What the terminal's table shows: means over kinds of holes and of edits.
const SUMMARIES: [Summary; 7] = [
    ("captions: right", |row| captions(&row.captions.as_ref()?.seen), NOT_DONE),
    ("held out", |row| captions(&row.captions.as_ref()?.held_out), NOT_DONE),
    ("in-painting: PSNR", |row| holes(row, |holes| Some(holes.psnr)), NOT_DONE),
    ("PSNR of mean", |row| holes(row, |holes| holes.psnr_of_mean), NOT_DONE),
    ("class or caption", |row| holes(row, |holes| holes.accuracy), NOT_DONE),
    ("editing: both", |row| edits(row, Chosen::AtError), ERRS_MORE),
    ("both, masked", |row| edits(row, Chosen::Masked), NOT_DONE),
];

fn captions(shares: &BTreeMap<String, f64>) -> Option<f64> {
    CAPTIONS.iter().find_map(|name| shares.get(*name)).copied()
}

fn holes(row: &ModelRow, score: fn(&HoleScores) -> Option<f64>) -> Option<f64> {
    mean(row.inpainting.as_ref()?.masks.values().map(score))
}

fn edits(row: &ModelRow, chosen: Chosen) -> Option<f64> {
    let scores = row.editing.as_ref()?;
    mean(scores.edits.keys().map(|kind| scores.of(kind, chosen).map(|point| point.both)))
}

/// `None` if one of them is missing, or there are none.
fn mean(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let values: Vec<f64> = values.collect::<Option<_>>()?;
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

impl Results {
    /// A table of the tasks for a terminal, a row a model: shares of images that show all that their captions say, in-painting over
    /// all kinds of holes, and edits over all kinds, where they are compared. `None` if no model was scored for any.
    pub fn to_task_table(&self) -> Option<Table> {
        let mut table = Builder::new(self.seed_groups(), &[]);
        table.names();
        for (name, of, reason) in SUMMARIES {
            if self.rows.iter().any(|row| of(row).is_some()) {
                let missing = || Cell::missing(reason);
                let cell = |row: &ModelRow| of(row).map_or_else(missing, Cell::number);
                table.column(name, Better::Higher, cell, |_| Cell::Text(String::new()));
            }
        }
        if self.rows.iter().any(|row| row.inpainting.is_some()) {
            let track = |row: &ModelRow| row.inpainting.as_ref().map(|it| it.track.clone());
            table.text("track", |row| track(row).unwrap_or_default(), |_| String::new());
        }
        (table.table.columns.len() > 1).then_some(table.table)
    }

    /// Every score of the tasks as RFC 4180 CSV, one record a score: of captions seen and held out, of each kind of hole and track, of
    /// each kind of edit at each strength.
    pub fn to_task_csv(&self) -> String {
        let mut records = Records::default();
        for row in &self.rows {
            let of = ["model", row.run.as_deref().unwrap_or_default(), &row.model];
            records.add(of, row.seed.to_string(), &row.captions, &row.inpainting, &row.editing);
        }
        for row in &self.calibration {
            let of = ["calibration", "", &row.name];
            records.add(of, String::new(), &row.captions, &None, &None);
        }
        for Baseline { run, name, inpainting, editing } in &self.baselines {
            let of = ["baseline", run.as_deref().unwrap_or_default(), name];
            records.add(of, String::new(), &None, inpainting, editing);
        }
        records.table().to_csv()
    }
}

/// What names a record before its score.
const HEAD: [&str; 8] = ["row", "run", "model", "seed", "task", "kind", "track", "strength"];

/// Records of [`Results::to_task_csv`].
#[derive(Default)]
struct Records(Vec<Vec<Cell>>);

impl Records {
    fn add(
        &mut self,
        of: [&str; 3],
        seed: String,
        captions: &Option<CaptionScores>,
        inpainting: &Option<InpaintingScores>,
        editing: &Option<EditingScores>,
    ) {
        let mut put = |place: [&str; 4], name: &str, value: f64| {
            let words = of.into_iter().chain([seed.as_str()]).chain(place).chain([name]);
            let mut record: Vec<Cell> = words.map(|word| Cell::Text(word.to_owned())).collect();
            record.push(Cell::number(value));
            self.0.push(record);
        };
        if let Some(CaptionScores { seen, held_out }) = captions {
            let parts: [(&str, &BTreeMap<String, f64>); 2] =
                [("seen", seen), ("held out", held_out)];
            for (kind, shares) in parts {
                shares
                    .iter()
                    .for_each(|(name, &share)| put(["captions", kind, "", ""], name, share));
            }
        }
        if let Some(scores) = inpainting {
            for (kind, holes) in &scores.masks {
                let place = ["inpainting", kind, &scores.track, ""];
                for (name, _, _, score) in HOLE_SCORES {
                    score(holes).into_iter().for_each(|value| put(place, name, value));
                }
                put(place, "shown_in_training", f64::from(u8::from(holes.shown_in_training)));
                put(place, NETWORK_CALLS, scores.network_calls as f64);
                put(place, SECONDS, scores.seconds_per_image);
            }
        }
        if let Some(scores) = editing {
            for (kind, points) in &scores.edits {
                for point in points {
                    let strength = point.strength.map(|strength| strength.to_string());
                    let track = match (of[0], &strength, point.masked) {
                        ("baseline", ..) => "baseline",
                        (_, Some(_), true) => "masked",
                        (_, Some(_), false) => "free",
                        (_, None, _) => "new image",
                    };
                    let place = ["editing", kind, track, strength.as_deref().unwrap_or_default()];
                    for (name, _, _, score) in EDIT_SCORES {
                        score(point).into_iter().for_each(|value| put(place, name, value));
                    }
                }
            }
        }
    }

    fn table(self) -> Table {
        let column = |name: &str| Column { name: name.to_owned(), better: Better::None };
        let columns = HEAD.into_iter().chain(["score", "value"]).map(column).collect();
        let rows = self.0.into_iter().map(|cells| TableRow { cells, ranked: false }).collect();
        Table { columns, rows }
    }
}
