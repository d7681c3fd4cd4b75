//! Scoring one model: samples without any quality knob, likelihood, and what both cost.

use super::{
    Basis, References, Scored,
    captions::{CaptionScores, Captions},
    curves::{self, CurveReference, Subject},
    editing::Editing,
    extras::{Repeats, Repetition, inception_scores},
    inpainting::Inpainting,
    likelihood::{self, LikelihoodScore, TrainTestGap},
    memo::Memo,
    samples::{Cost, Request, Samples, Source},
    truth::Known,
};
use crate::{
    config::{Experiment, ModelConfig},
    data::RunData,
    files::{ModelDir, hash_of_file, read_json},
    prompts::Prompts,
    train::{Checkpoints, Plan, Summary},
    trained::Trained,
};
use anyhow::Result;
use paragone_core::Fact;
use paragone_data::shapes::TrueScores;
use paragone_metrics::{ClassDistance, ClassReference};
use paragone_report::{Curves, EditingScores, InpaintingScores};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use tch::{Device, Tensor};

/// What scores depend on: if it changes, they are made anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What all models' scores depend on.
    #[serde(flatten)]
    pub basis: Basis,
    /// The model's section, its sampler included.
    pub model: serde_json::Value,
    /// SHA-256 of its averaged weights.
    pub weights: String,
}

impl Settings {
    /// The settings under which a model would be scored now.
    ///
    /// # Errors
    /// Weights that cannot be read.
    pub fn of(basis: &Basis, config: &ModelConfig, dir: &ModelDir) -> Result<Self> {
        let weights = hash_of_file(&Checkpoints::new(dir.checkpoints()).latest_ema()?)?;
        Ok(Self { basis: basis.clone(), model: section(config), weights })
    }

    /// Whether a model that an experiment describes so is scored under them.
    pub fn are_of(&self, experiment: &Experiment, config: &ModelConfig) -> Result<bool> {
        let eval = serde_json::to_value(&experiment.eval)?;
        Ok(self.model == section(config) && self.basis.eval == eval)
    }

    /// What the samples are drawn from.
    pub fn source(&self, experiment: &Experiment, data: &RunData) -> Result<Source> {
        Ok(Source {
            version: super::SAMPLES_VERSION,
            model: self.model.clone(),
            weights: self.weights.clone(),
            train_hash: data.train.hash.clone(),
            captions_hash: match &data.spec.text {
                Some(_) => Some(data.test()?.hash.clone()),
                None => None,
            },
            batch_size: experiment.eval.batch_size,
            device: self.basis.device.clone(),
        })
    }

    /// What a part of the scores depends on that the headline's features and the judge are asked for. `eval`: what of that
    /// section it depends on.
    fn judged_by_features(&self, eval: serde_json::Value) -> Self {
        let basis = Basis { eval, other_features_hashes: Vec::new(), ..self.basis.clone() };
        Self { basis, ..self.clone() }
    }

    /// The same of a part that only the judge is asked for.
    fn judged(&self, eval: serde_json::Value) -> Self {
        let settings = self.judged_by_features(eval);
        Self { basis: Basis { features_hash: String::new(), ..settings.basis }, ..settings }
    }

    /// The same of likelihood, for which no network is asked but the model, nor all of that.
    fn measured(&self, eval: serde_json::Value, config: &ModelConfig) -> Self {
        let settings = self.judged(eval);
        let basis = Basis { judge_hash: None, ..settings.basis };
        let model = config.model.for_likelihood();
        Self { basis, model: section(&ModelConfig { model, ..config.clone() }), ..settings }
    }
}

/// A model's section of the experiment.
pub fn section(config: &ModelConfig) -> serde_json::Value {
    serde_json::to_value(config.model.to_value()).expect("a section has string keys only")
}

