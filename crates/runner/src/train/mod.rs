//! Training: one step, the loop around it, and what survives a stop.

mod checkpoint;
mod due;
mod ema;
mod means;
mod optimizer;
mod plan;
mod session;
mod trainer;

pub use checkpoint::{
    Checkpoints, Snapshot, Snapshots, State, WeightsVersion, read_tensors, write_tensors,
};
pub use plan::Plan;
pub use session::{Failure, Outcome, Session, Summary, device_kind};
pub use trainer::{Trainer, TrainerOptions, named_variables};
