//! What was measured, as the rows of `results.json`.

use super::{Compared, Model};
use crate::{
    config::{Experiment, ModelConfig},
    evaluate::{self, CalibrationScores, LikelihoodScore, ModelScores, Scored, SplitScores},
    train::Summary,
};
use paragone_core::LikelihoodKind;
use paragone_data::shapes::{Beside, TrueScores};
use paragone_metrics::{self as metrics, ClassDistance};
use paragone_report::{
    BitsPerDim, BySplit, CalibrationRow, CaptionScores, ClassScore, FeatureScores, Memorization,
    ModelRow, Sampling, Score, Scores, Training, Truth,
};
use std::collections::BTreeMap;

/// Why a calibration row has no likelihood.
const NO_MODEL: &str = "real or made-up images: no model is behind them";
/// Why images that show no possible scene have no score of their scenes.
const NOTHING_VALID: &str = "no image shows a possible scene";
/// Why test images are not compared with the test split.
const ITSELF: &str = "would be compared with the images it is made of";

/// One row a model.
pub fn models(runs: &[Compared]) -> Vec<ModelRow> {
    let several = runs.len() > 1;
    let floors = Floors::of(&runs[0].calibration.rows);
    let row = |run: &Compared, model: &Model| {
        let Model { name, summary, scores } = model;
        let (bits_per_dim, further_bits_per_dim) = bits_per_dim(&scores.likelihood);
        let config = run.config(model);
        let Scored { splits, other_features } = &scores.features;
        ModelRow {
            run: several.then(|| run.run.path().display().to_string()),
            experiment: run.experiment.name.clone(),
            model: name.clone(),
            family: config.model.family().to_owned(),
            seed: run.experiment.seed,
            made_of: run.experiment.made_of(config),
            parameters: summary.parameters,
            train: training(&run.experiment, config, summary),
            sampling: Sampling {
                network_calls: scores.network_calls,
                seconds_per_image: scores.seconds_per_image,
            },
            scores: Scores {
                features: feature_scores(&compared(splits), &floors.headline),
                inception_score: over_seeds(&scores.inception_score),
                conditional_accuracy: over_seeds(&scores.conditional_accuracy),
                bits_per_dim,
            },
            other_features: others(other_features, &floors, compared),
            per_class: per_class(run, &scores.per_class),
            further_bits_per_dim,
            truth: scores.truth.as_deref().map(truth),
            captions: scores.captions.as_ref().map(captions),
            inpainting: scores.inpainting.clone(),
            editing: scores.editing.clone(),
            memorization: memorization(scores),
            curves: scores.curves.clone(),
            facts: scores.facts.iter().map(|fact| (fact.name.clone(), fact.value)).collect(),
        }
    };
    runs.iter().flat_map(|run| run.models.iter().map(move |model| row(run, model))).collect()
}

/// The rows of known quality.
pub fn calibration(run: &Compared) -> Vec<CalibrationRow> {
    let rows = &run.calibration.rows;
    let floors = Floors::of(rows);
    // What could not be scored is missing from every column that other rows have.
    let template = rows.iter().find_map(|row| row.features.as_ref().ok());
    let row = |row: &CalibrationScores| {
        let scored = row.features.as_ref().ok().or(template);
        let splits = |splits: &'_ evaluate::BySplit| -> Vec<(String, Result<SplitScores, String>)> {
            let of_split = |(split, scores): (&String, &SplitScores)| {
                let result = match &row.features {
                    Err(reason) => Err(reason.clone()),
                    Ok(_) if row.from.as_ref() == Some(split) => Err(ITSELF.to_owned()),
                    Ok(_) => Ok(scores.clone()),
                };
                (split.clone(), result)
            };
            splits.iter().map(of_split).collect()
        };
        CalibrationRow {
            name: row.name.clone(),
            scores: Scores {
                features: scored.map_or_else(FeatureScores::default, |scored| {
                    feature_scores(&splits(&scored.splits), &floors.headline)
                }),
                inception_score: over_seeds(&row.inception_score),
                conditional_accuracy: over_seeds(&row.conditional_accuracy),
                bits_per_dim: row
                    .likelihood
                    .as_ref()
                    .map_or_else(|| BitsPerDim::missing(NO_MODEL), measured),
            },
            truth: row.truth.as_deref().map(truth),
            captions: row.captions.as_ref().map(captions),
            other_features: scored
                .map(|scored| others(&scored.other_features, &floors, splits))
                .unwrap_or_default(),
        }
    };
    rows.iter().map(row).collect()
}

