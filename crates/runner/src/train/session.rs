//! Training one model from its plan to its end, or to a stop that the same command continues from.

use super::{
    Checkpoints, Plan, Snapshots, State, Trainer, TrainerOptions,
    due::Due,
    means::Means,
    plan::{self, Measured},
};
use crate::{
    config::{Experiment, ModelConfig, ModelTrain, Precision, TrainConfig},
    data::RunData,
    draw::Drawing,
    files::{Lock, ModelDir, create_dir, read_json, read_json_if_there, remove_asides, write_json},
    interrupt,
    log::{Events, MetricsLog, Record, Reporter},
    manifest::LIBTORCH,
    prompts::Prompts,
    trained::find_model,
};
use anyhow::{Context, Result, bail, ensure};
use paragone_core::{DataSpec, StepContext};
use paragone_data::Tokenizer;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf, time::Instant};
use tch::Device;

/// What training cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Trained values.
    pub parameters: i64,
    /// Optimiser steps made.
    pub steps: u64,
    /// Images seen.
    pub images: u64,
    /// Seconds spent in steps, over all sittings.
    pub seconds: f64,
    /// Those of them that went into waiting for a batch. On a GPU, which may have work left meanwhile, not all of them are lost.
    #[serde(default)]
    pub loader_seconds: f64,
    /// Multiply-adds times two.
    pub flops: f64,
    /// Images seen over seconds spent.
    pub images_per_second: f64,
    /// The plan's.
    #[serde(default)]
    pub precision: Precision,
    /// Most memory that a training process held where it computed, of all sittings.
    pub peak_memory_bytes: Option<u64>,
}

/// Why training ended before its plan did, other than by a stop: saved as `failure.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// What happened.
    pub reason: String,
    /// Step by which it had happened.
    pub step: u64,
}

/// How a session ended.
#[derive(Debug)]
pub enum Outcome {
    /// The plan is fulfilled.
    Finished(Summary),
    /// Stopped by the user at this step, checkpoint saved.
    Interrupted(u64),
    /// A loss or gradient was not finite; the last good checkpoint is kept.
    Diverged(Failure),
}

/// One sitting of training of one model.
#[derive(Debug)]
pub struct Session<'a> {
    experiment: &'a Experiment,
    name: &'a str,
    config: &'a ModelConfig,
    /// The experiment's training with this model's changes.
    train: TrainConfig,
    data: &'a RunData,
    dir: ModelDir,
    device: Device,
}

/// Columns of a grid of samples made during training.
const GRID_COLUMNS: usize = 10;
/// Images in it.
const GRID_IMAGES: usize = 40;

impl<'a> Session<'a> {
    /// The session that trains `name` in `dir`.
    pub fn new(
        experiment: &'a Experiment,
        name: &'a str,
        data: &'a RunData,
        dir: ModelDir,
        device: Device,
    ) -> Result<Self> {
        let config = find_model(experiment, name)?;
        let train = config.train.over(&experiment.train);
        Ok(Self { experiment, name, config, train, data, dir, device })
    }

    /// Trains to the end of the plan, from the newest checkpoint if there is one.
    pub fn run(&self) -> Result<Outcome> {
        create_dir(self.dir.path())?;
        let _lock = Lock::take(self.dir.path())?;
        let dir = &self.dir;
        for dir in [dir.path(), &dir.checkpoints(), &dir.snapshots(), &dir.samples()] {
            remove_asides(dir)?;
        }
        if let Some(summary) = read_json_if_there(&self.dir.summary())? {
            return Ok(Outcome::Finished(summary));
        }
        let plan = self.plan()?;
        // A model that diverged is tried again from its last good checkpoint.
        let _ = std::fs::remove_file(self.dir.failure());
        let precision = match plan.precision {
            Precision::Auto => self.precision(),
            planned => planned,
        };
        let mut trainer = self.trainer(precision, plan.images())?;
        let checkpoints = Checkpoints::new(self.dir.checkpoints());
        let state = match checkpoints.resume(&trainer)? {
            Some(state) => state,
            None => {
                self.begin(&mut trainer)?;
                State::default()
            }
        };
        self.train(&plan, &mut trainer, &checkpoints, state)
    }

