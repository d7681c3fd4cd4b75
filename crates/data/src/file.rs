//! Reading files whole, gzipped or not.

use crate::{DataError, dataset::hex};
use flate2::read::MultiGzDecoder;
use std::{fs, io::Read, path::Path};

/// The content of a file, decompressed if it is gzip (which its first two bytes tell, whatever its name).
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let bytes = fs::read(path).map_err(|e| DataError::io(path, e))?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut content = Vec::new();
    MultiGzDecoder::new(bytes.as_slice())
        .read_to_end(&mut content)
        .map_err(|e| DataError::malformed(path, format!("not a whole gzip file: {e}")))?;
    Ok(content)
}

/// An error about the first bytes of a file.
pub(crate) fn bad_magic(path: &Path, expected: impl Into<String>, bytes: &[u8]) -> DataError {
    let got = hex(&bytes[..bytes.len().min(4)]);
    DataError::BadMagic { path: path.to_owned(), expected: expected.into(), got }
}

/// An error unless a file has the right number of bytes.
pub(crate) fn check_size(path: &Path, expected: u64, bytes: &[u8]) -> Result<(), DataError> {
    let got = bytes.len() as u64;
    if got == expected {
        return Ok(());
    }
    Err(DataError::WrongSize { path: path.to_owned(), expected, got })
}
