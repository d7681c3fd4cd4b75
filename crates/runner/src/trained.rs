//! A trained model, read back from a run.

use crate::{
    config::{Experiment, ModelConfig, Run},
    files::{ModelDir, RunDir, read_json},
    train::{Checkpoints, named_variables, read_tensors},
};
use anyhow::{Context, Result, ensure};
use paragone_core::{DataSpec, Generator};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tch::{Device, nn};

/// A model with its averaged weights.
#[derive(Debug)]
pub struct Trained {
    /// What it knows of the data.
    pub spec: DataSpec,
    /// The model.
    pub model: Box<dyn Generator>,
    _vars: nn::VarStore,
}

impl Trained {
    /// Reads the newest checkpoint of a model. `config` may differ from the trained one in what has no weights.
    pub fn load(config: &ModelConfig, dir: &ModelDir, device: Device) -> Result<Self> {
        Self::of(config, dir, Checkpoints::new(dir.checkpoints()).latest_ema()?, device)
    }

    /// Reads a model from a file of its averaged weights.
    pub fn of(
        config: &ModelConfig,
        dir: &ModelDir,
        weights: PathBuf,
        device: Device,
    ) -> Result<Self> {
        let spec: DataSpec = read_json(&dir.data())?;
        config.model.validate(&spec)?;
        let mut vars = nn::VarStore::new(device);
        let model = config.model.build(&spec, vars.root())?;
        vars.freeze();
        read_tensors(&weights, &named_variables(&vars))?;
        Ok(Self { spec, model, _vars: vars })
    }
}

/// The runs that an experiment file asks for, with `--set` arguments.
pub fn read_runs(path: &Path, set: &[String]) -> Result<Vec<Run>> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(Experiment::parse(&path.display().to_string(), &text, set)?)
}

/// The experiment of a run, with `--set` arguments.
pub fn read_experiment(run: &RunDir, set: &[String]) -> Result<Experiment> {
    let path = run.experiment();
    ensure!(path.is_file(), "{} is no run: it has no experiment.yaml", run.path().display());
    let mut runs = read_runs(&path, set)?;
    ensure!(runs.len() == 1, "{} sweeps, which a run's own file never does", path.display());
    Ok(runs.remove(0).experiment)
}

/// The section of a model.
pub fn find_model<'a>(experiment: &'a Experiment, name: &str) -> Result<&'a ModelConfig> {
    experiment.model(name).with_context(|| {
        let names: Vec<&str> = experiment.models.iter().map(|model| &*model.name).collect();
        format!("{} has no model {name}, but {}", experiment.name, names.join(", "))
    })
}