fn captions(scores: &evaluate::CaptionScores) -> CaptionScores {
    CaptionScores { seen: scores.seen.clone(), held_out: scores.held_out.clone() }
}

/// What was compared with each reference split, or why nothing was.
type Splits = Vec<(String, Result<SplitScores, String>)>;

fn compared(splits: &evaluate::BySplit) -> Splits {
    splits.iter().map(|(split, scores)| (split.clone(), Ok(scores.clone()))).collect()
}

fn others(
    scored: &BTreeMap<String, evaluate::BySplit>,
    floors: &Floors,
    splits: impl Fn(&evaluate::BySplit) -> Splits,
) -> BTreeMap<String, FeatureScores> {
    let of = |(name, scores): (&String, &evaluate::BySplit)| {
        let none = BySplit::new();
        let floors = floors.others.get(name).unwrap_or(&none);
        (name.clone(), feature_scores(&splits(scores), floors))
    };
    scored.iter().map(of).collect()
}

/// The Fréchet distances of test images, as many as there are samples.
struct Floors {
    headline: BySplit,
    others: BTreeMap<String, BySplit>,
}

impl Floors {
    fn of(rows: &[CalibrationScores]) -> Self {
        let test = rows.iter().find(|row| row.name == "test_set");
        let scored = test.and_then(|row| row.features.as_ref().ok());
        let distances = |splits: &evaluate::BySplit| {
            let mut distances = by_split(&compared(splits), |scores| scores.frechet_distance);
            if let Some(itself) = test.and_then(|row| row.from.as_ref()) {
                distances.insert(itself.clone(), Score::missing(ITSELF));
            }
            distances
        };
        let others = scored.into_iter().flat_map(|scored| &scored.other_features);
        Self {
            headline: scored.map(|scored| distances(&scored.splits)).unwrap_or_default(),
            others: others.map(|(name, splits)| (name.clone(), distances(splits))).collect(),
        }
    }
}

fn feature_scores(splits: &Splits, floors: &BySplit) -> FeatureScores {
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
    FeatureScores {
        frechet_distance_excess: frechet_distance.iter().map(excess).collect(),
        frechet_distance,
        kernel_distance: by_split(splits, |scores| scores.kernel_distance.mean),
        precision: by_split(splits, |scores| scores.precision),
        recall: by_split(splits, |scores| scores.recall),
        density: by_split(splits, |scores| scores.density),
        coverage: by_split(splits, |scores| scores.coverage),
        frechet_distance_infinity: by_split(splits, |scores| {
            scores.frechet_distance_infinity.value
        }),
        frechet_distance_infinity_error: by_split(splits, |scores| {
            scores.frechet_distance_infinity.standard_error
        }),
        kernel_distance_interval: by_split(splits, |scores| {
            let interval = scores.kernel_distance.interval;
            (interval.high - interval.low) / 2.0
        }),
    }
}

fn by_split(splits: &Splits, score: fn(&metrics::Scores) -> f64) -> BySplit {
    let of_split = |(split, compared): &(String, Result<SplitScores, String>)| {
        let values = compared.as_ref().map(|compared| compared.scores.iter().map(score).collect());
        (split.clone(), over_seeds(&values.map_err(String::clone)))
    };
    splits.iter().map(of_split).collect()
}

