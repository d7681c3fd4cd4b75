//! One's own images: a folder for each class, or a `metadata.jsonl` beside them with `file_name` and `text`, as Hugging
//! Face's ImageFolder has it; optionally below `train/` and `test/`.

mod list;

use crate::{
    DataConfig, DataError, Dataset, ImageSet, Split,
    dataset::{Parts, hex},
    decoded::decoded,
    fetch::Watch,
    image_file,
};
pub(crate) use list::image_files;
use list::{Entry, METADATA, list};
use paragone_core::ImageShape;
use sha2::{Digest, Sha256};
use std::{collections::BTreeSet, fs, path::Path};
use tch::Tensor;

/// Names of folders that hold a part of a dataset each.
const PARTS: [&str; 5] = ["train", "val", "valid", "validation", "test"];

/// Every how manieth image is for testing, where there is no folder for it.
const TEST_EVERY: usize = 10;

/// Which images a folder has, at which size they are wanted, and what is known of them: all but the images.
#[derive(Debug)]
pub(crate) struct Listing {
    shape: ImageShape,
    class_names: Vec<String>,
    train: Vec<Entry>,
    test: Vec<Entry>,
    parts: Parts,
}

impl Listing {
    pub fn new(config: &DataConfig) -> Result<Self, DataError> {
        let needed = |key| DataError::invalid(key, "not set", "image-folder needs it");
        let root = config.path.as_deref().ok_or_else(|| needed("path"))?;
        let size = config.size.ok_or_else(|| needed("size"))?;
        let (train, test) = match (root.join("train"), root.join("test")) {
            (train, test) if train.is_dir() && test.is_dir() => {
                no_common_metadata(root)?;
                (list(&train)?, list(&test)?)
            }
            _ => {
                no_lone_part(root)?;
                split(list(root)?)
            }
        };
        for (split, entries) in [("train", &train), ("test", &test)] {
            if entries.is_empty() {
                return Err(DataError::malformed(
                    root,
                    format!("no PNG or JPEG file to {split} on"),
                ));
            }
        }
        let class_names = class_names(root, &train, &test)?;
        let shape = ImageShape { channels: 3, height: size, width: size };
        Ok(Self { shape, class_names, train, test, parts: Parts::new(config) })
    }

    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    pub fn has_captions(&self) -> bool {
        self.entries().all(|entry| entry.caption.is_some())
    }

    /// The images, decoded into a file in `folder` unless they are there already.
    pub fn decode(mut self, folder: &Path, watch: Watch<'_>) -> Result<ImageFolder, DataError> {
        // What the configuration leaves out need not be decoded; what it keeps out of training is wanted all the same.
        let parts = Parts { validation: false, ..self.parts.clone() };
        let wanted = |split| {
            let (train, test) = (self.train.len() as u64, self.test.len() as u64);
            parts.rows(ImageFolder::NAME, split, train, test).map(|rows| rows.end as usize)
        };
        let (train, test) = (wanted(Split::Train)?, wanted(Split::Test)?);
        self.train.truncate(train);
        self.test.truncate(test);
        let entries: Vec<&Entry> = self.entries().collect();
        let file = folder.join(self.hash()?).with_extension("u8");
        let (channels, size) = (self.shape.channels, self.shape.height);
        let decode = |i: usize| image_file::read_square(&entries[i].path, channels, size);
        let images = decoded(&file, entries.len(), self.shape, decode, watch)?;
        Ok(ImageFolder { listing: self, images })
    }

    /// Train entries, then test entries.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.train.iter().chain(&self.test)
    }

    /// A hash of all that the decoded images depend on: where the files are, how long and how old, and the size.
    fn hash(&self) -> Result<String, DataError> {
        let mut hash = Sha256::new();
        hash.update(format!("decoded 1, {:?}\n", self.shape));
        for Entry { path, .. } in self.entries() {
            let failed = |e| DataError::io(path, e);
            let file = fs::metadata(path).map_err(failed)?;
            let (modified, absolute) =
                (file.modified().map_err(failed)?, std::path::absolute(path).map_err(failed)?);
            hash.update(format!("{absolute:?} {} {modified:?}\n", file.len()));
        }
        Ok(hex(&hash.finalize()))
    }

    fn class_id(&self, entry: &Entry) -> Option<i64> {
        let id = self.class_names.binary_search(entry.class.as_ref()?).ok()?;
        Some(id as i64)
    }
}

