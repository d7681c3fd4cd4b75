//! The text of an experiment, with all that was changed after reading it, so that every error finds its place.

use super::{
    error::{ConfigError, Place, Problem},
    explain::explain,
    locate::{Flaw, KeyPath, Position, Positions},
};
use serde::de::DeserializeOwned;
use serde_yaml::Value;

/// Where the values of an experiment come from.
#[derive(Debug, Clone, Default)]
pub struct Source {
    file: String,
    positions: Positions,
    /// Paths that `--set` wrote, with its argument; the last one wins.
    set: Vec<(KeyPath, String)>,
    /// Paths that a sweep made, with the path in the text that they came from.
    swept: Vec<(KeyPath, KeyPath)>,
}

impl Source {
    /// Reads the text, refusing duplicate keys.
    pub fn parse(file: &str, text: &str) -> Result<(Self, Value), ConfigError> {
        let fail = |position, path: &[String], problem| ConfigError {
            place: Place::File { file: file.into(), position },
            key: path.join("."),
            problem,
        };
        let positions = Positions::of(text).map_err(|flaw| match flaw {
            Flaw::Syntax { at, message } => fail(at, &[], Problem::Syntax(message)),
            Flaw::Duplicate { path, at, first } => fail(at, &path, Problem::Duplicate { first }),
        })?;
        let yaml = |error: serde_yaml::Error| {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
            fail(Position { line, column }, &[], Problem::Syntax(error.to_string()))
        };
        let mut value: Value = serde_yaml::from_str(text).map_err(yaml)?;
        value.apply_merge().map_err(yaml)?;
        let source = Self { file: file.into(), positions, ..Self::default() };
        Ok((source, value))
    }

    /// Records that `--set` wrote a path.
    pub fn record_set(&mut self, path: KeyPath, argument: &str) {
        self.set.push((path, argument.into()));
    }

    /// Records that a sweep made `path` of what stands at `origin` in the text.
    pub fn record_sweep(&mut self, path: KeyPath, origin: KeyPath) {
        self.swept.push((path, origin));
    }

    /// Where the value at a path comes from; of what nobody wrote, the place of the nearest key around it.
    pub fn locate(&self, path: &[String]) -> Place {
        let swept = self.swept.iter().filter(|(made, _)| path.starts_with(made));
        let path = match swept.max_by_key(|(made, _)| made.len()) {
            Some((made, origin)) => [origin.as_slice(), &path[made.len()..]].concat(),
            None => path.to_vec(),
        };
        let set = self.set.iter().rev().find(|(written, _)| {
            // A key above what was set, but not in the text, was made by setting.
            path.starts_with(written)
                || (written.starts_with(&path) && !self.positions.contains(&path))
        });
        match set {
            Some((_, argument)) if !path.is_empty() => Place::Set { argument: argument.clone() },
            _ => {
                let position = self.positions.deepest(&path);
                Place::File { file: self.file.clone(), position }
            }
        }
    }

    /// An error at a path.
    pub fn error(&self, path: &[String], problem: Problem) -> ConfigError {
        ConfigError { place: self.locate(path), key: path.join("."), problem }
    }

    /// Deserializes the section at `path`.
    pub fn section<T: DeserializeOwned>(
        &self,
        path: &[String],
        value: Value,
    ) -> Result<T, ConfigError> {
        serde_path_to_error::deserialize(value.clone())
            .map_err(|error| self.serde_error(path, &value, &error))
    }

    /// What serde found wrong with the section at `path`.
    pub fn serde_error(
        &self,
        path: &[String],
        section: &Value,
        error: &serde_path_to_error::Error<serde_yaml::Error>,
    ) -> ConfigError {
        use serde_path_to_error::Segment;
        let within = error.path().iter().filter_map(|segment| match segment {
            Segment::Map { key } => Some(key.clone()),
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        let (within, problem) = explain(&error.inner().to_string(), section, within.collect());
        self.error(&[path, &within].concat(), problem)
    }
}

/// A path from its keys.
pub fn path<const N: usize>(keys: [&str; N]) -> KeyPath {
    keys.map(str::to_string).to_vec()
}
