//! Where the files of a run are, and how a file is written so that a kill leaves the old one or the new one.

use anyhow::{Context, Result};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

/// A run's directory.
#[derive(Debug, Clone)]
pub struct RunDir(PathBuf);

impl RunDir {
    /// The run in `path`, whether or not it exists.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The experiment, fully resolved: its presence makes a directory a run.
    pub fn experiment(&self) -> PathBuf {
        self.0.join("experiment.yaml")
    }

    /// Versions, host and hashes.
    pub fn manifest(&self) -> PathBuf {
        self.0.join("manifest.json")
    }

    /// Scores of images of known quality.
    pub fn calibration(&self) -> PathBuf {
        self.0.join("calibration.json")
    }

    /// Table, grid and scores of all models.
    pub fn comparison(&self) -> PathBuf {
        self.0.join("comparison")
    }

    /// One model's part of the run.
    pub fn model(&self, name: &str) -> ModelDir {
        ModelDir(self.0.join(name))
    }

    /// A model given by its own directory, such as `runs/a/diffusion`: its run and its name.
    pub fn of_model(path: &Path) -> Option<(Self, String)> {
        let name = path.file_name()?.to_str()?.to_owned();
        let run = Self::new(
            path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        );
        run.experiment().is_file().then_some((run, name))
    }
}

/// One model's directory within a run.
#[derive(Debug, Clone)]
pub struct ModelDir(PathBuf);

impl ModelDir {
    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// How long to train, fixed before step 0.
    pub fn plan(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    /// What the model knows of the data.
    pub fn data(&self) -> PathBuf {
        self.0.join("data.json")
    }

    /// Checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// One object a logged step.
    pub fn metrics(&self) -> PathBuf {
        self.0.join("metrics.jsonl")
    }

    /// Grids drawn during training.
    pub fn samples(&self) -> PathBuf {
        self.0.join("samples")
    }

    /// What training cost; its presence means that training is finished.
    pub fn summary(&self) -> PathBuf {
        self.0.join("summary.json")
    }

    /// Why training ended early.
    pub fn failure(&self) -> PathBuf {
        self.0.join("failure.json")
    }

    /// Scores of the model.
    pub fn scores(&self) -> PathBuf {
        self.0.join("scores.json")
    }

    /// The 8-bit images that were scored, one file an evaluation seed.
    pub fn scored_images(&self, seed: u64) -> PathBuf {
        self.0.join(format!("scored-seed-{seed}.safetensors"))
    }

    /// Held by whoever trains the model.
    pub fn lock(&self) -> PathBuf {
        self.0.join("lock")
    }
}

/// Writes a file aside, syncs it and renames it into place.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let aside = aside(path);
        let mut file = File::create(&aside)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// The name under which a file or folder is prepared before it is renamed to `path`.
pub fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp-{}", std::process::id()))
}

/// Makes renames within a directory last.
pub fn sync_directory(path: &Path) -> std::io::Result<()> {
    File::open(if path.as_os_str().is_empty() { Path::new(".") } else { path })?.sync_all()
}

/// Writes a value as indented JSON, atomically.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write_atomically(path, text.as_bytes())
}

/// Reads a JSON file.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
}

/// Reads a JSON file if there is one.
pub fn read_json_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if path.exists() { read_json(path).map(Some) } else { Ok(None) }
}

/// Creates a directory and its parents.
pub fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}
