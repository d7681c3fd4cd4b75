//! `paragone score`: scores anyone's images against a dataset or against other images.

use super::{prepare, say};
use crate::{
    cli::ScoreArgs, config::Features, data::open, feature_cache, features::extractor,
    files::write_json, interrupt::EXIT_INTERRUPTED, log::note,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use paragone_data::{Condition, DataConfig, ImageSet, Split, read_images};
use paragone_metrics::{Extrapolated, Protocol, Reference, ScoreOptions, Scores};
use paragone_report::{Better, Cell, Column, Table, TableRow};
use serde::Serialize;
use std::{path::Path, process::ExitCode};

/// What `--out` gets.
#[derive(Debug, Serialize)]
struct Report {
    samples: String,
    reference: String,
    protocol: Protocol,
    scores: Scores,
    /// What as many test images score, where the reference is a dataset's train split.
    test_set: Option<Scores>,
}

pub fn execute(args: &ScoreArgs) -> Result<ExitCode> {
    let device = prepare(&args.device, None)?;
    let wanted: Features = serde_yaml::from_str(&args.features)
        .map_err(|error| anyhow!("--features {}: {error}", args.features))?;
    let Real { set, name, dataset, test } = real(args)?;
    let images = read_images(&args.samples, Some(set.shape().channels))?;
    let extractor = extractor(&wanted, dataset.as_deref(), set.shape(), device)
        .map_err(|rule| anyhow!("--features {}: {rule}", args.features))?;
    let samples = args.samples.display().to_string();
    let resizes = matches!(wanted, Features::Inception(_) | Features::TorchScript { .. });
    let (n, _, height, width) = images.size4()?;
    let shape = set.shape();
    ensure!(
        resizes || (height, width) == (shape.height, shape.width),
        "{samples} has images of {height}×{width} pixels, but {name} of {}×{}: bring them to one size",
        shape.height,
        shape.width
    );
    let options = ScoreOptions::default();
    let least = options.precision_recall_k.max(options.density_coverage_k) + 1;
    for (what, number) in [(&samples, n), (&name, set.len())] {
        ensure!(number >= least, "{what} has {number} images, but scores need at least {least}");
    }

    let Some(real_features) = feature_cache::features(&*extractor, &set, &name)? else {
        return Ok(stopped());
    };
    let reference = Reference::new(&real_features, n, &options)
        .with_context(|| format!("{name} cannot be a reference"))?;
    let Some(fake_features) = feature_cache::compute(&*extractor, &images, &samples)
        .with_context(|| format!("{samples} cannot be compared with {name}"))?
    else {
        return Ok(stopped());
    };
    let scores = reference.score(&fake_features)?;
    let floor = match &test {
        Some(test) if test.len() >= n => {
            let features = feature_cache::features(&*extractor, test, "test images")?;
            let Some(features) = features else { return Ok(stopped()) };
            Some(reference.score(&features.narrow(0, 0, n))?)
        }
        Some(test) => {
            note(&format!("no floor: there are only {} test images, not {n}", test.len()));
            None
        }
        None => None,
    };

    let split = if dataset.is_some() { args.split.as_str() } else { "all" };
    let protocol = reference.protocol(&*extractor, split, &set.hash, &[]);
    say(table(&samples, &scores, floor.as_ref()).to_text());
    say(format_args!(
        "{n} images against {} of {name}, features {}; ± is a standard error, of KID half the 95 % interval",
        protocol.reference_images, protocol.features
    ));
    if let Some(out) = &args.out {
        let report = Report { samples, reference: name, protocol, scores, test_set: floor };
        write_json(out, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What samples are compared with.
struct Real {
    set: ImageSet,
    /// Where it is from.
    name: String,
    /// The dataset, if it is one.
    dataset: Option<String>,
    /// Images that tell what a perfect model would score.
    test: Option<ImageSet>,
}

fn real(args: &ScoreArgs) -> Result<Real> {
    let split = match args.split.as_str() {
        "train" => Split::Train,
        "test" => Split::Test,
        other => bail!("--split is {other}, but must be train or test"),
    };
    let path = Path::new(&args.reference);
    if path.exists() {
        ensure!(args.size.is_none(), "--size is of a dataset, but {} is images", args.reference);
        let images = read_images(path, None)?;
        let set = ImageSet::of(&images, None, None);
        return Ok(Real { set, name: args.reference.clone(), dataset: None, test: None });
    }
    // A folder of one's own is given as itself.
    let names = paragone_data::specs().into_iter().map(|spec| spec.name);
    let known: Vec<String> = names.filter(|name| name != "image-folder").collect();
    if !known.contains(&args.reference) {
        bail!(
            "--reference {} is no file or folder, and none of the datasets {}",
            args.reference,
            known.join(", ")
        );
    }
    let config = DataConfig {
        dataset: args.reference.clone(),
        condition: Condition::None,
        size: args.size,
        ..DataConfig::default()
    };
    let dataset = open(&config, &args.datasets.datasets)?;
    let set = dataset.load(split)?;
    ensure!(!set.is_empty(), "{} has no {split} images", args.reference);
    let test = (split == Split::Train).then(|| dataset.load(Split::Test)).transpose()?;
    let name = format!("{} {split}", args.reference);
    Ok(Real { set, name, dataset: Some(args.reference.clone()), test })
}

fn stopped() -> ExitCode {
    note("stopped: nothing is written");
    ExitCode::from(EXIT_INTERRUPTED as u8)
}

/// Name, what is good, and the score with its uncertainty.
type ScoreColumn = (&'static str, Better, fn(&Scores) -> (f64, Option<f64>));

const COLUMNS: [ScoreColumn; 7] = [
    ("FD", Better::Lower, |s| (s.frechet_distance, None)),
    ("FD∞", Better::Lower, |s| {
        let Extrapolated { value, standard_error } = s.frechet_distance_infinity;
        (value, Some(standard_error))
    }),
    ("KID", Better::Lower, |s| {
        let interval = s.kernel_distance.interval;
        (s.kernel_distance.mean, Some((interval.high - interval.low) / 2.0))
    }),
    ("precision", Better::Higher, |s| (s.precision, None)),
    ("recall", Better::Higher, |s| (s.recall, None)),
    ("density", Better::Higher, |s| (s.density, None)),
    ("coverage", Better::Higher, |s| (s.coverage, None)),
];

fn table(samples: &str, scores: &Scores, floor: Option<&Scores>) -> Table {
    let row = |name: &str, scores: &Scores, ranked| {
        let values = COLUMNS.iter().map(|(_, _, value)| {
            let (mean, spread) = value(scores);
            Cell::Value { mean, spread, kind: None }
        });
        let cells = std::iter::once(Cell::Text(name.to_owned())).chain(values).collect();
        TableRow { cells, ranked }
    };
    let first = Column { name: "images".to_owned(), better: Better::None };
    let others = COLUMNS
        .iter()
        .map(|(name, better, _)| Column { name: (*name).to_owned(), better: *better });
    let floor = floor.map(|floor| row("test_set", floor, false));
    Table {
        columns: std::iter::once(first).chain(others).collect(),
        rows: std::iter::once(row(samples, scores, true)).chain(floor).collect(),
    }
}
