//! A dataset's Debian package, downloaded by apt-get and unpacked by dpkg-deb.

use super::failed;
use crate::{
    DataError,
    spec::{DatasetSpec, DebianPackage},
};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// How often a download's progress is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Downloads and unpacks a Debian package below `staging`; returns the folder of the files. Needs no root: nothing is
/// installed.
pub(super) fn unpack(
    spec: &DatasetSpec,
    debian: &DebianPackage,
    staging: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<PathBuf, DataError> {
    let download = staging.join("download");
    fs::create_dir(&download).map_err(|e| DataError::io(&download, e))?;
    let mut apt = Command::new("apt-get");
    apt.args(["download", &debian.package]).current_dir(&download);
    let advice = "run `apt-get update` as root and try again";
    run(spec, apt, advice, &staging.join("apt-get.log"), &mut || {
        progress(folder_size(&download).min(debian.bytes), debian.bytes);
    })?;
    let package = fs::read_dir(&download)
        .map_err(|e| DataError::io(&download, e))?
        .filter_map(Result::ok)
        .map(|item| item.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| failed(spec, "apt-get downloaded nothing"))?;
    let unpacked = staging.join("unpacked");
    let mut dpkg = Command::new("dpkg-deb");
    dpkg.arg("-x").arg(package).arg(&unpacked);
    run(spec, dpkg, "try again", &staging.join("dpkg-deb.log"), &mut || {})?;
    Ok(unpacked.join(&debian.folder))
}

/// Runs a program to its end, calling `tick` now and then.
fn run(
    spec: &DatasetSpec,
    mut command: Command,
    advice: &str,
    log: &Path,
    tick: &mut dyn FnMut(),
) -> Result<(), DataError> {
    let program = command.get_program().to_string_lossy().into_owned();
    // Into a file: a pipe that nobody reads would stop the program once it is full.
    let errors = fs::File::create(log).map_err(|e| DataError::io(log, e))?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn();
    let mut child = child.map_err(|e| failed(spec, format!("cannot run {program} ({e})")))?;
    let status = loop {
        match child.try_wait().map_err(|e| DataError::io(&program, e))? {
            Some(status) => break status,
            None => std::thread::sleep(POLL),
        }
        tick();
    };
    if status.success() {
        return Ok(());
    }
    let said = fs::read_to_string(log).unwrap_or_default();
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("without a word");
    Err(DataError::Fetch {
        dataset: spec.name.clone(),
        problem: format!("{program} failed: {last}"),
        advice: format!("{advice}, or {}", spec.by_hand),
    })
}

/// Bytes of the files in a folder.
fn folder_size(folder: &Path) -> u64 {
    let items = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    items.filter_map(|item| item.metadata().ok()).map(|data| data.len()).sum()
}
