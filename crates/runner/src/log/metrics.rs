//! `metrics.jsonl`: one object a logged step.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

/// One logged step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Optimiser steps made.
    pub step: u64,
    /// Images seen.
    pub images: u64,
    /// Seconds of training, over all sittings.
    pub seconds: f64,
    /// Images a second since the last record.
    pub images_per_second: f64,
    /// `phase.name` to value, averaged over the steps since the last record.
    pub scalars: BTreeMap<String, f64>,
}

/// The open file.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl MetricsLog {
    /// Opens the file and cuts it to `bytes`, the length that the resumed checkpoint knows. One that has been deleted since, or cut,
    /// goes on from where it ends.
    pub fn open(path: &Path, bytes: u64) -> Result<Self> {
        let open = || -> std::io::Result<(File, u64)> {
            let file = OpenOptions::new().append(true).create(true).open(path)?;
            let bytes = file.metadata()?.len().min(bytes);
            file.set_len(bytes)?;
            Ok((file, bytes))
        };
        let (file, bytes) = open().with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file, bytes })
    }

    /// Appends a record with one write.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let mut line = serde_json::to_string(record)?;
        line.push('\n');
        self.file
            .write_all(line.as_bytes())
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// Length of the file, which a checkpoint keeps; what it covers is on disk.
    pub fn sync(&self) -> Result<u64> {
        self.file.sync_data().with_context(|| format!("cannot write {}", self.path.display()))?;
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(step: u64) -> Record {
        let scalars = BTreeMap::from([("train.loss".to_owned(), 0.5)]);
        Record { step, images: step * 8, seconds: 1.0, images_per_second: 8.0, scalars }
    }

    #[test]
    fn a_resumed_log_has_no_step_twice() {
        let path = std::env::temp_dir().join(format!("paragone-metrics-{}", std::process::id()));
        let mut log = MetricsLog::open(&path, 0).unwrap();
        log.append(&record(1)).unwrap();
        let kept = log.sync().unwrap();
        log.append(&record(2)).unwrap();
        let mut log = MetricsLog::open(&path, kept).unwrap();
        log.append(&record(2)).unwrap();
        let steps: Vec<u64> = std::fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["step"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(steps, [1, 2]);

        // Deleted meanwhile.
        std::fs::remove_file(&path).unwrap();
        MetricsLog::open(&path, kept).unwrap().append(&record(3)).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().starts_with("{\"step\":3,"));
        std::fs::remove_file(&path).unwrap();
    }
}