    /// Counts parameters and FLOPs, and turns the budget into a plan, without writing anything.
    pub fn make_plan(&self) -> Result<Plan> {
        let TrainConfig { budget, batch_size, .. } = self.train;
        let precision = self.precision();
        if precision == Precision::Bf16 && !torch_ext::computes_in_bf16(self.device) {
            crate::log::note(&format!(
                "{}: this {} has no arithmetic in bf16: it computes in f32 and rounds to bf16, which gains no time",
                self.name,
                device_kind(self.device)
            ));
        }
        let trainer = self.trainer(precision, 1)?;
        let parameters = trainer.num_parameters();
        let mut loader = self.data.loader(batch_size, 0);
        let measured: Measured = plan::measure(trainer, &budget, self.device, || loader.next())?;
        Ok(Plan {
            steps: plan::steps(&budget, batch_size, &measured),
            batch_size,
            flops_per_image: measured.flops_per_image,
            seconds_per_image: (measured.seconds_per_image > 0.0)
                .then_some(measured.seconds_per_image),
            parameters,
            precision,
            threads: tch::get_num_threads(),
            device: device_kind(self.device).to_owned(),
            libtorch: LIBTORCH.to_owned(),
            order_hash: self.data.order_hash(),
        })
    }

    /// Checks what only a built model knows: that the phases named in the experiment are its own, and that it can begin with the
    /// weights that it is to begin with, unless it has begun. `fresh`: what it has done so far does not count.
    pub fn check(&self, fresh: bool) -> Result<()> {
        let ModelTrain { phases, from, .. } = &self.config.train;
        if phases.is_empty() && from.is_none() {
            return Ok(());
        }
        let mut trainer = self.trainer(self.precision(), 1)?;
        let phases: Vec<_> = trainer.phases().cloned().collect();
        self.experiment.check_phases(self.config, &phases)?;
        let begun = !fresh && Checkpoints::new(self.dir.checkpoints()).latest()?.is_some();
        match self.experiment.teacher(self.config) {
            _ if begun => Ok(()),
            None => self.begin(&mut trainer),
            Some(teacher) => {
                let dir = self.dir.sibling(&teacher.name);
                let teacher =
                    Session::new(self.experiment, &teacher.name, self.data, dir, self.device)?;
                let shapes = |trainer: Trainer| -> Vec<(String, Vec<i64>)> {
                    let state = trainer.model_state().into_iter();
                    state.map(|(name, value)| (name, value.size())).collect()
                };
                ensure!(
                    shapes(teacher.trainer(self.precision(), 1)?) == shapes(trainer),
                    "{} cannot begin with {}: it has another network",
                    self.name,
                    teacher.name
                );
                Ok(())
            }
        }
    }

    /// Gives a new trainer the weights of the model that training begins with, if it does.
    fn begin(&self, trainer: &mut Trainer) -> Result<()> {
        let Some(from) = &self.config.train.from else { return Ok(()) };
        let mut begin = || {
            let dir = match self.experiment.teacher(self.config) {
                Some(teacher) => {
                    let dir = self.dir.sibling(&teacher.name);
                    ensure!(dir.summary().is_file(), "it has not been trained to its end");
                    dir
                }
                None => ModelDir::new(from),
            };
            let spec: DataSpec = read_json(&dir.data())?;
            let words = std::fs::read_to_string(dir.tokenizer()).ok();
            let our_words = self.data.tokenizer.as_ref().map(Tokenizer::to_json);
            ensure!(spec == self.data.spec && words == our_words, "it was trained on other data");
            trainer.begin_with(&Checkpoints::new(dir.checkpoints()).latest_ema()?)
        };
        begin().with_context(|| format!("{} cannot begin with {}", self.name, from.display()))
    }

