//! CIFAR-10, binary version: records of a label and three planes of 32 × 32 levels (Krizhevsky 2009).

use crate::{
    DataConfig, DataError, Dataset, ImageSet, Split, dataset::Parts, file, spec::DatasetSpec,
};
use paragone_core::ImageShape;
use rayon::prelude::*;
use std::path::PathBuf;

/// The five train batches and the test batch.
#[derive(Debug)]
pub(crate) struct Cifar10 {
    spec: DatasetSpec,
    shape: ImageShape,
    folder: PathBuf,
    parts: Parts,
}

/// Levels and labels of some records.
type Records = (Vec<u8>, Vec<i64>);

impl Cifar10 {
    /// The dataset of a spec, its files in `folder`.
    pub fn new(spec: DatasetSpec, config: &DataConfig, folder: PathBuf) -> Result<Self, DataError> {
        let shape = spec.shape.expect("the images have one size");
        for index in 0..spec.files.len() {
            spec.locate(&folder, index)?;
        }
        Ok(Self { spec, shape, folder, parts: Parts::new(config) })
    }

    fn records(&self, index: usize) -> Result<Records, DataError> {
        let path = self.spec.locate(&self.folder, index)?;
        let bytes = file::read(&path)?;
        file::check_size(&path, self.spec.files[index].bytes, &bytes)?;
        let numel = self.shape.numel() as usize;
        let (mut pixels, mut labels) = (Vec::with_capacity(bytes.len()), Vec::new());
        for (i, record) in bytes.chunks(1 + numel).enumerate() {
            let label = usize::from(record[0]);
            if label >= self.spec.classes.len() || record.len() != 1 + numel {
                let problem = format!("record {i} is no image with a label below 10");
                return Err(DataError::malformed(path, problem));
            }
            labels.push(label as i64);
            pixels.extend_from_slice(&record[1..]);
        }
        Ok((pixels, labels))
    }
}

impl Dataset for Cifar10 {
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
        let last = self.spec.files.len() - 1;
        let files = if split == Split::Test { last..last + 1 } else { 0..last };
        let batches: Vec<Records> =
            files.into_par_iter().map(|i| self.records(i)).collect::<Result<_, _>>()?;
        let (pixels, labels): (Vec<_>, Vec<_>) = batches.into_iter().unzip();
        let (pixels, labels) = (pixels.concat(), labels.concat());
        let n = labels.len() as u64;
        let rows = self.parts.rows(self.name(), split, n, n)?;
        let rows = rows.start as usize..rows.end as usize;
        let numel = self.shape.numel() as usize;
        let pixels = &pixels[rows.start * numel..rows.end * numel];
        Ok(ImageSet::new(pixels, self.shape, Some(labels[rows].to_vec()), None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{spec::spec, testing::Folder};

    /// The spec, for files of two records.
    fn small_spec() -> DatasetSpec {
        let mut spec = spec("cifar10").unwrap();
        spec.files.iter_mut().for_each(|file| file.bytes = 2 * 3073);
        spec
    }

    /// Red is the label, green the number of the file, blue 255.
    fn batch(file: u8, labels: [u8; 2]) -> Vec<u8> {
        let record =
            |label: u8| [vec![label], vec![label; 1024], vec![file; 1024], vec![255; 1024]];
        labels.into_iter().flat_map(record).flatten().collect()
    }

    fn folder() -> Folder {
        let folder = Folder::new();
        for (i, file) in small_spec().files.iter().enumerate() {
            folder.write(&file.name, &batch(i as u8, [i as u8, 9]));
        }
        folder
    }

    fn open(folder: &Folder) -> Cifar10 {
        let config = DataConfig::default();
        Cifar10::new(small_spec(), &config, folder.path().to_owned()).unwrap()
    }

    #[test]
    fn batches_are_read_in_order_and_planes_are_kept() {
        let folder = folder();
        let train = open(&folder).load(Split::Train).unwrap();
        assert_eq!(train.images.size(), [10, 3, 32, 32]);
        let classes = Vec::<i64>::try_from(train.classes.unwrap()).unwrap();
        assert_eq!(classes, [0, 9, 1, 9, 2, 9, 3, 9, 4, 9]);
        let pixel = |c| train.images.int64_value(&[6, c, 31, 31]);
        assert_eq!([0, 1, 2].map(pixel), [3, 3, 255]);
        let test = open(&folder).load(Split::Test).unwrap();
        assert_eq!(Vec::<i64>::try_from(test.classes.unwrap()).unwrap(), [5, 9]);
    }

    #[test]
    fn every_corruption_is_named() {
        for (content, want) in [
            (batch(5, [5, 9])[..5000].to_vec(), "expected 6146 bytes, got 5000"),
            (batch(5, [5, 10]), "record 1"),
            (vec![], "got 0"),
        ] {
            let folder = folder();
            folder.write("test_batch.bin", &content);
            let text = open(&folder).load(Split::Test).unwrap_err().to_string();
            assert!(text.contains(want) && text.contains("test_batch.bin"), "{text}");
        }
    }
}
