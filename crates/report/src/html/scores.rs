//! The table: what the models are, how good they are, what they cost.

use super::{
    context::Context,
    markup::{details, identifier},
    meanings::glossary,
};
use crate::{
    Scores,
    table::Better,
    tabulate::{Builder, SCORES},
};

const QUALITY: [(&str, &str); 9] = [
    ("FD", "frechet_distance"),
    ("FD −\u{a0}floor", "frechet_distance_excess"),
    ("FD∞", "frechet_distance_infinity"),
    ("KID ×\u{a0}10³", "kernel_distance"),
    ("KID ±\u{a0}95\u{a0}%", "kernel_distance_interval"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("density", "density"),
    ("coverage", "coverage"),
];

/// The models and what each was given.
pub fn models(context: &Context<'_>) -> String {
    let mut table = context.models_only();
    table.names();
    table.text("family", |row| row.family.clone(), |_| String::new());
    table.text("experiment", |row| row.experiment.clone(), |_| String::new());
    table.text("seed", |row| row.seed.to_string(), |_| String::new());
    table.text("budget", |row| row.train.budget.clone(), |_| String::new());
    table.count("parameters", |row| row.parameters as f64);
    table.count("images", |row| row.train.images as f64);
    if context.results.rows.iter().any(|row| !row.facts.is_empty()) {
        table.facts("of itself");
    }
    context.render(&table.table, "models", "The models", &[])
}

/// The table: quality, likelihood, cost.
pub fn table(context: &Context<'_>) -> String {
    let mut table = context.builder();
    table.names();
    let mut quality = 2;
    if let Some(split) = &context.split {
        quality += QUALITY.len();
        put_quality(&mut table, split);
    }
    let accuracy = |scores: &Scores| scores.conditional_accuracy.cell();
    table.scores("accuracy", Better::Higher, accuracy);
    table.scores("IS", Better::Higher, |scores| scores.inception_score.cell());
    table.scores("bits/dim", Better::Lower, |scores| scores.bits_per_dim.cell());
    table.count("calls", |row| row.sampling.network_calls as f64);
    table.model_number("ms/image", Better::Lower, |row| 1e3 * row.sampling.seconds_per_image);
    let groups = [("quality", quality), ("likelihood", 1), ("cost", 2)];
    let caption = match &context.split {
        Some(split) => format!("Scores against the {split} split"),
        None => "Scores".to_owned(),
    };
    let table = table.table;
    let shown = context.render(&table, "scores", &caption, &groups);
    shown + &details("What the columns mean", &glossary(&table)) + &others(context)
}

/// The same against the other reference splits, folded away.
fn others(context: &Context<'_>) -> String {
    let splits = context.results.splits();
    let others = splits.iter().filter(|split| Some(*split) != context.split.as_ref());
    let shown = others.map(|split| {
        let mut table = context.builder();
        table.names();
        put_quality(&mut table, split);
        let caption = format!("Scores against the {split} split");
        let id = format!("scores-{}", identifier(split));
        details(&caption, &context.render(&table.table, &id, &caption, &[]))
    });
    shown.collect()
}

fn put_quality(table: &mut Builder<'_>, split: &str) {
    for (name, key) in QUALITY {
        let (_, better, score) =
            SCORES.iter().find(|(name, ..)| *name == key).expect("one of them");
        table.score(name, split, *better, *score);
        in_thousandths(table, name);
    }
}

/// Kernel distances are small: they are shown a thousand times as large.
pub fn in_thousandths(table: &mut Builder<'_>, name: &str) {
    if name.starts_with("KID") {
        table.times(1e3);
    }
}