    /// Numbers about the model, before any training.
    pub fn facts(&self) -> Result<Vec<paragone_core::Fact>> {
        Ok(self.trainer(self.precision(), 1)?.ema().facts())
    }

    /// The saved plan, or a new one.
    fn plan(&self) -> Result<Plan> {
        let Some(plan) = read_json_if_there::<Plan>(&self.dir.plan())? else {
            let plan = self.make_plan()?;
            write_json(&self.dir.plan(), &plan)?;
            return Ok(plan);
        };
        if plan.order_hash != self.data.order_hash() {
            bail!(
                "the training images or their order have changed since {} was written; \
                 `--fresh` starts over",
                self.dir.plan().display()
            );
        }
        let (threads, device) = (tch::get_num_threads(), device_kind(self.device));
        if (plan.threads, &*plan.device, &*plan.libtorch) != (threads, device, LIBTORCH) {
            crate::log::note(&format!(
                "{}: resumed on {device} with {threads} threads and libtorch {LIBTORCH} after {} with {} and {}: sums \
                 round differently, so the result will not be the uninterrupted run's bit for bit",
                self.name, plan.device, plan.threads, plan.libtorch
            ));
        }
        Ok(plan)
    }

    /// Arithmetic of a training that begins here.
    fn precision(&self) -> Precision {
        self.train.precision.on(self.device)
    }

    fn trainer(&self, precision: Precision, planned_images: u64) -> Result<Trainer> {
        let train = &self.train;
        let options = TrainerOptions {
            seed: self.experiment.seed,
            device: self.device,
            precision,
            accumulate: train.accumulate as i64,
            ema_half_life: train.ema.half_life * planned_images as f64,
            ema_rampup: train.ema.rampup,
            overrides: self.config.train.clone(),
        };
        Trainer::new(&*self.config.model, &self.data.spec, options)
    }

    fn train(
        &self,
        plan: &Plan,
        trainer: &mut Trainer,
        checkpoints: &Checkpoints,
        mut state: State,
    ) -> Result<Outcome> {
        let mut checkpoint_due = Due::new(self.train.checkpoint_every, plan.steps);
        let mut samples_due = Due::new(self.train.sample_every, plan.steps);
        let snapshots = Snapshots::new(self.dir.snapshots(), plan.steps, self.train.snapshots);
        let mut loader = self.data.loader(plan.batch_size, state.images);
        let mut metrics = MetricsLog::open(&self.dir.metrics(), state.metrics_bytes)?;
        let mut events = Events::create(self.dir.path(), state.step + 1)?;
        let mut means = Means::default();
        let mut reporter = Reporter::new(self.name, "images", state.images, plan.images());

        while state.step < plan.steps {
            let context = StepContext {
                step: state.step,
                images: state.images,
                progress: plan.progress(state.step),
            };
            let start = Instant::now();
            let batch = loader.next();
            state.loader_seconds += start.elapsed().as_secs_f64();
            let scalars = trainer.step(&batch, &context)?;
            means.add(scalars);
            state.step += 1;
            state.images += plan.batch_size;
            let last = state.step == plan.steps;
            let logging = last || state.step.is_multiple_of(self.train.log_every);
            let sampling = samples_due.now(state.step) && !last;
            let checkpointing = last || checkpoint_due.now(state.step);
            if logging || sampling || checkpointing || interrupt::asked() {
                torch_ext::synchronize(self.device);
            }
            state.seconds += start.elapsed().as_secs_f64();
            means.seconds += start.elapsed().as_secs_f64();

            if logging {
                if !trainer.is_finite() {
                    reporter.finish();
                    return self.diverged(&state, &means);
                }
                let record = means.take(&state, plan.batch_size);
                reporter.message(summary_line(&record.scalars));
                log(&record, &mut metrics, &mut events)?;
            }
            reporter.set(state.images);
            snapshots.save_if_due(trainer, &state)?;
            if sampling {
                // One that is not done is left out: the next sitting draws the next grid.
                self.draw_samples(trainer, &mut events, state.step)?;
            }
            // Asked for after drawing, which takes seconds and stops on request.
            let stopping = interrupt::asked();
            if checkpointing || stopping {
                if !trainer.is_finite() {
                    reporter.finish();
                    return self.diverged(&state, &means);
                }
                // Scalars since the last record are written now: a resumed run starts with none.
                if !means.is_empty() {
                    log(&means.take(&state, plan.batch_size), &mut metrics, &mut events)?;
                }
                state.metrics_bytes = metrics.sync()?;
                let peak = torch_ext::peak_memory_bytes(self.device);
                state.peak_memory_bytes = state.peak_memory_bytes.max(peak);
                checkpoints.save(trainer, &state, self.train.keep_checkpoints as usize)?;
            }
            if stopping && !last {
                reporter.finish();
                return Ok(Outcome::Interrupted(state.step));
            }
        }
        reporter.finish();
        // Of the finished model, which is saved: asked to stop, it is the next sitting that draws it.
        if !self.grid(state.step).exists()
            && !self.draw_samples(trainer, &mut events, state.step)?
        {
            return Ok(Outcome::Interrupted(state.step));
        }
        let summary = Summary {
            parameters: plan.parameters,
            steps: state.step,
            images: state.images,
            seconds: state.seconds,
            loader_seconds: state.loader_seconds,
            flops: plan.flops_per_image * state.images as f64,
            images_per_second: state.images as f64 / state.seconds.max(1e-9),
            precision: plan.precision,
            peak_memory_bytes: state.peak_memory_bytes,
        };
        write_json(&self.dir.summary(), &summary)?;
        Ok(Outcome::Finished(summary))
    }

