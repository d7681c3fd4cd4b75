//! What feature extractors see of known faults: Fréchet distances between the train split and test images of which a
//! share is at fault, as multiples of what faultless test images score.
//!
//! `cargo run --release -p paragone-metrics --example faults -- DATASET DATASETS_FOLDER [WEIGHTS_FILE]...` prints a row a
//! fault and share, a column an extractor: random convolutions, the classifier, and networks of the given files.

#![allow(clippy::print_stdout)]

use paragone_data::{DataConfig, Split};
use paragone_metrics::{
    ClassifierFeatures, Defect, FeatureExtractor, Moments, RandomConvFeatures, frechet_distance,
};
use std::{env, error::Error, path::Path};
use tch::{Device, Tensor};

/// Shares of the test images that are at fault.
const SHARES: [f64; 3] = [0.1, 0.3, 1.0];

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [dataset, folder, files @ ..] = &args[..] else {
        return Err("usage: faults DATASET DATASETS_FOLDER [WEIGHTS_FILE]...".into());
    };
    let config = DataConfig { dataset: dataset.clone(), ..DataConfig::default() };
    let data = paragone_data::open(&config, Path::new(folder), &mut paragone_data::unwatched)?;
    let (train, test) = (data.load(Split::Train)?, data.load(Split::Test)?);
    let channels = train.shape().channels;
    let mut extractors: Vec<Box<dyn FeatureExtractor>> = vec![
        Box::new(RandomConvFeatures::new(channels, Device::Cpu)),
        Box::new(ClassifierFeatures::for_dataset(dataset, Device::Cpu)?),
    ];
    for file in files {
        extractors.push(Box::new(ClassifierFeatures::load(Path::new(file), Device::Cpu)?));
    }

    let mut sets = vec![("none".to_owned(), test.images.shallow_clone())];
    for defect in Defect::ALL {
        let faulty = defect.apply(&test.images, 0);
        for share in SHARES {
            let images = mixed(&test.images, &faulty, share);
            sets.push((format!("{} of {:.0} %", defect.name(), 100.0 * share), images));
        }
    }
    if let Some(classes) = &test.classes {
        for gone in [1, 2, 4] {
            let kept = test.images.index_select(0, &classes.ge(gone).nonzero().squeeze_dim(1));
            sets.push((format!("{gone} classes missing"), kept));
        }
    }

    let mut columns = Vec::new();
    for extractor in &extractors {
        let moments =
            |images: &Tensor| extractor.features(images).and_then(|rows| Moments::of(&rows));
        let real = moments(&train.images)?;
        let mut distances = Vec::new();
        for (_, images) in &sets {
            distances.push(frechet_distance(&real, &moments(images)?)?);
        }
        columns.push(distances);
    }
    let names: Vec<&str> = extractors.iter().map(|extractor| extractor.name()).collect();
    println!(
        "| {dataset}: {} train, {} test images | {} |",
        train.len(),
        test.len(),
        names.join(" | ")
    );
    println!("|---|{}", "---|".repeat(names.len()));
    for (row, (name, _)) in sets.iter().enumerate() {
        let cells = columns.iter().map(|distances| match row {
            0 => format!("{:.3e}", distances[0]),
            _ => format!("{:.2}", distances[row] / distances[0]),
        });
        println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    Ok(())
}

/// The first images at fault, a share of all, and the rest as they are.
fn mixed(images: &Tensor, faulty: &Tensor, share: f64) -> Tensor {
    let n = images.size()[0];
    let bad = (share * n as f64).round() as i64;
    Tensor::cat(&[faulty.narrow(0, 0, bad), images.narrow(0, bad, n - bad)], 0)
}
