//! Finished runs side by side: one table, one picture, one file of scores.

use crate::{
    config::Experiment,
    data::RunData,
    draw::{Drawing, cycle_classes},
    evaluate::{Calibration, CalibrationScores, LikelihoodScore, ModelScores, SplitScores},
    files::{RunDir, create_dir, read_json, read_json_if_there, write_atomically, write_json},
    log::note,
    manifest::Manifest,
    train::Summary,
    trained::{Trained, read_experiment},
};
use anyhow::{Context, Result, bail};
use paragone_core::LikelihoodKind;
use paragone_metrics::{self as metrics, Protocol};
use paragone_report::{
    BitsPerDim, BySplit, CalibrationRow, Curves, FeatureScores, GridOptions, ModelRow, Results,
    Row, Sampling, Score, Scores, Training, comparison_grid, save_png,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use tch::{Device, Tensor};

/// A finished run, read back.
#[derive(Debug)]
pub struct Compared {
    /// Where it is.
    pub run: RunDir,
    /// What was run.
    pub experiment: Experiment,
    manifest: Manifest,
    calibration: Calibration,
    models: Vec<(String, Summary, ModelScores)>,
}

/// What a comparison says on the terminal.
#[derive(Debug)]
pub struct Comparison {
    /// The table of scores.
    pub table: String,
}

/// Seed of the first image of the grid.
const GRID_SEED: u64 = 0;
/// Most columns of the grid.
const MOST_COLUMNS: usize = 10;
/// Rows of images that each model has in the grid.
const GRID_ROWS: usize = 2;
/// Why a calibration row has no likelihood.
const NO_MODEL: &str = "real or made-up images: no model is behind them";

impl Compared {
    /// Reads a run whose models are trained and scored; those that are not are named and left out.
    pub fn read(run: &RunDir) -> Result<Self> {
        let experiment = read_experiment(run, &[])?;
        let mut models = Vec::new();
        for model in &experiment.models {
            let dir = run.model(&model.name);
            let summary = read_json_if_there::<Summary>(&dir.summary())?;
            let scores = read_json_if_there::<ModelScores>(&dir.scores())?;
            match (summary, scores) {
                (Some(summary), Some(scores)) => models.push((model.name.clone(), summary, scores)),
                (None, _) => note(&format!("{} is not trained to its end", dir.path().display())),
                (_, None) => note(&format!("{} is not scored", dir.path().display())),
            }
        }
        let calibration = read_json(&run.calibration()).with_context(|| {
            format!(
                "{} is not scored yet; `paragone run` or `eval` scores it",
                run.path().display()
            )
        })?;
        Ok(Self {
            manifest: read_json(&run.manifest())?,
            calibration,
            models,
            experiment,
            run: run.clone(),
        })
    }
}

/// Writes `results.json`, `results.csv` and `grid.png` into `out`; `None` when the user asked to stop.
pub fn write(
    runs: &[Compared],
    data: &RunData,
    out: &Path,
    device: Device,
) -> Result<Option<Comparison>> {
    check_comparable(runs)?;
    let protocols = protocols(runs)?;
    create_dir(out)?;
    let results = results(runs, &protocols)?;
    write_json(&out.join("results.json"), &results)?;
    write_atomically(&out.join("results.csv"), results.to_csv().as_bytes())?;
    let Some(grid) = grid(runs, data, device)? else { return Ok(None) };
    save_png(&grid, &out.join("grid.png"))?;
    let headline = results.headline_split().and_then(|split| protocols.get(&split));
    let fights: BTreeSet<String> = runs.iter().map(fought).collect();
    let notes: Vec<String> = headline.map(circumstances).into_iter().chain(fights).collect();
    let table = format!("{}{}", results.to_table().to_text(), notes.join("\n"));
    Ok(Some(Comparison { table }))
}

/// Refuses runs that were trained on other data or, within a seed, on other images at other times.
fn check_comparable(runs: &[Compared]) -> Result<()> {
    let (first, rest) = runs.split_first().context("nothing to compare")?;
    for other in rest {
        let refuse = |what: &str| -> Result<()> {
            let (a, b) = (first.run.path().display(), other.run.path().display());
            bail!("{a} and {b} do not compare: {what}")
        };
        if first.manifest.data_hash != other.manifest.data_hash {
            refuse("they were trained on different images")?;
        }
        if first.experiment.data.condition != other.experiment.data.condition {
            refuse("of their data, condition differs")?;
        }
        let same_seed = first.manifest.seed == other.manifest.seed;
        if same_seed && first.manifest.order_hash != other.manifest.order_hash {
            refuse("of one seed, they saw their images in different orders")?;
        }
    }
    Ok(())
}

/// The protocol of each reference split.
///
/// # Errors
/// Names two sets of images that were scored under different ones.
fn protocols(runs: &[Compared]) -> Result<BTreeMap<String, Protocol>> {
    let mut found: BTreeMap<String, (String, Protocol)> = BTreeMap::new();
    for run in runs {
        let of_model = |(name, _, scores): &(String, Summary, ModelScores)| {
            let splits = scores.splits.iter().map(|(split, s)| (split.clone(), s.protocol.clone()));
            (run.run.model(name).path().display().to_string(), splits.collect::<Vec<_>>())
        };
        let of_row = |row: &CalibrationScores| {
            let scored = row.splits.iter().filter_map(|(split, s)| Some((split, s.as_ref().ok()?)));
            let splits = scored.map(|(split, s)| (split.clone(), s.protocol.clone()));
            (format!("{} of {}", row.name, run.run.path().display()), splits.collect())
        };
        let sets = run.models.iter().map(of_model).chain(run.calibration.rows.iter().map(of_row));
        for (name, splits) in sets {
            for (split, protocol) in splits {
                let (first, known) =
                    found.entry(split).or_insert_with(|| (name.clone(), protocol.clone()));
                if let Some(difference) = known.difference(&protocol) {
                    bail!(
                        "{first} and {name} do not compare: of their protocols, {difference}; \
                         `paragone eval` scores a run anew"
                    );
                }
            }
        }
    }
    Ok(found.into_iter().map(|(split, (_, protocol))| (split, protocol)).collect())
}

/// What scores were taken over, on one line.
fn circumstances(protocol: &Protocol) -> String {
    format!(
        "{} samples against {} {} images, features {}",
        protocol.samples, protocol.reference_images, protocol.reference_split, protocol.features
    )
}

/// Which fight was fought, on one line.
fn fought(run: &Compared) -> String {
    format!("{}: {} of training each", run.experiment.name, run.experiment.train.budget)
}

fn results(runs: &[Compared], protocols: &BTreeMap<String, Protocol>) -> Result<Results> {
    let calibration = &runs[0].calibration.rows;
    let floors = calibration.iter().find(|row| row.name == "test_set");
    let floors = floors
        .map(|row| by_split(&of_row(row), |scores| scores.frechet_distance))
        .unwrap_or_default();
    let several = runs.len() > 1;
    let mut rows = Vec::new();
    for run in runs {
        for (name, summary, scores) in &run.models {
            let model = run.experiment.model(name).context("a model of the run")?;
            let (bits_per_dim, further_bits_per_dim) = bits_per_dim(&scores.likelihood);
            rows.push(ModelRow {
                run: several.then(|| run.run.path().display().to_string()),
                model: name.clone(),
                family: model.model.family().to_owned(),
                seed: run.experiment.seed,
                parameters: summary.parameters,
                train: training(&run.experiment, summary),
                sampling: Sampling {
                    network_calls: scores.network_calls,
                    seconds_per_image: scores.seconds_per_image,
                },
                scores: self::scores(
                    &scores.splits.iter().map(|(split, s)| (split.as_str(), Ok(s))).collect(),
                    &floors,
                    &scores.conditional_accuracy,
                    bits_per_dim,
                ),
                further_bits_per_dim,
                experiment: run.experiment.name.clone(),
                other_features: BTreeMap::new(),
                per_class: Vec::new(),
                memorization: None,
                curves: Curves::default(),
                facts: scores.facts.iter().map(|f| (f.name.clone(), f.value)).collect(),
            });
        }
    }
    let calibration = calibration.iter().map(|row| CalibrationRow {
        name: row.name.clone(),
        scores: scores(&of_row(row), &floors, &row.class_accuracy, BitsPerDim::missing(NO_MODEL)),
        other_features: BTreeMap::new(),
    });
    Ok(Results {
        protocol: serde_json::to_value(protocols)?,
        rows,
        calibration: calibration.collect(),
    })
}

fn training(experiment: &Experiment, summary: &Summary) -> Training {
    Training {
        budget: experiment.train.budget.to_string(),
        images: summary.images,
        seconds: summary.seconds,
        flops: summary.flops,
        images_per_second: summary.images_per_second,
        peak_memory_bytes: summary.peak_memory_bytes,
    }
}

/// Mean and, over several seeds, standard deviation.
fn spread(values: &[f64]) -> Option<(f64, Option<f64>)> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (!values.is_empty()).then(|| (mean, (values.len() > 1).then(|| variance.sqrt())))
}