/// Images of a folder, at one size.
#[derive(Debug)]
pub(crate) struct ImageFolder {
    listing: Listing,
    /// u8 `[train + test, c, h, w]`.
    images: Tensor,
}

impl ImageFolder {
    const NAME: &str = "image-folder";
}

impl Dataset for ImageFolder {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn shape(&self) -> ImageShape {
        self.listing.shape
    }

    fn class_names(&self) -> &[String] {
        self.listing.class_names()
    }

    fn has_captions(&self) -> bool {
        self.listing.has_captions()
    }

    fn load(&self, split: Split) -> Result<ImageSet, DataError> {
        let Listing { train, test, parts, .. } = &self.listing;
        let rows = parts.rows(self.name(), split, train.len() as u64, test.len() as u64)?;
        let (entries, first) = if split == Split::Test { (test, train.len()) } else { (train, 0) };
        let (start, len) = (first as i64 + rows.start as i64, (rows.end - rows.start) as i64);
        let entries = &entries[rows.start as usize..rows.end as usize];
        let classes = entries.iter().map(|entry| self.listing.class_id(entry)).collect();
        let captions = entries.iter().map(|entry| entry.caption.clone()).collect();
        Ok(ImageSet::of(&self.images.narrow(0, start, len), classes, captions))
    }
}

/// An error if a folder's folders look like parts of a dataset, not like classes.
fn no_lone_part(root: &Path) -> Result<(), DataError> {
    let failed = |e| DataError::io(root, e);
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            names.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    if names.is_empty() || !names.iter().all(|name| PARTS.contains(&name.to_lowercase().as_str())) {
        return Ok(());
    }
    let names = Vec::from_iter(names).join(", ");
    let problem = format!(
        "has the folders {names}, which are no classes: what to train on must be in `train`, what to test on in `test`"
    );
    Err(DataError::malformed(root, problem))
}

/// An error for a list beside `train` and `test`, which would not be read.
fn no_common_metadata(root: &Path) -> Result<(), DataError> {
    let file = root.join(METADATA);
    if !file.is_file() {
        return Ok(());
    }
    let problem = "is not read beside `train` and `test`: each needs a list of its own, with file names below it";
    Err(DataError::malformed(file, problem))
}

/// Train and test entries of a folder that does not say which is which.
fn split(mut entries: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    let num_test = entries.len().div_ceil(TEST_EVERY).min(entries.len().saturating_sub(1));
    let train = entries.split_off(num_test);
    (train, entries)
}

