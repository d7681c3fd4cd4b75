//! The tables of the page.

use super::{
    Context,
    levels::seconds_to,
    markup::{definitions, details, escaped, list},
    table::{Look, render},
};
use crate::{
    BitsPerDim, CalibrationRow, FeatureScores, Memorization, ModelRow, Score,
    results::BySplit,
    seeds::SeedGroup,
    table::{Better, Cell, Column, Table, TableRow},
    tabulate::{Builder, SCORES, short},
};
use std::collections::{BTreeMap, BTreeSet};

/// What the columns mean, and which way is good.
const MEANINGS: [(&str, &str); 24] = [
    (
        "FD",
        "Fréchet distance between Gaussians fitted to features of the images and of real ones. Lower is better; as many real test images do not reach 0.",
    ),
    (
        "FD − floor",
        "The Fréchet distance beyond what as many real test images score. Lower is better; 0 is as good as test images.",
    ),
    (
        "FD∞",
        "The Fréchet distance's limit for ever more images, from a fit against 1/n. Lower is better.",
    ),
    (
        "KID",
        "Kernel distance (squared maximum mean discrepancy) of features, unbiased: it scatters around 0 for real images. Lower is better.",
    ),
    ("KID ± 95 %", "Half the width of the kernel distance's 95 % confidence interval."),
    ("precision", "Share of the images that look real: fidelity. Higher is better."),
    ("recall", "Share of real images that look like one of them: diversity. Higher is better."),
    (
        "density",
        "Real neighbourhoods that an image is in, over those expected; about 1 for real images. Higher is better.",
    ),
    ("coverage", "Share of real neighbourhoods that hold an image. Higher is better."),
    (
        "accuracy",
        "Share of the images that a second classifier takes for the class asked. Higher is better.",
    ),
    (
        "IS",
        "Inception Score, by the class probabilities of the network behind the features. Higher is better.",
    ),
    (
        "bits/dim",
        "Bits per dimension of 8-bit test images: ≤ an upper bound, ≈ an estimate, or exact. Lower is better; figures of different kinds are not ranked.",
    ),
    ("parameters", "Trained values."),
    ("images", "Training images seen, repeats counted."),
    ("FLOPs", "Floating-point operations of training, counted."),
    ("seconds", "Seconds spent in training steps."),
    ("images/s", "Training images a second. Higher is better."),
    ("peak MB", "Most memory held in training, in 10⁶ bytes. Lower is better."),
    ("calls", "Network calls of one image."),
    ("ms/image", "Milliseconds of one image, drawn in batches. Lower is better."),
    (
        "nearer, features",
        "Share of samples whose nearest training image is nearer than their nearest test image, in features; a half is chance, more is learning by heart.",
    ),
    ("nearer, pixels", "The same in pixels."),
    (
        "near copies",
        "Share of samples nearer to a training image, in pixels, than all but one in a hundred test images are; 0.01 is chance.",
    ),
    (
        "bits/dim gap",
        "Bits per dimension of test images minus those of training images; 0 for a model that learned nothing by heart.",
    ),
];

const QUALITY: [(&str, &str); 9] = [
    ("FD", "frechet_distance"),
    ("FD − floor", "frechet_distance_excess"),
    ("FD∞", "frechet_distance_infinity"),
    ("KID", "kernel_distance"),
    ("KID ± 95 %", "kernel_distance_interval"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("density", "density"),
    ("coverage", "coverage"),
];

/// Scores in other features that their table shows: name, what is good, access.
type FeatureColumn = (&'static str, Better, fn(&FeatureScores) -> &BySplit);
const IN_FEATURES: [FeatureColumn; 5] = [
    ("FD − floor", Better::Lower, |scores| &scores.frechet_distance_excess),
    ("FD∞", Better::Lower, |scores| &scores.frechet_distance_infinity),
    ("KID", Better::Lower, |scores| &scores.kernel_distance),
    ("precision", Better::Higher, |scores| &scores.precision),
    ("recall", Better::Higher, |scores| &scores.recall),
];

impl<'a> Context<'a> {
    fn builder(&self) -> Builder<'a> {
        Builder::new(self.results.seed_groups(), &self.results.calibration)
    }

    fn models_only(&self) -> Builder<'a> {
        Builder::new(self.results.seed_groups(), &[])
    }

    fn render(&self, table: &Table, id: &str, caption: &str, groups: &[(&str, usize)]) -> String {
        let models = self.groups.len();
        render(table, &Look { id, caption, groups, meanings: &MEANINGS, models })
    }
}

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
    let facts = |row: &ModelRow| {
        let fact = |(name, value): (&String, &f64)| {
            format!("{} {}", name.replace('_', " "), crate::plot::written(*value))
        };
        row.facts.iter().map(fact).collect::<Vec<_>>().join(", ")
    };
    if context.results.rows.iter().any(|row| !row.facts.is_empty()) {
        table.text("of itself", facts, |_| String::new());
    }
    context.render(&table.table, "models", "The models", &[])
}