fn over_seeds(values: &Result<Vec<f64>, String>) -> Score {
    let spread = |values: &Vec<f64>| spread(values).ok_or_else(|| "no evaluation seed".to_owned());
    values.as_ref().map_err(String::clone).and_then(spread).into()
}

/// What was compared with each reference split, or why nothing was.
type Splits<'a> = BTreeMap<&'a str, Result<&'a SplitScores, &'a String>>;

fn of_row(row: &CalibrationScores) -> Splits<'_> {
    row.splits.iter().map(|(split, scores)| (split.as_str(), scores.as_ref())).collect()
}

/// `floors`: the Fréchet distances of test images, as many.
fn scores(
    splits: &Splits<'_>,
    floors: &BySplit,
    accuracy: &Result<Vec<f64>, String>,
    bits_per_dim: BitsPerDim,
) -> Scores {
    let frechet_distance = by_split(splits, |scores| scores.frechet_distance);
    let excess = |(split, distance): (&String, &Score)| {
        let excess = match (distance, floors.get(split).and_then(Score::value)) {
            (Score::Measured { value, std }, Some(floor)) => {
                Score::Measured { value: value - floor, std: *std }
            }
            (Score::Missing { .. }, _) => distance.clone(),
            _ => Score::missing("no test images were compared with this split"),
        };
        (split.clone(), excess)
    };
    let features = FeatureScores {
        frechet_distance_excess: frechet_distance.iter().map(excess).collect(),
        frechet_distance,
        kernel_distance: by_split(splits, |scores| scores.kernel_distance.mean),
        precision: by_split(splits, |scores| scores.precision),
        recall: by_split(splits, |scores| scores.recall),
        density: by_split(splits, |scores| scores.density),
        coverage: by_split(splits, |scores| scores.coverage),
        ..FeatureScores::default()
    };
    Scores {
        features,
        inception_score: Score::missing("not computed"),
        conditional_accuracy: over_seeds(accuracy),
        bits_per_dim,
    }
}

