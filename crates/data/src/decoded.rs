//! Images decoded once, kept in a file and mapped from then on: a start costs no second decoding, and a million images no
//! memory that the system could not take back.

use crate::{
    DataError,
    fetch::{Watch, sweep},
};
use paragone_core::ImageShape;
use rayon::prelude::*;
use std::{
    fs,
    io::{BufWriter, Write},
    path::Path,
};
use tch::Tensor;
use torch_ext::map_file;

/// Images decoded between two writes, which come in order.
const AT_ONCE: usize = 512;

/// How the names of unfinished files begin.
const PREFIX: &str = ".decode-";

/// The images that `decode` makes of `0..n`, u8 `[n, c, h, w]`, mapped from `file`, which is made if it is not there.
///
/// The file appears whole or not at all. Its name must stand for all that the images depend on.
pub(crate) fn decoded(
    file: &Path,
    n: usize,
    shape: ImageShape,
    decode: impl Fn(usize) -> Result<Vec<u8>, DataError> + Sync,
    watch: Watch<'_>,
) -> Result<Tensor, DataError> {
    let size = n as u64 * shape.numel() as u64;
    if !fs::metadata(file).is_ok_and(|found| found.len() == size) {
        write(file, n, decode, watch)?;
    }
    let bytes = map_file(file).map_err(|e| DataError::io(file, e))?;
    Ok(bytes.view(&shape.batch(n as i64)[..]))
}

fn write(
    file: &Path,
    n: usize,
    decode: impl Fn(usize) -> Result<Vec<u8>, DataError> + Sync,
    watch: Watch<'_>,
) -> Result<(), DataError> {
    let folder = file.parent().expect("a file in a folder");
    let failed = |e| DataError::io(file, e);
    fs::create_dir_all(folder).map_err(|e| DataError::io(folder, e))?;
    sweep(folder, PREFIX);
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX);
    // Temporary files are their owner's alone; this one is to stay, for all whom the user's mask lets read it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let aside = builder.tempfile_in(folder);
    let mut aside = BufWriter::new(aside.map_err(|e| DataError::io(folder, e))?);
    for start in (0..n).step_by(AT_ONCE) {
        if watch(start as u64, n as u64).is_break() {
            return Err(DataError::Stopped);
        }
        let end = n.min(start + AT_ONCE);
        let images: Vec<Vec<u8>> =
            (start..end).into_par_iter().map(&decode).collect::<Result<_, _>>()?;
        images.iter().try_for_each(|image| aside.write_all(image)).map_err(failed)?;
    }
    let aside = aside.into_inner().map_err(|e| failed(e.into_error()))?;
    aside.as_file().sync_all().map_err(failed)?;
    aside.persist(file).map_err(|e| failed(e.error))?;
    let _ = watch(n as u64, n as u64);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fetch::unwatched, testing::Folder};
    use std::{
        ops::ControlFlow,
        sync::atomic::{AtomicUsize, Ordering},
    };

    const SHAPE: ImageShape = ImageShape { channels: 1, height: 1, width: 2 };

    #[test]
    fn images_are_decoded_once_and_mapped_after() {
        let folder = Folder::new();
        let file = folder.path().join("decoded/x.u8");
        let calls = AtomicUsize::new(0);
        let decode = |i: usize| {
            calls.fetch_add(1, Ordering::Relaxed);
            Ok(vec![(i % 251) as u8, 7])
        };
        for _ in 0..2 {
            let images = decoded(&file, 1300, SHAPE, decode, &mut unwatched).unwrap();
            assert_eq!(images.size(), [1300, 1, 1, 2]);
            assert_eq!(images.int64_value(&[1299, 0, 0, 0]), 1299 % 251);
        }
        assert_eq!(calls.into_inner(), 1300);
    }

    #[test]
    fn what_is_stopped_or_fails_leaves_nothing() {
        let folder = Folder::new();
        let file = folder.path().join("x.u8");
        let stop = &mut |done, _| match done {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        };
        let stopped = decoded(&file, 600, SHAPE, |_| Ok(vec![0, 0]), stop);
        assert!(matches!(stopped, Err(DataError::Stopped)));
        let fails = |i| match i {
            599 => Err(DataError::malformed("x", "y")),
            _ => Ok(vec![0, 0]),
        };
        assert!(decoded(&file, 600, SHAPE, fails, &mut unwatched).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
