//! Experiment files: read, checked, resolved, written back.
//!
//! A file is read as a YAML value (a key given twice is an error), `--set` is written over it, `sweep` is expanded, and
//! every section is deserialized with its path tracked. An error names file, line and column, or the `--set` argument,
//! with the key, what was found and what is allowed.

mod choice;
mod difference;
mod error;
mod explain;
mod features;
mod locate;
mod model;
mod overrides;
mod read;
mod rules;
mod schema;
mod sections;
mod source;
mod suggest;
mod sweep;
#[cfg(test)]
mod tests;

pub use choice::{Budget, Interval};
pub use difference::{Change, Difference};
pub use error::{ConfigError, Place, Problem};
pub use features::{Features, TorchScript};
pub use locate::Position;
pub use model::{ModelConfig, ModelTrain, OptimizerOverrides};
pub use read::Run;
pub use schema::schema;
pub use sections::{
    CurvesConfig, EditingConfig, EmaConfig, EvalConfig, InpaintingConfig, MAX_THREADS, Precision,
    Reference, TrainConfig,
};

use paragone_core::{DataSpec, Phase};
use paragone_data::DataConfig;
use serde_yaml::{Mapping, Value};
use source::Source;
use std::path::Path;

/// An experiment, every default filled in.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// What it is called; also the folder's name below `runs` unless another is asked for.
    pub name: String,
    /// What all randomness of training derives from.
    pub seed: u64,
    /// The data, the same for every model.
    pub data: DataConfig,
    /// How every model is trained.
    pub train: TrainConfig,
    /// How every model is scored.
    pub eval: EvalConfig,
    /// The models, in the file's order; never empty.
    pub models: Vec<ModelConfig>,
    source: Source,
}

impl Experiment {
    /// The model of a name.
    pub fn model(&self, name: &str) -> Option<&ModelConfig> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The model of this experiment that another one's training begins with, if it is one of these.
    pub fn teacher(&self, student: &ModelConfig) -> Option<&ModelConfig> {
        let from = student.train.from.as_deref()?;
        let mut above = self.models.iter().take_while(|model| model.name != student.name);
        above.find(|model| from == Path::new(&model.name))
    }

    /// Where the value at a path, such as `["models", "vae", "beta"]`, was written.
    pub fn locate(&self, path: &[&str]) -> Place {
        let path: Vec<String> = path.iter().map(|key| key.to_string()).collect();
        self.source.locate(&path)
    }

    /// An error about the value at a path.
    pub fn error(&self, path: &[&str], problem: Problem) -> ConfigError {
        ConfigError { place: self.locate(path), key: path.join("."), problem }
    }

    /// Checks every model against the data it is to learn.
    ///
    /// # Errors
    /// The first key that its family refuses.
    pub fn check_data(&self, data: &DataSpec) -> Result<(), ConfigError> {
        self.models.iter().try_for_each(|model| {
            model.model.validate(data).map_err(|error| self.family_error(&model.name, error))
        })
    }

    /// What a family said about the section of a model, with its place.
    pub fn family_error(&self, model: &str, error: paragone_core::Error) -> ConfigError {
        match error {
            paragone_core::Error::InvalidConfig { key, value, rule } => {
                let path: Vec<&str> = ["models", model].into_iter().chain(key.split('.')).collect();
                self.error(&path, Problem::Invalid { value, rule })
            }
            other => self.error(&["models", model], Problem::Other(other.to_string())),
        }
    }

    /// Checks that the phases whose optimiser a model's section changes are phases of the model.
    ///
    /// # Errors
    /// The first name that is none.
    pub fn check_phases(&self, model: &ModelConfig, phases: &[Phase]) -> Result<(), ConfigError> {
        let known = |name: &str| phases.iter().any(|phase| phase.name == name);
        match model.train.phases.keys().find(|name| !known(name)) {
            None => Ok(()),
            Some(name) => {
                let allowed = phases.iter().map(|phase| phase.name.to_string()).collect();
                let path = ["models", &model.name, "train", "phases", name];
                Err(self.error(&path, Problem::UnknownKey { found: name.clone(), allowed }))
            }
        }
    }

    /// The experiment as a file that [`Experiment::parse`] reads as this very experiment: sweeps expanded, `--set`
    /// applied, every default written out.
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(&self.to_value()).expect("an experiment is plain data")
    }

    fn to_value(&self) -> Value {
        fn value(section: impl serde::Serialize) -> Value {
            serde_yaml::to_value(section).expect("a section is plain data")
        }
        let models: Mapping = self.models.iter().map(|m| (value(&m.name), m.to_value())).collect();
        let root: Mapping = [
            ("name", value(&self.name)),
            ("seed", value(self.seed)),
            ("data", value(&self.data)),
            ("train", value(&self.train)),
            ("eval", value(&self.eval)),
            ("models", Value::Mapping(models)),
        ]
        .into_iter()
        .map(|(key, section)| (value(key), section))
        .collect();
        Value::Mapping(root)
    }
}

impl ModelConfig {
    /// The section: `family`, `train` if it changes anything, and the family's keys.
    fn to_value(&self) -> Value {
        let mut section = Mapping::new();
        section.insert("family".into(), self.model.family().into());
        if self.train != ModelTrain::default() {
            let train = serde_yaml::to_value(&self.train).expect("a section is plain data");
            section.insert("train".into(), train);
        }
        if let Value::Mapping(own) = self.model.to_value() {
            section.extend(own);
        }
        Value::Mapping(section)
    }
}
