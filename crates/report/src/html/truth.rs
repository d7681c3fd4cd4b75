//! What the known distribution of the data says of images.

use super::{context::Context, markup::paragraph, meanings::glossary};
use crate::tabulate::TRUE_SCORES;

/// Counted scores of models and of images of known quality; `None` where the distribution is not known.
pub fn table(context: &Context<'_>) -> Option<String> {
    let known = context.results.rows.iter().find_map(|row| row.truth.as_ref())?;
    let mut table = context.builder();
    table.names();
    for (name, better, score) in TRUE_SCORES {
        table.truth(name, better, score);
    }
    let about = format!(
        "The data are drawings whose probabilities are known, so every image can be matched with the nearest scene that \
         there is: it is valid if no more than {:.1} levels of 255 away (root of the mean square). No network takes part \
         in these scores.",
        known.tolerance
    );
    let shown = context.render(&table.table, "truth", "Counted against the true distribution", &[]);
    Some(paragraph(&about) + &shown + &glossary(&table.table))
}
