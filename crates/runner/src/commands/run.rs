//! `paragone run`: trains every model of an experiment, each in a process of its own, scores and compares them.

use super::{prepare, say, train::EXIT_DIVERGED};
use crate::{
    cli::RunArgs,
    compare::{self, Compared},
    config::{Change, Experiment, ModelConfig, Run},
    data::RunData,
    evaluate,
    files::{RunDir, create_dir, read_json_if_there, write_atomically, write_json},
    interrupt::{self, EXIT_INTERRUPTED},
    log::note,
    manifest::Manifest,
    train::{Failure, Plan, Session, Summary},
    trained::{read_experiment, read_runs},
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};
use tch::Device;

pub fn execute(args: &RunArgs) -> Result<ExitCode> {
    let mut set = args.set.clone();
    set.extend(args.seed.map(|seed| format!("seed={seed}")));
    let runs = read_runs(&args.experiment, &set)?;
    let mut worst = ExitCode::SUCCESS;
    for Run { folder, experiment } in &runs {
        let out = args.out.clone().unwrap_or_else(|| Path::new("runs").join(&experiment.name));
        let run = RunDir::new(out.join(folder.as_deref().unwrap_or_default()));
        let code = run_one(args, experiment, &run)?;
        if interrupt::asked() {
            return Ok(code);
        }
        if code != ExitCode::SUCCESS {
            worst = code;
        }
    }
    Ok(worst)
}

fn run_one(args: &RunArgs, experiment: &Experiment, run: &RunDir) -> Result<ExitCode> {
    let device = prepare(&args.device, experiment.train.threads)?;
    let data = RunData::open(experiment, &args.datasets.datasets)?;
    experiment.check_data(&data.spec)?;
    if args.dry_run {
        return dry_run(experiment, &data, run, device);
    }
    start(args, experiment, &data, run)?;

    let mut failed = Vec::new();
    for ModelConfig { name, .. } in &experiment.models {
        match train_in_child(args, run, name)? {
            Trained::Finished => {}
            Trained::Failed(reason) => failed.push(format!("{name}: {reason}")),
            Trained::Interrupted => return Ok(interrupted(run)),
        }
    }
    if evaluate::evaluate_run(experiment, &data, run, device)?.is_break() {
        return Ok(interrupted(run));
    }
    let comparison = compare::write(&[Compared::read(run)?], &data, &run.comparison(), device)?;
    say(comparison.table);
    say(format_args!("pictures and scores: {}", run.comparison().display()));
    for failure in &failed {
        note(failure);
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn interrupted(run: &RunDir) -> ExitCode {
    note(&format!("{} is unfinished: the same command continues it", run.path().display()));
    ExitCode::from(EXIT_INTERRUPTED as u8)
}

/// Prints what a run would do.
fn dry_run(
    experiment: &Experiment,
    data: &RunData,
    run: &RunDir,
    device: Device,
) -> Result<ExitCode> {
    say(experiment.to_yaml());
    for ModelConfig { name, .. } in &experiment.models {
        let session = Session::new(experiment, name, data, run.model(name), device)?;
        let plan: Plan = session.make_plan()?;
        say(format_args!(
            "{name}: {} parameters, {:.2} training GFLOP an image, {} images in {} steps",
            plan.parameters,
            plan.flops_per_image / 1e9,
            plan.images(),
            plan.steps,
        ));
        session.check_phases()?;
        for fact in session.facts()? {
            say(format_args!("  {} = {:.4}: {}", fact.name, fact.value, fact.meaning));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the run's directory ready: new, or the same run continued.
fn start(args: &RunArgs, experiment: &Experiment, data: &RunData, run: &RunDir) -> Result<()> {
    let dir = run.path();
    if args.fresh && dir.exists() {
        ensure!(
            run.experiment().is_file() || is_empty(dir),
            "--fresh deletes runs only, and {} is none: it has no experiment.yaml",
            dir.display()
        );
        fs::remove_dir_all(dir).with_context(|| format!("cannot delete {}", dir.display()))?;
    }
    if run.experiment().is_file() {
        continue_run(args, experiment, run)?;
    } else if dir.exists() && !is_empty(dir) {
        bail!("{} is not empty and not a run; choose another --out", dir.display());
    }
    create_dir(dir)?;
    write_atomically(&run.experiment(), experiment.to_yaml().as_bytes())?;
    write_json(&run.manifest(), &Manifest::of(experiment, data))?;
    for ModelConfig { name, .. } in &experiment.models {
        create_dir(run.model(name).path())?;
        write_json(&run.model(name).data(), &data.spec)?;
    }
    Ok(())
}

/// Checks that what an earlier command trained is what this one would.
fn continue_run(args: &RunArgs, experiment: &Experiment, run: &RunDir) -> Result<()> {
    let difference = experiment.difference(&read_experiment(run, &[])?);
    if let Some(Change { key, then, now }) = difference.trained {
        bail!(
            "{}: {key} is {now}, but {} was trained with {then}; choose another --out, or start \
             over with --fresh",
            args.experiment.display(),
            run.path().display()
        );
    }
    if !difference.removed.is_empty() {
        bail!(
            "{}: {} is in {} and not in this experiment; choose another --out, or start over with \
             --fresh",
            args.experiment.display(),
            difference.removed.join(", "),
            run.path().display()
        );
    }
    if let Some(Change { key, then, now }) = difference.eval {
        note(&format!("{key} was {then} and is {now}: scoring anew"));
    }
    Ok(())
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

enum Trained {
    Finished,
    Failed(String),
    Interrupted,
}

/// One model's training: one generator of random numbers, one peak-memory figure, one failure.
fn train_in_child(args: &RunArgs, run: &RunDir, name: &str) -> Result<Trained> {
    let dir = run.model(name);
    if read_json_if_there::<Summary>(&dir.summary())?.is_some() {
        return Ok(Trained::Finished);
    }
    let program: PathBuf = std::env::current_exe().context("cannot find this program's file")?;
    let mut command = Command::new(program);
    command.arg("train").arg(run.path()).args(["--model", name, "--follow-parent"]);
    command.args(["--device", args.device.device.as_str()]);
    command.arg("--datasets").arg(&args.datasets.datasets);
    if let Some(threads) = args.device.threads {
        command.arg("--threads").arg(threads.to_string());
    }
    let status = command.status().context("cannot start a training process")?;
    if interrupt::asked() || status.code() == Some(EXIT_INTERRUPTED) {
        return Ok(Trained::Interrupted);
    }
    if status.success() {
        return Ok(Trained::Finished);
    }
    let failure = read_json_if_there::<Failure>(&dir.failure())?;
    Ok(Trained::Failed(match failure {
        Some(failure) if status.code() == Some(i32::from(EXIT_DIVERGED)) => failure.reason,
        _ => format!("training failed ({status}); its message stands above"),
    }))
}
