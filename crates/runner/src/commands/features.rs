//! `paragone features`: trains the frozen classifiers that scores are measured with.

use super::{prepare, say};
use crate::{cli::FeaturesArgs, files::write_atomically, interrupt, log::Reporter};
use anyhow::{Context, Result};
use paragone_data::{DataConfig, DataError, ImageSet, Split, hex};
use paragone_metrics::{
    Exam, LabelledImages, Lessons, Role, TrainOptions, TrainProgress, train_classifier,
};
use sha2::{Digest, Sha256};
use std::process::ExitCode;

pub fn execute(args: &FeaturesArgs) -> Result<ExitCode> {
    let device = prepare(&args.device, None)?;
    let config =
        DataConfig { dataset: args.dataset.clone(), size: args.size, ..DataConfig::default() };
    let dataset = paragone_data::open(&config, &args.datasets.datasets)?;
    let labelled = |set: ImageSet| {
        let labels = set.labels().with_context(|| format!("{} has no labels", args.dataset))?;
        anyhow::Ok(LabelledImages { images: set.images, labels })
    };
    let exam = Exam {
        test: labelled(dataset.load(Split::Test)?)?,
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

    let role = if args.judge { Role::Judge } else { Role::Features };
    let made = TrainOptions::for_dataset(&args.dataset, role);
    let options = TrainOptions {
        epochs: args.epochs.unwrap_or(made.epochs),
        seed: args.seed.unwrap_or(made.seed),
        ..made
    };
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
    let trained = train_classifier(&lessons, &exam, role, &options, device, &mut on_progress)?;
    if let Some(reporter) = reporter {
        reporter.finish();
    }
    write_atomically(&args.out, &trained.bytes)?;
    say(format_args!(
        "{}: {} bytes, SHA-256 {}",
        args.out.display(),
        trained.bytes.len(),
        hex(&Sha256::digest(&trained.bytes)),
    ));
    for learnt in &trained.classifier.card().attributes {
        let held_out = learnt.held_out_accuracy;
        let held_out =
            held_out.map_or(String::new(), |share| format!(", held-out {:.2} %", 100.0 * share));
        let (name, test) = (&learnt.attribute.name, 100.0 * learnt.test_accuracy);
        say(format_args!("  {name}: test {test:.2} %{held_out}"));
    }
    Ok(ExitCode::SUCCESS)
}
