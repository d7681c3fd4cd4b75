//! Whether the ranking depends on the network whose features are compared.

use super::{context::Context, figure::Plotted, scores::in_thousandths};
use crate::{
    BySplit, FeatureScores, ModelRow, SeedGroup,
    plot::{Axis, Ink, Item, Look, Plot},
    table::{Better, Cell},
};

/// Scores in other features that their table shows: name, what is good, access.
type FeatureColumn = (&'static str, Better, fn(&FeatureScores) -> &BySplit);
const IN_FEATURES: [FeatureColumn; 5] = [
    ("FD −\u{a0}floor", Better::Lower, |scores| &scores.frechet_distance_excess),
    ("FD∞", Better::Lower, |scores| &scores.frechet_distance_infinity),
    ("KID ×\u{a0}10³", Better::Lower, |scores| &scores.kernel_distance),
    ("precision", Better::Higher, |scores| &scores.precision),
    ("recall", Better::Higher, |scores| &scores.recall),
];

/// The same scores in the headline's and in other features; `None` without others.
pub fn table(context: &Context<'_>) -> Option<String> {
    let split = context.split.as_ref()?;
    let extractors = context.extractors();
    if extractors.len() < 2 {
        return None;
    }
    let mut table = context.builder();
    table.names();
    let mut groups = Vec::new();
    for extractor in &extractors {
        for (name, better, score) in IN_FEATURES {
            let cell = |scores: Option<&FeatureScores>| match scores {
                Some(scores) => match score(scores).get(split) {
                    Some(score) => score.cell(),
                    None => Cell::missing(format!("was not compared with the {split} split")),
                },
                None => Cell::missing("was not scored in these features"),
            };
            table.column(
                name,
                better,
                |row| {
                    cell(context.in_features(&row.scores.features, &row.other_features, extractor))
                },
                |row| {
                    cell(context.in_features(&row.scores.features, &row.other_features, extractor))
                },
            );
            in_thousandths(&mut table, name);
        }
        groups.push((extractor.as_str(), IN_FEATURES.len()));
    }
    let caption = format!("Scores against the {split} split in each network's features");
    Some(context.render(&table.table, "features", &caption, &groups))
}

/// How far each model is behind the best, in the features of each network.
pub fn plot<'a>(context: &Context<'a>) -> Option<Plotted<'a>> {
    let split = context.split.as_ref()?;
    let extractors = context.extractors();
    if extractors.len() < 2 || context.groups.len() < 2 {
        return None;
    }
    let excess = |row: &ModelRow, extractor: &str| {
        let scores = context.in_features(&row.scores.features, &row.other_features, extractor)?;
        scores.frechet_distance_excess.get(split)?.value()
    };
    let mut lines: Vec<Vec<(f64, f64)>> = vec![Vec::new(); context.groups.len()];
    for (index, extractor) in extractors.iter().enumerate() {
        let mean = |group: &SeedGroup<'_>| {
            let found: Vec<f64> =
                group.rows.iter().filter_map(|row| excess(row, extractor)).collect();
            (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
        };
        let means: Vec<Option<f64>> = context.groups.iter().map(mean).collect();
        let positive = means.iter().flatten().copied().filter(|mean| *mean > 0.0);
        let Some(best) = positive.reduce(f64::min) else { continue };
        for (line, mean) in lines.iter_mut().zip(means) {
            line.extend(mean.map(|mean| (mean.max(best) / best, -(index as f64))));
        }
    }
    let values: Vec<f64> = lines.iter().flatten().map(|at| at.0).collect();
    let drawn = |(model, points): (usize, Vec<(f64, f64)>)| {
        let marks: Vec<Item> =
            points.iter().map(|at| Item::Mark { model, at: *at, look: Look::Plain }).collect();
        std::iter::once(Item::Line { ink: Ink::Model(model), points, faint: true }).chain(marks)
    };
    Some(Plotted {
        plot: Plot {
            title: "The ranking in each network's features".to_owned(),
            x: Axis::log("FD − floor over that of the best model", values.into_iter())?,
            y: Axis::list("", &extractors),
            rulers: Vec::new(),
            items: lines.into_iter().enumerate().flat_map(drawn).collect(),
            height: (0.25 + 0.15 * extractors.len() as f64).max(0.5),
        },
        models: context.legend(),
        caption: "Further left is better, 1 is the best model of a row. Lines that cross are pairs of models whose order \
                  depends on the features."
            .to_owned(),
    })
}
