//! `paragone features`: trains the frozen classifiers and dual encoders that scores are measured with.

use super::{prepare, say};
use crate::{cli::FeaturesArgs, data::open, files::write_atomically, interrupt, log::Reporter};
use anyhow::{Context, Result};
use paragone_data::{DataConfig, DataError, Dataset, ImageSet, Split, hex};
use paragone_metrics::{
    CANDIDATES, CaptionedImages, DualEncoder, Exam, LabelledImages, Lessons, MetricError, Role,
    TrainOptions, TrainProgress, train_classifier, train_dual_encoder,
};
use sha2::{Digest, Sha256};
use std::process::ExitCode;
use tch::{Device, Tensor};

pub fn execute(args: &FeaturesArgs) -> Result<ExitCode> {
    let device = prepare(&args.device, None)?;
    let config =
        DataConfig { dataset: args.dataset.clone(), size: args.size, ..DataConfig::default() };
    let dataset = open(&config, &args.datasets.datasets)?;
    let role = if args.judge { Role::Judge } else { Role::Features };
    let made = TrainOptions::for_dataset(&args.dataset, role);
    let options = TrainOptions {
        epochs: args.epochs.unwrap_or(made.epochs),
        seed: args.seed.unwrap_or(made.seed),
        ..made
    };
    let test = dataset.load(Split::Test)?;
    if test.captions.is_some() && test.asked.is_none() {
        return dual_encoder(args, &*dataset, test, role, &options, device);
    }
    let labelled = |set: ImageSet| {
        let labels = set.labels().with_context(|| format!("{} has no labels", args.dataset))?;
        anyhow::Ok(LabelledImages { images: set.images, labels })
    };
    let exam = Exam {
        test: labelled(test)?,
        held_out: match dataset.load(Split::HeldOut) {
            Err(DataError::NoSuchSplit { .. }) => None,
            set => Some(labelled(set?)?),
        },
    };
    let fresh = dataset.lesson(0).is_some();
    let train = if fresh { None } else { Some(labelled(dataset.load(Split::Train)?)?) };
    let epoch = |number: u64| match &train {
        Some(same) => same.clone(),
        None => {
            let set = dataset.lesson(number).expect("there was one before");
            labelled(set).expect("the test images have labels too")
        }
    };
    let lessons =
        Lessons { dataset: &args.dataset, attributes: dataset.attributes(), epoch: &epoch, fresh };

    let trained = with_progress(|on_progress| {
        train_classifier(&lessons, &exam, role, &options, device, on_progress)
    })?;
    write(args, &trained.bytes)?;
    for learnt in &trained.classifier.card().attributes {
        let held_out = learnt.held_out_accuracy;
        let held_out =
            held_out.map_or(String::new(), |share| format!(", held-out {:.2} %", 100.0 * share));
        let (name, test) = (&learnt.attribute.name, 100.0 * learnt.test_accuracy);
        say(format_args!("  {name}: test {test:.2} %{held_out}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// Trains on the images of both splits: who judges whether a model can draw what it never saw must have seen it.
fn dual_encoder(
    args: &FeaturesArgs,
    dataset: &dyn Dataset,
    test: ImageSet,
    role: Role,
    options: &TrainOptions,
    device: Device,
) -> Result<ExitCode> {
    let train = dataset.load(Split::Train)?;
    let images = Tensor::cat(&[&train.images, &test.images], 0);
    let captions: Vec<String> =
        [train, test].into_iter().flat_map(|set| set.captions).flatten().collect();
    let set = CaptionedImages { images: &images, captions: &captions };
    let bytes = with_progress(|on_progress| {
        train_dual_encoder(&args.dataset, set, role, options, device, on_progress)
    })?;
    write(args, &bytes)?;
    let made = DualEncoder::from_bytes(&bytes, device)?;
    let first = 100.0 * made.card().first;
    say(format_args!("  {first:.2} % of captions rank first among {CANDIDATES}"));
    Ok(ExitCode::SUCCESS)
}

/// Runs a training under a progress bar.
fn with_progress<T>(
    train: impl FnOnce(&mut dyn FnMut(TrainProgress)) -> Result<T, MetricError>,
) -> Result<T> {
    let mut reporter = None;
    let mut on_progress = |progress: TrainProgress| {
        if interrupt::asked() {
            // Minutes of work without a checkpoint: nothing is written, nothing is lost but them.
            std::process::exit(interrupt::EXIT_INTERRUPTED);
        }
        let reporter =
            reporter.get_or_insert_with(|| Reporter::new("features", "steps", 0, progress.steps));
        reporter.message(format!("loss {:.3}", progress.loss));
        reporter.set(progress.step);
    };
    let trained = train(&mut on_progress)?;
    if let Some(reporter) = reporter {
        reporter.finish();
    }
    Ok(trained)
}

fn write(args: &FeaturesArgs, bytes: &[u8]) -> Result<()> {
    write_atomically(&args.out, bytes)?;
    let hash = hex(&Sha256::digest(bytes));
    say(format_args!("{}: {} bytes, SHA-256 {hash}", args.out.display(), bytes.len()));
    Ok(())
}
