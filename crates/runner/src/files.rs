//! Where the files of a run are, and how a file is written so that a kill leaves the old one or the new one.

use anyhow::{Context, Result, bail};
use paragone_data::hex;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, TryLockError},
    io::{ErrorKind, Write},
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

    /// Whether nothing is there that a new run could overwrite; what a killed process was about to write is nothing.
    pub fn is_vacant(&self) -> bool {
        let nothing = |entry: &PathBuf| entry.ends_with(Lock::FILE) || is_aside(entry);
        entries(&self.0).is_ok_and(|all| all.iter().all(nothing))
    }

    /// Takes the right to train and score the run's models, creating the directory if need be and deleting what processes
    /// that were killed had prepared in it.
    pub fn lock(&self) -> Result<Lock> {
        create_dir(&self.0)?;
        let lock = Lock::take(&self.0)?;
        // A training that was told to stop by its parent's end may still be saving.
        for model in entries(&self.0)?.iter().filter(|entry| entry.join(Lock::FILE).is_file()) {
            let _lock = Lock::take(model)?;
            remove_asides(model)?;
        }
        remove_asides(&self.0)?;
        Ok(lock)
    }

    /// Deletes everything but the lock; what makes it a run goes last, so that a kill leaves one to be cleared again.
    pub fn clear(&self, _held: &Lock) -> Result<()> {
        let mut all = entries(&self.0)?;
        all.retain(|entry| !entry.ends_with(Lock::FILE));
        all.sort_by_key(|entry| *entry == self.experiment());
        // Each goes whole: a model without some of its files would be taken for one at another stage.
        for entry in all {
            let aside = aside(&entry);
            fs::rename(&entry, &aside)
                .with_context(|| format!("cannot delete {}", entry.display()))?;
            remove(&aside)?;
        }
        Ok(())
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
    /// The model in this directory.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Another model of the same run.
    pub fn sibling(&self, name: &str) -> Self {
        Self(self.0.with_file_name(name))
    }

    /// How long to train, fixed before step 0.
    pub fn plan(&self) -> PathBuf {
        self.0.join("plan.json")
    }

    /// What the model knows of the data.
    pub fn data(&self) -> PathBuf {
        self.0.join("data.json")
    }

    /// The numbers of words, for captioned data.
    pub fn tokenizer(&self) -> PathBuf {
        self.0.join("tokenizer.json")
    }

    /// Checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("checkpoints")
    }

    /// Averaged weights on the way.
    pub fn snapshots(&self) -> PathBuf {
        self.0.join("snapshots")
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

    /// Points of its curves.
    pub fn curve_points(&self) -> PathBuf {
        self.0.join("curve-points.json")
    }

    /// A part of the scores that takes long, such as `likelihood`, with what it depends on.
    pub fn part_of_scores(&self, name: &str) -> PathBuf {
        self.0.join(format!("scores-{name}.json"))
    }

    /// The 8-bit images that were scored, one file an evaluation seed.
    pub fn scored_images(&self, seed: u64) -> PathBuf {
        self.0.join(format!("scored-seed-{seed}.safetensors"))
    }
}

/// The right to train or score what is in a directory: one process at a time has it, and loses it however it ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "open for as long as the lock is held")] File);

impl Lock {
    /// Takes the lock of a directory that exists.
    pub fn take(dir: &Path) -> Result<Self> {
        let path = dir.join(Self::FILE);
        let open = || path.display().to_string();
        // Not truncated: that a run was looked at leaves no trace in it.
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .with_context(open)?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => {
                bail!("another process is at work in {}", dir.display())
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(open),
        }
    }

    /// The file's name.
    pub const FILE: &str = "lock";
}

/// Writes a file aside, syncs it and renames it into place, in a folder that is made if need be.
pub fn write_atomically(path: &Path, contents: &[u8]) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let aside = aside(path);
        let mut file = File::create(&aside)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&aside, path)?;
        sync_directory(folder)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Marks the names of what is being prepared.
const ASIDE: &str = ".tmp-";

/// The name under which a file or folder is prepared before it is renamed to `path`.
pub fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}{ASIDE}{}", std::process::id()))
}

/// Deletes what processes that were killed had prepared in a directory. Only for one that nobody else writes to.
pub fn remove_asides(dir: &Path) -> Result<()> {
    entries(dir)?.iter().filter(|path| is_aside(path)).try_for_each(|path| remove(path))
}

fn is_aside(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') && name.contains(ASIDE)
}

/// What is in a directory; nothing, if it is not there.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let list = || match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        list => list?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>(),
    };
    list().with_context(|| format!("cannot read {}", dir.display()))
}

/// Deletes a file, or a directory with all that is in it.
fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.with_context(|| format!("cannot delete {}", path.display()))
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

/// SHA-256 of a file's bytes, in lower-case hexadecimal.
pub fn hash_of_file(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(hex(&Sha256::digest(bytes)))
}

/// Creates a directory and its parents.
pub fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))
}
