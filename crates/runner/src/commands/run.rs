//! `paragone run`: trains every model of an experiment, each in a process of its own, scores and compares them.

use super::{EXIT_WRONG_INPUT, prepare, say, train::EXIT_DIVERGED};
use crate::{
    cli::RunArgs,
    compare::{self, Compared},
    config::{Change, Experiment, ModelConfig, Run},
    data::RunData,
    evaluate,
    files::{Lock, RunDir, create_dir, read_json_if_there, write_atomically, write_json},
    interrupt::{self, EXIT_INTERRUPTED},
    log::note,
    manifest::Manifest,
    train::{Failure, Plan, Session},
    trained::{read_experiment, read_runs},
};
use anyhow::{Context, Error, Result, bail, ensure};
use paragone_data::{DataConfig, DataError, MOST_TOKENS};
use std::{
    path::Path,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    time::Duration,
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
        if interrupt::asked() || code == ExitCode::from(EXIT_INTERRUPTED as u8) {
            return Ok(code);
        }
        if code != ExitCode::SUCCESS && worst != ExitCode::from(EXIT_WRONG_INPUT) {
            worst = code;
        }
    }
    Ok(worst)
}

fn run_one(args: &RunArgs, experiment: &Experiment, run: &RunDir) -> Result<ExitCode> {
    // Training happens in processes of its own; scoring takes all cores.
    let threads = experiment.train.threads().filter(|_| args.dry_run);
    let device = prepare(&args.device, threads)?;
    let data = open_data(args, experiment)?;
    experiment.check_data(&data.spec)?;
    if let n @ 1.. = data.cut_captions() {
        note(&format!("of {n} training captions only the first {MOST_TOKENS} words are read"));
    }
    check_models(args, experiment, &data, run, device)?;
    evaluate::check(experiment, &data, device)?;
    if args.dry_run {
        return dry_run(experiment, &data, run, device);
    }
    let _lock = start(args, experiment, &data, run)?;

    let Some(mut failed) = train_all(args, experiment, run)? else {
        return Ok(interrupted(run));
    };
    let Some(unscored) = evaluate::evaluate_run(experiment, &data, run, device)? else {
        return Ok(interrupted(run));
    };
    let compared = Compared::read(run)?;
    let Some(table) = compare::write(&[compared], &data, &run.comparison(), device)? else {
        return Ok(interrupted(run));
    };
    say(table);
    say(format_args!("pictures and scores: {}", run.comparison().display()));
    failed.extend(unscored.into_iter().map(Failed::from));
    Ok(exit_code(&failed))
}

/// The exit code of an action in which some models failed, which it names.
pub fn exit_code(failed: &[Failed]) -> ExitCode {
    failed.iter().for_each(|model| note(&model.reason));
    match failed {
        [] => ExitCode::SUCCESS,
        _ if failed.iter().any(|model| model.is_error) => ExitCode::from(EXIT_WRONG_INPUT),
        _ => ExitCode::FAILURE,
    }
}

/// Opens the dataset; fetches it first if it is not there and can be had without the user's help.
fn open_data(args: &RunArgs, experiment: &Experiment) -> Result<RunData> {
    let datasets = &args.datasets.datasets;
    let opened = RunData::open(experiment, datasets);
    let DataConfig { dataset, path: None, .. } = &experiment.data else { return opened };
    let missing =
        |error: &anyhow::Error| matches!(error.downcast_ref(), Some(DataError::NotFetched { .. }));
    let fetchable = !paragone_data::spec(dataset)?.packages.is_empty();
    if fetchable && !args.dry_run && opened.as_ref().is_err_and(missing) {
        super::data::fetch(dataset, None, datasets)?;
        return RunData::open(experiment, datasets);
    }
    opened
}

