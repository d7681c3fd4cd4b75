//! The networks that come with the crate recognise real images that they never saw.

use paragone_data::{DataConfig, Split};
use paragone_metrics::{ClassifierFeatures, FeatureExtractor};
use std::{collections::HashMap, path::Path};
use tch::{Device, Kind, Tensor};

const BOTH: [fn(&str, Device) -> paragone_metrics::Result<ClassifierFeatures>; 2] =
    [ClassifierFeatures::for_dataset, ClassifierFeatures::judge_for_dataset];

#[test]
fn every_attribute_of_shapes_is_told() {
    let config = DataConfig { test_images: Some(2000), ..DataConfig::default() };
    let data =
        paragone_data::open(&config, Path::new("datasets"), &mut paragone_data::unwatched).unwrap();
    for split in [Split::Test, Split::HeldOut] {
        let set = data.load(split).unwrap();
        for load in BOTH {
            let network = load("shapes", Device::Cpu).unwrap();
            let learnt = network.card().attributes.iter().map(|learnt| learnt.attribute.clone());
            assert!(learnt.eq(data.attributes()));
            let accuracy = network.attribute_accuracy(&set.images, &set.labels().unwrap()).unwrap();
            // At least 99 % of 10,000 are right; 98.5 % leaves these 2,000 two standard errors.
            let enough = accuracy.each.iter().all(|share| share.unwrap() >= 0.985);
            assert!(enough, "{} {split}: {:?}", network.name(), accuracy.each);
        }
    }
}

/// The first four test images of each class of Fashion-MNIST (Xiao, Rasul & Vollgraf 2017, MIT licence).
#[test]
fn garments_are_recognised() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fashion-mnist-40.safetensors");
    let tensors: HashMap<_, _> = Tensor::read_safetensors(file).unwrap().into_iter().collect();
    let (images, classes) = (&tensors["images"], tensors["classes"].to_kind(Kind::Int64));
    let accuracies = BOTH.map(|load| {
        let network = load("fashion-mnist", Device::Cpu).unwrap();
        network.class_accuracy(images, &classes).unwrap()
    });
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
