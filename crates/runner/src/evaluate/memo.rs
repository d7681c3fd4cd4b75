//! What took long to make, kept with all that it depends on: what is there is not made again.

use crate::files::{read_json, write_json};
use anyhow::Result;
use serde::{Serialize, de::DeserializeOwned};
use std::path::PathBuf;

/// Values on disk, each with what it depends on.
#[derive(Debug)]
pub struct Memo<K, V> {
    file: PathBuf,
    entries: Vec<(K, V)>,
}

impl<K, V> Memo<K, V>
where
    K: PartialEq + Serialize + DeserializeOwned,
    V: Clone + Serialize + DeserializeOwned,
{
    /// What is there; a file that does not parse is an old one, and nothing.
    pub fn read(file: PathBuf) -> Self {
        Self { entries: read_json(&file).unwrap_or_default(), file }
    }

    /// The value of `key`: the one that is there, or what `make` makes, which is written. `None` if that gives none.
    pub fn get_or_make(
        &mut self,
        key: K,
        make: impl FnOnce() -> Result<Option<V>>,
    ) -> Result<Option<V>> {
        if let Some((_, value)) = self.entries.iter().find(|(known, _)| *known == key) {
            return Ok(Some(value.clone()));
        }
        let Some(value) = make()? else { return Ok(None) };
        self.entries.push((key, value.clone()));
        write_json(&self.file, &self.entries)?;
        Ok(Some(value))
    }
}
