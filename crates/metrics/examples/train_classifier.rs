//! Trains the small classifier of a dataset and writes its weights: how those under `crates/metrics/weights` were made.
//!
//! ```text
//! cargo run --release -p paragone-metrics --example train_classifier -- DATASET features|judge FILE [DATASETS_DIR]
//! ```

use paragone_data::{DataConfig, ImageSet, Split};
use paragone_metrics::{LabelledImages, Role, TrainOptions, TrainProgress, train_classifier};
use std::{error::Error, io::Write, path::Path, time::Instant};
use tch::Device;

fn main() -> Result<(), Box<dyn Error>> {
    torch_ext::tune_allocator();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (dataset, role, file, folder) =
        match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [dataset, role, file] => (*dataset, *role, *file, "datasets"),
            [dataset, role, file, folder] => (*dataset, *role, *file, *folder),
            _ => {
                return Err(
                    "usage: train_classifier DATASET features|judge FILE [DATASETS_DIR]".into()
                );
            }
        };
    let role = match role {
        "features" => Role::Features,
        "judge" => Role::Judge,
        other => return Err(format!("{other} is neither features nor judge").into()),
    };
    let config = DataConfig { dataset: dataset.into(), ..DataConfig::default() };
    let data = paragone_data::open(&config, Path::new(folder))?;
    let (train, test) = (data.load(Split::Train)?, data.load(Split::Test)?);

    let start = Instant::now();
    let mut stderr = std::io::stderr();
    let mut report = |progress: TrainProgress| {
        let TrainProgress { step, steps, loss, .. } = progress;
        // Whether anyone reads it does not matter to the training.
        let _ = writeln!(stderr, "step {step} of {steps}: loss {loss:.4}, {:.0?}", start.elapsed());
    };
    let options = TrainOptions::for_dataset(dataset, role);
    let trained = train_classifier(
        dataset,
        role,
        labelled(&train)?,
        labelled(&test)?,
        &options,
        Device::cuda_if_available(),
        &mut report,
    )?;
    std::fs::write(file, &trained.bytes)?;
    let accuracy = trained.classifier.card().test_accuracy;
    writeln!(std::io::stdout(), "{file}: {} bytes, test accuracy {accuracy}", trained.bytes.len())?;
    Ok(())
}

fn labelled(set: &ImageSet) -> Result<LabelledImages<'_>, &'static str> {
    let classes = set.classes.as_ref().ok_or("the dataset has no classes")?;
    Ok(LabelledImages { images: &set.images, classes })
}
