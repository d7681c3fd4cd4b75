//! `paragone sample`: new images from a trained model.

use super::{prepare, say};
use crate::{
    cli::SampleArgs,
    config::Experiment,
    data::class_id,
    draw::{Drawing, cycle_classes},
    files::{RunDir, read_json},
    interrupt::EXIT_INTERRUPTED,
    log::Reporter,
    manifest::Manifest,
    trained::{Trained, find_model, read_experiment},
};
use anyhow::{Context, Result, bail, ensure};
use paragone_core::DataSpec;
use std::{path::Path, process::ExitCode};
use tch::Device;

pub fn execute(args: &SampleArgs) -> Result<ExitCode> {
    ensure!(args.n > 0, "--n is 0, but must be at least 1");
    ensure!(args.batch_size > 0, "--batch-size is 0, but must be at least 1");
    ensure!(args.columns > 0, "--columns is 0, but must be at least 1");
    let Opened { trained, class_names, name, device, .. } =
        open(&args.model, &args.set, || prepare(&args.device, None))?;
    let classes = if args.unconditional {
        vec![trained.spec.null_class(); args.n]
    } else {
        asked_classes(args, &trained.spec, &class_names)?
    };
    let drawing = Drawing {
        guidance_scale: args.guidance_scale,
        temperature: args.temperature,
        ..Drawing::new(
            classes,
            (0..args.n as u64).map(|i| args.seed + i).collect(),
            args.batch_size,
        )
    };
    let mut reporter = Reporter::new(&name, "images", 0, args.n as u64);
    let drawn = drawing.draw(&*trained.model, &trained.spec, device, Some(&mut reporter))?;
    reporter.finish();
    let Some(drawn) = drawn else { return Ok(ExitCode::from(EXIT_INTERRUPTED as u8)) };
    let grid = paragone_report::sample_grid(&drawn.levels, args.columns);
    paragone_report::save_png(&grid, &args.out)?;
    say(format_args!(
        "{}: {} images, {} network calls each, {:.3} s an image",
        args.out.display(),
        args.n,
        drawn.network_calls,
        drawn.seconds / args.n as f64
    ));
    Ok(ExitCode::SUCCESS)
}

/// A model opened by its directory.
#[derive(Debug)]
pub struct Opened {
    pub trained: Trained,
    pub experiment: Experiment,
    pub class_names: Vec<String>,
    pub run: RunDir,
    pub name: String,
    pub device: Device,
}

/// Opens `runs/a/diffusion` with overrides of the model's own keys.
pub fn open(
    path: &Path,
    overrides: &[String],
    prepare: impl FnOnce() -> Result<Device>,
) -> Result<Opened> {
    let (run, name) = RunDir::of_model(path).with_context(|| {
        format!(
            "{} is no model of a run: give RUN/MODEL, such as runs/quickstart/vae",
            path.display()
        )
    })?;
    let overrides: Vec<String> =
        overrides.iter().map(|set| format!("models.{name}.{set}")).collect();
    let experiment = read_experiment(&run, &overrides)?;
    if let Some(change) = experiment.difference(&read_experiment(&run, &[])?).trained {
        bail!("--set {}: it decides training, and {} is trained", change.key, path.display());
    }
    let config = find_model(&experiment, &name)?;
    let device = prepare()?;
    let trained = Trained::load(config, &run.model(&name), device)?;
    let manifest: Manifest = read_json(&run.manifest())?;
    Ok(Opened { trained, class_names: manifest.class_names, run, name, device, experiment })
}

fn asked_classes(args: &SampleArgs, data: &DataSpec, names: &[String]) -> Result<Vec<i64>> {
    if args.class.is_empty() {
        return Ok(cycle_classes(data, args.n, data.num_classes.max(1) as usize));
    }
    let asked: Vec<i64> =
        args.class.iter().map(|class| class_id(class, names)).collect::<Result<_>>()?;
    Ok(asked.iter().copied().cycle().take(args.n).collect())
}
