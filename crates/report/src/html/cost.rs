//! What training and sampling cost.

use super::{context::Context, levels, markup::details, meanings::glossary};
use crate::{
    ModelRow,
    table::{Better, Cell},
};

/// What training and sampling cost, and the time to each known quality.
pub fn table(context: &Context<'_>) -> String {
    let mut table = context.models_only();
    table.names();
    table.count("parameters", |row| row.parameters as f64);
    table.count("images", |row| row.train.images as f64);
    table.count("FLOPs", |row| row.train.flops);
    table.model_number("seconds", Better::None, |row| row.train.seconds);
    let loader = |row: &ModelRow| 100.0 * row.train.loader_seconds / row.train.seconds;
    table.model_number("loader %", Better::Lower, loader);
    table.model_number("images/s", Better::Higher, |row| row.train.images_per_second);
    let arithmetic = |row: &ModelRow| Cell::Text(row.train.precision.clone());
    table.column("arithmetic", Better::None, arithmetic, |_| Cell::Text(String::new()));
    let memory = |row: &ModelRow| match row.train.peak_memory_bytes {
        Some(bytes) => Cell::number((bytes as f64 / 1e6).round()),
        None => Cell::missing("the system does not tell"),
    };
    table.column("peak MB", Better::Lower, memory, |_| Cell::Text(String::new()));
    table.count("calls", |row| row.sampling.network_calls as f64);
    table.model_number("ms/image", Better::Lower, |row| 1e3 * row.sampling.seconds_per_image);
    let groups = [("model", 1), ("training", 7), ("sampling", 2)];
    let shown = context.render(&table.table, "cost", "Cost", &groups);
    shown + &details("What the columns mean", &glossary(&table.table)) + &levels::table(context)
}
