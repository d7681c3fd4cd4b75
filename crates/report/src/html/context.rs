//! What the page's sections draw from.

use super::{meanings::MEANINGS, table};
use crate::{
    CalibrationRow, FeatureScores, ModelRow, PointScores, Results, SeedGroup,
    table::{Cell, Table},
    tabulate::Builder,
};
use std::collections::{BTreeMap, BTreeSet};

/// What every section draws from.
#[derive(Debug)]
pub struct Context<'a> {
    /// Every score.
    pub results: &'a Results,
    /// The models, by training seeds.
    pub groups: Vec<SeedGroup<'a>>,
    /// Names of the groups for legends.
    pub titles: &'a [String],
    /// The headline's reference split.
    pub split: Option<String>,
    /// Known defects with their excess of the Fréchet distance, rising.
    pub rulers: Vec<(String, f64)>,
}

impl<'a> Context<'a> {
    /// `titles`: those of the results' seed groups.
    pub fn new(results: &'a Results, titles: &'a [String]) -> Self {
        let split = results.headline_split();
        let excess = |row: &CalibrationRow| {
            let scores = &row.scores.features.frechet_distance_excess;
            let value = scores.get(split.as_ref()?)?.value()?;
            // Test images are the floor itself, and a copy of the training set lies below it.
            (value > 0.0).then(|| (row.name.replace('_', " "), value))
        };
        let mut rulers: Vec<(String, f64)> =
            results.calibration.iter().filter_map(excess).collect();
        rulers.sort_by(|a, b| a.1.total_cmp(&b.1));
        Self { results, groups: results.seed_groups(), titles, split, rulers }
    }

    /// Every model with its training rows.
    pub fn rows(&self) -> impl Iterator<Item = (usize, &'a ModelRow)> {
        let group = |(model, group): (usize, &SeedGroup<'a>)| {
            group.rows.iter().map(|row| (model, *row)).collect::<Vec<_>>()
        };
        self.groups.iter().enumerate().flat_map(group).collect::<Vec<_>>().into_iter()
    }

    /// Whether any model was trained under several seeds.
    pub fn several_seeds(&self) -> bool {
        self.groups.iter().any(|group| group.rows.len() > 1)
    }

    /// The model that a curve belongs to.
    pub fn model_of(&self, run: Option<&str>, model: &str) -> Option<usize> {
        let mut rows = self.rows();
        let same = |row: &ModelRow| row.run.as_deref() == run && row.model == model;
        rows.find(|(_, row)| same(row)).map(|(index, _)| index)
    }

    /// Every model, for a legend.
    pub fn legend(&self) -> Vec<(usize, &'a str)> {
        self.titles.iter().enumerate().map(|(index, title)| (index, title.as_str())).collect()
    }

    /// Scores of a model's own setting, of as many images as its curves if there are such.
    pub fn itself(&self, row: &ModelRow) -> Option<Itself> {
        if let Some(last) = row.curves.training.last() {
            let PointScores { frechet_distance_excess: excess, precision, recall, .. } =
                last.scores;
            return Some(Itself { excess, precision, recall });
        }
        let (split, features) = (self.split.as_ref()?, &row.scores.features);
        Some(Itself {
            excess: features.frechet_distance_excess.get(split)?.value()?,
            precision: features.precision.get(split)?.value()?,
            recall: features.recall.get(split)?.value()?,
        })
    }

    /// Most images behind a point of a curve.
    pub fn curve_samples(&self) -> u64 {
        self.results.rows.iter().map(|row| row.curves.samples).max().unwrap_or(0)
    }

    /// Names of classes, in the order of the first model that has them.
    pub fn classes(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for score in self.results.rows.iter().flat_map(|row| &row.per_class) {
            if !names.contains(&score.class) {
                names.push(score.class.clone());
            }
        }
        names
    }

    /// Extractors with scores, the headline's first.
    pub fn extractors(&self) -> Vec<String> {
        let rows = self.results.rows.iter().map(|row| &row.other_features);
        let all = rows.chain(self.results.calibration.iter().map(|row| &row.other_features));
        let others: BTreeSet<&String> = all.flat_map(BTreeMap::keys).collect();
        let headline = self.headline_features();
        let others = others.into_iter().filter(|name| **name != headline).cloned();
        std::iter::once(headline.clone()).chain(others).collect()
    }

    /// Name of the headline's features.
    pub fn headline_features(&self) -> String {
        let protocol = self.split.as_ref().and_then(|split| self.results.protocol.get(split));
        let name = protocol.and_then(|protocol| protocol.get("features")?.as_str());
        name.unwrap_or("the headline's").to_owned()
    }

    /// A table of models above calibration rows.
    pub fn builder(&self) -> Builder<'a> {
        Builder::new(self.results.seed_groups(), &self.results.calibration)
    }

    /// A table of models alone.
    pub fn models_only(&self) -> Builder<'a> {
        Builder::new(self.results.seed_groups(), &[])
    }

    /// A table made by one of these as HTML.
    pub fn render(
        &self,
        table: &Table,
        id: &str,
        caption: &str,
        groups: &[(&str, usize)],
    ) -> String {
        let models = self.groups.len();
        let mut table = table.clone();
        for row in table.rows.iter_mut().filter(|row| !row.ranked) {
            if let Some(Cell::Text(name)) = row.cells.first_mut() {
                *name = name.replace('_', " ");
            }
        }
        table::render(&table, &table::Look { id, caption, groups, meanings: &MEANINGS, models })
    }

    /// A row's scores in the features of an extractor.
    pub fn in_features<'r>(
        &self,
        headline: &'r FeatureScores,
        others: &'r BTreeMap<String, FeatureScores>,
        extractor: &str,
    ) -> Option<&'r FeatureScores> {
        if extractor == self.headline_features() { Some(headline) } else { others.get(extractor) }
    }
}

/// What a curve's scores would say of the model as it is.
#[derive(Debug)]
pub struct Itself {
    /// Excess of the Fréchet distance.
    pub excess: f64,
    /// Fidelity.
    pub precision: f64,
    /// Diversity.
    pub recall: f64,
}