/// All scores of one model: saved as `scores.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelScores {
    /// What they depend on.
    pub settings: Settings,
    /// Feature scores.
    #[serde(flatten)]
    pub features: Scored,
    /// Likelihood by every method the model offers, the headline first, or why there is none.
    pub likelihood: Result<Vec<LikelihoodScore>, String>,
    /// Inception Score, one entry an evaluation seed; or why there is none.
    pub inception_score: Result<Vec<f64>, String>,
    /// Fréchet distance of every class, one list an evaluation seed; empty without classes.
    pub per_class: Vec<Vec<ClassDistance>>,
    /// What the known distribution of the data says, one entry an evaluation seed; `None` where it is not known.
    pub truth: Option<Vec<TrueScores>>,
    /// How much of what captions say is in samples of the first evaluation seed, where that can be judged.
    #[serde(default)]
    pub captions: Option<CaptionScores>,
    /// How well it fills holes, if that was looked into.
    #[serde(default)]
    pub inpainting: Option<InpaintingScores>,
    /// How well it edits, if that was looked into.
    #[serde(default)]
    pub editing: Option<EditingScores>,
    /// Whether samples repeat training images, if that was looked into.
    pub repetition: Option<Repetition>,
    /// What test images' likelihood lacks of training images', if memorization was looked for; or why there is no figure.
    pub train_test_gap: Option<Result<TrainTestGap, String>>,
    /// Share of samples in which a classifier other than the features' finds the class, or all that the caption says, one
    /// entry an evaluation seed; or why there is none.
    pub conditional_accuracy: Result<Vec<f64>, String>,
    /// Network calls of one sample.
    pub network_calls: u64,
    /// Seconds of one sample, drawn in batches of `eval.batch_size`.
    pub seconds_per_image: f64,
    /// Scores of fewer images along its training and under other settings.
    pub curves: Curves,
    /// Numbers about the model.
    pub facts: Vec<OwnedFact>,
}

/// A [`Fact`] that can be read back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OwnedFact {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// What it means.
    pub meaning: String,
}

impl From<Fact> for OwnedFact {
    fn from(fact: Fact) -> Self {
        Self { name: fact.name.to_owned(), value: fact.value, meaning: fact.meaning.to_owned() }
    }
}

/// What all models of a run are scored with.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its data.
    pub data: &'a RunData,
    /// What samples are compared with.
    pub references: &'a References,
    /// Training images by class, where there are classes.
    pub by_class: Option<&'a ClassReference>,
    /// The distribution of the data, where it is known.
    pub known: Option<&'a Known>,
    /// What captions are judged with, where they can be.
    pub captions: Option<&'a Captions>,
    /// The holes to fill, if there are any.
    pub inpainting: Option<&'a Inpainting<'a>>,
    /// The pictures to edit, if there are any.
    pub editing: Option<&'a Editing<'a>>,
    /// What memorization is looked for with, if it is.
    pub repeats: Option<&'a Repeats>,
    /// What points of curves are compared with, if curves are drawn.
    pub curves: Option<&'a CurveReference<'a>>,
    /// Where to compute.
    pub device: Device,
}

