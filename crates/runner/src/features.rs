//! Which network's features a dataset is scored in, and which other network judges its classes.

use crate::{config::Features, data::RunData};
use anyhow::Result;
use paragone_metrics::{ClassifierFeatures, FeatureExtractor, RandomConvFeatures};
use tch::Device;

/// The extractor that `eval.features` asks for.
pub fn extractor(
    choice: Features,
    data: &RunData,
    device: Device,
) -> Result<Box<dyn FeatureExtractor>> {
    let random = || Box::new(RandomConvFeatures::new(data.spec.shape.channels, device));
    let classifier = || ClassifierFeatures::for_dataset(data.dataset.name(), device);
    Ok(match choice {
        Features::RandomConv => random(),
        Features::Classifier => Box::new(classifier()?),
        Features::Auto => match classifier() {
            Ok(classifier) if fits(&classifier, data) => Box::new(classifier),
            _ => random(),
        },
    })
}

/// The classifier that tells whether samples show what was asked; none for data without one.
pub fn judge(data: &RunData, device: Device) -> Option<ClassifierFeatures> {
    let judge = ClassifierFeatures::judge_for_dataset(data.dataset.name(), device).ok()?;
    (fits(&judge, data) && data.spec.num_classes > 0).then_some(judge)
}

fn fits(classifier: &ClassifierFeatures, data: &RunData) -> bool {
    classifier.card().shape == data.spec.shape
}