/// Names of the class folders, sorted; none if no image lies in one.
fn class_names(root: &Path, train: &[Entry], test: &[Entry]) -> Result<Vec<String>, DataError> {
    let all = || train.iter().chain(test);
    if all().all(|entry| entry.class.is_none()) {
        return Ok(Vec::new());
    }
    if let Some(entry) = all().find(|entry| entry.class.is_none()) {
        let problem = format!("{} lies beside the class folders", entry.path.display());
        return Err(DataError::malformed(root, problem));
    }
    let names: BTreeSet<&String> = all().filter_map(|entry| entry.class.as_ref()).collect();
    Ok(names.into_iter().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fetch::unwatched, testing::Folder};
    use image::{Rgb, RgbImage};

    fn save(folder: &Folder, name: &str, level: u8) {
        let path = folder.write(name, b"");
        RgbImage::from_pixel(10, 8, Rgb([level; 3])).save(path).unwrap();
    }

    fn open(folder: &Folder) -> Result<ImageFolder, DataError> {
        let path = Some(folder.path().to_owned());
        let config = DataConfig { path, size: Some(4), ..DataConfig::default() };
        Listing::new(&config)?.decode(Folder::new().path(), &mut unwatched)
    }

    fn classes(set: &ImageSet) -> Vec<i64> {
        Vec::try_from(set.classes.as_ref().unwrap()).unwrap()
    }

    #[test]
    fn parts_of_a_dataset_are_no_classes() {
        for parts in [&["train/cat", "val/cat"][..], &["Test/cat"]] {
            let folder = Folder::new();
            parts.iter().for_each(|part| save(&folder, &format!("{part}/1.png"), 10));
            assert!(open(&folder).unwrap_err().to_string().contains("no classes"), "{parts:?}");
        }
        // A train among other vehicles.
        let folder = Folder::new();
        ["bus/1.png", "train/1.png"].iter().for_each(|name| save(&folder, name, 10));
        assert_eq!(open(&folder).unwrap().class_names(), ["bus", "train"]);
    }

    #[test]
    fn class_folders_are_classes_and_the_split_is_stable() {
        let folder = Folder::new();
        for i in 0..12 {
            save(&folder, &format!("cat/{i}.png"), 10 + i);
            save(&folder, &format!("dog/deep/{i}.jpg"), 100 + i);
        }
        folder.write("dog/notes.txt", b"ignored");
        folder.write("cat/.hidden.png", b"ignored");
        let data = open(&folder).unwrap();
        assert_eq!(data.class_names(), ["cat", "dog"]);
        let (train, test) = (data.load(Split::Train).unwrap(), data.load(Split::Test).unwrap());
        assert_eq!((train.len(), test.len()), (21, 3));
        assert_eq!(train.hash, open(&folder).unwrap().load(Split::Train).unwrap().hash);
        for set in [train, test] {
            assert_eq!(set.images.size()[1..], [3, 4, 4]);
            for (i, class) in classes(&set).into_iter().enumerate() {
                let level = set.images.int64_value(&[i as i64, 0, 0, 0]);
                assert_eq!(i64::from(level > 50), class);
            }
        }
    }

    #[test]
    fn train_and_test_folders_are_obeyed() {
        let folder = Folder::new();
        for (name, level) in [("train/a/1.png", 1), ("train/b/2.png", 2), ("test/b/3.png", 3)] {
            save(&folder, name, level);
        }
        let data = open(&folder).unwrap();
        assert_eq!(data.load(Split::Train).unwrap().len(), 2);
        assert_eq!(classes(&data.load(Split::Test).unwrap()), [1]);
        // A list for both would be overlooked.
        folder.write("metadata.jsonl", br#"{"file_name": "train/a/1.png", "text": "one"}"#);
        let error = open(&folder).unwrap_err().to_string();
        assert!(error.contains("metadata.jsonl") && error.contains("list of its own"), "{error}");
    }

    #[test]
    fn metadata_gives_captions() {
        let folder = Folder::new();
        for i in 0..4 {
            save(&folder, &format!("{i}.png"), 10 * i);
        }
        let lines: Vec<String> = (0..4)
            .map(|i| {
                format!(r#"{{"file_name": "{i}.png", "text": "level {}", "extra": 1}}"#, 10 * i)
            })
            .collect();
        folder.write("metadata.jsonl", (lines.join("\n") + "\n\n").as_bytes());
        let data = open(&folder).unwrap();
        assert!(data.class_names().is_empty());
        let train = data.load(Split::Train).unwrap();
        assert!(train.classes.is_none());
        for (i, caption) in train.captions.unwrap().into_iter().enumerate() {
            let level = train.images.int64_value(&[i as i64, 2, 3, 3]);
            assert_eq!(caption, format!("level {level}"));
        }
    }

    #[test]
    fn bad_metadata_names_its_line() {
        for (line, want) in [
            ("{", "line 2"),
            (r#"{"file_name": "b.png", "text": "x"}"#, "no file b.png"),
            (r#"{"file_name": "../a.png", "text": "x"}"#, "not below"),
            (r#"{"file_name": "a.png", "text": "x"}"#, "a.png again"),
            (r#"{"file_name": "c.png"}"#, "some have none"),
            (r#"{"text": "x"}"#, "file_name"),
        ] {
            let folder = Folder::new();
            save(&folder, "a.png", 0);
            save(&folder, "c.png", 0);
            let first = r#"{"file_name": "a.png", "text": "x"}"#;
            folder.write("metadata.jsonl", format!("{first}\n{line}\n").as_bytes());
            let text = open(&folder).unwrap_err().to_string();
            assert!(text.contains(want) && text.contains("metadata.jsonl"), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = Folder::new();
        save(&folder, "a/1.png", 0);
        folder.write("a/2.png", b"broken");
        let text = open(&folder).unwrap_err().to_string();
        assert!(text.contains("2.png"), "{text}");
        folder.write("a/3.webp", b"");
        assert!(open(&folder).unwrap_err().to_string().contains("3.webp"));
        let empty = Folder::new();
        assert!(open(&empty).unwrap_err().to_string().contains("no PNG or JPEG"));
    }

    #[test]
    fn path_and_size_are_needed() {
        let error = Listing::new(&DataConfig::default()).unwrap_err();
        assert!(error.to_string().starts_with("path"), "{error}");
    }
}
