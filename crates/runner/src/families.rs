//! The registry: the only place that names families.

use paragone_core::{DataSpec, Family, Generator, Result};
use std::fmt::Debug;
use tch::nn;

/// Every family there is. Adding one: a crate that implements [`Family`], a dependency, and a line here.
pub const FAMILIES: &[Entry] = &[
    Entry::of::<paragone_vae::Vae>(),
    Entry::of::<paragone_gan::Gan>(),
    Entry::of::<paragone_autoregressive::Autoregressive>(),
    Entry::of::<paragone_diffusion::Diffusion>(),
];

/// The family of this name.
pub fn find(name: &str) -> Option<&'static Entry> {
    FAMILIES.iter().find(|entry| entry.name == name)
}

/// A family's configuration, whichever family it is.
pub trait Model: Debug + Send {
    /// Name of the family.
    fn family(&self) -> &'static str;

    /// [`Family::SAMPLING_KEYS`].
    fn sampling_keys(&self) -> &'static [&'static str];

    /// [`Family::sampling_costs`].
    fn sampling_costs(&self) -> Vec<Box<dyn Model>>;

    /// [`Family::likelihood_config`].
    fn for_likelihood(&self) -> Box<dyn Model>;

    /// [`Family::validate`].
    fn validate(&self, data: &DataSpec) -> Result<()>;

    /// [`Family::build`].
    fn build(&self, data: &DataSpec, vars: nn::Path) -> Result<Box<dyn Generator>>;

    /// The family's section of an experiment, every default filled in.
    fn to_value(&self) -> serde_yaml::Value;

    /// A copy.
    fn boxed_clone(&self) -> Box<dyn Model>;
}

/// One family in the registry.
#[derive(Debug)]
pub struct Entry {
    /// Name of the family.
    pub name: &'static str,
    /// Reads its section of an experiment.
    pub parse: fn(serde_yaml::Value) -> Parsed,
    /// A configuration for tests.
    pub tiny: fn() -> Box<dyn Model>,
    /// The default configuration.
    pub default: fn() -> Box<dyn Model>,
    /// JSON Schema of its section.
    pub schema: fn() -> schemars::Schema,
}

/// A family's section, or the path within it that does not parse and why.
pub type Parsed =
    std::result::Result<Box<dyn Model>, serde_path_to_error::Error<serde_yaml::Error>>;

impl Entry {
    /// The entry of a family.
    pub const fn of<F: Family>() -> Self {
        Self {
            name: F::NAME,
            parse: |value| Ok(Box::new(Of::<F>(serde_path_to_error::deserialize(value)?))),
            tiny: || Box::new(Of::<F>(F::tiny())),
            default: || Box::new(Of::<F>(F::Config::default())),
            schema: || schemars::schema_for!(F::Config),
        }
    }
}

#[derive(Debug)]
struct Of<F: Family>(F::Config);

impl<F: Family> Model for Of<F> {
    fn family(&self) -> &'static str {
        F::NAME
    }

    fn sampling_keys(&self) -> &'static [&'static str] {
        F::SAMPLING_KEYS
    }

    fn sampling_costs(&self) -> Vec<Box<dyn Model>> {
        let boxed = |config| Box::new(Self(config)) as Box<dyn Model>;
        F::sampling_costs(&self.0).into_iter().map(boxed).collect()
    }

    fn for_likelihood(&self) -> Box<dyn Model> {
        Box::new(Self(F::likelihood_config(&self.0)))
    }

    fn validate(&self, data: &DataSpec) -> Result<()> {
        F::validate(&self.0, data)
    }

    fn build(&self, data: &DataSpec, vars: nn::Path) -> Result<Box<dyn Generator>> {
        F::build(&self.0, data, vars)
    }

    fn to_value(&self) -> serde_yaml::Value {
        serde_yaml::to_value(&self.0).expect("a configuration is plain data")
    }

    fn boxed_clone(&self) -> Box<dyn Model> {
        Box::new(Self(self.0.clone()))
    }
}
