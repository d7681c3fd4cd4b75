//! What the page can say and what it cannot.

use super::{
    context::Context,
    markup::{list, thousands},
};
use std::collections::BTreeSet;

/// What the page can say and what it cannot.
pub fn limits(context: &Context<'_>) -> String {
    let mut limits = Vec::new();
    let protocol = context.split.as_ref().and_then(|split| context.results.protocol.get(split));
    let number = |key: &str| protocol.and_then(|protocol| protocol.get(key)?.as_u64());
    if let (Some(samples), Some(split)) = (number("samples"), &context.split) {
        let features = context.headline_features();
        limits.push(format!(
            "Scores compare {} samples of each model with the {split} split in the features “{features}”. Another \
             network may rank models otherwise, and scores in other features or of other counts do not compare with these.",
            thousands(samples)
        ));
    }
    let spread = "over evaluation seeds where there are several; beside bits/dim, the standard error over test images";
    if context.groups.iter().all(|group| group.rows.len() == 1) {
        limits.push(
            "Each model was trained once: how much of a difference is luck of training, this page does not say."
                .to_owned(),
        );
        limits.push(format!("± is the standard deviation {spread}."));
    } else {
        let seeds: BTreeSet<u64> = context.results.rows.iter().map(|row| row.seed).collect();
        let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
        limits.push(format!(
            "± is the standard deviation over training seeds ({}) where a row has several. Elsewhere it is the standard \
             deviation {spread}.",
            seeds.join(", ")
        ));
    }
    limits.push(
        "The best of a column is the best mean as far as it is shown; compare it with ± before believing it.".to_owned(),
    );
    limits.push("Times and memory are of the machine that ran this; images, FLOPs and network calls are of the models.".to_owned());
    if context.curve_samples() > 0 {
        limits.push(format!(
            "Curves are of {} samples a point: they show a course, the table the end.",
            thousands(context.curve_samples())
        ));
    }
    list(&limits)
}
