//! The checks that every family must pass, run over the registry: a new family is tested the moment it is registered.
//!
//! A check is a function of a [`Subject`], a family in its `tiny()` configuration; each module holds those of one subject
//! and lists them in `CHECKS`; [`UNTRAINED`] and [`TRAINED`] together are all of them. The integration tests run them over all
//! families and report every failure with the names of family and check. `tests/flaws/main.rs` runs them on a family with
//! deliberate flaws, so that each is known to fail when it should.

mod check;
mod coded;
mod subject;
mod trial;
mod watch;

pub mod config;
pub mod data;
pub mod knobs;
pub mod latents;
pub mod learning;
pub mod likelihood;
pub mod loss;
pub mod noising;
pub mod options;
pub mod phases;
pub mod progress;
pub mod reporting;
pub mod resume;
pub mod sampling;
pub mod tasks;

pub use check::{Check, Failure, Waiver, failures, hold};
pub use coded::Coded;
pub use subject::{Learner, Subject};

/// What a family is before anybody trains it in earnest.
pub const UNTRAINED: &[&[Check]] = &[
    config::CHECKS,
    options::CHECKS,
    data::CHECKS,
    phases::CHECKS,
    loss::CHECKS,
    resume::CHECKS,
    reporting::CHECKS,
    noising::CHECKS,
];

/// What a trained model does. Run these in one call of [`hold`]: it trains each family once.
pub const TRAINED: &[&[Check]] = &[
    learning::CHECKS,
    sampling::CHECKS,
    progress::CHECKS,
    knobs::CHECKS,
    likelihood::CHECKS,
    latents::CHECKS,
    tasks::CHECKS,
];
