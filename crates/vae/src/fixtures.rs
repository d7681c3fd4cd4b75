//! What this crate's tests share: small data and small models.

use crate::{Vae, VaeConfig, model::Model};
use paragone_core::{
    Batch, Conditions, DataSpec, Family, Generator, ImageShape, StepContext, from_levels,
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tch::{
    Device, Kind, Tensor,
    nn::{self, OptimizerConfig, VarStore},
};

/// libtorch's CPU generator is global and not thread-safe, so tests that draw from it take turns.
static LOCK: Mutex<()> = Mutex::new(());

/// Takes the turn, with the generator seeded.
pub(crate) fn seeded() -> MutexGuard<'static, ()> {
    let turn = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(7);
    turn
}

pub(crate) fn data(channels: i64, height: i64, width: i64) -> DataSpec {
    DataSpec {
        shape: ImageShape { channels, height, width },
        num_classes: 3,
        text: None,
        known_pixels: false,
        mean: -0.2,
        std: 0.7,
    }
}

/// A flat VAE of the size of [`Family::tiny`].
pub(crate) fn flat(latent_dim: i64) -> VaeConfig {
    VaeConfig { latent_dim: Some(latent_dim), latents: None, ..Vae::tiny() }
}

pub(crate) fn build(config: &VaeConfig, data: &DataSpec) -> (VarStore, Model) {
    config.validate(data).expect("a valid configuration");
    let vars = VarStore::new(Device::Cpu);
    let model = Model::new(config, data, &vars.root()).expect("a model");
    (vars, model)
}

/// `n` images of two gray values in the same random places, inverted in every other one: one bit tells them apart, and no
/// product of pixels can. Two of class 0, two of class 1, of 2, of none, of 0, ...
pub(crate) fn twins(n: i64, data: &DataSpec) -> Batch {
    let shape = data.shape;
    let pattern = Tensor::rand(shape.dims(), (Kind::Float, Device::Cpu)).greater(0.5);
    let inverted = Tensor::arange(n, (Kind::Int64, Device::Cpu)).remainder(2).view([n, 1, 1, 1]);
    let levels = pattern.logical_xor(&inverted) * 120 + 60;
    let classes: Vec<i64> = (0..n).map(|i| i / 2 % 4).collect();
    Batch {
        images: from_levels(&levels),
        conditions: Conditions::of_classes(&classes, data, Device::Cpu),
    }
}

/// Trains on one batch and returns the last loss's scalars.
pub(crate) fn train(
    vars: &VarStore,
    model: &Model,
    batch: &Batch,
    steps: u64,
) -> Vec<(&'static str, f64)> {
    let mut optimizer = nn::Adam::default().build(vars, 4e-3).expect("an optimiser");
    let phase = &model.phases()[0];
    let mut scalars = Vec::new();
    for step in 0..steps {
        let progress = step as f64 / steps as f64;
        let context = StepContext { step, images: step * batch.len() as u64, progress };
        let loss = model.loss(phase, batch, &context).expect("a loss");
        optimizer.backward_step_clip_norm(&loss.total, 1.0);
        model.after_step(phase, &loss, &context).expect("an update");
        scalars = loss.scalars.iter().map(|(name, x)| (*name, x.double_value(&[]))).collect();
    }
    scalars
}

/// The scalar of that name.
pub(crate) fn scalar(scalars: &[(&'static str, f64)], name: &str) -> f64 {
    scalars.iter().find(|(n, _)| *n == name).expect("a scalar of this name").1
}