fn by_split(splits: &Splits<'_>, score: fn(&metrics::Scores) -> f64) -> BySplit {
    let of_split = |(split, compared): (&&str, &Result<&SplitScores, &String>)| {
        let score = match compared {
            Ok(compared) => over_seeds(&Ok(compared.scores.iter().map(score).collect())),
            Err(reason) => Score::missing(*reason),
        };
        ((*split).to_owned(), score)
    };
    splits.iter().map(of_split).collect()
}

/// Likelihood by the headline method, and by the others.
fn bits_per_dim(
    likelihood: &Result<Vec<LikelihoodScore>, String>,
) -> (BitsPerDim, Vec<BitsPerDim>) {
    let kind = |kind| match kind {
        LikelihoodKind::Exact => "exact",
        LikelihoodKind::Bound => "bound",
        LikelihoodKind::Estimate => "estimate",
    };
    let measured = |score: &LikelihoodScore| BitsPerDim::Measured {
        value: score.value,
        standard_error: score.standard_error,
        kind: kind(score.kind).to_owned(),
        method: score.method.clone(),
        conditional: score.conditional,
        images: score.images,
        passes: score.passes,
    };
    match likelihood.as_ref().map(|scores| scores.split_first()) {
        Ok(Some((headline, others))) => (measured(headline), others.iter().map(measured).collect()),
        Ok(None) => (BitsPerDim::missing("the model offers no method"), Vec::new()),
        Err(reason) => (BitsPerDim::missing(reason), Vec::new()),
    }
}

/// The picture: real images of each class, then each model asked for the same classes with the same seeds; `None` when
/// the user asked to stop.
fn grid(runs: &[Compared], data: &RunData, device: Device) -> Result<Option<image::RgbImage>> {
    let columns = match data.spec.num_classes {
        0 => MOST_COLUMNS,
        classes => MOST_COLUMNS.min(classes as usize),
    };
    let cells = columns * GRID_ROWS;
    let classes = cycle_classes(&data.spec, cells, columns);
    let mut rows =
        vec![Row { label: "test images".to_owned(), images: real_images(data, &classes)? }];
    for run in runs {
        for (name, ..) in &run.models {
            let config = run.experiment.model(name).context("a model of the run")?;
            let trained = Trained::load(config, &run.run.model(name), device)?;
            let seeds = (0..cells as u64).map(|i| GRID_SEED + i).collect();
            let drawing = Drawing::new(classes.clone(), seeds, cells);
            let drawn = drawing.draw(&*trained.model, &trained.spec, device, None)?;
            let Some(drawn) = drawn else { return Ok(None) };
            let label = match runs.len() {
                1 => name.clone(),
                _ => format!("{} {name}", run.run.path().display()),
            };
            rows.push(Row { label, images: drawn.levels });
        }
    }
    let labels = data.class_names().iter().take(columns).cloned().collect::<Vec<_>>();
    Ok(Some(comparison_grid(&rows, &labels, columns, &GridOptions::default())))
}

/// Test images of the asked classes, in their order, from the start again if there are too few; blank for a class that has
/// none.
fn real_images(data: &RunData, asked: &[i64]) -> Result<Tensor> {
    let test = data.test()?;
    let Some(classes) = test.classes.as_ref().filter(|_| data.spec.num_classes > 0) else {
        let rows: Vec<i64> = (0..asked.len() as i64).map(|i| i % test.len()).collect();
        return Ok(test.images.index_select(0, &Tensor::from_slice(&rows)));
    };
    let mut of_class: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (row, class) in Vec::<i64>::try_from(classes)?.into_iter().enumerate() {
        of_class.entry(class).or_default().push(row as i64);
    }
    let mut shown: BTreeMap<i64, usize> = BTreeMap::new();
    let images = asked.iter().map(|class| {
        let nth = shown.entry(*class).or_default();
        *nth += 1;
        match of_class.get(class) {
            Some(rows) => test.images.get(rows[(*nth - 1) % rows.len()]),
            None => test.images.get(0).full_like(255),
        }
    });
    Ok(Tensor::stack(&images.collect::<Vec<_>>(), 0))
}
