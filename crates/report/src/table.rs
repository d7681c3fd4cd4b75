//! Tables of scores, as text for a terminal.

use crate::csv;
use std::fmt::Write;

/// Which values of a column are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Small ones.
    Lower,
    /// Large ones.
    Higher,
    /// The column ranks nothing.
    None,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its head.
    pub name: String,
    /// What is good in it.
    pub better: Better,
}

/// One entry of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// A number.
    Value {
        /// The number, or the mean of several.
        mean: f64,
        /// Its standard deviation or standard error.
        spread: Option<f64>,
        /// What kind of figure it is, such as `exact` or `bound`; figures of different kinds are not ranked.
        kind: Option<String>,
    },
    /// Text.
    Text(String),
    /// Nothing, and why.
    Missing {
        /// The reason, as a clause.
        reason: String,
    },
}

impl Cell {
    /// A number alone.
    pub fn number(mean: f64) -> Self {
        Self::Value { mean, spread: None, kind: None }
    }

    /// An entry that does not apply.
    pub fn missing(reason: impl Into<String>) -> Self {
        Self::Missing { reason: reason.into() }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct TableRow {
    /// One entry a column.
    pub cells: Vec<Cell>,
    /// Whether it competes; rows that do not stand below a rule, and are never best.
    pub ranked: bool,
}

/// A table.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows.
    pub rows: Vec<TableRow>,
}

/// Space between columns.
const GAP: &str = "  ";
/// Mark of the best value of a column.
const BEST: &str = "*";
/// Digits that the smallest value of a column shows at least.
const DIGITS: i32 = 3;

impl Table {
    /// The table as aligned text: the first column to the left, the others to the right, `*` at the best value of a
    /// column, `≤` before bounds and `≈` before estimates, notes below for what is missing.
    pub fn to_text(&self) -> String {
        let mut notes = Notes::default();
        let columns: Vec<Vec<String>> =
            (0..self.columns.len()).map(|column| self.column_text(column, &mut notes)).collect();
        let width = |column: &Vec<String>| column.iter().map(|t| t.chars().count()).max();
        let widths: Vec<usize> = columns.iter().map(|column| width(column).unwrap_or(0)).collect();
        let rule = "─".repeat(widths.iter().sum::<usize>() + GAP.len() * widths.len().max(1) - 2);
        let mut text = String::new();
        for line in 0..=self.rows.len() {
            let cells = columns.iter().zip(&widths).enumerate().map(|(index, (column, &width))| {
                let cell = &column[line];
                if index == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            let cells: Vec<String> = cells.collect();
            text.push_str(cells.join(GAP).trim_end());
            text.push('\n');
            let ranked = |row: usize| self.rows.get(row).map(|row| row.ranked);
            if line == 0 || (ranked(line - 1) == Some(true) && ranked(line) == Some(false)) {
                let _ = writeln!(text, "{rule}");
            }
        }
        if (0..self.columns.len()).any(|column| self.best(column).contains(&true)) {
            let _ = writeln!(text, "{BEST} best of its column");
        }
        for (index, reason) in notes.0.iter().enumerate() {
            let _ = writeln!(text, "{} {reason}", superscript(index + 1));
        }
        text
    }

    /// The table as RFC 4180 CSV with numbers in full; a column's spreads, kinds and reasons follow in columns of their
    /// own (`_std`, `_kind`, `_note`) where it has any.
    pub fn to_csv(&self) -> String {
        csv::write(self)
    }

    /// For each row, whether it holds the column's best value as far as it is shown. None does where figures of several
    /// kinds meet, or where there is nothing to be better than.
    pub(crate) fn best(&self, column: usize) -> Vec<bool> {
        let decimals = self.decimals(column);
        let competing = |row: &TableRow| match &row.cells[column] {
            Cell::Value { mean, kind, .. } if row.ranked && mean.is_finite() => {
                Some((rounded(*mean, decimals), kind.clone()))
            }
            _ => None,
        };
        let values: Vec<Option<(f64, Option<String>)>> = self.rows.iter().map(competing).collect();
        let found: Vec<&(f64, Option<String>)> = values.iter().flatten().collect();
        let sign = match self.columns[column].better {
            Better::Lower => 1.0,
            Better::Higher => -1.0,
            Better::None => return vec![false; self.rows.len()],
        };
        let one_kind = found.iter().all(|(_, kind)| *kind == found[0].1);
        let best = found.iter().map(|(value, _)| sign * value).fold(f64::INFINITY, f64::min);
        let worst = found.iter().map(|(value, _)| sign * value).fold(f64::NEG_INFINITY, f64::max);
        let is_best = |value: f64| one_kind && best < worst && sign * value == best;
        values
            .iter()
            .map(|value| value.as_ref().is_some_and(|(value, _)| is_best(*value)))
            .collect()
    }

    /// Decimals of a column: enough for its smallest ranked value.
    pub(crate) fn decimals(&self, column: usize) -> usize {
        let magnitude = |ranked: bool| {
            let values = self.rows.iter().filter(move |row| row.ranked || !ranked);
            let values = values.filter_map(|row| match row.cells[column] {
                Cell::Value { mean, .. } if mean.is_finite() && mean != 0.0 => Some(mean.abs()),
                _ => None,
            });
            values.map(|value| value.log10().floor() as i32).min()
        };
        let magnitude = magnitude(true).or_else(|| magnitude(false)).unwrap_or(0);
        (DIGITS - 1 - magnitude).clamp(0, 6) as usize
    }

    /// A column's head and entries, numbers lined up at the point.
    fn column_text(&self, column: usize, notes: &mut Notes) -> Vec<String> {
        let Column { name, better } = &self.columns[column];
        let (best, decimals) = (self.best(column), self.decimals(column));
        // Room to the right of numbers for what only some of them have.
        let spreads: Vec<String> =
            self.rows.iter().map(|row| spread(row, column, decimals)).collect();
        let room = spreads.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        let marks = best.contains(&true);
        let tail = |spread: &str, best: bool| {
            let mark = if !marks {
                ""
            } else if best {
                BEST
            } else {
                " "
            };
            format!("{mark}{spread:<room$}")
        };
        let head = match better {
            Better::Lower => format!("{name} ↓"),
            Better::Higher => format!("{name} ↑"),
            Better::None => name.clone(),
        };
        let entries = self.rows.iter().enumerate().map(|(row, cells)| match &cells.cells[column] {
            Cell::Text(text) => text.clone(),
            Cell::Missing { reason } => {
                format!("—{}", superscript(notes.number(reason)))
            }
            Cell::Value { mean, kind, .. } => {
                let sign = match kind.as_deref() {
                    Some("bound") => "≤ ",
                    Some("estimate") => "≈ ",
                    _ => "",
                };
                format!("{sign}{mean:.decimals$}{}", tail(&spreads[row], best[row]))
            }
        });
        let entries: Vec<String> = entries.collect();
        [vec![head], entries].concat()
    }
}

fn spread(row: &TableRow, column: usize, decimals: usize) -> String {
    match row.cells[column] {
        Cell::Value { spread: Some(spread), .. } => format!(" ± {spread:.decimals$}"),
        _ => String::new(),
    }
}

fn rounded(value: f64, decimals: usize) -> f64 {
    let unit = 10f64.powi(decimals as i32);
    (value * unit).round() / unit
}

/// Reasons why something is missing, each once, numbered from 1.
#[derive(Debug, Default)]
pub(crate) struct Notes(pub(crate) Vec<String>);

impl Notes {
    /// The number of a reason.
    pub(crate) fn number(&mut self, reason: &str) -> usize {
        let known = self.0.iter().position(|other| other == reason);
        known.unwrap_or_else(|| {
            self.0.push(reason.to_string());
            self.0.len() - 1
        }) + 1
    }
}

fn superscript(number: usize) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    number.to_string().bytes().map(|digit| DIGITS[usize::from(digit - b'0')]).collect()
}
