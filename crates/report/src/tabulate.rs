//! Tables made of results: one for a terminal, one with everything as CSV.

use crate::{
    BitsPerDim, CalibrationRow, FeatureScores, ModelRow, Results, Score,
    table::{Better, Cell, Column, Table, TableRow},
};
use std::collections::BTreeMap;

/// Name, what is good, and access.
type ScoreColumn = (&'static str, Better, fn(&FeatureScores) -> &Score);

const SCORES: [ScoreColumn; 7] = [
    ("frechet_distance", Better::Lower, |s| &s.frechet_distance),
    ("frechet_distance_excess", Better::Lower, |s| &s.frechet_distance_excess),
    ("kernel_distance", Better::Lower, |s| &s.kernel_distance),
    ("precision", Better::Higher, |s| &s.precision),
    ("recall", Better::Higher, |s| &s.recall),
    ("density", Better::Higher, |s| &s.density),
    ("coverage", Better::Higher, |s| &s.coverage),
];

const NO_MODEL: &str = "real or made-up images: no model is behind them";

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
            let names = ["FD", "FD−floor", "KID", "prec", "rec", "dens", "cov"];
            for ((_, better, score), name) in SCORES.iter().zip(names) {
                table.score(name, split, *better, *score);
            }
        }
        table.accuracy("acc");
        table.model("bits/dim", Better::Lower, ModelRow::headline_bits);
        table
            .model("calls", Better::None, |row| Cell::Text(row.sampling.network_calls.to_string()));
        table.model("s/image", Better::Lower, |row| Cell::number(row.sampling.seconds_per_image));
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
        table.accuracy("conditional_accuracy");
        table.model("bits_per_dim", Better::Lower, ModelRow::headline_bits);
        table.text("bits_per_dim_method", ModelRow::headline_method, |_| String::new());
        table.table.to_csv()
    }

    fn splits(&self) -> Vec<String> {
        let models = self.rows.iter().flat_map(|row| row.scores.keys());
        let all = models.chain(self.calibration.iter().flat_map(|row| row.scores.keys()));
        let mut splits: Vec<String> = all.cloned().collect();
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

    fn headline_bits(&self) -> Cell {
        match self.bits_per_dim.first() {
            Some(BitsPerDim::Measured { value, standard_error, kind, .. }) => Cell::Value {
                mean: *value,
                spread: Some(*standard_error),
                kind: Some(kind.clone()),
            },
            Some(BitsPerDim::Missing { reason, .. }) => Cell::missing(reason),
            None => Cell::missing("was not measured"),
        }
    }

    fn headline_method(&self) -> String {
        match self.bits_per_dim.first() {
            Some(BitsPerDim::Measured { method, .. }) => method.clone(),
            _ => String::new(),
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

    fn model(&mut self, name: &str, better: Better, model: impl Fn(&ModelRow) -> Cell) {
        self.column(name, better, model, |_| Cell::missing(NO_MODEL));
    }

    fn accuracy(&mut self, name: &str) {
        self.column(
            name,
            Better::Higher,
            |row| row.conditional_accuracy.cell(),
            |row| row.conditional_accuracy.cell(),
        );
    }

    fn score(
        &mut self,
        name: &str,
        split: &str,
        better: Better,
        score: fn(&FeatureScores) -> &Score,
    ) {
        let of = |scores: &BTreeMap<String, FeatureScores>| match scores.get(split) {
            Some(scores) => score(scores).cell(),
            None => Cell::missing(format!("was not compared with the {split} split")),
        };
        self.column(name, better, |row| of(&row.scores), |row| of(&row.scores));
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
