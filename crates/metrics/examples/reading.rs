//! How well networks read images that are not quite as they should be, as generated ones are: for every attribute, the
//! share of test images that it is told right of.
//!
//! `cargo run --release -p paragone-metrics --example reading -- DATASET DATASETS_FOLDER [WEIGHTS_FILE]...` prints a row an
//! attribute, for the classifier and the judge of the dataset and networks of the given files.

#![allow(clippy::print_stdout)]

use paragone_data::{DataConfig, Split};
use paragone_metrics::{ClassifierFeatures, Defect, FeatureExtractor};
use std::{env, error::Error, path::Path};
use tch::Device;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [dataset, folder, files @ ..] = &args[..] else {
        return Err("usage: reading DATASET DATASETS_FOLDER [WEIGHTS_FILE]...".into());
    };
    let config = DataConfig { dataset: dataset.clone(), ..DataConfig::default() };
    let data = paragone_data::open(&config, Path::new(folder), &mut paragone_data::unwatched)?;
    let mut networks = vec![
        ClassifierFeatures::for_dataset(dataset, Device::Cpu)?,
        ClassifierFeatures::judge_for_dataset(dataset, Device::Cpu)?,
    ];
    for file in files {
        networks.push(ClassifierFeatures::load(Path::new(file), Device::Cpu)?);
    }

    let test = data.load(Split::Test)?;
    let labels = test.labels().ok_or("the images have no labels")?;
    let noisy = |times: u64| {
        (0..times).fold(test.images.copy(), |images, seed| Defect::Noise.apply(&images, seed))
    };
    let mut sets = vec![
        ("test", test.images.shallow_clone(), labels.shallow_clone()),
        ("noise σ 4", noisy(1), labels.shallow_clone()),
        ("noise σ 12", noisy(9), labels.shallow_clone()),
        ("noise σ 20", noisy(25), labels.shallow_clone()),
        ("blur", Defect::Blur.apply(&test.images, 0), labels.shallow_clone()),
        ("shift", Defect::Shift.apply(&test.images, 0), labels.shallow_clone()),
    ];
    if let Ok(held_out) = data.load(Split::HeldOut) {
        let labels = held_out.labels().ok_or("the images have no labels")?;
        sets.insert(1, ("held-out", held_out.images, labels));
    }

    for network in &networks {
        let columns = sets.iter().map(|(_, images, labels)| {
            let accuracy = network.attribute_accuracy(images, labels)?;
            Ok(accuracy.each.into_iter().flatten().chain([accuracy.all]).collect())
        });
        let columns = columns.collect::<Result<Vec<Vec<f64>>, paragone_metrics::MetricError>>()?;
        let heads: Vec<&str> = sets.iter().map(|(name, ..)| *name).collect();
        println!(
            "| {} | {} |\n|---|{}",
            network.name(),
            heads.join(" | "),
            "---|".repeat(heads.len())
        );
        let names = network.card().attributes.iter().map(|learnt| learnt.attribute.name.as_str());
        for (row, name) in names.chain(["all of them"]).enumerate() {
            let cells: Vec<String> =
                columns.iter().map(|column| format!("{:.2}", 100.0 * column[row])).collect();
            println!("| {name} | {} |", cells.join(" | "));
        }
        println!();
    }
    Ok(())
}
