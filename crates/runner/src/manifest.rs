//! What a run was made with: saved as `manifest.json`.

use crate::{config::Experiment, data::RunData};
use serde::{Deserialize, Serialize};

/// Version of libtorch that `tch` is made for.
pub const LIBTORCH: &str = "2.11.0";

/// Versions, host and hashes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this program.
    pub paragone: String,
    /// Version of libtorch that `tch` is made for.
    pub libtorch: String,
    /// Operating system and architecture.
    pub platform: String,
    /// Processor, as the operating system names it.
    pub processor: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// CPU threads that a model trains with.
    pub threads: u64,
    /// The experiment's seed.
    pub seed: u64,
    /// SHA-256 of the training images with their labels.
    pub data_hash: String,
    /// See [`RunData::order_hash`].
    pub order_hash: String,
    /// Names of the classes, by id.
    pub class_names: Vec<String>,
}

impl Manifest {
    /// The manifest of a run that starts here and now.
    pub fn of(experiment: &Experiment, data: &RunData) -> Self {
        Self {
            paragone: env!("CARGO_PKG_VERSION").to_owned(),
            libtorch: LIBTORCH.to_owned(),
            platform: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: experiment.train.threads().unwrap_or_else(|| tch::get_num_threads() as u64),
            seed: experiment.seed,
            data_hash: data.train.hash.clone(),
            order_hash: data.order_hash(),
            class_names: data.class_names().to_vec(),
        }
    }
}

fn processor() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