/// `distances`: one list an evaluation seed.
fn per_class(run: &Compared, distances: &[Vec<ClassDistance>]) -> Vec<ClassScore> {
    let Some(first) = distances.first() else { return Vec::new() };
    let score = |distances: Vec<&ClassDistance>| {
        over_seeds(&distances.into_iter().map(|distance| distance.distance.clone()).collect())
    };
    let of_class = |(i, class): (usize, &ClassDistance)| ClassScore {
        class: run.manifest.class_names.get(i).cloned().unwrap_or_else(|| i.to_string()),
        samples: class.fake,
        frechet_distance: score(distances.iter().filter_map(|of_seed| of_seed.get(i)).collect()),
        floor: score(run.calibration.per_class.get(i).into_iter().collect()),
    };
    first.iter().enumerate().map(of_class).collect()
}

fn memorization(scores: &ModelScores) -> Option<Memorization> {
    let repetition = scores.repetition.as_ref()?;
    let share = |of: &metrics::Memorization| Score::Measured {
        value: of.nearer_to_train,
        std: Some(of.standard_error),
    };
    let gap = scores.train_test_gap.clone().unwrap_or_else(|| Err("was not measured".to_owned()));
    Some(Memorization {
        nearer_to_train_features: share(&repetition.features),
        nearer_to_train_pixels: share(&repetition.pixels),
        near_copies: Score::Measured { value: repetition.pixels.near_copies, std: None },
        bits_per_dim_gap: gap.map(|gap| (gap.gap, Some(gap.standard_error))).into(),
    })
}

fn training(experiment: &Experiment, config: &ModelConfig, summary: &Summary) -> Training {
    let budget = &experiment.train.budget;
    Training {
        budget: match &config.train.from {
            Some(from) => format!("{budget} from {}", from.display()),
            None => budget.to_string(),
        },
        images: summary.images,
        seconds: summary.seconds,
        loader_seconds: summary.loader_seconds,
        flops: summary.flops,
        images_per_second: summary.images_per_second,
        precision: summary.precision.name().to_owned(),
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

/// Likelihood by the headline method, and by the others.
fn bits_per_dim(
    likelihood: &Result<Vec<LikelihoodScore>, String>,
) -> (BitsPerDim, Vec<BitsPerDim>) {
    match likelihood.as_ref().map(|scores| scores.split_first()) {
        Ok(Some((headline, others))) => (measured(headline), others.iter().map(measured).collect()),
        Ok(None) => (BitsPerDim::missing("the model offers no method"), Vec::new()),
        Err(reason) => (BitsPerDim::missing(reason), Vec::new()),
    }
}

fn measured(score: &LikelihoodScore) -> BitsPerDim {
    let kind = match score.kind {
        LikelihoodKind::Exact => "exact",
        LikelihoodKind::Bound => "bound",
        LikelihoodKind::Estimate => "estimate",
    };
    BitsPerDim::Measured {
        value: score.value,
        standard_error: score.standard_error,
        kind: kind.to_owned(),
        method: score.method.clone(),
        conditional: score.conditional,
        images: score.images,
        draws: score.draws,
        passes: score.passes,
    }
}

/// `scores`: one entry an evaluation seed.
fn truth(scores: &[TrueScores]) -> Truth {
    let always = |of: fn(&TrueScores) -> f64| over_seeds(&Ok(scores.iter().map(of).collect()));
    let of_valid = |of: fn(&TrueScores) -> Option<Beside>| {
        let values: Option<Vec<f64>> = scores.iter().map(|s| of(s).map(|b| b.value)).collect();
        over_seeds(&values.ok_or_else(|| NOTHING_VALID.to_owned()))
    };
    Truth {
        tolerance: scores.first().map_or(0.0, |scores| scores.tolerance),
        valid: always(|s| s.valid),
        distance: always(|s| s.median_distance),
        held_out: always(|s| s.held_out),
        novelty: of_valid(|s| s.novelty),
        distinct: of_valid(|s| s.distinct),
        coverage: always(|s| s.coverage.value),
        total_variation: always(|s| s.total_variation.value),
        ideal_total_variation: always(|s| s.total_variation.ideal),
    }
}
