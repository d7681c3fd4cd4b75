//! Scores of fewer images along a model's training, with other numbers of network calls, and under quality knobs.
//!
//! Every point is of the same seeds and classes, the first of those that the headline's scores are of, so that points
//! differ by what they are points of and by little chance.

use super::{
    References, SCORES_VERSION,
    memo::Memo,
    references::SplitReference,
    samples::{Request, Samples, Source},
};
use crate::{
    config::{Experiment, ModelConfig, Reference},
    data::RunData,
    features::Judge,
    files::{ModelDir, hash_of_file},
    prompts::Prompts,
    train::Snapshots,
    trained::Trained,
};
use anyhow::{Context, Error, Result};
use paragone_core::mix;
use paragone_metrics::{FeatureExtractor, draw_rows, precision_recall};
use paragone_report::{Curves, FrontierPoint, PointScores, SamplingPoint, TrainingPoint};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};

/// What points are scored against: the headline's features of the first reference split.
#[derive(Debug)]
pub struct CurveReference<'a> {
    extractor: &'a dyn FeatureExtractor,
    judge: Option<&'a Judge>,
    /// The real features.
    split: &'a SplitReference,
    /// As many real features as there are samples behind a point.
    neighbours: Tensor,
    /// Neighbours of precision and recall.
    k: i64,
    /// What as many test images score.
    floor: f64,
    /// Images behind each point.
    samples: u64,
    /// Hashes and settings: all that scores depend on beside the images scored.
    basis: Vec<String>,
}

impl<'a> CurveReference<'a> {
    /// The reference of an experiment's curves; `None` if it asks for none, or for test images to be the reference, which then
    /// have no floor.
    pub fn new(
        experiment: &Experiment,
        references: &'a References,
        data: &RunData,
    ) -> Result<Option<Self>> {
        let eval = &experiment.eval;
        if eval.curves.samples == 0 || eval.reference.first() == Some(&Reference::Test) {
            return Ok(None);
        }
        let (space, test) = (&references.headline, data.test()?);
        let split = space.splits.first().context("a reference split")?;
        let (k, real) = (eval.precision_recall_k as i64, split.features.size()[0]);
        let n = (eval.curves.samples.min(eval.samples) as i64).min(test.len()).min(real);
        let neighbours = split.features.index_select(0, &draw_rows(real, n, mix(&[7])));
        let floor = split.reference.frechet_distance(&space.test.narrow(0, 0, n))?;
        let judge = references.judge.as_ref();
        let hashes = [space.extractor.hash(), &split.hash, &test.hash];
        let basis = hashes.into_iter().chain(judge.map(Judge::hash));
        let rest = [k.to_string(), SCORES_VERSION.to_string()];
        let basis = basis.map(str::to_owned).chain(rest).collect();
        let (extractor, samples) = (&*space.extractor, n as u64);
        Ok(Some(Self { extractor, judge, split, neighbours, k, floor, samples, basis }))
    }

    /// The scores of images by their features.
    fn score(&self, levels: &Tensor, features: &Tensor, prompts: &Prompts) -> Result<PointScores> {
        let distance = self.split.reference.frechet_distance(features)?;
        let neighbours = precision_recall(&self.neighbours, features, self.k)?;
        let accuracy = self.judge.and_then(|judge| prompts.accuracy(judge, levels));
        Ok(PointScores {
            frechet_distance: distance,
            frechet_distance_excess: distance - self.floor,
            precision: neighbours.precision,
            recall: neighbours.recall,
            conditional_accuracy: accuracy.transpose()?,
        })
    }
}

/// One model whose curves are drawn.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Its section of the experiment.
    pub config: &'a ModelConfig,
    /// Its folder.
    pub dir: &'a ModelDir,
    /// What the headline's samples were drawn from.
    pub source: &'a Source,
    /// What each of the headline's samples was asked to be.
    pub prompts: &'a Prompts,
    /// The headline's samples, u8 `[n, c, h, w]`.
    pub levels: &'a Tensor,
    /// Their features.
    pub features: &'a Tensor,
    /// What one of them cost: network calls and seconds.
    pub cost: (u64, f64),
    /// Training FLOPs an image.
    pub flops_per_image: f64,
    /// Images and seconds of the whole training.
    pub trained: (u64, f64),
    /// Where to compute.
    pub device: Device,
}

