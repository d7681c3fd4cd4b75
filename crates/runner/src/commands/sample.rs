//! `paragone sample`: new images from a trained model.

use super::{prepare, say};
use crate::{
    cli::SampleArgs,
    config::Experiment,
    data::class_id,
    draw::Drawing,
    files::{RunDir, read_json},
    interrupt::EXIT_INTERRUPTED,
    log::{Reporter, note},
    manifest::Manifest,
    prompts::cycle_classes,
    trained::{Trained, find_model, read_experiment},
};
use anyhow::{Context, Result, bail, ensure};
use paragone_core::Conditions;
use paragone_data::Tokenizer;
use paragone_report::{GridOptions, Row, comparison_grid, sample_grid, save_png};
use std::{fs, path::Path, process::ExitCode};
use tch::{Device, Tensor};

/// Columns of a grid, and most columns that prompts get one each of.
const COLUMNS: usize = 8;

pub fn execute(args: &SampleArgs) -> Result<ExitCode> {
    ensure!(args.n > 0, "--n is 0, but must be at least 1");
    ensure!(args.batch_size > 0, "--batch-size is 0, but must be at least 1");
    ensure!(args.columns != Some(0), "--columns is 0, but must be at least 1");
    ensure!(
        args.negative_prompt.is_none() || args.guidance_scale != 1.0,
        "--negative-prompt does nothing at --guidance-scale 1: give one above it, such as 3"
    );
    let opened = open(&args.model, &args.set, || prepare(&args.device, None))?;
    let Opened { trained, name, device, .. } = &opened;
    let prompts = written_prompts(args)?;
    ensure!(
        prompts.len() <= args.n,
        "--n is {}, but there are {} prompts: give at least as many images",
        args.n,
        prompts.len()
    );
    let conditions = asked(args, &prompts, &opened)?;
    let negative = match &args.negative_prompt {
        Some(prompt) => Some(of_prompts(std::slice::from_ref(prompt), args.n, &opened)?),
        None => None,
    };
    let drawing = Drawing {
        guidance_scale: args.guidance_scale,
        temperature: args.temperature,
        negative: negative.as_ref(),
        ..Drawing::new(
            &conditions,
            (0..args.n as u64).map(|i| args.seed + i).collect(),
            args.batch_size,
        )
    };
    let mut reporter = Reporter::new(name, "images", 0, args.n as u64);
    let drawn = drawing.draw(&*trained.model, *device, Some(&mut reporter))?;
    reporter.finish();
    let Some(drawn) = drawn else { return Ok(ExitCode::from(EXIT_INTERRUPTED as u8)) };
    let one_each = (2..=COLUMNS).contains(&prompts.len()).then_some(prompts.len());
    let columns = args.columns.or(one_each).unwrap_or(COLUMNS);
    let grid = if columns == prompts.len() {
        let row = Row { label: String::new(), images: drawn.levels };
        let options = GridOptions { reference_rows: 0, ..GridOptions::default() };
        comparison_grid(&[row], &prompts, columns, &options)
    } else {
        sample_grid(&drawn.levels, columns)
    };
    save_png(&grid, &args.out)?;
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

/// The prompts of the command line, then those of the file.
fn written_prompts(args: &SampleArgs) -> Result<Vec<String>> {
    let mut prompts = args.prompt.clone();
    if let Some(path) = &args.prompts {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let before = prompts.len();
        prompts.extend(lines.map(str::to_owned));
        ensure!(prompts.len() > before, "{} has no prompt: write one a line", path.display());
    }
    Ok(prompts)
}

/// What each image is asked to be.
fn asked(args: &SampleArgs, prompts: &[String], opened: &Opened) -> Result<Conditions> {
    let (n, data) = (args.n, &opened.trained.spec);
    if args.unconditional {
        return Ok(Conditions::none(n as i64, data, Device::Cpu));
    }
    if !prompts.is_empty() {
        return of_prompts(prompts, n, opened);
    }
    if data.text.is_some() && args.class.is_empty() {
        bail!("{} draws what a text says: give --prompt TEXT, or --unconditional", opened.name);
    }
    ensure!(
        args.class.is_empty() || data.num_classes > 0,
        "--class: {} was trained without classes",
        opened.name
    );
    let classes = if args.class.is_empty() {
        cycle_classes(data, n, data.num_classes.max(1) as usize)
    } else {
        let id = |class: &String| class_id(class, &opened.class_names);
        let asked: Vec<i64> = args.class.iter().map(id).collect::<Result<_>>()?;
        asked.iter().copied().cycle().take(n).collect()
    };
    Ok(Conditions::of_classes(&classes, data, Device::Cpu))
}

/// Prompts in turn for `n` images. Says what the model will not understand of them.
fn of_prompts(prompts: &[String], n: usize, opened: &Opened) -> Result<Conditions> {
    let (data, path) = (&opened.trained.spec, opened.run.model(&opened.name).tokenizer());
    let Some(text) = &data.text else {
        bail!("{} was trained without captions: it knows no prompts", opened.name)
    };
    let tokenizer = Tokenizer::read(&path)?;
    let mut tokens = Vec::new();
    for prompt in prompts {
        let words = tokenizer.encode(prompt);
        if !words.unknown.is_empty() {
            let unknown = words.unknown.join(", ");
            note(&format!("\"{prompt}\": no training caption has the words {unknown}"));
        }
        if !words.cut.is_empty() {
            note(&format!(
                "\"{prompt}\": longer than the {} words of the longest training caption; not read: {}",
                text.max_tokens,
                words.cut.join(" ")
            ));
        }
        tokens.push(Tensor::from_slice(&words.tokens));
    }
    let turn: Vec<i64> = (0..n).map(|i| (i % prompts.len()) as i64).collect();
    let tokens = Tensor::stack(&tokens, 0).index_select(0, &Tensor::from_slice(&turn));
    Ok(Conditions { tokens, ..Conditions::none(n as i64, data, Device::Cpu) })
}
