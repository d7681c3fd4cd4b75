use crate::Coded;
use anyhow::{Context, Result};
use paragone::{
    config::{ModelTrain, Precision},
    families::{Entry, Model},
    train::{Trainer, TrainerOptions, named_variables},
};
use paragone_core::{Conditions, DataSpec, Generator, Noise, OnStep, SampleRequest, StepContext};
use std::{cell::OnceCell, fmt::Debug};
use tch::{Device, Tensor, nn};

/// A family in its `tiny()` configuration.
#[derive(Debug)]
pub struct Subject {
    /// The family's line in the registry.
    pub entry: &'static Entry,
    learner: OnceCell<Learner>,
    reader: OnceCell<Learner>,
}

/// A model trained well enough that what it learnt shows.
#[derive(Debug)]
pub struct Learner {
    /// What it was trained on.
    pub coded: Coded,
    /// The trainer after its last step.
    pub trainer: Trainer,
}

/// Steps and images a step of a [`Learner`].
const LESSONS: u64 = 400;
const BATCH: u64 = 32;

impl Subject {
    /// The subject of an entry.
    pub fn new(entry: &'static Entry) -> Self {
        Self { entry, learner: OnceCell::new(), reader: OnceCell::new() }
    }

    /// The tiny configuration.
    pub fn tiny(&self) -> Box<dyn Model> {
        (self.entry.tiny)()
    }

    /// A trainer of the tiny model.
    pub fn trainer(&self, data: &DataSpec, options: TrainerOptions) -> Result<Trainer> {
        Trainer::new(&*self.tiny(), data, options)
    }

    /// A model that learnt [`Coded::GRAY`] by class, trained when first asked for.
    pub fn learner(&self) -> Result<&Learner> {
        self.trained(&self.learner, Coded::new(Coded::GRAY))
    }

    /// A model that learnt them by caption, and was shown the lower half of some, trained when first asked for.
    pub fn reader(&self) -> Result<&Learner> {
        self.trained(&self.reader, Coded::new(Coded::GRAY).with_text_alone().with_holes())
    }

    fn trained<'a>(&self, cell: &'a OnceCell<Learner>, coded: Coded) -> Result<&'a Learner> {
        if let Some(learner) = cell.get() {
            return Ok(learner);
        }
        let half_life = 0.03 * (LESSONS * BATCH) as f64;
        let options = TrainerOptions { ema_half_life: half_life, ..options() };
        let mut trainer = self.trainer(&coded.data, options)?;
        for step in 0..LESSONS {
            let batch = coded.nth_batch(step, BATCH);
            trainer.step(&batch, &context(step, LESSONS, BATCH))?;
        }
        cell.set(Learner { coded, trainer }).expect("it was not there");
        cell.get().context("it was put there")
    }

    /// A model on a store of its own, its weights moved off their initial values: what begins at zero, such as the last
    /// layer of a block, passes no signal on.
    pub fn perturbed(&self, data: &DataSpec) -> Result<(nn::VarStore, Box<dyn Generator>)> {
        let (vars, model) = build(&*self.tiny(), data)?;
        tch::no_grad(|| {
            for (_, mut value) in named_variables(&vars).into_iter().filter(|v| v.1.requires_grad())
            {
                let noise = value.randn_like() * 0.05;
                let _ = value.g_add_(&noise);
            }
        });
        Ok((vars, model))
    }
}

/// A model with weights from a fixed seed.
pub fn build(model: &dyn Model, data: &DataSpec) -> Result<(nn::VarStore, Box<dyn Generator>)> {
    tch::manual_seed(5);
    let vars = nn::VarStore::new(Device::Cpu);
    let generator = model.build(data, vars.root())?;
    Ok((vars, generator))
}

/// Training in f32 without an average: what is sampled is what was trained.
pub fn options() -> TrainerOptions {
    TrainerOptions {
        seed: 3,
        device: Device::Cpu,
        precision: Precision::F32,
        accumulate: 1,
        ema_half_life: 0.0,
        ema_rampup: 0.05,
        overrides: ModelTrain::default(),
    }
}

/// Where training stands before step `step` of `steps`.
pub fn context(step: u64, steps: u64, batch_size: u64) -> StepContext {
    StepContext { step, images: step * batch_size, progress: step as f64 / steps as f64 }
}

/// Draws from a model as the commands do: without gradients, without knobs.
pub fn sample(
    model: &dyn Generator,
    conditions: &Conditions,
    seeds: &[u64],
    on_step: &mut dyn OnStep,
) -> paragone_core::Result<Tensor> {
    let noise = Noise::new(seeds.to_vec(), Device::Cpu);
    tch::no_grad(|| model.sample(&SampleRequest::new(conditions, &noise), on_step))
}
