//! Which images a folder has, and what it says of them.

use crate::{DataError, dataset::hex};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

/// The file that lists images with their captions.
pub(super) const METADATA: &str = "metadata.jsonl";

/// An image file with what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub path: PathBuf,
    /// The folder below the root that it lies in.
    pub class: Option<String>,
    pub caption: Option<String>,
}

/// A line of `metadata.jsonl`. Other columns are ignored.
#[derive(Debug, Deserialize)]
struct Line {
    file_name: String,
    text: Option<String>,
}

/// The images below a folder, in an order that has nothing to do with their classes and is the same everywhere: that of
/// the SHA-256 of their paths, relative to the folder.
pub(super) fn list(root: &Path) -> Result<Vec<Entry>, DataError> {
    let metadata = root.join(METADATA);
    let mut entries = if metadata.is_file() {
        listed(root, &metadata)?
    } else {
        let mut found = Vec::new();
        walk(root, &mut found)?;
        found.into_iter().map(|path| entry(root, path, None)).collect()
    };
    entries.sort_by_cached_key(|entry| {
        let relative = entry.path.strip_prefix(root).unwrap_or(&entry.path);
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        hex(&Sha256::digest(parts.join("/")))
    });
    Ok(entries)
}

/// The images below a folder in the order of their names.
pub(crate) fn image_files(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut found = Vec::new();
    walk(folder, &mut found)?;
    found.sort();
    Ok(found)
}

fn entry(root: &Path, path: PathBuf, caption: Option<String>) -> Entry {
    let relative = path.strip_prefix(root).unwrap_or(&path);
    let mut parts = relative.iter();
    let first = parts.next().map(|part| part.to_string_lossy().into_owned());
    let class = if parts.next().is_some() { first } else { None };
    Entry { path, class, caption }
}

fn listed(root: &Path, metadata: &Path) -> Result<Vec<Entry>, DataError> {
    let text = fs::read_to_string(metadata).map_err(|e| DataError::io(metadata, e))?;
    let mut seen = BTreeSet::new();
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong =
            |what: String| DataError::malformed(metadata, format!("line {}: {what}", number + 1));
        let line: Line = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        let relative = Path::new(&line.file_name);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(wrong(format!("{} is not below the folder", line.file_name)));
        }
        if !root.join(relative).is_file() {
            return Err(wrong(format!("there is no file {}", line.file_name)));
        }
        if !seen.insert(line.file_name.clone()) {
            return Err(wrong(format!("{} again", line.file_name)));
        }
        entries.push(entry(root, root.join(relative), line.text));
    }
    if entries.iter().any(|e| e.caption.is_some()) && entries.iter().any(|e| e.caption.is_none()) {
        return Err(DataError::malformed(metadata, "some lines have a text and some have none"));
    }
    Ok(entries)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let failed = |e| DataError::io(folder, e);
    for item in fs::read_dir(folder).map_err(failed)? {
        let path = item.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            _ if hidden => {}
            _ if path.is_dir() => walk(&path, found)?,
            Some("png" | "jpg" | "jpeg") => found.push(path),
            // Silence would train on less than the user put there.
            Some(other @ ("gif" | "webp" | "bmp" | "tif" | "tiff" | "avif" | "heic")) => {
                let reason = format!("{other} files are not supported: use PNG or JPEG");
                return Err(DataError::NotAnImage { path, reason });
            }
            _ => {}
        }
    }
    Ok(())
}
