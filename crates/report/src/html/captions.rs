//! How much of what captions say is in images.

use super::{context::Context, markup::paragraph};
use crate::{
    CaptionScores,
    table::{Better, Cell},
};
use std::collections::{BTreeMap, BTreeSet};

type Part = fn(&CaptionScores) -> &BTreeMap<String, f64>;

/// Captions like those of training, and captions of what training never had; `None` where captions are
/// not judged.
pub fn tables(context: &Context<'_>) -> Option<String> {
    let rows = &context.results.rows;
    rows.iter().find(|row| row.captions.is_some())?;
    let mut html = paragraph(
        "Shares of images in which a network, another one than that of the features, finds what the caption says. All: everything \
         that it says at once, but for where a lone object lies, which the network does not read. First of 100, among ten of 100: where captions are names, the rank of the right one among those of 99 other \
         images. What a caption leaves open counts for nothing; of two objects either may be the larger, unless \
         it says which.",
    );
    let parts: [(&str, &str, Part); 2] = [
        ("captions-seen", "Captions like those of training", |scores| &scores.seen),
        ("captions-held-out", "Captions of what training never had", |scores| &scores.held_out),
    ];
    for (id, caption, part) in parts {
        let scored = rows.iter().filter_map(|row| row.captions.as_ref());
        let names: BTreeSet<&String> = scored.flat_map(|scores| part(scores).keys()).collect();
        if names.is_empty() {
            continue;
        }
        let mut table = context.builder();
        table.names();
        for name in names {
            let cell = |scores: &Option<CaptionScores>| match scores
                .as_ref()
                .and_then(|scores| part(scores).get(name))
            {
                Some(share) => Cell::number(*share),
                None => Cell::missing("was not asked for these captions"),
            };
            let column = |row: &crate::ModelRow| cell(&row.captions);
            table.column(name, Better::Higher, column, |row| cell(&row.captions));
        }
        table.text("calls", |row| row.sampling.network_calls.to_string(), |_| String::new());
        table.model_number("s/image", Better::Lower, |row| row.sampling.seconds_per_image);
        html += &context.render(&table.table, id, caption, &[]);
    }
    Some(html)
}
