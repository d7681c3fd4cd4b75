//! The networks that come with this crate; `weights/README.md` says how they were made.

use crate::{ClassifierFeatures, FeatureExtractor, MetricError, RandomConvFeatures, Result, Role};
use paragone_core::ImageShape;
use tch::Device;

const EMBEDDED: &[(&str, Role, &[u8])] = &[
    ("fashion-mnist", Role::Features, include_bytes!("../weights/fashion-mnist.safetensors")),
    ("fashion-mnist", Role::Judge, include_bytes!("../weights/fashion-mnist-judge.safetensors")),
    ("shapes", Role::Features, include_bytes!("../weights/shapes.safetensors")),
    ("shapes", Role::Judge, include_bytes!("../weights/shapes-judge.safetensors")),
];

/// The extractor to score a dataset with when nothing else is asked for: its classifier, if there is one for images of
/// this shape, or else [`RandomConvFeatures`].
///
/// # Errors
/// If libtorch fails.
pub fn default_features(
    dataset: &str,
    shape: ImageShape,
    device: Device,
) -> Result<Box<dyn FeatureExtractor>> {
    match ClassifierFeatures::for_dataset(dataset, device) {
        Ok(classifier) if classifier.card().shape == shape => Ok(Box::new(classifier)),
        Ok(_) | Err(MetricError::NoWeights { .. }) => {
            Ok(Box::new(RandomConvFeatures::new(shape.channels, device)))
        }
        Err(error) => Err(error),
    }
}

/// The weights for a dataset and role.
pub(crate) fn find(dataset: &str, role: Role) -> Result<&'static [u8]> {
    let of_role = || EMBEDDED.iter().filter(|(_, other, _)| *other == role);
    match of_role().find(|(name, ..)| *name == dataset) {
        Some((.., bytes)) => Ok(bytes),
        None => Err(MetricError::NoWeights {
            role: if role == Role::Features { "feature" } else { "judge" },
            dataset: dataset.into(),
            available: of_role().map(|(name, ..)| *name).collect::<Vec<_>>().join(", "),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_is_what_it_is_listed_as() {
        for (dataset, role, bytes) in EMBEDDED {
            assert!(bytes.len() < 1_000_000, "{dataset} {role:?}");
            let classifier = ClassifierFeatures::from_bytes(bytes, Device::Cpu).unwrap();
            let card = classifier.card();
            assert_eq!((card.dataset.as_str(), card.role), (*dataset, *role));
            // The command in weights/README.md makes them again.
            assert_eq!(card.options, crate::TrainOptions::for_dataset(dataset, *role));
            let least = if *dataset == "shapes" { 0.99 } else { 0.91 };
            assert!(card.test_accuracy >= least, "{dataset} {role:?}: {}", card.test_accuracy);
        }
    }

    #[test]
    fn another_shape_or_dataset_gets_the_network_without_labels() {
        let name = |dataset: &str, channels, side| {
            let shape = ImageShape { channels, height: side, width: side };
            default_features(dataset, shape, Device::Cpu).unwrap().name().to_owned()
        };
        assert_eq!(name("fashion-mnist", 1, 28), "classifier/fashion-mnist");
        assert_eq!(name("shapes", 3, 16), "classifier/shapes");
        assert_eq!(name("shapes", 3, 32), "random-conv");
        assert_eq!(name("image-folder", 3, 28), "random-conv");
    }

    #[test]
    fn a_dataset_without_weights_is_named() {
        let error = find("sheep", Role::Features).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no feature network for the dataset sheep; there is one for fashion-mnist, shapes"
        );
        assert!(ClassifierFeatures::judge_for_dataset("sheep", Device::Cpu).is_err());
    }
}
