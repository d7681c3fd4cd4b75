use crate::{DataSpec, Generator, Result};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;
use tch::nn;

/// A family of generators: how one is configured and built.
pub trait Family: Debug + Send + 'static {
    /// What experiments call it.
    const NAME: &'static str;

    /// Its section of an experiment: `deny_unknown_fields`, `default`, a doc comment on every field; of at least one key there is
    /// another valid value.
    type Config: Serialize
        + DeserializeOwned
        + JsonSchema
        + Default
        + Clone
        + Debug
        + Send
        + 'static;

    /// Top-level keys of the configuration on which samples and scores depend, but no weights: they may be changed after
    /// training.
    const SAMPLING_KEYS: &'static [&'static str] = &[];

    /// The same model with a sampler of other costs than `config`'s, from few network calls to many: what a curve of quality
    /// against calls is drawn through. They differ in [`Family::SAMPLING_KEYS`] only; empty for a family that cannot choose.
    fn sampling_costs(_config: &Self::Config) -> Vec<Self::Config> {
        Vec::new()
    }

    /// `config` with all that no likelihood depends on as by default: of two that are then equal, a likelihood of one is
    /// the other's.
    fn likelihood_config(config: &Self::Config) -> Self::Config {
        config.clone()
    }

    /// A configuration small enough to train in a test within seconds: on 400 batches of 32 gray images of 8×8 it learns to
    /// draw what it is asked for.
    fn tiny() -> Self::Config;

    /// Checks what types cannot; must accept all that [`Family::build`] can build.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`](crate::Error::InvalidConfig) with key, value and rule.
    fn validate(config: &Self::Config, data: &DataSpec) -> Result<()>;

    /// Creates the parameters under `vars` and the model on them. `config` has passed [`Family::validate`].
    fn build(config: &Self::Config, data: &DataSpec, vars: nn::Path) -> Result<Box<dyn Generator>>;
}

/// A number about a model, with its meaning.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fact {
    /// Such as `latent_dim` or `prior_kl_bits_per_dim`.
    pub name: &'static str,
    /// Its value.
    pub value: f64,
    /// One clause that says what it means.
    pub meaning: &'static str,
}