/// The curves of a model; `None` when the user asked to stop. Points that are there from an earlier time are not drawn
/// again.
pub fn draw(
    experiment: &Experiment,
    reference: &CurveReference,
    subject: &Subject,
) -> Result<Option<Curves>> {
    let n = reference.samples as usize;
    let Subject { config, dir, source, cost, flops_per_image, trained, .. } = *subject;
    let prompts = subject.prompts.narrow(0, n as i64);
    let mut points = Points {
        experiment,
        reference,
        subject,
        prompts: &prompts,
        memo: Memo::read(dir.curve_points()),
    };
    let first = |rows: &Tensor| rows.narrow(0, 0, n as i64);
    let end = reference.score(&first(subject.levels), &first(subject.features), &prompts)?;
    let mut curves = Curves { samples: reference.samples, ..Curves::default() };

    for snapshot in Snapshots::read(&dir.snapshots())? {
        let state = snapshot.state;
        let weights = hash_of_file(&snapshot.weights)?;
        let title = format!("{} after {} images", config.name, state.images);
        let model = || Trained::of(config, dir, snapshot.weights.clone(), subject.device);
        let source = Source { weights, ..source.clone() };
        let Some(point) = points.point(&title, &model, source, Knobs::NONE)? else {
            return Ok(None);
        };
        curves.training.push(TrainingPoint {
            images: state.images,
            seconds: state.seconds,
            flops: state.images as f64 * flops_per_image,
            scores: point.scores,
        });
    }
    let (images, seconds) = trained;
    let flops = images as f64 * flops_per_image;
    curves.training.push(TrainingPoint { images, seconds, flops, scores: end });

    curves.sampling.push(SamplingPoint {
        network_calls: cost.0,
        seconds_per_image: cost.1,
        scores: end,
    });
    for other in config.model.sampling_costs() {
        let config = ModelConfig { model: other, ..config.clone() };
        let section = super::model::section(&config);
        let spec = &crate::files::read_json(&dir.data())?;
        if config.model.validate(spec).is_err() {
            continue;
        }
        let title = format!("{} at other costs", config.name);
        let model = || Trained::load(&config, dir, subject.device);
        let source = Source { model: section, ..source.clone() };
        let Some(point) = points.point(&title, &model, source, Knobs::NONE)? else {
            return Ok(None);
        };
        curves.sampling.push(SamplingPoint {
            network_calls: point.network_calls,
            seconds_per_image: point.seconds_per_image,
            scores: point.scores,
        });
    }
    curves.sampling.sort_by_key(|point| point.network_calls);

    let wanted = &experiment.eval.curves;
    let conditional = subject.prompts.differ();
    let knobs = [
        ("temperature", &wanted.temperatures[..]),
        ("guidance_scale", if conditional { &wanted.guidance_scales[..] } else { &[] }),
    ];
    for (knob, values) in knobs {
        for &value in values.iter().filter(|&&value| value != 1.0) {
            let mut knobs = Knobs::NONE;
            *(if knob == "temperature" {
                &mut knobs.temperature
            } else {
                &mut knobs.guidance_scale
            }) = value;
            let title = format!("{} at {knob} {value}", config.name);
            let model = || Trained::load(config, dir, subject.device);
            match points.point(&title, &model, source.clone(), knobs) {
                Ok(Some(point)) => curves.frontier.push(FrontierPoint {
                    knob: knob.to_owned(),
                    value,
                    scores: point.scores,
                }),
                Ok(None) => return Ok(None),
                Err(error) => {
                    let reason = unsupported(error)?;
                    curves.lacks.insert(knob.to_owned(), reason);
                    break;
                }
            }
        }
        if !values.is_empty() && !curves.lacks.contains_key(knob) {
            let point = FrontierPoint { knob: knob.to_owned(), value: 1.0, scores: end };
            curves.frontier.push(point);
        }
    }
    curves
        .frontier
        .sort_by(|a, b| (&a.knob, a.value).partial_cmp(&(&b.knob, b.value)).expect("numbers"));
    Ok(Some(curves))
}

/// Why a model has no such knob; any other error is one.
fn unsupported(error: Error) -> Result<String> {
    match error.downcast_ref::<paragone_core::Error>() {
        Some(paragone_core::Error::Unsupported(reason)) => Ok(reason.clone()),
        _ => Err(error),
    }
}

/// Settings of a request that trade fidelity for diversity.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Knobs {
    guidance_scale: f64,
    temperature: f64,
}

impl Knobs {
    const NONE: Self = Self { guidance_scale: 1.0, temperature: 1.0 };
}

/// One point and what its images cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Point {
    scores: PointScores,
    network_calls: u64,
    seconds_per_image: f64,
}

/// Draws points and remembers them.
struct Points<'a> {
    experiment: &'a Experiment,
    reference: &'a CurveReference<'a>,
    subject: &'a Subject<'a>,
    prompts: &'a Prompts,
    memo: Memo<Key, Point>,
}

impl Points<'_> {
    /// The point of a model under knobs; `None` when the user asked to stop.
    fn point(
        &mut self,
        title: &str,
        model: &dyn Fn() -> Result<Trained>,
        source: Source,
        knobs: Knobs,
    ) -> Result<Option<Point>> {
        let &mut Self { experiment, reference, subject, prompts, ref mut memo } = self;
        let eval = &experiment.eval;
        let seed = *eval.seeds.first().context("an evaluation seed")?;
        let (samples, basis) = (reference.samples, reference.basis.clone());
        memo.get_or_make(Key { source, knobs, seed, samples, basis }, || {
            let request = Request {
                title,
                seed,
                prompts,
                guidance_scale: knobs.guidance_scale,
                temperature: knobs.temperature,
                batch_size: eval.batch_size,
                device: subject.device,
            };
            let Some(Samples { levels, cost }) = request.draw(&model()?)? else { return Ok(None) };
            Ok(Some(Point {
                scores: reference.score(
                    &levels,
                    &reference.extractor.features(&levels)?,
                    prompts,
                )?,
                network_calls: cost.network_calls,
                seconds_per_image: cost.seconds / prompts.len() as f64,
            }))
        })
    }
}

/// All that a point depends on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Key {
    source: Source,
    knobs: Knobs,
    seed: u64,
    samples: u64,
    basis: Vec<String>,
}
