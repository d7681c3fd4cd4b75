//! The networks that come with this crate; `weights/README.md` says how they were made.

use crate::{MetricError, Result, Role};

const EMBEDDED: &[(&str, Role, &[u8])] = &[
    ("fashion-mnist", Role::Features, include_bytes!("../weights/fashion-mnist.safetensors")),
    ("fashion-mnist", Role::Judge, include_bytes!("../weights/fashion-mnist-judge.safetensors")),
    ("cifar10", Role::Features, include_bytes!("../weights/cifar10.safetensors")),
    ("cifar10", Role::Judge, include_bytes!("../weights/cifar10-judge.safetensors")),
    ("mnist", Role::Features, include_bytes!("../weights/mnist.safetensors")),
    ("mnist", Role::Judge, include_bytes!("../weights/mnist-judge.safetensors")),
    ("shapes", Role::Features, include_bytes!("../weights/shapes.safetensors")),
    ("shapes", Role::Judge, include_bytes!("../weights/shapes-judge.safetensors")),
];

/// Dual encoders.
const DUAL: &[(&str, Role, &[u8])] = &[
    ("emoji", Role::Features, include_bytes!("../weights/emoji.safetensors")),
    ("emoji", Role::Judge, include_bytes!("../weights/emoji-judge.safetensors")),
];

/// A classifier's weights for a dataset and role.
pub(crate) fn find(dataset: &str, role: Role) -> Result<&'static [u8]> {
    find_among(EMBEDDED, dataset, role)
}

/// A dual encoder's weights for a dataset and role.
pub(crate) fn find_dual(dataset: &str, role: Role) -> Result<&'static [u8]> {
    find_among(DUAL, dataset, role)
}

fn find_among(
    embedded: &[(&str, Role, &'static [u8])],
    dataset: &str,
    role: Role,
) -> Result<&'static [u8]> {
    let of_role = || embedded.iter().filter(|(_, other, _)| *other == role);
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
    use crate::{ClassifierFeatures, DualEncoder, FeatureExtractor, card};
    use tch::Device;

    #[test]
    fn every_network_is_what_it_is_listed_as() {
        for (dataset, role, bytes) in EMBEDDED {
            assert!(bytes.len() < 1_000_000, "{dataset} {role:?}");
            let classifier = ClassifierFeatures::from_bytes(bytes, Device::Cpu).unwrap();
            let card = classifier.card();
            assert_eq!((card.dataset.as_str(), card.role), (*dataset, *role));
            // The command in weights/README.md makes them again.
            assert_eq!(card.options, crate::TrainOptions::for_dataset(dataset, *role));
            let least = match *dataset {
                "cifar10" => 0.8,
                "fashion-mnist" => 0.91,
                _ => 0.99,
            };
            for learnt in &card.attributes {
                let accuracies = [Some(learnt.test_accuracy), learnt.held_out_accuracy];
                let lowest = accuracies.into_iter().flatten().fold(1.0, f64::min);
                assert!(lowest >= least, "{dataset} {role:?}: {} {lowest}", learnt.attribute.name);
            }
            let readme = include_str!("../weights/README.md");
            assert!(
                readme.contains(classifier.hash()),
                "{dataset} {role:?}: {}",
                classifier.hash()
            );
        }
    }

    #[test]
    fn every_dual_encoder_is_what_it_is_listed_as() {
        for (dataset, role, bytes) in DUAL {
            let dual = DualEncoder::from_bytes(bytes, Device::Cpu).unwrap();
            let card = dual.card();
            assert_eq!((card.dataset.as_str(), card.role), (*dataset, *role));
            assert_eq!(card.options, crate::TrainOptions::for_dataset(dataset, *role));
            assert!(bytes.len() < 1_000_000 && card.first > 0.95, "{dataset} {role:?}");
            assert!(include_str!("../weights/README.md").contains(dual.hash()), "{}", dual.hash());
        }
    }

    /// So a command that trained them anew would write them as they are, whatever a card has come to hold since.
    #[test]
    fn every_file_is_written_as_it_is_read() {
        for (dataset, role, bytes) in EMBEDDED {
            let (card, network) = card::from_bytes(bytes, Device::Cpu).unwrap();
            assert!(card::to_bytes(&network, &card) == *bytes, "{dataset} {role:?}");
        }
    }

    #[test]
    fn a_dataset_without_weights_is_named() {
        let error = find("sheep", Role::Features).unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no feature network for the dataset sheep; there is one for fashion-mnist, cifar10, mnist, \
             shapes"
        );
        assert!(ClassifierFeatures::judge_for_dataset("sheep", Device::Cpu).is_err());
    }
}
