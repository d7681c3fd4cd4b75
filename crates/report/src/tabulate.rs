//! Tables made of results: one for a terminal, one with everything as CSV.

use crate::{
    BitsPerDim, BySplit, CalibrationRow, ModelRow, Results, Score, Scores, Truth,
    plot::written,
    seeds::SeedGroup,
    table::{Better, Cell, Column, Table, TableRow},
};

/// Name, what is good, and access.
pub(crate) type ScoreColumn = (&'static str, Better, fn(&Scores) -> &BySplit);

pub(crate) const SCORES: [ScoreColumn; 10] = [
    ("frechet_distance", Better::Lower, |s| &s.features.frechet_distance),
    ("frechet_distance_excess", Better::Lower, |s| &s.features.frechet_distance_excess),
    ("frechet_distance_infinity", Better::Lower, |s| &s.features.frechet_distance_infinity),
    ("frechet_distance_infinity_error", Better::None, |s| {
        &s.features.frechet_distance_infinity_error
    }),
    ("kernel_distance", Better::Lower, |s| &s.features.kernel_distance),
    ("kernel_distance_interval", Better::None, |s| &s.features.kernel_distance_interval),
    ("precision", Better::Higher, |s| &s.features.precision),
    ("recall", Better::Higher, |s| &s.features.recall),
    ("density", Better::Higher, |s| &s.features.density),
    ("coverage", Better::Higher, |s| &s.features.coverage),
];

/// Name, what is good, and access.
pub(crate) type TruthColumn = (&'static str, Better, fn(&Truth) -> &Score);

pub(crate) const TRUE_SCORES: [TruthColumn; 8] = [
    ("valid", Better::Higher, |t| &t.valid),
    ("distance", Better::Lower, |t| &t.distance),
    ("held out", Better::None, |t| &t.held_out),
    ("novel", Better::None, |t| &t.novelty),
    ("different", Better::None, |t| &t.distinct),
    ("support seen", Better::Higher, |t| &t.coverage),
    ("TV", Better::Lower, |t| &t.total_variation),
    ("TV of truth", Better::None, |t| &t.ideal_total_variation),
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

    /// The table for a terminal: the headline scores, the trainings of one model under several seeds as one row.
    pub fn to_table(&self) -> Table {
        let mut table = Builder::new(self.seed_groups(), &self.calibration);
        table.names();
        table.count("params", |row| row.parameters as f64);
        table.count("images", |row| row.train.images as f64);
        if let Some(split) = &self.headline_split() {
            for (name, key) in HEADLINES {
                let (_, better, score) =
                    SCORES.iter().find(|(name, ..)| *name == key).expect("one of them");
                table.score(name, split, *better, *score);
            }
        }
        table.scores("acc", Better::Higher, |scores| scores.conditional_accuracy.cell());
        if self.rows.iter().any(|row| row.truth.is_some()) {
            table.truth("valid", Better::Higher, |truth| &truth.valid);
        }
        table.scores("bits/dim", Better::Lower, |scores| scores.bits_per_dim.cell());
        table.text("calls", |row| row.sampling.network_calls.to_string(), |_| String::new());
        table.model_number("s/image", Better::Lower, |row| row.sampling.seconds_per_image);
        table.table
    }

    /// Every score of new images as RFC 4180 CSV, one record a model or calibration row, numbers in full.
    pub fn to_csv(&self) -> String {
        let mut table = Builder::new(self.single_rows(), &self.calibration);
        table.text("row", |_| "model".into(), |_| "calibration".into());
        table.text("run", |row| row.run.clone().unwrap_or_default(), |_| String::new());
        table.text("model", |row| row.model.clone(), |row| row.name.clone());
        table.text("family", |row| row.family.clone(), |_| String::new());
        table.text("seed", |row| row.seed.to_string(), |_| String::new());
        table.text("parameters", |row| row.parameters.to_string(), |_| String::new());
        table.text("train_budget", |row| row.train.budget.clone(), |_| String::new());
        table.text("train_images", |row| row.train.images.to_string(), |_| String::new());
        table.text("train_seconds", |row| row.train.seconds.to_string(), |_| String::new());
        let loader = |row: &ModelRow| row.train.loader_seconds.to_string();
        table.text("train_loader_seconds", loader, |_| String::new());
        table.text("train_flops", |row| row.train.flops.to_string(), |_| String::new());
        let rate = |row: &ModelRow| row.train.images_per_second.to_string();
        table.text("train_images_per_second", rate, |_| String::new());
        let precision = |row: &ModelRow| row.train.precision.clone();
        table.text("train_precision", precision, |_| String::new());
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
        let bits = |scores: &Scores| match scores.bits_per_dim.cell() {
            Cell::Value { mean, kind, .. } => Cell::Value { mean, spread: None, kind },
            missing => missing,
        };
        table.scores("bits_per_dim", Better::Lower, bits);
        let error = |scores: &Scores| scores.bits_per_dim.standard_error();
        let name = "bits_per_dim_standard_error";
        table.text(name, |row| error(&row.scores), |row| error(&row.scores));
        table.text(
            "bits_per_dim_method",
            |row| row.scores.bits_per_dim.method(),
            |_| String::new(),
        );
        if self.rows.iter().any(|row| row.truth.is_some()) {
            for (name, better, score) in TRUE_SCORES {
                table.truth(&format!("true_{}", name.replace(' ', "_")), better, score);
            }
        }
        table.table.to_csv()
    }

    /// Every reference split, the headline's first.
    pub(crate) fn splits(&self) -> Vec<String> {
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
    pub(crate) fn cell(&self) -> Cell {
        match self {
            Self::Measured { value, std } => Cell::Value { mean: *value, spread: *std, kind: None },
            Self::Missing { reason, .. } => Cell::missing(reason),
        }
    }
}

impl BitsPerDim {
    pub(crate) fn cell(&self) -> Cell {
        match self {
            Self::Measured { value, standard_error, kind, .. } => Cell::Value {
                mean: *value,
                spread: Some(*standard_error),
                kind: Some(kind.clone()),
            },
            Self::Missing { reason, .. } => Cell::missing(reason),
        }
    }

    fn standard_error(&self) -> String {
        match self {
            Self::Measured { standard_error, .. } => standard_error.to_string(),
            Self::Missing { .. } => String::new(),
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
pub(crate) struct Builder<'a> {
    models: Vec<SeedGroup<'a>>,
    calibration: &'a [CalibrationRow],
    pub(crate) table: Table,
}

impl<'a> Builder<'a> {
    pub(crate) fn new(models: Vec<SeedGroup<'a>>, calibration: &'a [CalibrationRow]) -> Self {
        let row = |ranked| TableRow { cells: Vec::new(), ranked };
        let rows = models.iter().map(|_| row(true));
        let rows = rows.chain(calibration.iter().map(|_| row(false))).collect();
        Self { models, calibration, table: Table { columns: Vec::new(), rows } }
    }

    fn put(&mut self, name: &str, better: Better, cells: Vec<Cell>) {
        self.table.columns.push(Column { name: name.to_string(), better });
        for (row, cell) in self.table.rows.iter_mut().zip(cells) {
            row.cells.push(cell);
        }
    }

    pub(crate) fn column(
        &mut self,
        name: &str,
        better: Better,
        model: impl Fn(&ModelRow) -> Cell,
        calibration: impl Fn(&CalibrationRow) -> Cell,
    ) {
        let models = self.models.iter().map(|group| group.cell(&model));
        let cells = models.chain(self.calibration.iter().map(calibration)).collect();
        self.put(name, better, cells);
    }

    /// Multiplies the numbers of the last column.
    pub(crate) fn times(&mut self, factor: f64) {
        for cell in self.table.rows.iter_mut().filter_map(|row| row.cells.last_mut()) {
            if let Cell::Value { mean, spread, .. } = cell {
                *mean *= factor;
                *spread = spread.map(|spread| factor * spread);
            }
        }
    }

    /// The first column: what rows are called.
    pub(crate) fn names(&mut self) {
        let models = self.models.iter().map(SeedGroup::counted_title);
        let rows = self.calibration.iter().map(|row| row.name.clone());
        let cells = models.chain(rows).map(Cell::Text).collect();
        self.put("model", Better::None, cells);
    }

    /// A large number in three digits; of several seeds, their mean.
    pub(crate) fn count(&mut self, name: &str, of: impl Fn(&ModelRow) -> f64) {
        let models = self.models.iter().map(|group| short(group.mean(&of)));
        let cells = models.chain(self.calibration.iter().map(|_| String::new()));
        let cells = cells.map(Cell::Text).collect();
        self.put(name, Better::None, cells);
    }

    /// What models say of themselves; of several seeds, the means.
    pub(crate) fn facts(&mut self, name: &str) {
        let fact =
            |(name, value): (&str, f64)| format!("{} {}", name.replace('_', " "), written(value));
        let of_group = |group: &SeedGroup<'_>| {
            group.facts().into_iter().map(fact).collect::<Vec<_>>().join(", ")
        };
        let models = self.models.iter().map(of_group);
        let cells = models.chain(self.calibration.iter().map(|_| String::new()));
        let cells = cells.map(Cell::Text).collect();
        self.put(name, Better::None, cells);
    }

    /// A number of models, that calibration rows do not have.
    pub(crate) fn model_number(
        &mut self,
        name: &str,
        better: Better,
        of: impl Fn(&ModelRow) -> f64,
    ) {
        let number = |row: &ModelRow| Cell::number(of(row));
        self.column(name, better, number, |_| Cell::Text(String::new()));
    }

    pub(crate) fn text(
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

    pub(crate) fn scores(&mut self, name: &str, better: Better, cell: impl Fn(&Scores) -> Cell) {
        self.column(name, better, |row| cell(&row.scores), |row| cell(&row.scores));
    }

    pub(crate) fn truth(&mut self, name: &str, better: Better, score: fn(&Truth) -> &Score) {
        let cell = |truth: &Option<Truth>| match truth {
            Some(truth) => score(truth).cell(),
            None => Cell::missing("the distribution of its data is not known"),
        };
        self.column(name, better, |row| cell(&row.truth), |row| cell(&row.truth));
    }

    pub(crate) fn score(
        &mut self,
        name: &str,
        split: &str,
        better: Better,
        score: fn(&Scores) -> &BySplit,
    ) {
        self.scores(name, better, |scores| match score(scores).get(split) {
            Some(score) => score.cell(),
            None => Cell::missing(format!("was not compared with the {split} split")),
        });
    }
}

/// A count in three digits: 2.55M.
pub(crate) fn short(count: f64) -> String {
    let (value, unit) = match count {
        _ if count >= 999_500_000_000_000.0 => (count / 1e15, "P"),
        _ if count >= 999_500_000_000.0 => (count / 1e12, "T"),
        _ if count >= 999_500_000.0 => (count / 1e9, "G"),
        _ if count >= 999_500.0 => (count / 1e6, "M"),
        _ if count >= 999.5 => (count / 1e3, "k"),
        _ => return format!("{}", count.round()),
    };
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$}{unit}")
}