/// Scores a model; `None` when the user asked to stop.
pub fn score(
    scene: &Scene,
    config: &ModelConfig,
    settings: Settings,
    dir: &ModelDir,
) -> Result<Option<ModelScores>> {
    let &Scene { experiment, data, references, device, .. } = scene;
    let eval = &experiment.eval;
    let trained = Trained::load(config, dir, device)?;
    let prompts = Prompts::representative(data, eval.samples)?;
    let source = settings.source(experiment, data)?;

    let mut sets = Vec::new();
    let mut cost = Cost::default();
    let title = format!("{} samples", config.name);
    let request = |seed| Request {
        title: &title,
        seed,
        prompts: &prompts,
        guidance_scale: 1.0,
        temperature: 1.0,
        batch_size: eval.batch_size,
        device,
    };
    for &seed in &eval.seeds {
        let request = request(seed);
        let drawn = request.read_or_draw(&trained, dir, &source)?;
        let Some(Samples { levels, cost: spent }) = drawn else { return Ok(None) };
        cost.network_calls = spent.network_calls;
        cost.seconds += spent.seconds;
        sets.push(levels);
    }
    let seconds_per_image = cost.seconds / (eval.samples * eval.seeds.len() as u64) as f64;
    let conditional_accuracy = match &references.judge {
        None => Err(super::NO_JUDGE.to_owned()),
        Some(judge) => {
            let accuracy = sets.iter().map(|levels| prompts.accuracy(judge, levels));
            match accuracy.collect::<Option<Result<_, _>>>() {
                Some(accuracy) => Ok(accuracy?),
                None => Err(super::NOTHING_ASKED.to_owned()),
            }
        }
    };
    let captions = match scene.captions {
        None => None,
        Some(captions) => {
            let request = request(eval.seeds[0]);
            let of = json!([eval.batch_size, eval.samples, eval.seeds[0]]);
            let make = || captions.score_model(references, &request, &sets[0], &trained);
            match part("captions", settings.judged(of), dir, make)? {
                Some(scores) => Some(scores),
                None => return Ok(None),
            }
        }
    };
    let inpainting = match scene.inpainting {
        None => None,
        Some(inpainting) => {
            let of = json!([eval.batch_size, eval.inpainting, eval.reference]);
            let make = || inpainting.score_model(&trained, eval.batch_size, device);
            match part("inpainting", settings.judged_by_features(of), dir, make)? {
                Some(scores) => Some(scores),
                None => return Ok(None),
            }
        }
    };
    let editing = match scene.editing {
        None => None,
        Some(editing) => {
            let of = json!([eval.batch_size, eval.editing]);
            let make = || editing.score_model(&trained, eval.batch_size, device);
            match part("editing", settings.judged(of), dir, make)? {
                Some(scores) => Some(scores),
                None => return Ok(None),
            }
        }
    };
    let drawn_features = references.headline.features(&sets)?;
    let features = references.score(&drawn_features, &|space| space.features(&sets))?;
    let inception_score = inception_scores(&*references.headline.extractor, &drawn_features)?;
    let per_class = match scene.by_class {
        None => Vec::new(),
        Some(reference) => {
            let of_set = |features| reference.score(features, prompts.classes());
            drawn_features.iter().map(of_set).collect::<Result<_, _>>()?
        }
    };
    let truth = match scene.known {
        None => None,
        Some(known) => match known.scores(&sets)? {
            Some(scores) => Some(scores),
            None => return Ok(None),
        },
    };
    let first =
        |rows: &Tensor| rows.narrow(0, 0, eval.memorization_samples.min(eval.samples) as i64);
    let repetition = scene.repeats.map(|r| r.score(&first(&sets[0]), &first(&drawn_features[0])));
    let repetition = repetition.transpose()?;
    let of = json!([eval.batch_size, eval.likelihood_images, scene.repeats.is_some()]);
    let likelihood =
        part("likelihood", settings.measured(of, config), dir, || likelihoods(scene, &trained))?;
    let Some((likelihood, train_test_gap)) = likelihood else { return Ok(None) };
    let curves = match scene.curves {
        None => Curves::default(),
        Some(reference) => {
            let summary: Summary = read_json(&dir.summary())?;
            let plan: Plan = read_json(&dir.plan())?;
            let subject = Subject {
                config,
                dir,
                source: &source,
                prompts: &prompts,
                levels: &sets[0],
                features: &drawn_features[0],
                cost: (cost.network_calls, seconds_per_image),
                flops_per_image: plan.flops_per_image,
                trained: (summary.images, summary.seconds),
                device,
            };
            match curves::draw(experiment, reference, &subject)? {
                Some(curves) => curves,
                None => return Ok(None),
            }
        }
    };
    Ok(Some(ModelScores {
        settings,
        features,
        inception_score,
        per_class,
        truth,
        captions,
        inpainting,
        editing,
        repetition,
        train_test_gap,
        likelihood,
        conditional_accuracy,
        network_calls: cost.network_calls,
        seconds_per_image,
        curves,
        facts: trained.model.facts().into_iter().map(OwnedFact::from).collect(),
    }))
}

/// A part of the scores that takes long: from the model's folder, or made and kept there, so that neither a stop nor a change of
/// anything else makes it anew. `settings`: what it depends on. `None` when the user asked to stop.
fn part<T: Clone + Serialize + DeserializeOwned>(
    name: &str,
    settings: Settings,
    dir: &ModelDir,
    make: impl FnOnce() -> Result<Option<T>>,
) -> Result<Option<T>> {
    Memo::read(dir.part_of_scores(name)).get_or_make(settings, make)
}

/// [`ModelScores::likelihood`] and [`ModelScores::train_test_gap`].
type Likelihoods = (Result<Vec<LikelihoodScore>, String>, Option<Result<TrainTestGap, String>>);

/// Both; `None` when the user asked to stop.
fn likelihoods(scene: &Scene, trained: &Trained) -> Result<Option<Likelihoods>> {
    let &Scene { experiment, data, device, .. } = scene;
    let (model, spec) = (&*trained.model, &trained.spec);
    let batch_size = experiment.eval.batch_size as i64;
    let images = experiment.eval.likelihood_images;
    let measured = likelihood::measure(model, data.test()?, spec, images, batch_size, device)?;
    let Some(measured) = measured else { return Ok(None) };
    let gap = match scene.repeats.map(|_| &measured) {
        None => None,
        Some(Err(reason)) => Some(Err(reason.clone())),
        Some(Ok(measured)) => {
            let (headline, train) = (&measured[0], &data.train);
            match likelihood::train_test_gap(model, headline, train, spec, batch_size, device)? {
                Some(gap) => Some(gap),
                None => return Ok(None),
            }
        }
    };
    let scores = measured.map(|all| all.into_iter().map(|method| method.score).collect());
    Ok(Some((scores, gap)))
}
