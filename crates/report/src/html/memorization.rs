//! Whether models repeat training images.

use super::{context::Context, meanings::glossary};
use crate::{
    CalibrationRow, Memorization, ModelRow, Score,
    table::{Better, Cell},
};

/// Name and access.
type Column = (&'static str, fn(&Memorization) -> &Score);

/// Whether models repeat training images; `None` if that was not looked into.
pub fn table(context: &Context<'_>) -> Option<String> {
    context.results.rows.iter().find(|row| row.memorization.is_some())?;
    let mut table = context.models_only();
    table.names();
    let columns: [Column; 4] = [
        ("nearer, features", |found| &found.nearer_to_train_features),
        ("nearer, pixels", |found| &found.nearer_to_train_pixels),
        ("near copies", |found| &found.near_copies),
        ("bits/dim gap", |found| &found.bits_per_dim_gap),
    ];
    for (name, score) in columns {
        let cell = |row: &ModelRow| match &row.memorization {
            Some(found) => score(found).cell(),
            None => Cell::missing("was not looked into"),
        };
        table.column(name, Better::None, cell, |_: &CalibrationRow| Cell::Text(String::new()));
    }
    let shown = context.render(&table.table, "memorization", "Nearness to training images", &[]);
    Some(shown + &glossary(&table.table))
}
