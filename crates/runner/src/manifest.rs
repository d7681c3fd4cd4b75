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
    /// Processor, as the operating system names it, and the best of its instructions: one name stands for processors that differ
    /// in them, and so in speed, by several times.
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
            processor: std::fs::read_to_string("/proc/cpuinfo")
                .ok()
                .and_then(|info| processor(&info)),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            threads: experiment.train.threads().unwrap_or_else(|| tch::get_num_threads() as u64),
            seed: experiment.seed,
            data_hash: data.train.hash.clone(),
            order_hash: data.order_hash(),
            class_names: data.class_names().to_vec(),
        }
    }
}

/// From Linux's `cpuinfo`.
fn processor(info: &str) -> Option<String> {
    let value = |key: &str| {
        let line = info.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim())
    };
    let flags: Vec<&str> = value("flags").unwrap_or_default().split_whitespace().collect();
    let vectors = [("avx512f", "AVX-512"), ("avx2", "AVX2")];
    let vectors = vectors.into_iter().find(|(flag, _)| flags.contains(flag));
    let bf16 = Some(("avx512_bf16", "bf16")).filter(|(flag, _)| flags.contains(flag));
    let best: Vec<&str> = vectors.into_iter().chain(bf16).map(|(_, name)| name).collect();
    let name = value("model name")?;
    Some(if best.is_empty() { name.to_owned() } else { format!("{name} ({})", best.join(", ")) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_named_with_the_best_of_its_instructions() {
        let named = |flags: &str| {
            processor(&format!(
                "processor\t: 0\nmodel name\t: Some Name 9\nflags\t\t: fpu {flags}\n"
            ))
        };
        assert_eq!(named("fma avx2 avx512f avx512_bf16").unwrap(), "Some Name 9 (AVX-512, bf16)");
        assert_eq!(named("avx2 avx512f").unwrap(), "Some Name 9 (AVX-512)");
        assert_eq!(named("avx avx2").unwrap(), "Some Name 9 (AVX2)");
        assert_eq!(named("sse2").unwrap(), "Some Name 9");
        assert_eq!(processor("processor\t: 0\n"), None);
    }
}