/// The table: quality, likelihood, cost.
pub fn scores(context: &Context<'_>) -> String {
    let mut table = context.builder();
    table.names();
    let mut quality = 2;
    if let Some(split) = &context.split {
        quality += QUALITY.len();
        put_quality(&mut table, split);
    }
    let accuracy = |scores: &crate::Scores| scores.conditional_accuracy.cell();
    table.scores("accuracy", Better::Higher, accuracy);
    table.scores("IS", Better::Higher, |scores| scores.inception_score.cell());
    table.scores("bits/dim", Better::Lower, |scores| scores.bits_per_dim.cell());
    table.count("parameters", |row| row.parameters as f64);
    table.count("images", |row| row.train.images as f64);
    table.count("calls", |row| row.sampling.network_calls as f64);
    table.model_number("ms/image", Better::Lower, |row| 1e3 * row.sampling.seconds_per_image);
    let groups = [("quality", quality), ("likelihood", 1), ("cost", 4)];
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
        let id = format!("scores-{}", super::markup::identifier(split));
        details(&caption, &context.render(&table.table, &id, &caption, &[]))
    });
    shown.collect()
}

fn put_quality(table: &mut Builder<'_>, split: &str) {
    for (name, key) in QUALITY {
        let (_, better, score) =
            SCORES.iter().find(|(name, ..)| *name == key).expect("one of them");
        table.score(name, split, *better, *score);
    }
}

/// What the columns of a table mean.
fn glossary(table: &Table) -> String {
    let there = |name: &str| table.columns.iter().any(|column| column.name == name);
    let terms: Vec<_> = MEANINGS.into_iter().filter(|(name, _)| there(name)).collect();
    definitions(&terms)
}

/// What training and sampling cost, and the time to each known quality.
pub fn cost(context: &Context<'_>) -> String {
    let mut table = context.models_only();
    table.names();
    table.count("parameters", |row| row.parameters as f64);
    table.count("images", |row| row.train.images as f64);
    table.count("FLOPs", |row| row.train.flops);
    table.model_number("seconds", Better::None, |row| row.train.seconds);
    table.model_number("images/s", Better::Higher, |row| row.train.images_per_second);
    let memory = |row: &ModelRow| match row.train.peak_memory_bytes {
        Some(bytes) => Cell::number((bytes as f64 / 1e6).round()),
        None => Cell::missing("the system does not tell"),
    };
    table.column("peak MB", Better::Lower, memory, |_| Cell::Text(String::new()));
    table.count("calls", |row| row.sampling.network_calls as f64);
    table.model_number("ms/image", Better::Lower, |row| 1e3 * row.sampling.seconds_per_image);
    let groups = [("model", 1), ("training", 5), ("sampling", 2)];
    let shown = context.render(&table.table, "cost", "Cost", &groups);
    shown + &details("What the columns mean", &glossary(&table.table)) + &levels(context)
}

