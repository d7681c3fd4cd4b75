//! `paragone features`: trains the frozen classifiers that scores are measured with.

use super::{prepare, say};
use crate::{cli::FeaturesArgs, files::write_atomically, interrupt, log::Reporter};
use anyhow::{Context, Result};
use paragone_data::{DataConfig, Split, hex};
use paragone_metrics::{LabelledImages, Role, TrainOptions, train_classifier};
use sha2::{Digest, Sha256};
use std::process::ExitCode;

pub fn execute(args: &FeaturesArgs) -> Result<ExitCode> {
    let device = prepare(&args.device, None)?;
    let config =
        DataConfig { dataset: args.dataset.clone(), size: args.size, ..DataConfig::default() };
    let dataset = paragone_data::open(&config, &args.datasets.datasets)?;
    let (train, test) = (dataset.load(Split::Train)?, dataset.load(Split::Test)?);
    let classless = || format!("{} has no classes to learn", args.dataset);
    let train_classes = train.classes.as_ref().with_context(classless)?;
    let test_classes = test.classes.as_ref().with_context(classless)?;

    let role = if args.judge { Role::Judge } else { Role::Features };
    let made = TrainOptions::for_dataset(&args.dataset, role);
    let options = TrainOptions {
        epochs: args.epochs.unwrap_or(made.epochs),
        seed: args.seed.unwrap_or(made.seed),
        ..made
    };
    let mut reporter = Reporter::new("features", "images", 0, options.epochs * train.len() as u64);
    let trained = train_classifier(
        &args.dataset,
        role,
        LabelledImages { images: &train.images, classes: train_classes },
        LabelledImages { images: &test.images, classes: test_classes },
        &options,
        device,
        &mut |progress| {
            if interrupt::asked() {
                // Minutes of work without a checkpoint: nothing is written, nothing is lost but them.
                std::process::exit(interrupt::EXIT_INTERRUPTED);
            }
            reporter.message(format!("loss {:.3}", progress.loss));
            reporter.set(progress.images);
        },
    )?;
    reporter.finish();
    write_atomically(&args.out, &trained.bytes)?;
    say(format_args!(
        "{}: {} bytes, SHA-256 {}, test accuracy {:.2} %",
        args.out.display(),
        trained.bytes.len(),
        hex(&Sha256::digest(&trained.bytes)),
        100.0 * trained.classifier.card().test_accuracy
    ));
    Ok(ExitCode::SUCCESS)
}
