//! Checkpoints, from which training resumes, and snapshots, which show how a model came to be: written aside, synced,
//! renamed, so that a kill at any moment leaves the last whole one.

use super::Trainer;
use crate::files::{aside, create_dir, read_json, sync_directory, write_json};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::{Path, PathBuf},
};
use tch::Tensor;

/// Where training stood when a checkpoint was written.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// How networks took weights at the time.
    #[serde(default = "WeightsVersion::first")]
    pub weights_version: WeightsVersion,
    /// Optimiser steps made.
    pub step: u64,
    /// Images seen.
    pub images: u64,
    /// Seconds spent training, over all sittings.
    pub seconds: f64,
    /// Those of them that went into waiting for a batch.
    #[serde(default)]
    pub loader_seconds: f64,
    /// Most memory that a process that trained held where it computed, over all sittings.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// Length of `metrics.jsonl`: what a killed run logged beyond it is cut off.
    pub metrics_bytes: u64,
}

/// Counts up when a network takes the same weights for others; by default what this program does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WeightsVersion(u32);

impl WeightsVersion {
    /// Of states that do not say.
    fn first() -> Self {
        Self(1)
    }
}

impl Default for WeightsVersion {
    fn default() -> Self {
        Self(2)
    }
}

/// The checkpoints of one model.
#[derive(Debug)]
pub struct Checkpoints {
    dir: PathBuf,
}

const MODEL: &str = "model.safetensors";
const EMA: &str = "ema.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

impl Checkpoints {
    /// The checkpoints in `dir`, which need not exist.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The newest whole checkpoint.
    pub fn latest(&self) -> Result<Option<PathBuf>> {
        Ok(self.all()?.into_values().next_back())
    }

    /// Averaged weights of the newest checkpoint.
    pub fn latest_ema(&self) -> Result<PathBuf> {
        match self.latest()? {
            Some(path) => {
                read_state(&path)?;
                Ok(path.join(EMA))
            }
            None => bail!("{} holds no checkpoint: train the model first", self.dir.display()),
        }
    }

    /// Saves everything a resumed run needs, then drops all but the newest `keep`.
    pub fn save(&self, trainer: &Trainer, state: &State, keep: usize) -> Result<()> {
        write_step(&self.dir, state, |dir| {
            write_tensors(&trainer.model_state(), &dir.join(MODEL))?;
            write_tensors(&trainer.ema_state(), &dir.join(EMA))?;
            write_tensors(&trainer.optimizer_state(), &dir.join(OPTIMIZER))
        })?;
        self.prune(keep)
    }

    /// Restores the newest checkpoint into `trainer`; `None` when there is none.
    pub fn resume(&self, trainer: &Trainer) -> Result<Option<State>> {
        let Some(path) = self.latest()? else { return Ok(None) };
        let state = read_state(&path)?;
        read_tensors(&path.join(MODEL), &trainer.model_state())?;
        read_tensors(&path.join(EMA), &trainer.ema_state())?;
        read_tensors(&path.join(OPTIMIZER), &trainer.optimizer_state())?;
        Ok(Some(state))
    }

    fn all(&self) -> Result<BTreeMap<u64, PathBuf>> {
        steps(&self.dir)
    }

