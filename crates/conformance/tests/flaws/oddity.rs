//! A family whose section breaks every rule that a section has.

use paragone_core::{DataSpec, Error, Family, Generator, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn;

/// Never built.
#[derive(Debug)]
pub struct Oddity;

// Not `deny_unknown_fields`, keys without descriptions, one of them written under another name than it is read, and an
// empty section that is not the default.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct OddConfig {
    #[serde(default)]
    width: i64,
    #[serde(rename(serialize = "Depth", deserialize = "depth"), default)]
    depth: i64,
}

impl Default for OddConfig {
    fn default() -> Self {
        Self { width: 8, depth: 2 }
    }
}

impl Family for Oddity {
    const NAME: &'static str = "Odd_Family";
    type Config = OddConfig;
    const SAMPLING_KEYS: &'static [&'static str] = &["steps"];

    fn tiny() -> OddConfig {
        OddConfig::default()
    }

    fn validate(_: &OddConfig, _: &DataSpec) -> Result<()> {
        Ok(())
    }

    fn build(_: &OddConfig, _: &DataSpec, _: nn::Path) -> Result<Box<dyn Generator>> {
        Err(Error::Unsupported("an oddity is never built".into()))
    }
}
