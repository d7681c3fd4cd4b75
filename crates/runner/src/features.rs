//! Which network's features a dataset is scored in, and which other network judges its classes.

use crate::{
    config::{Experiment, Features, Problem},
    data::RunData,
};
use anyhow::Result;
use paragone_core::ImageShape;
use paragone_metrics::{ClassifierFeatures, FeatureExtractor, RandomConvFeatures};
use tch::Device;

/// The frozen networks that scores are taken with.
#[derive(Debug)]
pub struct Networks {
    /// What features the scores are of.
    pub extractor: Box<dyn FeatureExtractor>,
    /// What further features they are of, none twice.
    pub others: Vec<Box<dyn FeatureExtractor>>,
    /// Tells whether samples show what was asked; none for data without a network that could.
    pub judge: Option<ClassifierFeatures>,
}

impl Networks {
    /// The networks that the experiment's `eval.features` means for its data.
    ///
    /// # Errors
    /// The key's place, if it asks for a classifier that this data does not have.
    pub fn open(experiment: &Experiment, data: &RunData, device: Device) -> Result<Self> {
        let eval = &experiment.eval;
        let extractor = open(experiment, data, device, &["eval", "features"], eval.features)?;
        let mut others: Vec<Box<dyn FeatureExtractor>> = Vec::new();
        for (i, &features) in eval.other_features.iter().enumerate() {
            let path = ["eval", "other_features", &i.to_string()];
            let other = open(experiment, data, device, &path, features)?;
            let known = |known: &dyn FeatureExtractor| known.hash() == other.hash();
            if !known(&*extractor) && !others.iter().any(|other| known(&**other)) {
                others.push(other);
            }
        }
        Ok(Self { extractor, others, judge: judge(data, device) })
    }
}

/// The extractor that the key at `path` means.
fn open(
    experiment: &Experiment,
    data: &RunData,
    device: Device,
    path: &[&str],
    features: Features,
) -> Result<Box<dyn FeatureExtractor>> {
    let dataset = Some(data.dataset.name());
    extractor(&features, dataset, data.spec.shape, device).map_err(|rule| {
        let value = serde_json::to_string(&features).expect("plain data");
        let problem = Problem::Invalid { value: value.trim_matches('"').to_owned(), rule };
        experiment.error(path, problem).into()
    })
}

/// The extractor for images of a dataset, if they are from one, and of a shape.
///
/// # Errors
/// What is asked of `features` instead, as a clause.
pub fn extractor(
    features: &Features,
    dataset: Option<&str>,
    shape: ImageShape,
    device: Device,
) -> Result<Box<dyn FeatureExtractor>, String> {
    let random = || Box::new(RandomConvFeatures::new(shape.channels, device));
    let classifier = || -> Result<Box<dyn FeatureExtractor>, String> {
        let dataset = dataset.ok_or("must be random-conv for images that are of no dataset")?;
        let found = ClassifierFeatures::for_dataset(dataset, device).map_err(|e| e.to_string())?;
        let (ours, theirs) = (shape.dims(), found.card().shape.dims());
        if ours != theirs {
            return Err(format!(
                "must be random-conv for images of {ours:?}: the classifier sees {theirs:?}"
            ));
        }
        Ok(Box::new(found))
    };
    match features {
        Features::RandomConv => Ok(random()),
        Features::Auto => Ok(classifier().unwrap_or_else(|_| random())),
        Features::Classifier => classifier(),
    }
}

fn judge(data: &RunData, device: Device) -> Option<ClassifierFeatures> {
    let judge = ClassifierFeatures::judge_for_dataset(data.dataset.name(), device).ok()?;
    (judge.card().shape == data.spec.shape && data.spec.num_classes > 0).then_some(judge)
}
