//! Tables made of results: one for a terminal, one with everything as CSV.

use crate::{
    BitsPerDim, BySplit, CalibrationRow, ModelRow, Results, Score, Scores,
    table::{Better, Cell, Column, Table, TableRow},
};

/// Name, what is good, and access.
type ScoreColumn = (&'static str, Better, fn(&Scores) -> &BySplit);

const SCORES: [ScoreColumn; 9] = [
    ("frechet_distance", Better::Lower, |s| &s.features.frechet_distance),
    ("frechet_distance_excess", Better::Lower, |s| &s.features.frechet_distance_excess),
    ("frechet_distance_infinity", Better::Lower, |s| &s.features.frechet_distance_infinity),
    ("kernel_distance", Better::Lower, |s| &s.features.kernel_distance),
    ("kernel_distance_interval", Better::None, |s| &s.features.kernel_distance_interval),
    ("precision", Better::Higher, |s| &s.features.precision),
    ("recall", Better::Higher, |s| &s.features.recall),
    ("density", Better::Higher, |s| &s.features.density),
    ("coverage", Better::Higher, |s| &s.features.coverage),
];

/// What the terminal's table shows of them, and under which name.
const HEADLINES: [(&str, &str); 8] = [
    ("FD", "frechet_distance"),
    ("FD−floor", "frechet_distance_excess"),
    ("FD∞", "frechet_distance_infinity"),
    ("KID", "kernel_distance"),
    ("prec", "precision"),
    ("rec", "recall"),
    ("dens", "density"),
    ("cov", "coverage"),
];

impl Results {
    /// The reference split whose scores make the headline: train where there is one, else the first.
    pub fn headline_split(&self) -> Option<String> {
        self.splits().into_iter().next()
    }

    /// The table for a terminal: the headline scores.
    pub fn to_table(&self) -> Table {
        let mut table = Builder::new(self);
        table.text("model", |row| row.title(), |row| row.name.clone());
        table.text("params", |row| short(row.parameters as f64), |_| String::new());
        table.text("images", |row| short(row.train.images as f64), |_| String::new());
        if let Some(split) = &self.headline_split() {
            for (name, key) in HEADLINES {
                let (_, better, score) =
                    SCORES.iter().find(|(name, ..)| *name == key).expect("one of them");
                table.score(name, split, *better, *score);
            }
        }
        table.scores("acc", Better::Higher, |scores| scores.conditional_accuracy.cell());
        table.scores("bits/dim", Better::Lower, |scores| scores.bits_per_dim.cell());
        table.text("calls", |row| row.sampling.network_calls.to_string(), |_| String::new());
        let seconds = |row: &ModelRow| Cell::number(row.sampling.seconds_per_image);
        table.column("s/image", Better::Lower, seconds, |_| Cell::Text(String::new()));
        table.table
    }

    /// Every score as RFC 4180 CSV, one record a model or calibration row, numbers in full.
    pub fn to_csv(&self) -> String {
        let mut table = Builder::new(self);
        table.text("row", |_| "model".into(), |_| "calibration".into());
        table.text("run", |row| row.run.clone().unwrap_or_default(), |_| String::new());
        table.text("model", |row| row.model.clone(), |row| row.name.clone());
        table.text("family", |row| row.family.clone(), |_| String::new());
        table.text("seed", |row| row.seed.to_string(), |_| String::new());
        table.text("parameters", |row| row.parameters.to_string(), |_| String::new());
        table.text("train_budget", |row| row.train.budget.clone(), |_| String::new());
        table.text("train_images", |row| row.train.images.to_string(), |_| String::new());
        table.text("train_seconds", |row| row.train.seconds.to_string(), |_| String::new());
        table.text("train_flops", |row| row.train.flops.to_string(), |_| String::new());
        let rate = |row: &ModelRow| row.train.images_per_second.to_string();
        table.text("train_images_per_second", rate, |_| String::new());
        let memory = |row: &ModelRow| row.train.peak_memory_bytes.map(|bytes| bytes.to_string());
        table.text("peak_memory_bytes", |row| memory(row).unwrap_or_default(), |_| String::new());
        let calls = |row: &ModelRow| row.sampling.network_calls.to_string();
        table.text("network_calls", calls, |_| String::new());
        let seconds = |row: &ModelRow| row.sampling.seconds_per_image.to_string();
        table.text("seconds_per_image", seconds, |_| String::new());
        for split in self.splits() {
            for (name, better, score) in SCORES {
                table.score(&format!("{name}_{split}"), &split, better, score);
            }
        }
        table.scores("inception_score", Better::Higher, |scores| scores.inception_score.cell());
        let accuracy = |scores: &Scores| scores.conditional_accuracy.cell();
        table.scores("conditional_accuracy", Better::Higher, accuracy);
        table.scores("bits_per_dim", Better::Lower, |scores| scores.bits_per_dim.cell());
        table.text(
            "bits_per_dim_method",
            |row| row.scores.bits_per_dim.method(),
            |_| String::new(),
        );
        table.table.to_csv()
    }

    fn splits(&self) -> Vec<String> {
        let models = self.rows.iter().map(|row| &row.scores);
        let all = models.chain(self.calibration.iter().map(|row| &row.scores));
        let mut splits: Vec<String> =
            all.flat_map(|scores| scores.features.frechet_distance.keys()).cloned().collect();
        // What models were trained on comes first, what they were tested on last.
        splits.sort_by_key(|split| (split == "test", split != "train", split.clone()));
        splits.dedup();
        splits
    }
}

impl Score {
    fn cell(&self) -> Cell {
        match self {
            Self::Measured { value, std } => Cell::Value { mean: *value, spread: *std, kind: None },
            Self::Missing { reason, .. } => Cell::missing(reason),
        }
    }
}

impl ModelRow {
    fn title(&self) -> String {
        match &self.run {
            Some(run) => format!("{run} {}", self.model),
            None => self.model.clone(),
        }
    }
}

impl BitsPerDim {
    fn cell(&self) -> Cell {
        match self {
            Self::Measured { value, standard_error, kind, .. } => Cell::Value {
                mean: *value,
                spread: Some(*standard_error),
                kind: Some(kind.clone()),
            },
            Self::Missing { reason, .. } => Cell::missing(reason),
        }
    }

    fn method(&self) -> String {
        match self {
            Self::Measured { method, .. } => method.clone(),
            Self::Missing { .. } => String::new(),
        }
    }
}

/// A table being filled column by column.
struct Builder<'a> {
    results: &'a Results,
    table: Table,
}

