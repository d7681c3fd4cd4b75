//! Which network's features images are scored in, and which other network judges their classes.

use crate::{
    config::{Experiment, Features, Problem, TorchScript},
    data::RunData,
};
use anyhow::Result;
use paragone_core::ImageShape;
use paragone_metrics::{
    ClassifierFeatures, DualEncoder, FeatureExtractor, InceptionFeatures, MetricError, Preparation,
    RandomConvFeatures, Role, TorchScriptFeatures,
};
use std::fmt;
use tch::Device;

/// The frozen networks that scores are taken with.
#[derive(Debug)]
pub struct Networks {
    /// What features the scores are of.
    pub extractor: Box<dyn FeatureExtractor>,
    /// What further features they are of, none twice.
    pub others: Vec<Box<dyn FeatureExtractor>>,
    /// Tells whether samples show what was asked; none for data without a network that could.
    pub judge: Option<Judge>,
}

/// A frozen network that tells whether samples show what was asked.
#[derive(Debug)]
pub enum Judge {
    /// Reads classes and other attributes.
    Attributes(ClassifierFeatures),
    /// Ranks captions.
    Captions(DualEncoder),
}

impl Judge {
    /// SHA-256 of its weights.
    pub fn hash(&self) -> &str {
        match self {
            Self::Attributes(classifier) => classifier.hash(),
            Self::Captions(dual) => dual.hash(),
        }
    }

    /// The reader of attributes, if it is one.
    pub fn attributes(&self) -> Option<&ClassifierFeatures> {
        match self {
            Self::Attributes(classifier) => Some(classifier),
            Self::Captions(_) => None,
        }
    }
}

impl Networks {
    /// The networks that the experiment's `eval.features` and `eval.other_features` mean for its data.
    ///
    /// # Errors
    /// The key's place, if it asks for a classifier that this data does not have, or names a file that holds no such network.
    pub fn open(experiment: &Experiment, data: &RunData, device: Device) -> Result<Self> {
        let eval = &experiment.eval;
        let open = |path: &[&str], features: &Features| -> Result<Box<dyn FeatureExtractor>> {
            extractor(features, Some(data.dataset.name()), data.spec.shape, device)
                .map_err(|unusable| unusable.at(experiment, path, features))
        };
        let extractor = open(&["eval", "features"], &eval.features)?;
        let mut others: Vec<Box<dyn FeatureExtractor>> = Vec::new();
        for (i, features) in eval.other_features.iter().enumerate() {
            let other = open(&["eval", "other_features", &i.to_string()], features)?;
            let known = |known: &dyn FeatureExtractor| known.hash() == other.hash();
            if !known(&*extractor) && !others.iter().any(|other| known(&**other)) {
                others.push(other);
            }
        }
        Ok(Self { extractor, others, judge: judge(data, device) })
    }
}

/// Why there are no such features for these images.
#[derive(Debug)]
pub enum Unusable {
    /// What is asked of the value instead, as a clause.
    Rule(String),
    /// A file that the value names under a key is no such network.
    File(&'static str, MetricError),
}

impl Unusable {
    /// The error with the place of the value that `path` leads to.
    fn at(self, experiment: &Experiment, path: &[&str], features: &Features) -> anyhow::Error {
        let error = match self {
            Self::Rule(rule) => {
                let value = serde_json::to_string(features).expect("plain data");
                let value = value.trim_matches('"').to_owned();
                experiment.error(path, Problem::Invalid { value, rule })
            }
            Self::File(key, error) => {
                experiment.error(&[path, &[key]].concat(), Problem::Other(error.to_string()))
            }
        };
        error.into()
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => f.write_str(rule),
            Self::File(_, error) => error.fmt(f),
        }
    }
}

/// The extractor for images of a dataset, if they are from one, and of a shape.
pub fn extractor(
    features: &Features,
    dataset: Option<&str>,
    shape: ImageShape,
    device: Device,
) -> Result<Box<dyn FeatureExtractor>, Unusable> {
    let random = || Box::new(RandomConvFeatures::new(shape.channels, device));
    let classifier = || -> Result<Box<dyn FeatureExtractor>, String> {
        let dataset = dataset.ok_or("must be random-conv for images that are of no dataset")?;
        let dual = DualEncoder::for_dataset(dataset, Role::Features, device);
        let (found, made_for): (Box<dyn FeatureExtractor>, _) = match dual {
            Ok(dual) => {
                let shape = dual.card().shape;
                (Box::new(dual), shape)
            }
            Err(_) => {
                let classifier = ClassifierFeatures::for_dataset(dataset, device);
                let classifier = classifier.map_err(|e| e.to_string())?;
                let shape = classifier.card().shape;
                (Box::new(classifier), shape)
            }
        };
        let (ours, theirs) = (shape.dims(), made_for.dims());
        if ours != theirs {
            return Err(format!(
                "must be random-conv for images of {ours:?}: the classifier sees {theirs:?}"
            ));
        }
        Ok(found)
    };
    Ok(match features {
        Features::RandomConv => random(),
        Features::Auto => classifier().unwrap_or_else(|_| random()),
        Features::Classifier => classifier().map_err(Unusable::Rule)?,
        Features::Inception(path) => {
            let loaded = InceptionFeatures::load(path, device);
            Box::new(loaded.map_err(|e| Unusable::File("inception", e))?)
        }
        Features::TorchScript(TorchScript { path, size, mean, std }) => {
            let preparation = Preparation { size: *size as i64, mean: *mean, std: *std };
            let loaded = TorchScriptFeatures::load(path, preparation, device);
            Box::new(loaded.map_err(|e| Unusable::File("torchscript", e))?)
        }
    })
}

fn judge(data: &RunData, device: Device) -> Option<Judge> {
    let name = data.dataset.name();
    let (judge, made_for) = if data.spec.text.is_some() && data.train.asked.is_none() {
        let dual = DualEncoder::for_dataset(name, Role::Judge, device).ok()?;
        let made_for = dual.card().shape;
        (Judge::Captions(dual), made_for)
    } else {
        let classifier = ClassifierFeatures::judge_for_dataset(name, device).ok()?;
        let made_for = classifier.card().shape;
        (Judge::Attributes(classifier), made_for)
    };
    let asks = data.spec.num_classes > 0 || data.spec.text.is_some();
    (made_for == data.spec.shape && asks).then_some(judge)
}
