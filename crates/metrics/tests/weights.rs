//! The networks that come with the crate recognise real images that they never saw.

use paragone_data::{DataConfig, Split};
use paragone_metrics::{ClassifierFeatures, FeatureExtractor, LabelledImages};
use std::{collections::HashMap, path::Path};
use tch::{Device, Kind, Tensor};

/// Accuracy of a dataset's feature network and of its judge.
fn accuracies(dataset: &str, set: LabelledImages<'_>) -> [f64; 2] {
    [ClassifierFeatures::for_dataset, ClassifierFeatures::judge_for_dataset].map(|load| {
        let classifier = load(dataset, Device::Cpu).unwrap();
        classifier.class_accuracy(set.images, set.classes).unwrap()
    })
}

#[test]
fn shapes_are_recognised() {
    let config = DataConfig { test_images: Some(1000), ..DataConfig::default() };
    let set = paragone_data::open(&config, Path::new("datasets")).unwrap();
    let set = set.load(Split::Test).unwrap();
    let classes = set.classes.as_ref().unwrap();
    let accuracies = accuracies("shapes", LabelledImages { images: &set.images, classes });
    assert!(accuracies.iter().all(|&accuracy| accuracy >= 0.985), "{accuracies:?}");
}

/// The first four test images of each class of Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, MIT licence).
#[test]
fn garments_are_recognised() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fashion-mnist-40.safetensors");
    let tensors: HashMap<_, _> = Tensor::read_safetensors(file).unwrap().into_iter().collect();
    let (images, classes) = (&tensors["images"], tensors["classes"].to_kind(Kind::Int64));
    let accuracies = accuracies("fashion-mnist", LabelledImages { images, classes: &classes });
    // Nine in ten are right on average; 33 of 40 leaves room for a library that rounds otherwise.
    assert!(accuracies.iter().all(|&accuracy| accuracy >= 0.825), "{accuracies:?}");
}

#[test]
fn features_and_judge_are_different_networks() {
    for dataset in ["fashion-mnist", "shapes"] {
        let features = ClassifierFeatures::for_dataset(dataset, Device::Cpu).unwrap();
        let judge = ClassifierFeatures::judge_for_dataset(dataset, Device::Cpu).unwrap();
        assert_eq!(features.dim(), 128);
        assert_ne!(features.card().options.seed, judge.card().options.seed);
        assert_ne!(features.hash(), judge.hash());
    }
}
