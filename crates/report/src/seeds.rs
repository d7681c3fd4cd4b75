//! Runs of one model under several training seeds, as one row: mean ± standard deviation over the seeds.

use crate::{Cell, ModelRow, Results};
use std::collections::{BTreeMap, BTreeSet};

/// One model, trained once or under several seeds.
#[derive(Debug)]
pub struct SeedGroup<'a> {
    /// What tables and plots call it.
    pub title: String,
    /// Its trainings, by seed.
    pub rows: Vec<&'a ModelRow>,
}

impl Results {
    /// The models: rows that differ in their training seed only (and the run that holds them) are one.
    pub fn seed_groups(&self) -> Vec<SeedGroup<'_>> {
        let mut groups: Vec<Vec<&ModelRow>> = Vec::new();
        for row in &self.rows {
            let same = |group: &&mut Vec<&ModelRow>| {
                what_was_trained(group[0]) == what_was_trained(row)
                    // One seed twice is a copy.
                    && group.iter().all(|other| other.seed != row.seed)
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.push(row),
                None => groups.push(vec![row]),
            }
        }
        for group in &mut groups {
            group.sort_by_key(|row| row.seed);
        }
        self.titled(groups)
    }

    /// Every row on its own.
    pub fn single_rows(&self) -> Vec<SeedGroup<'_>> {
        let group = |row| SeedGroup { title: title(row), rows: vec![row] };
        self.rows.iter().map(group).collect()
    }

    /// Names groups by as little as tells them apart.
    fn titled<'a>(&self, groups: Vec<Vec<&'a ModelRow>>) -> Vec<SeedGroup<'a>> {
        let one = self.rows.iter().map(|row| &row.experiment).collect::<BTreeSet<_>>().len() < 2;
        let short = |group: &[&ModelRow]| match group {
            [row] => title(row),
            _ if one => group[0].model.clone(),
            _ => format!("{} {}", group[0].experiment, group[0].model),
        };
        let titles: Vec<String> = groups.iter().map(|group| short(group)).collect();
        let long = |(group, title): (Vec<&'a ModelRow>, &String)| {
            let unique = titles.iter().filter(|other| *other == title).count() == 1;
            let runs: Vec<&str> = group.iter().filter_map(|row| row.run.as_deref()).collect();
            let title =
                if unique { title.clone() } else { format!("{title} of {}", runs.join(", ")) };
            SeedGroup { title, rows: group }
        };
        groups.into_iter().zip(&titles).map(long).collect()
    }
}

impl SeedGroup<'_> {
    /// The title, with the number of seeds where there are several.
    pub fn counted_title(&self) -> String {
        match self.rows.len() {
            1 => self.title.clone(),
            n => format!("{} ({n}\u{a0}seeds)", self.title),
        }
    }

    /// An entry of its row: as it is for one training, mean ± standard deviation over several.
    pub fn cell(&self, of: impl Fn(&ModelRow) -> Cell) -> Cell {
        pooled(self.rows.iter().map(|row| of(row)).collect())
    }

    /// What the model says of itself: means over the trainings that say it.
    pub fn facts(&self) -> BTreeMap<&str, f64> {
        let mut values: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (name, value) in self.rows.iter().flat_map(|row| &row.facts) {
            values.entry(name).or_default().push(*value);
        }
        let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
        values.into_iter().map(|(name, values)| (name, mean(values))).collect()
    }

    /// The mean over its trainings.
    pub fn mean(&self, of: impl Fn(&ModelRow) -> f64) -> f64 {
        self.rows.iter().map(|row| of(row)).sum::<f64>() / self.rows.len() as f64
    }
}

/// What two trainings must share to differ in their seeds only.
fn what_was_trained(row: &ModelRow) -> (&str, &str, &serde_json::Value) {
    (&row.experiment, &row.model, &row.made_of)
}

fn title(row: &ModelRow) -> String {
    match &row.run {
        Some(run) => format!("{run} {}", row.model),
        None => row.model.clone(),
    }
}

/// Entries of several seeds as one.
fn pooled(mut cells: Vec<Cell>) -> Cell {
    if cells.len() == 1 || cells.iter().all(|cell| *cell == cells[0] && !is_value(cell)) {
        return cells.swap_remove(0);
    }
    let missing = cells.iter().find_map(|cell| match cell {
        Cell::Missing { reason } => Some(reason),
        _ => None,
    });
    if let Some(reason) = missing {
        return Cell::missing(format!("not under every seed: {reason}"));
    }
    let values: Option<Vec<(f64, &Option<String>)>> = cells.iter().map(measured).collect();
    let Some(values) = values else {
        let mut texts: Vec<String> = cells.iter().filter_map(text).collect();
        texts.dedup();
        return Cell::Text(texts.join(", "));
    };
    if values.iter().any(|(_, kind)| *kind != values[0].1) {
        return Cell::missing("figures of different kinds under different seeds");
    }
    let n = values.len() as f64;
    let mean = values.iter().map(|(value, _)| value).sum::<f64>() / n;
    let variance = values.iter().map(|(value, _)| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Cell::Value { mean, spread: Some(variance.sqrt()), kind: values[0].1.clone() }
}

fn is_value(cell: &Cell) -> bool {
    measured(cell).is_some()
}

fn measured(cell: &Cell) -> Option<(f64, &Option<String>)> {
    match cell {
        Cell::Value { mean, kind, .. } => Some((*mean, kind)),
        _ => None,
    }
}

fn text(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Text(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(mean: f64, kind: Option<&str>) -> Cell {
        Cell::Value { mean, spread: Some(9.0), kind: kind.map(String::from) }
    }

    #[test]
    fn seeds_are_pooled_by_mean_and_sample_deviation() {
        // The deviations of 1, 2, 6 from 3 are −2, −1, 3: variance 14 / 2.
        let cells = [1.0, 2.0, 6.0].map(|mean| value(mean, Some("bound"))).to_vec();
        let Cell::Value { mean, spread, kind } = pooled(cells) else { panic!("a value") };
        assert_eq!((mean, kind.as_deref()), (3.0, Some("bound")));
        assert!((spread.unwrap() - 7f64.sqrt()).abs() < 1e-15);
        // One seed keeps the spread that it has.
        assert_eq!(pooled(vec![value(1.0, None)]), value(1.0, None));
    }

    #[test]
    fn what_does_not_pool_says_so() {
        let mixed = pooled(vec![value(1.0, Some("exact")), value(2.0, Some("bound"))]);
        assert_eq!(mixed, Cell::missing("figures of different kinds under different seeds"));
        let none = Cell::missing("defines no likelihood");
        assert_eq!(pooled(vec![none.clone(), none.clone()]), none);
        let some = pooled(vec![value(1.0, None), none]);
        assert_eq!(some, Cell::missing("not under every seed: defines no likelihood"));
        let texts = pooled(["a", "a", "b"].map(|text| Cell::Text(text.into())).to_vec());
        assert_eq!(texts, Cell::Text("a, b".into()));
    }
}
