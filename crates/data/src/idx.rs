//! MNIST and whatever comes in its format, IDX: a magic number, the dimensions as big-endian u32, then bytes
//! (LeCun, <http://yann.lecun.com/exdb/mnist/>, "file formats").

use crate::{
    DataConfig, DataError, Dataset, ImageSet, Split, dataset::Parts, file, spec::DatasetSpec,
};
use paragone_core::ImageShape;
use std::path::{Path, PathBuf};

/// A dataset of four IDX files: train images and labels, test images and labels.
#[derive(Debug)]
pub(crate) struct Idx {
    spec: DatasetSpec,
    shape: ImageShape,
    folder: PathBuf,
    parts: Parts,
}

impl Idx {
    /// The dataset of a spec, its files in `folder`.
    pub fn new(spec: DatasetSpec, config: &DataConfig, folder: PathBuf) -> Result<Self, DataError> {
        let shape = spec.shape.expect("IDX datasets have images of one size");
        for index in 0..spec.files.len() {
            spec.locate(&folder, index)?;
        }
        Ok(Self { spec, shape, folder, parts: Parts::new(config) })
    }

    /// Images and labels of one half: file 0 and 1, or 2 and 3.
    fn half(&self, first_file: usize) -> Result<(Vec<u8>, Vec<i64>), DataError> {
        let path = self.spec.locate(&self.folder, first_file)?;
        let images = file::read(&path)?;
        let size = [self.shape.height as u32, self.shape.width as u32];
        let (n, pixels) = parse(&path, &images, &size)?;
        let path = self.spec.locate(&self.folder, first_file + 1)?;
        let labels = file::read(&path)?;
        let (num_labels, labels) = parse(&path, &labels, &[])?;
        if n == 0 || n != num_labels {
            let problem = format!("{num_labels} labels for {n} images");
            return Err(DataError::malformed(path, problem));
        }
        let classes = self.spec.classes.len();
        if let Some(at) = labels.iter().position(|label| usize::from(*label) >= classes) {
            let problem = format!("label {at} is {}, not below {classes}", labels[at]);
            return Err(DataError::malformed(path, problem));
        }
        Ok((pixels.to_vec(), labels.iter().map(|label| i64::from(*label)).collect()))
    }
}

impl Dataset for Idx {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn shape(&self) -> ImageShape {
        self.shape
    }

    fn class_names(&self) -> &[String] {
        &self.spec.classes
    }

    fn load(&self, split: Split) -> Result<ImageSet, DataError> {
        let (pixels, classes) = self.half(if split == Split::Test { 2 } else { 0 })?;
        let n = classes.len() as u64;
        let rows = self.parts.rows(self.name(), split, n, n)?;
        let rows = rows.start as usize..rows.end as usize;
        let numel = self.shape.numel() as usize;
        let pixels = &pixels[rows.start * numel..rows.end * numel];
        Ok(ImageSet::new(pixels, self.shape, Some(classes[rows].to_vec()), None))
    }
}

