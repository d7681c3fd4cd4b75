//! Which network's features a dataset is scored in, and which other network judges its classes.

use crate::{
    config::{Experiment, Features, Problem, TorchScript},
    data::RunData,
};
use anyhow::Result;
use paragone_metrics::{
    ClassifierFeatures, FeatureExtractor, InceptionFeatures, MetricError, Preparation,
    RandomConvFeatures, TorchScriptFeatures,
};
use tch::Device;

/// The frozen networks that scores are taken with.
#[derive(Debug)]
pub struct Networks {
    /// What features the scores are of.
    pub extractor: Box<dyn FeatureExtractor>,
    /// Tells whether samples show what was asked; none for data without a network that could.
    pub judge: Option<ClassifierFeatures>,
}

impl Networks {
    /// The networks that the experiment's `eval.features` means for its data.
    ///
    /// # Errors
    /// The key's place, if it asks for a classifier that this data does not have, or names a file that holds no such network.
    pub fn open(experiment: &Experiment, data: &RunData, device: Device) -> Result<Self> {
        let random = || Box::new(RandomConvFeatures::new(data.spec.shape.channels, device));
        let classifier = || -> Result<ClassifierFeatures, String> {
            let found = ClassifierFeatures::for_dataset(data.dataset.name(), device)
                .map_err(|error| error.to_string())?;
            let (ours, theirs) = (data.spec.shape.dims(), found.card().shape.dims());
            let fits = ours == theirs;
            fits.then_some(found).ok_or_else(|| {
                format!(
                    "must be random-conv for images of {ours:?}: the classifier sees {theirs:?}"
                )
            })
        };
        let unusable = |key: &str, error: MetricError| {
            experiment.error(&["eval", "features", key], Problem::Other(error.to_string()))
        };
        let extractor: Box<dyn FeatureExtractor> = match &experiment.eval.features {
            Features::RandomConv => random(),
            Features::Auto => match classifier() {
                Ok(classifier) => Box::new(classifier),
                Err(_) => random(),
            },
            Features::Classifier => Box::new(classifier().map_err(|rule| {
                let problem = Problem::Invalid { value: "classifier".to_owned(), rule };
                experiment.error(&["eval", "features"], problem)
            })?),
            Features::Inception(path) => Box::new(
                InceptionFeatures::load(path, device).map_err(|e| unusable("inception", e))?,
            ),
            Features::TorchScript(TorchScript { path, size, mean, std }) => {
                let preparation = Preparation { size: *size as i64, mean: *mean, std: *std };
                let loaded = TorchScriptFeatures::load(path, preparation, device);
                Box::new(loaded.map_err(|e| unusable("torchscript", e))?)
            }
        };
        Ok(Self { extractor, judge: judge(data, device) })
    }
}

fn judge(data: &RunData, device: Device) -> Option<ClassifierFeatures> {
    let judge = ClassifierFeatures::judge_for_dataset(data.dataset.name(), device).ok()?;
    (judge.card().shape == data.spec.shape && data.spec.num_classes > 0).then_some(judge)
}
