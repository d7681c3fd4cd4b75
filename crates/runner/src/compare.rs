//! Finished runs side by side: one table, one picture, one file of scores.

use crate::{
    config::Experiment,
    data::RunData,
    draw::{Drawing, cycle_classes},
    evaluate::{Calibration, LikelihoodScore, ModelScores, SplitScores},
    files::{RunDir, create_dir, read_json, read_json_if_there, write_atomically, write_json},
    log::note,
    manifest::Manifest,
    train::Summary,
    trained::{Trained, read_experiment},
};
use anyhow::{Context, Result, bail};
use paragone_core::LikelihoodKind;
use paragone_metrics::Scores;
use paragone_report::{
    BitsPerDim, CalibrationRow, FeatureScores, GridOptions, ModelRow, Results, Row, Sampling,
    Score, Training, comparison_grid, save_png,
};
use std::{collections::BTreeMap, path::Path};
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

/// Writes `results.json`, `results.csv` and `grid.png` into `out`.
pub fn write(runs: &[Compared], data: &RunData, out: &Path, device: Device) -> Result<Comparison> {
    check_comparable(runs)?;
    create_dir(out)?;
    let results = results(runs)?;
    write_json(&out.join("results.json"), &results)?;
    write_atomically(&out.join("results.csv"), results.to_csv().as_bytes())?;
    let grid = grid(runs, data, device)?;
    save_png(&grid, &out.join("grid.png"))?;
    Ok(Comparison { table: results.to_table().to_text() })
}

/// Refuses runs whose scores mean different things: other data, another protocol, or, within a seed, other images.
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
        let same_seed = first.manifest.seed == other.manifest.seed;
        if same_seed && first.manifest.order_hash != other.manifest.order_hash {
            refuse("of one seed, they saw their images in different orders")?;
        }
        for (split, ours) in splits(first) {
            for (other_split, theirs) in splits(other) {
                if split == other_split
                    && let Some(difference) = ours.protocol.difference(&theirs.protocol)
                {
                    refuse(&format!("of their protocols, {difference}"))?;
                }
            }
        }
    }
    Ok(())
}

fn splits(run: &Compared) -> impl Iterator<Item = (&String, &SplitScores)> {
    run.models.iter().flat_map(|(_, _, scores)| &scores.splits)
}

fn results(runs: &[Compared]) -> Result<Results> {
    let protocols: BTreeMap<&String, _> =
        runs.iter().flat_map(splits).map(|(split, scores)| (split, &scores.protocol)).collect();
    let several = runs.len() > 1;
    let mut rows = Vec::new();
    for run in runs {
        for (name, summary, scores) in &run.models {
            let model = run.experiment.model(name).context("a model of the run")?;
            rows.push(ModelRow {
                run: several.then(|| run.run.path().display().to_string()),
                model: name.clone(),
                family: model.model.family().to_owned(),
                seed: run.experiment.seed,
                parameters: summary.parameters,
                train: training(summary),
                sampling: Sampling {
                    network_calls: scores.network_calls,
                    seconds_per_image: scores.seconds_per_image,
                },
                scores: feature_scores(&scores.splits),
                conditional_accuracy: spread(&scores.conditional_accuracy)
                    .ok_or_else(|| "no classifier judges the classes of this dataset".to_owned())
                    .into(),
                bits_per_dim: bits_per_dim(&scores.likelihood),
                facts: scores.facts.iter().map(|f| (f.name.clone(), f.value)).collect(),
            });
        }
    }
    let calibration = runs[0].calibration.rows.iter().map(|(name, splits)| CalibrationRow {
        name: name.clone(),
        scores: feature_scores(splits),
    });
    Ok(Results {
        protocol: serde_json::to_value(protocols)?,
        rows,
        calibration: calibration.collect(),
    })
}

fn training(summary: &Summary) -> Training {
    Training {
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

fn feature_scores(splits: &BTreeMap<String, SplitScores>) -> BTreeMap<String, FeatureScores> {
    let of = |split: &SplitScores, score: fn(&Scores) -> f64| -> Score {
        let values: Vec<f64> = split.scores.iter().map(score).collect();
        spread(&values).ok_or_else(|| "no evaluation seed".to_owned()).into()
    };
    let scores = |split: &SplitScores| FeatureScores {
        frechet_distance: of(split, |s| s.frechet_distance),
        kernel_distance: of(split, |s| s.kernel_distance.mean),
        precision: of(split, |s| s.precision),
        recall: of(split, |s| s.recall),
        density: of(split, |s| s.density),
        coverage: of(split, |s| s.coverage),
    };
    splits.iter().map(|(name, split)| (name.clone(), scores(split))).collect()
}

fn bits_per_dim(likelihood: &Result<Vec<LikelihoodScore>, String>) -> Vec<BitsPerDim> {
    let kind = |kind| match kind {
        LikelihoodKind::Exact => "exact",
        LikelihoodKind::Bound => "bound",
        LikelihoodKind::Estimate => "estimate",
    };
    match likelihood {
        Err(reason) => vec![BitsPerDim::missing(reason)],
        Ok(scores) => scores
            .iter()
            .map(|score| BitsPerDim::Measured {
                value: score.value,
                standard_error: score.standard_error,
                kind: kind(score.kind).to_owned(),
                method: score.method.clone(),
                conditional: score.conditional,
                images: score.images,
            })
            .collect(),
    }
}

/// The picture: a real image of each class, then each model asked for the same classes with the same seeds.
fn grid(runs: &[Compared], data: &RunData, device: Device) -> Result<image::RgbImage> {
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
            let Some(drawn) = drawn else { bail!("stopped") };
            let label = match runs.len() {
                1 => name.clone(),
                _ => format!("{} {name}", run.run.path().display()),
            };
            rows.push(Row { label, images: drawn.levels });
        }
    }
    let labels = data.class_names().iter().take(columns).cloned().collect::<Vec<_>>();
    Ok(comparison_grid(&rows, &labels, columns, &GridOptions::default()))
}

/// Test images of the asked classes, each image once.
fn real_images(data: &RunData, asked: &[i64]) -> Result<Tensor> {
    let test = data.test()?;
    let rows: Vec<i64> = match test.classes.as_ref().filter(|_| data.spec.num_classes > 0) {
        None => (0..asked.len() as i64).map(|i| i % test.len()).collect(),
        Some(classes) => {
            let classes = Vec::<i64>::try_from(classes)?;
            let of_class = |class: i64, nth: usize| {
                let found = classes.iter().enumerate().filter(|(_, c)| **c == class);
                found.map(|(i, _)| i as i64).nth(nth)
            };
            let nth = |i: usize| asked[..i].iter().filter(|class| **class == asked[i]).count();
            let rows = (0..asked.len()).map(|i| of_class(asked[i], nth(i)));
            rows.collect::<Option<_>>().context("the test split lacks images of a class")?
        }
    };
    Ok(test.images.index_select(0, &Tensor::from_slice(&rows)))
}
