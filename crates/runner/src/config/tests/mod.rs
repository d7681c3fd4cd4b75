//! Experiments read with two made-up families, so that no text here depends on a real family's keys.

mod errors;
mod resolve;
mod shipped;

use super::{ConfigError, Experiment, Run};
use crate::families::Entry;
use paragone_core::{DataSpec, Error, Family, Generator, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::nn;

const FAMILIES: &[Entry] = &[Entry::of::<Ladder>(), Entry::of::<Pair>()];

#[derive(Debug)]
struct Ladder;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct LadderConfig {
    /// Numbers in a latent.
    latent_dim: i64,
    /// Weight of the KL term.
    beta: f64,
    /// Distribution of a pixel.
    likelihood: Likelihood,
    /// How samples are drawn.
    sampler: Sampler,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Likelihood {
    Softmax256,
    LogisticMixture,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, tag = "name", rename_all = "kebab-case")]
enum Sampler {
    Ancestral,
    Heun { steps: u32 },
}

impl Default for LadderConfig {
    fn default() -> Self {
        Self {
            latent_dim: 64,
            beta: 1.0,
            likelihood: Likelihood::Softmax256,
            sampler: Sampler::Ancestral,
        }
    }
}

impl Family for Ladder {
    const NAME: &'static str = "ladder";
    const SAMPLING_KEYS: &'static [&'static str] = &["sampler"];
    type Config = LadderConfig;

    fn tiny() -> LadderConfig {
        LadderConfig { latent_dim: 1, ..LadderConfig::default() }
    }

    fn validate(config: &LadderConfig, _data: &DataSpec) -> Result<()> {
        match config.sampler {
            Sampler::Heun { steps: 0 } => {
                Err(Error::invalid("sampler.steps", 0, "must be at least 1"))
            }
            _ => Ok(()),
        }
    }

    fn build(_: &LadderConfig, _: &DataSpec, _: nn::Path) -> Result<Box<dyn Generator>> {
        Err(Error::Unsupported("made up".into()))
    }
}

#[derive(Debug)]
struct Pair;

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct PairConfig {
    /// Weight of the penalty.
    gamma: f64,
}

impl Family for Pair {
    const NAME: &'static str = "pair";
    type Config = PairConfig;

    fn tiny() -> PairConfig {
        PairConfig::default()
    }

    fn validate(_: &PairConfig, _: &DataSpec) -> Result<()> {
        Ok(())
    }

    fn build(_: &PairConfig, _: &DataSpec, _: nn::Path) -> Result<Box<dyn Generator>> {
        Err(Error::Unsupported("made up".into()))
    }
}

fn read(text: &str, set: &[&str]) -> std::result::Result<Vec<Run>, ConfigError> {
    let set: Vec<String> = set.iter().map(|argument| argument.to_string()).collect();
    Experiment::parse_with(FAMILIES, "x.yaml", text, &set)
}

/// The only run of a text that is right.
fn one(text: &str, set: &[&str]) -> Experiment {
    let mut runs = read(text, set).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((runs.len(), &runs[0].folder), (1, &None));
    runs.remove(0).experiment
}
