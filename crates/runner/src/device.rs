//! Where tensors live: the one path by which a device is chosen.

use serde::{Deserialize, Serialize};
use tch::Device;

/// `--device`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The first GPU if libtorch has CUDA and finds one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The first GPU; an error without one.
    Cuda,
}

impl DeviceChoice {
    /// Opens CUDA if asked to and says which device that gives.
    ///
    /// Must come before anything else asks libtorch about CUDA.
    pub fn open(self) -> anyhow::Result<Device> {
        if self == Self::Cpu {
            return Ok(Device::Cpu);
        }
        let opened = torch_ext::open_cuda();
        match (self, opened) {
            (_, Ok(())) if tch::Cuda::is_available() => Ok(Device::Cuda(0)),
            (Self::Cuda, Ok(())) => anyhow::bail!("--device cuda: libtorch finds no GPU here"),
            (Self::Cuda, Err(error)) => anyhow::bail!("--device cuda: {error}"),
            _ => Ok(Device::Cpu),
        }
    }

    /// The word that selects it on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}