fn levels(context: &Context<'_>) -> String {
    if context.rulers.is_empty() || context.points("training") == 0 {
        return String::new();
    }
    let mut table = context.models_only();
    table.names();
    let mut meanings = Vec::new();
    for (name, level) in context.rulers.iter().rev() {
        let reached = |row: &ModelRow| seconds_to(&row.curves.training, *level);
        table.column(name, Better::Lower, reached, |_| Cell::Text(String::new()));
        meanings.push((name.as_str(), format!("FD − floor of {name}: {}", rounded(*level))));
    }
    let meanings: Vec<(&str, &str)> = meanings.iter().map(|(n, m)| (*n, m.as_str())).collect();
    let look = Look {
        id: "levels",
        caption: "Seconds of training to the quality of known defects",
        groups: &[],
        meanings: &meanings,
        models: context.groups.len(),
    };
    let levels: Vec<String> = (context.rulers.iter().rev())
        .map(|(name, level)| format!("{name} {}", rounded(*level)))
        .collect();
    let about = format!(
        "When FD − floor first fell below that of test images with a defect ({}), read off the curves of {} images a point, \
         linearly in the logarithm of time; ≤ where the first point was there already.",
        levels.join(", "),
        context.curve_samples(),
    );
    render(&table.table, &look) + &format!("<p class=\"note\">{}</p>\n", escaped(&about))
}

fn rounded(value: f64) -> String {
    crate::plot::written((value * 100.0).round() / 100.0)
}

/// The same scores in the headline's and in other features; `None` without others.
pub fn features(context: &Context<'_>) -> Option<String> {
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
        }
        groups.push((extractor.as_str(), IN_FEATURES.len()));
    }
    let caption = format!("Scores against the {split} split in each network's features");
    Some(context.render(&table.table, "features", &caption, &groups))
}

/// Every likelihood by every method; `None` if there is none.
pub fn likelihood(context: &Context<'_>) -> Option<String> {
    let names = ["model", "method", "bits/dim", "conditional", "test images", "passes"];
    let columns = names.map(|name| Column { name: name.to_owned(), better: Better::None }).to_vec();
    let mut rows = Vec::new();
    for group in &context.groups {
        let methods: BTreeSet<Option<Method>> =
            group.rows.iter().flat_map(|row| likelihoods(row)).map(method).collect();
        for method in methods {
            rows.push(TableRow { cells: by_method(group, method.as_ref()), ranked: true });
        }
    }
    let measured = |row: &ModelRow| likelihoods(row).any(|figure| method(figure).is_some());
    if !context.results.rows.iter().any(measured) {
        return None;
    }
    let table = Table { columns, rows };
    let look = Look {
        id: "likelihood",
        caption: "Bits per dimension by every method",
        meanings: &MEANINGS,
        ..Look::default()
    };
    Some(render(&table, &look))
}

/// What makes two likelihoods figures of one thing: headline first, kind, method, conditional, images, passes.
type Method = (bool, String, String, bool, i64, u64);

fn likelihoods(row: &ModelRow) -> impl Iterator<Item = (bool, &BitsPerDim)> {
    let further = row.further_bits_per_dim.iter().map(|figure| (true, figure));
    std::iter::once((false, &row.scores.bits_per_dim)).chain(further)
}

fn method((further, figure): (bool, &BitsPerDim)) -> Option<Method> {
    match figure {
        BitsPerDim::Measured { kind, method, conditional, images, passes, .. } => {
            Some((further, kind.clone(), method.clone(), *conditional, *images, *passes))
        }
        BitsPerDim::Missing { .. } => None,
    }
}

fn by_method(group: &SeedGroup<'_>, wanted: Option<&Method>) -> Vec<Cell> {
    let value = group.cell(|row| {
        let found = likelihoods(row).find(|figure| method(*figure).as_ref() == wanted);
        found.map_or_else(|| Cell::missing("not by this method"), |(_, figure)| figure.cell())
    });
    let name = Cell::Text(group.counted_title());
    let Some((_, _, method, conditional, images, passes)) = wanted else {
        let blank = || Cell::Text(String::new());
        return vec![name, blank(), value, blank(), blank(), blank()];
    };
    let conditional = if *conditional { "told the class" } else { "not told the class" };
    vec![
        name,
        Cell::Text(method.clone()),
        value,
        Cell::Text(conditional.to_owned()),
        Cell::Text(short(*images as f64)),
        Cell::Text(passes.to_string()),
    ]
}

