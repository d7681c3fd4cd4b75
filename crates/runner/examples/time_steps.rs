//! Our side of `scripts/bench`, and what `scripts/scaling` measures: a model in training that makes steps and images when told to, and says how long they took.
//!
//!     time_steps SPEC.yaml        (or JSON; its keys are those of [`Spec`])
//!
//! Writes a line of JSON about the model, then answers each line of its standard input with one:
//!
//!     reference FILE    losses of all phases; weights, gradients and samples go to FILE
//!     train K           seconds of K steps
//!     count K           floating-point operations of K steps
//!     trace K FILE      what libtorch's profiler saw of K steps goes to FILE
//!     sample N          seconds of N images
//!     pass N            seconds of the first phase's loss of N images, without gradients
//!     state FILE        weights and their average, as they are now, go to FILE
//!     peak -            the most bytes of memory so far

use anyhow::{Context, Result, bail, ensure};
use paragone::{
    config::{ModelTrain, Precision},
    device::DeviceChoice,
    draw::Drawing,
    families,
    train::{Trainer, TrainerOptions, write_tensors},
};
use paragone_core::{Batch, Conditions, DataSpec, Noise, Progress, SampleRequest, StepContext};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Instant,
};
use tch::{Device, Kind, Tensor};
use torch_ext::{Autocast, FlopCounter, Profiler};

/// What to build and on what to train it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spec {
    /// Name in the registry.
    family: String,
    /// Its section of an experiment.
    config: serde_yaml::Value,
    data: DataSpec,
    /// safetensors file of `images`, f32, and `class`, i64: the batch of every step.
    batch: PathBuf,
    /// In what networks compute in training.
    precision: Precision,
    #[serde(default = "cpu")]
    device: DeviceChoice,
    threads: i32,
    /// Into how many parts a batch is cut.
    #[serde(default = "one")]
    accumulate: i64,
    seed: u64,
    /// Half-life of the moving average, in images.
    ema_half_life: f64,
    ema_rampup: f64,
    /// Where in the budget every step says it is.
    progress: f64,
    /// Images drawn at once.
    sample_batch: usize,
}

/// Images in a reference.
const REFERENCE_IMAGES: i64 = 8;

fn one() -> i64 {
    1
}

fn cpu() -> DeviceChoice {
    DeviceChoice::Cpu
}

struct Side {
    spec: Spec,
    device: Device,
    trainer: Trainer,
    batch: Batch,
    step: u64,
}

fn main() -> Result<()> {
    torch_ext::tune_allocator();
    let path = std::env::args().nth(1).context("usage: time_steps SPEC.yaml")?;
    let spec: Spec = serde_yaml::from_str(&std::fs::read_to_string(&path)?).context(path)?;
    let device = spec.device.open()?;
    tch::set_num_threads(spec.threads);
    let entry = families::find(&spec.family).context("no such family")?;
    let model = (entry.parse)(spec.config.clone())?;
    model.validate(&spec.data)?;
    let options = TrainerOptions {
        seed: spec.seed,
        device,
        precision: spec.precision,
        accumulate: spec.accumulate,
        ema_half_life: spec.ema_half_life,
        ema_rampup: spec.ema_rampup,
        overrides: ModelTrain::default(),
    };
    let trainer = Trainer::new(&*model, &spec.data, options)?;
    perturb(&trainer);
    let phases = trainer.phases().map(|phase| {
        json!({ "name": phase.name, "parameters": phase.parameters, "every": phase.every, "optimizer": phase.optimizer })
    });
    answer(&json!({
        "config": model.to_value(),
        "phases": phases.collect::<Vec<_>>(),
        "parameters": trainer.num_parameters(),
        "loss_cycle": trainer.model().loss_cycle(),
        "threads": tch::get_num_threads(),
    }))?;
    let batch = read_batch(&spec)?;
    let mut side = Side { spec, device, trainer, batch, step: 0 };
    for line in std::io::stdin().lock().lines() {
        answer(&side.obey(&line?)?)?;
    }
    Ok(())
}

/// Moves every parameter off its first value: what begins at zero, such as the last layer of a block, would hide all errors
/// before it.
fn perturb(trainer: &Trainer) {
    tch::manual_seed(1);
    tch::no_grad(|| {
        let averages = trainer.ema_state().into_iter();
        for ((_, mut value), (_, mut average)) in trainer.model_state().into_iter().zip(averages) {
            if value.requires_grad() {
                let fan_in = value.numel() as f64 / value.size()[0] as f64;
                let _ = value.g_add_(&(value.randn_like() * (0.3 / fan_in.sqrt())));
            }
            average.copy_(&value);
        }
    });
}

fn read_batch(spec: &Spec) -> Result<Batch> {
    let mut tensors: BTreeMap<_, _> = Tensor::read_safetensors(&spec.batch)?.into_iter().collect();
    let mut take = |name: &str| tensors.remove(name).with_context(|| format!("no `{name}`"));
    let (images, class) = (take("images")?, take("class")?);
    ensure!(images.size()[1..] == spec.data.shape.dims(), "images are not of the data's shape");
    let none = Conditions::none(class.size()[0], &spec.data, Device::Cpu);
    Ok(Batch { images, conditions: Conditions { class, ..none } })
}

