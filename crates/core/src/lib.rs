//! The contract between a family of image generators and everything around it.
//!
//! A family implements [`Family`] (how it is configured and built) and [`Generator`] (its losses, its sampler and what
//! else it can do). Whoever trains, samples, scores or draws knows only these two traits and the values they exchange:
//! [`Batch`], [`Conditions`], [`Noise`] and [`DataSpec`].

mod attribute;
mod capability;
mod conditions;
mod error;
mod family;
mod generator;
mod noise;
mod pixels;
mod spec;

pub use attribute::Attribute;
pub use capability::{
    Edit, Inpaint, Lacks, Latents, Likelihood, LikelihoodKind, LikelihoodMethod, Noising, Offer,
};
pub use conditions::{Batch, Conditions, Known};
pub use error::{Error, Result};
pub use family::{Fact, Family};
pub use generator::{
    Generator, Loss, OnStep, OptimizerConfig, Phase, Progress, SampleRequest, Schedule, StepContext,
};
pub use noise::{Noise, mix};
pub use pixels::{NUM_LEVELS, bits_per_dim, from_levels, to_levels};
pub use spec::{DataSpec, ImageShape, TextSpec};