/// Whether models repeat training images; `None` if that was not looked into.
pub fn memorization(context: &Context<'_>) -> Option<String> {
    context.results.rows.iter().find(|row| row.memorization.is_some())?;
    let mut table = context.models_only();
    table.names();
    let columns: [(&str, fn(&Memorization) -> &Score); 4] = [
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

/// The distance within each class, folded away below its plot; `None` without classes.
pub fn classes(context: &Context<'_>) -> Option<String> {
    let classes = context.classes();
    if classes.is_empty() {
        return None;
    }
    let column = |name: &str| Column { name: name.to_owned(), better: Better::None };
    let groups = &context.groups;
    let columns = ["class", "test images"].into_iter().map(column);
    let columns =
        columns.chain(groups.iter().map(|group| column(&group.counted_title()))).collect();
    let of = |class: &str, row: &ModelRow, score: fn(&crate::ClassScore) -> &Score| {
        let found = row.per_class.iter().find(|of_class| of_class.class == class);
        found.map_or_else(|| Cell::missing("no scores by class"), |found| score(found).cell())
    };
    let rows = classes.iter().map(|class| {
        let floors = context.results.rows.iter().map(|row| of(class, row, |score| &score.floor));
        let floor = floors.into_iter().find(|cell| matches!(cell, Cell::Value { .. }));
        let floor = floor.unwrap_or_else(|| Cell::missing("no test images of the class"));
        let models = groups
            .iter()
            .map(|group| group.cell(|row| of(class, row, |score| &score.frechet_distance)));
        let cells = [Cell::Text(class.clone()), floor].into_iter().chain(models).collect();
        TableRow { cells, ranked: true }
    });
    let table = Table { columns, rows: rows.collect() };
    let look =
        Look { id: "classes", caption: "Fréchet distance within each class", ..Look::default() };
    Some(details("The numbers", &render(&table, &look)))
}

/// The protocol of each reference split, key by key.
pub fn protocol(context: &Context<'_>) -> String {
    let Some(splits) = context.results.protocol.as_object() else { return String::new() };
    let keys: BTreeSet<&String> = splits
        .values()
        .filter_map(|split| split.as_object())
        .flat_map(|split| split.keys())
        .collect();
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(values) => {
            values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    let row = |key: &&String| {
        let entry = |split: &serde_json::Value| {
            let value = split.get(key.as_str()).map(text).unwrap_or_default();
            format!("<td class=\"text\">{}</td>", escaped(&value))
        };
        let entries: String = splits.values().map(entry).collect();
        format!("<tr><th scope=\"row\">{}</th>{entries}</tr>\n", escaped(&key.replace('_', " ")))
    };
    let head = |split: &String| format!("<th scope=\"col\">{}</th>", escaped(split));
    let heads: String = splits.keys().map(head).collect();
    let rows: String = keys.iter().map(row).collect();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Protocol\">\n<table class=\"protocol\">\n\
         <thead><tr><td>against the split</td>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

/// What the page can say and what it cannot.
pub fn limits(context: &Context<'_>) -> String {
    let mut limits = Vec::new();
    let protocol = context.split.as_ref().and_then(|split| context.results.protocol.get(split));
    let number = |key: &str| protocol.and_then(|protocol| protocol.get(key)?.as_u64());
    if let (Some(samples), Some(split)) = (number("samples"), &context.split) {
        let features = context.headline_features();
        limits.push(format!(
            "Scores compare {samples} samples of each model with the {split} split in the features “{features}”. Another \
             network may rank models otherwise, and scores in other features or of other counts do not compare with these."
        ));
    }
    let seeds: BTreeSet<u64> = context.results.rows.iter().map(|row| row.seed).collect();
    if context.groups.iter().all(|group| group.rows.len() == 1) {
        limits.push(
            "Each model was trained once: how much of a difference is luck of training, this page does not say.".to_owned(),
        );
    } else {
        limits.push(format!(
            "± is the standard deviation over training seeds ({}) where a row has several; else over evaluation seeds, and \
             beside bits/dim the standard error over test images.",
            seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
        ));
    }
    limits.push(
        "The best of a column is the best mean as far as it is shown; compare it with ± before believing it.".to_owned(),
    );
    limits.push("Times and memory are of the machine that ran this; images, FLOPs and network calls are of the models.".to_owned());
    if context.curve_samples() > 0 {
        limits.push(format!(
            "Curves are of {} samples a point, less than the table's: they show a course, the table the end.",
            context.curve_samples()
        ));
    }
    list(&limits)
}

impl Context<'_> {
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