    fn prune(&self, keep: usize) -> Result<()> {
        let all = self.all()?;
        let excess = all.len().saturating_sub(keep.max(1));
        for path in all.into_values().take(excess) {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// Averaged weights on the way: after a half, a quarter, an eighth of the training and so on.
#[derive(Debug)]
pub struct Snapshots {
    dir: PathBuf,
    due: BTreeSet<u64>,
}

/// One of them.
#[derive(Debug)]
pub struct Snapshot {
    /// File of the averaged weights.
    pub weights: PathBuf,
    /// Where training stood.
    pub state: State,
}

impl Snapshots {
    /// `count` snapshots of a training of `steps` steps, fewer if it is too short for them, in `dir`, which need not exist.
    pub fn new(dir: PathBuf, steps: u64, count: u64) -> Self {
        let halvings = (1..=count).map_while(|halvings| steps.checked_shr(halvings as u32));
        Self { dir, due: halvings.filter(|&step| step > 0).collect() }
    }

    /// Saves the averaged weights if their time has come.
    pub fn save_if_due(&self, trainer: &Trainer, state: &State) -> Result<()> {
        if !self.due.contains(&state.step) {
            return Ok(());
        }
        write_step(&self.dir, state, |dir| write_tensors(&trainer.ema_state(), &dir.join(EMA)))
    }

    /// Those in `dir`, in the order they were made.
    pub fn read(dir: &Path) -> Result<Vec<Snapshot>> {
        let snapshot =
            |path: PathBuf| Ok(Snapshot { weights: path.join(EMA), state: read_state(&path)? });
        steps(dir)?.into_values().map(snapshot).collect()
    }
}

/// Writes `dir/step-<n>` whole or not at all: what `write` puts into the folder it is given, and the state.
fn write_step(dir: &Path, state: &State, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    create_dir(dir)?;
    let path = dir.join(format!("step-{}", state.step));
    let aside = aside(&path);
    let _ = fs::remove_dir_all(&aside);
    create_dir(&aside)?;
    write(&aside)?;
    write_json(&aside.join(STATE), state)?;
    sync_directory(&aside)?;
    // A training that resumes from before this step makes it anew.
    let _ = fs::remove_dir_all(&path);
    fs::rename(&aside, &path).with_context(|| path.display().to_string())?;
    Ok(sync_directory(dir)?)
}

/// Where training stood when `path`, a folder `step-<n>`, was written: by a program whose networks took weights as this one's do.
fn read_state(path: &Path) -> Result<State> {
    let state: State = read_json(&path.join(STATE))?;
    if state.weights_version != WeightsVersion::default() {
        bail!(
            "{} is of another version of this program, whose networks took weights otherwise: train the model again, in another folder or \
             after removing this one",
            path.display()
        );
    }
    Ok(state)
}

/// The folders `step-<n>` of `dir` by n.
fn steps(dir: &Path) -> Result<BTreeMap<u64, PathBuf>> {
    let mut found = BTreeMap::new();
    if !dir.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(step) = name.strip_prefix("step-").and_then(|step| step.parse().ok()) {
            found.insert(step, path);
        }
    }
    Ok(found)
}

/// Writes named tensors as safetensors and syncs the file.
pub fn write_tensors(named: &[(String, Tensor)], path: &Path) -> Result<()> {
    let host = |t: &Tensor| t.detach().to_device(tch::Device::Cpu).contiguous();
    let named: Vec<_> = named.iter().map(|(name, t)| (name, host(t))).collect();
    Tensor::write_safetensors(&named, path)
        .and_then(|()| Ok(File::open(path)?.sync_all()?))
        .with_context(|| format!("cannot write {}", path.display()))
}

/// Copies a safetensors file into tensors of the same names and shapes.
pub fn read_tensors(path: &Path, into: &[(String, Tensor)]) -> Result<()> {
    let read = Tensor::read_safetensors(path)
        .with_context(|| format!("{} cannot be read as safetensors", path.display()))?;
    let mut saved: BTreeMap<String, Tensor> = read.into_iter().collect();
    for (name, tensor) in into {
        let Some(value) = saved.remove(name) else {
            bail!("{} lacks `{name}`: it belongs to another model", path.display())
        };
        if value.size() != tensor.size() {
            bail!(
                "{}: `{name}` is {:?}, but the model's is {:?}",
                path.display(),
                value.size(),
                tensor.size()
            );
        }
        tch::no_grad(|| tensor.shallow_clone().copy_(&value));
    }
    if let Some(name) = saved.keys().next() {
        bail!("{} has `{name}`, which the model lacks", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_that_were_taken_otherwise_are_refused() {
        let folder = std::env::temp_dir().join(format!("paragone-weights-{}", std::process::id()));
        let checkpoints = Checkpoints::new(folder.clone());
        let state = State { step: 7, ..State::default() };
        write_step(&folder, &state, |_| Ok(())).unwrap();
        let path = folder.join("step-7");
        assert_eq!(read_state(&path).unwrap().step, 7);
        assert_eq!(checkpoints.latest_ema().unwrap(), path.join(EMA));
        // As the first version wrote it.
        let written = fs::read_to_string(path.join(STATE)).unwrap();
        let first: serde_json::Value = serde_json::from_str(&written).unwrap();
        let mut first = first.as_object().unwrap().clone();
        first.remove("weights_version").unwrap();
        fs::write(path.join(STATE), serde_json::to_string(&first).unwrap()).unwrap();
        let refused = checkpoints.latest_ema().unwrap_err().to_string();
        assert!(
            refused.contains("step-7") && refused.contains("train the model again"),
            "{refused}"
        );
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn snapshots_halve_the_training() {
        let due = |steps, count| Snapshots::new(PathBuf::new(), steps, count).due;
        assert_eq!(due(1000, 4), BTreeSet::from([62, 125, 250, 500]));
        assert_eq!(due(3, 70), BTreeSet::from([1]));
        assert_eq!(due(1000, 0), BTreeSet::new());
    }
}