/// Checks what only the built models know.
fn check_models(
    args: &RunArgs,
    experiment: &Experiment,
    data: &RunData,
    run: &RunDir,
    device: Device,
) -> Result<()> {
    experiment.models.iter().try_for_each(|model| {
        Session::new(experiment, &model.name, data, run.model(&model.name), device)?
            .check(args.fresh)
    })
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
            "{name}: {} parameters, {:.2} training GFLOP an image in {}, {} images in {} steps",
            plan.parameters,
            plan.flops_per_image / 1e9,
            plan.precision.name(),
            plan.images(),
            plan.steps,
        ));
        for fact in session.facts()? {
            let value = match fact.value.abs() {
                tiny if 0.0 < tiny && tiny < 1e-3 => format!("{:.2e}", fact.value),
                _ => format!("{:.4}", fact.value),
            };
            say(format_args!("  {} = {value}: {}", fact.name, fact.meaning));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the run's directory ready: new, or the same run continued. It is this process's for as long as the lock lives.
fn start(args: &RunArgs, experiment: &Experiment, data: &RunData, run: &RunDir) -> Result<Lock> {
    let dir = run.path();
    let there = run.experiment().is_file();
    ensure!(
        there || run.is_vacant(),
        "{} is not empty and not a run: it has no experiment.yaml; choose another --out",
        dir.display()
    );
    if there && !args.fresh {
        continue_run(args, experiment, data, run)?;
    }
    let lock = run.lock()?;
    if args.fresh {
        run.clear(&lock)?;
    }
    // First of all: it makes the folder a run, which the same command continues.
    write_atomically(&run.experiment(), experiment.to_yaml().as_bytes())?;
    // What a continued run was begun with stays on record.
    if !run.manifest().is_file() {
        write_json(&run.manifest(), &Manifest::of(experiment, data))?;
    }
    for ModelConfig { name, .. } in &experiment.models {
        let dir = run.model(name);
        create_dir(dir.path())?;
        if !dir.data().is_file() {
            if let Some(tokenizer) = &data.tokenizer {
                write_atomically(&dir.tokenizer(), tokenizer.to_json().as_bytes())?;
            }
            write_json(&dir.data(), &data.spec)?;
        }
    }
    Ok(lock)
}

/// Checks that what an earlier command trained is what this one would.
fn continue_run(
    args: &RunArgs,
    experiment: &Experiment,
    data: &RunData,
    run: &RunDir,
) -> Result<()> {
    if let Some(manifest) = read_json_if_there::<Manifest>(&run.manifest())? {
        ensure!(
            manifest.data_hash == data.train.hash,
            "the images of {} are no longer those that {} was trained on; choose another --out, or \
             start over with --fresh",
            experiment.data.dataset,
            run.path().display()
        );
    }
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

/// Trains every model that is not trained yet, `train.jobs` at a time. Returns what went wrong with which, or `None`
/// when the user asked to stop.
fn train_all(args: &RunArgs, experiment: &Experiment, run: &RunDir) -> Result<Option<Vec<Failed>>> {
    let trained = |name: &str| run.model(name).summary().exists();
    // A model that begins with another waits for it.
    let mut waiting: Vec<&str> =
        experiment.models.iter().map(|model| &*model.name).filter(|name| !trained(name)).collect();
    let jobs = experiment.train.jobs as usize;
    let mut running: Vec<(&str, Child)> = Vec::new();
    let mut failed = Vec::new();
    let mut stopped = false;
    while !(running.is_empty() && (waiting.is_empty() || stopped)) {
        while !stopped
            && running.len() < jobs
            && let Some(next) = waiting.iter().position(|name| {
                let model = experiment.model(name).expect("a model of the experiment");
                let teacher = experiment.teacher(model).map(|teacher| &*teacher.name);
                let is_teacher = |name: &&str| Some(*name) == teacher;
                !waiting.iter().chain(running.iter().map(|(name, _)| name)).any(is_teacher)
            })
        {
            let name = waiting.remove(next);
            running.push((name, start_training(args, run, name, jobs > 1)?));
        }
        let mut still = Vec::new();
        for (name, mut child) in running {
            match child.try_wait().context("cannot wait for a training process")? {
                None => still.push((name, child)),
                Some(status) if status.code() == Some(EXIT_INTERRUPTED) => stopped = true,
                Some(status) => failed.extend(failure(run, name, status)?),
            }
        }
        running = still;
        stopped |= interrupt::asked();
        if stopped {
            // The trainings end when their input does.
            for (_, child) in &mut running {
                drop(child.stdin.take());
            }
        }
        std::thread::sleep(POLL);
    }
    Ok((!stopped).then_some(failed))
}

/// How often the training processes are looked after.
const POLL: Duration = Duration::from_millis(50);

/// One model's training: one generator of random numbers, one peak-memory figure, one failure.
fn start_training(args: &RunArgs, run: &RunDir, name: &str, plain: bool) -> Result<Child> {
    let mut program = std::env::current_exe().context("cannot find this program's file")?;
    if cfg!(target_os = "linux") && !program.exists() {
        // A build since the start has put another file in its place; the one that runs is still to be had.
        program = "/proc/self/exe".into();
    }
    let mut command = Command::new(&program);
    command.arg("train").arg(run.path()).args(["--model", name, "--follow-parent"]);
    command.args(["--device", args.device.device.as_str()]);
    command.arg("--datasets").arg(&args.datasets.datasets);
    if let Some(threads) = args.device.threads {
        command.arg("--threads").arg(threads.to_string());
    }
    if plain {
        command.arg("--plain");
    }
    let started = command.stdin(Stdio::piped()).spawn();
    started.with_context(|| format!("cannot start a training by {}", program.display()))
}

/// A model that could not be trained to its end, or not scored.
pub struct Failed {
    /// Its name, and why.
    reason: String,
    /// Whether by an error, such as a damaged checkpoint, rather than by diverging or crashing.
    is_error: bool,
}

/// Of a model that could not be scored.
impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        let is_error = !error.is::<evaluate::Panicked>();
        Self { reason: format!("{error:#}"), is_error }
    }
}

/// What went wrong with a model whose training has ended, if anything did.
fn failure(run: &RunDir, name: &str, status: ExitStatus) -> Result<Option<Failed>> {
    if status.success() {
        return Ok(None);
    }
    let saved = read_json_if_there::<Failure>(&run.model(name).failure())?;
    let reason = match saved {
        Some(failure) if status.code() == Some(i32::from(EXIT_DIVERGED)) => {
            format!("{name}: {}", failure.reason)
        }
        _ => format!("{name}: training failed ({status}); its message stands above"),
    };
    let is_error = status.code() == Some(i32::from(EXIT_WRONG_INPUT));
    Ok(Some(Failed { reason, is_error }))
}