impl Side {
    fn obey(&mut self, line: &str) -> Result<Value> {
        let (command, argument) = line.split_once(' ').context("a command has an argument")?;
        Ok(match command {
            "reference" => json!({ "losses": self.reference(Path::new(argument))? }),
            "train" => json!({ "seconds": self.train(argument.parse()?)? }),
            "count" => {
                let counter = FlopCounter::start();
                self.train(argument.parse()?)?;
                json!({ "flops": counter.stop() })
            }
            "trace" => {
                let (steps, path) = argument.split_once(' ').context("trace K FILE")?;
                let profiler = Profiler::start(self.device)?;
                self.train(steps.parse()?)?;
                json!(profiler.stop(Path::new(path))?)
            }
            "sample" => json!({ "seconds": self.sample(argument.parse()?)? }),
            "pass" => json!({ "seconds": self.pass(argument.parse()?)? }),
            "state" => {
                let mut tensors = under("weights", self.trainer.model_state());
                tensors.extend(under("ema", self.trainer.ema_state()));
                json!(write_tensors(&tensors, Path::new(argument))?)
            }
            "peak" => json!({ "bytes": torch_ext::peak_memory_bytes(self.device) }),
            _ => bail!("unknown command {command:?}"),
        })
    }

    fn train(&mut self, steps: u64) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..steps {
            self.trainer.step(&self.batch, &self.context())?;
            self.step += 1;
        }
        torch_ext::synchronize(self.device);
        Ok(start.elapsed().as_secs_f64())
    }

    fn context(&self) -> StepContext {
        let images = self.step * self.batch.len() as u64;
        StepContext { step: self.step, images, progress: self.spec.progress }
    }

    /// Classes in turn, as the evaluation asks for them.
    fn conditions(&self, n: i64) -> Conditions {
        let classes: Vec<i64> = (0..n).map(|i| i % self.spec.data.num_classes).collect();
        Conditions::of_classes(&classes, &self.spec.data, self.device)
    }

    fn sample(&self, n: u64) -> Result<f64> {
        let conditions = self.conditions(n as i64);
        let drawing = Drawing::new(&conditions, (0..n).collect(), self.spec.sample_batch);
        let drawn = drawing.draw(self.trainer.ema(), self.device, None)?;
        Ok(drawn.context("stopped")?.seconds)
    }

    /// What sampling is held against: the network once on as many images, as many at a time.
    fn pass(&self, n: i64) -> Result<f64> {
        let most = (self.spec.sample_batch as i64).min(n);
        let rows = Tensor::arange(most, (Kind::Int64, Device::Cpu)).remainder(self.batch.len());
        let class = self.batch.conditions.class.index_select(0, &rows);
        let conditions =
            Conditions { class, ..Conditions::none(most, &self.spec.data, Device::Cpu) };
        let batch = Batch { images: self.batch.images.index_select(0, &rows), conditions };
        let batch = batch.to_device(self.device);
        let phase = self.trainer.phases().next().context("a phase")?;
        torch_ext::synchronize(self.device);
        let start = Instant::now();
        for first in (0..n).step_by(most as usize) {
            let part = batch.narrow(0, most.min(n - first));
            tch::no_grad(|| self.trainer.model().loss(phase, &part, &self.context()))?;
        }
        torch_ext::synchronize(self.device);
        Ok(start.elapsed().as_secs_f64())
    }

    fn reference(&self, path: &Path) -> Result<BTreeMap<&'static str, f64>> {
        let mut tensors = under("weights", self.trainer.model_state());
        let mut losses = BTreeMap::new();
        let kind = self.spec.precision.autocast();
        let batch = self.batch.to_device(self.device);
        let tf32 = self.spec.precision.tf32()?;
        for phase in self.trainer.phases() {
            let state = self.trainer.model_state();
            state.into_iter().for_each(|(_, mut value)| value.zero_grad());
            tch::manual_seed(self.spec.seed as i64);
            let loss = {
                let _autocast = Autocast::enter(self.device, kind)?;
                self.trainer.model().loss(phase, &batch, &self.context())?
            };
            loss.total.backward();
            losses.insert(phase.name, loss.total.double_value(&[]));
            let first = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
            let own = self.trainer.model_state().into_iter().filter(|(name, value)| {
                value.requires_grad() && phase.parameters.contains(&&*first(name))
            });
            // Copies, for the next phase's gradients are made in the same place.
            let gradients = own.map(|(name, value)| (name, value.grad().copy())).collect();
            tensors.extend(under(&format!("gradients.{}", phase.name), gradients));
        }
        drop(tf32); // Samples are drawn without.
        let (n, noise) = (REFERENCE_IMAGES, (0..REFERENCE_IMAGES as u64).collect());
        let (conditions, noise) = (self.conditions(n), Noise::new(noise, self.device));
        let request = SampleRequest::new(&conditions, &noise);
        let mut go = |_: Progress| ControlFlow::Continue(());
        let samples = tch::no_grad(|| self.trainer.ema().sample(&request, &mut go))?;
        tensors.push(("samples".to_owned(), samples));
        write_tensors(&tensors, path)?;
        Ok(losses)
    }
}

fn under(prefix: &str, named: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    named.into_iter().map(|(name, tensor)| (format!("{prefix}.{name}"), tensor)).collect()
}

fn answer(value: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")?;
    Ok(out.flush()?)
}