    fn diverged(&self, state: &State, means: &Means) -> Result<Outcome> {
        let culprits = means.not_finite();
        let what =
            if culprits.is_empty() { "a loss or gradient".to_owned() } else { culprits.join(", ") };
        let failure = Failure {
            reason: format!("{what} was not finite by step {}", state.step),
            step: state.step,
        };
        write_json(&self.dir.failure(), &failure)?;
        Ok(Outcome::Diverged(failure))
    }

    /// Draws the same images as every other time and saves them as a grid; false if asked to stop before it was done.
    fn draw_samples(&self, trainer: &Trainer, events: &mut Events, step: u64) -> Result<bool> {
        let prompts = Prompts::in_turn(self.data, GRID_IMAGES, GRID_COLUMNS)?;
        let seeds = (0..GRID_IMAGES as u64).collect();
        let drawing = Drawing::new(&prompts.conditions, seeds, GRID_IMAGES);
        let Some(images) = drawing.draw(trainer.ema(), self.device, None)? else {
            return Ok(false);
        };
        let grid = paragone_report::sample_grid(&images.levels, GRID_COLUMNS);
        events.image("samples", &grid, step)?;
        paragone_report::save_png(&grid, &self.grid(step))?;
        Ok(true)
    }

    /// Where the images drawn at a step go.
    fn grid(&self, step: u64) -> PathBuf {
        self.dir.samples().join(format!("step-{step:07}.png"))
    }
}

/// Writes a record to both logs.
fn log(record: &Record, metrics: &mut MetricsLog, events: &mut Events) -> Result<()> {
    for (tag, &value) in &record.scalars {
        events.scalar(tag, value, record.step)?;
    }
    events.scalar("images_per_second", record.images_per_second, record.step)?;
    metrics.append(record)
}

/// `cpu` or `cuda`.
pub fn device_kind(device: Device) -> &'static str {
    if device.is_cuda() { "cuda" } else { "cpu" }
}

/// The losses behind the progress bar: everything but the gradient norms.
fn summary_line(scalars: &BTreeMap<String, f64>) -> String {
    let shown = scalars.iter().filter(|(name, _)| !name.ends_with("gradient_norm"));
    let short = |name: &str| name.split_once('.').map_or(name, |(_, scalar)| scalar).to_owned();
    shown
        .take(4)
        .map(|(name, value)| format!("{} {value:.3}", short(name)))
        .collect::<Vec<_>>()
        .join(" ")
}