/// Number of items and their bytes, of an IDX file of bytes whose items have the dimensions `item`.
fn parse<'a>(path: &Path, bytes: &'a [u8], item: &[u32]) -> Result<(u64, &'a [u8]), DataError> {
    let dims = 1 + item.len();
    let magic = [0, 0, 8, dims as u8];
    let expected = || format!("an IDX file of bytes in {dims} dimensions");
    if !bytes.starts_with(&magic) {
        return Err(file::bad_magic(path, expected(), bytes));
    }
    let header = 4 * (1 + dims);
    if bytes.len() < header {
        file::check_size(path, header as u64, bytes)?;
    }
    let dim = |i: usize| {
        let at = 4 * (1 + i);
        u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
    };
    let found: Vec<u32> = (1..dims).map(dim).collect();
    if found != item {
        let problem = format!("items of {found:?} where {item:?} was expected");
        return Err(DataError::malformed(path, problem));
    }
    let (n, numel) = (u64::from(dim(0)), item.iter().map(|d| u64::from(*d)).product::<u64>());
    file::check_size(path, header as u64 + n * numel, bytes)?;
    Ok((n, &bytes[header..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{spec::spec, testing::Folder};
    use std::io::Write;

    fn idx(dims: &[u32], content: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, 8, dims.len() as u8];
        dims.iter().for_each(|dim| file.extend(dim.to_be_bytes()));
        file.extend(content);
        file
    }

    fn images(n: u8) -> Vec<u8> {
        let pixels: Vec<u8> = (0..n).flat_map(|i| [i; 784]).collect();
        idx(&[u32::from(n), 28, 28], &pixels)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Six train images, gzipped, and two test images, plain.
    fn folder() -> Folder {
        let folder = Folder::new();
        folder.write("train-images-idx3-ubyte.gz", &gzip(&images(6)));
        folder.write("train-labels-idx1-ubyte.gz", &gzip(&idx(&[6], &[5, 4, 3, 2, 1, 0])));
        folder.write("t10k-images-idx3-ubyte", &images(2));
        folder.write("t10k-labels-idx1-ubyte", &idx(&[2], &[9, 8]));
        folder
    }

    fn open(folder: &Folder) -> Result<Idx, DataError> {
        let config = DataConfig { train_images: Some(5), ..DataConfig::default() };
        Idx::new(spec("mnist")?, &config, folder.path().to_owned())
    }

    fn load_error(folder: &Folder, split: Split) -> String {
        open(folder).unwrap().load(split).unwrap_err().to_string()
    }

    #[test]
    fn plain_and_gzipped_files_are_read() {
        let folder = folder();
        let data = open(&folder).unwrap();
        let train = data.load(Split::Train).unwrap();
        assert_eq!(train.images.size(), [5, 1, 28, 28]);
        assert_eq!(Vec::<i64>::try_from(train.classes.unwrap()).unwrap(), [5, 4, 3, 2, 1]);
        assert_eq!(train.images.int64_value(&[3, 0, 27, 27]), 3);
        let test = data.load(Split::Test).unwrap();
        assert_eq!(Vec::<i64>::try_from(test.classes.unwrap()).unwrap(), [9, 8]);
        assert!(matches!(data.load(Split::HeldOut), Err(DataError::NoSuchSplit { .. })));
    }

    #[test]
    fn a_missing_file_tells_how_to_fetch_it() {
        let folder = folder();
        std::fs::remove_file(folder.path().join("t10k-labels-idx1-ubyte")).unwrap();
        let text = open(&folder).unwrap_err().to_string();
        assert!(
            text.contains("t10k-labels") && text.contains("paragone data fetch mnist"),
            "{text}"
        );
    }

    #[test]
    fn every_corruption_is_named() {
        let images_file = "t10k-images-idx3-ubyte";
        let cases: [(&str, Vec<u8>, &str); 8] = [
            (images_file, images(2)[..1000].to_vec(), "expected 1584 bytes, got 1000"),
            (images_file, [images(2), vec![0]].concat(), "expected 1584 bytes, got 1585"),
            (images_file, b"<html>".to_vec(), "begins with 3c68746d"),
            (images_file, vec![0, 0, 8, 3, 0], "expected 16 bytes, got 5"),
            (images_file, vec![], "begins with"),
            (images_file, idx(&[2, 14, 56], &[0; 1568]), "[14, 56]"),
            ("t10k-labels-idx1-ubyte", idx(&[3], &[0; 3]), "3 labels for 2 images"),
            ("t10k-labels-idx1-ubyte", idx(&[2], &[1, 10]), "label 1 is 10"),
        ];
        for (name, content, want) in cases {
            let folder = folder();
            folder.write(name, &content);
            let text = load_error(&folder, Split::Test);
            assert!(text.contains(want) && text.contains(name), "{text}");
        }
    }

    #[test]
    fn a_truncated_gzip_file_is_named() {
        let folder = folder();
        let whole = gzip(&images(6));
        folder.write("train-images-idx3-ubyte.gz", &whole[..whole.len() - 9]);
        let text = load_error(&folder, Split::Train);
        assert!(text.contains("train-images-idx3-ubyte.gz") && text.contains("gzip"), "{text}");
    }
}
