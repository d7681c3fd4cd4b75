//! The section of one model: its family's own keys, and under `train` what is special about its training.

use super::{
    rules::{Violation, hold, not_negative, number, positive, share},
    sections::{Precision, TrainConfig},
};
use crate::families::Model;
use paragone_core::{OptimizerConfig, Phase, Schedule};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// One model of an experiment.
#[derive(Debug)]
pub struct ModelConfig {
    /// Its name in the experiment and its folder's.
    pub name: String,
    /// What its training does differently.
    pub train: ModelTrain,
    /// Its family's section.
    pub model: Box<dyn Model>,
}

impl Clone for ModelConfig {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), train: self.train.clone(), model: self.model.boxed_clone() }
    }
}

/// How one model's training differs from the experiment's and from its family's defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelTrain {
    /// The trained model whose averaged weights training begins with: one above it in the experiment by its name, or a folder
    /// such as `runs/fashion-mnist/diffusion`, relative to the current directory. Its network and data must be this one's; what
    /// its own training cost is not counted again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// Images in one optimiser step, instead of the experiment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u64>,
    /// Micro-batches in a batch, instead of the experiment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accumulate: Option<u64>,
    /// Arithmetic of the forward and backward pass, instead of the experiment's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Peak learning rate of every phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Decay rates of the moment estimates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
    /// Decoupled weight decay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Gradient norm that larger gradients are scaled down to; null: unclipped.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub clip: Option<Option<f64>>,
    /// Gradient norm above which an update is skipped after the warm-up; null: never.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub skip_above: Option<Option<f64>>,
    /// Linear warm-up, as a share of the budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<f64>,
    /// Shape of the learning rate's decay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Learning rate at the end of the budget, as a share of `lr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_lr: Option<f64>,
    /// The same for one phase only, by the phase's name, such as `discriminator`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub phases: BTreeMap<String, OptimizerOverrides>,
}

/// What an experiment changes in a phase's optimiser; what is left out stays as the family has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerOverrides {
    /// Peak learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Decay rates of the moment estimates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
    /// Decoupled weight decay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Gradient norm that larger gradients are scaled down to; null: unclipped.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub clip: Option<Option<f64>>,
    /// Gradient norm above which an update is skipped after the warm-up; null: never.
    #[serde(deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub skip_above: Option<Option<f64>>,
    /// Linear warm-up, as a share of the budget.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<f64>,
    /// Shape of the learning rate's decay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Schedule>,
    /// Learning rate at the end of the budget, as a share of `lr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_lr: Option<f64>,
}

/// Tells a null that is written from a key that is left out.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

impl OptimizerOverrides {
    /// `base` with what is overridden.
    pub fn over(&self, base: OptimizerConfig) -> OptimizerConfig {
        OptimizerConfig {
            lr: self.lr.unwrap_or(base.lr),
            betas: self.betas.unwrap_or(base.betas),
            weight_decay: self.weight_decay.unwrap_or(base.weight_decay),
            clip: self.clip.unwrap_or(base.clip),
            skip_above: self.skip_above.unwrap_or(base.skip_above),
            warmup: self.warmup.unwrap_or(base.warmup),
            schedule: self.schedule.unwrap_or(base.schedule),
            final_lr: self.final_lr.unwrap_or(base.final_lr),
        }
    }

    fn check(&self, prefix: &str) -> Result<(), Violation> {
        let key = |name: &str| format!("{prefix}{name}");
        let check = |name, value: Option<f64>, rule: fn(&str, f64) -> Result<(), Violation>| {
            value.map_or(Ok(()), |value| rule(&key(name), value))
        };
        check("lr", self.lr, positive)?;
        for (index, beta) in self.betas.into_iter().flatten().enumerate() {
            let rule = "must be at least 0 and below 1";
            number(&key(&format!("betas.{index}")), beta, |b| (0.0..1.0).contains(&b), rule)?;
        }
        check("weight_decay", self.weight_decay, not_negative)?;
        check("clip", self.clip.flatten(), positive)?;
        check("skip_above", self.skip_above.flatten(), positive)?;
        check("warmup", self.warmup, share)?;
        check("final_lr", self.final_lr, share)
    }
}

impl ModelTrain {
    /// The optimiser of a phase: the family's, with what is overridden for all phases, then for this one.
    pub fn optimizer(&self, phase: &Phase) -> OptimizerConfig {
        let all = self.every_phase().over(phase.optimizer);
        self.phases.get(phase.name).map_or(all, |own| own.over(all))
    }

    /// The experiment's training with this model's changes.
    pub fn over(&self, train: &TrainConfig) -> TrainConfig {
        TrainConfig {
            batch_size: self.batch_size.unwrap_or(train.batch_size),
            accumulate: self.accumulate.unwrap_or(train.accumulate),
            precision: self.precision.unwrap_or(train.precision),
            ..train.clone()
        }
    }

    fn every_phase(&self) -> OptimizerOverrides {
        OptimizerOverrides {
            lr: self.lr,
            betas: self.betas,
            weight_decay: self.weight_decay,
            clip: self.clip,
            skip_above: self.skip_above,
            warmup: self.warmup,
            schedule: self.schedule,
            final_lr: self.final_lr,
        }
    }

    pub(super) fn check(&self, experiment: &TrainConfig) -> Result<(), Violation> {
        let train = self.over(experiment);
        let divides = train.accumulate == 0 || train.batch_size.is_multiple_of(train.accumulate);
        hold(divides || self.accumulate.is_some(), "batch_size", train.batch_size, || {
            format!("must be a multiple of `train.accumulate`, {}", train.accumulate)
        })?;
        train.check()?;
        self.every_phase().check("")?;
        self.phases.iter().try_for_each(|(name, own)| own.check(&format!("phases.{name}.")))
    }
}