impl<'a> Builder<'a> {
    fn new(results: &'a Results) -> Self {
        let row = |ranked| TableRow { cells: Vec::new(), ranked };
        let models = results.rows.iter().map(|_| row(true));
        let rows = models.chain(results.calibration.iter().map(|_| row(false))).collect();
        Self { results, table: Table { columns: Vec::new(), rows } }
    }

    fn column(
        &mut self,
        name: &str,
        better: Better,
        model: impl Fn(&ModelRow) -> Cell,
        calibration: impl Fn(&CalibrationRow) -> Cell,
    ) {
        self.table.columns.push(Column { name: name.to_string(), better });
        let models = self.results.rows.iter().map(model);
        let cells = models.chain(self.results.calibration.iter().map(calibration));
        for (row, cell) in self.table.rows.iter_mut().zip(cells) {
            row.cells.push(cell);
        }
    }

    fn text(
        &mut self,
        name: &str,
        model: impl Fn(&ModelRow) -> String,
        calibration: impl Fn(&CalibrationRow) -> String,
    ) {
        let (model, calibration) = (
            |row: &ModelRow| Cell::Text(model(row)),
            |row: &CalibrationRow| Cell::Text(calibration(row)),
        );
        self.column(name, Better::None, model, calibration);
    }

    fn scores(&mut self, name: &str, better: Better, cell: impl Fn(&Scores) -> Cell) {
        self.column(name, better, |row| cell(&row.scores), |row| cell(&row.scores));
    }

    fn score(&mut self, name: &str, split: &str, better: Better, score: fn(&Scores) -> &BySplit) {
        self.scores(name, better, |scores| match score(scores).get(split) {
            Some(score) => score.cell(),
            None => Cell::missing(format!("was not compared with the {split} split")),
        });
    }
}

/// A count in three digits: 2.55M.
fn short(count: f64) -> String {
    let (value, unit) = match count {
        _ if count >= 999_500_000.0 => (count / 1e9, "G"),
        _ if count >= 999_500.0 => (count / 1e6, "M"),
        _ if count >= 999.5 => (count / 1e3, "k"),
        _ => return format!("{count}"),
    };
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}{unit}")
}
