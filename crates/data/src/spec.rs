use crate::DataError;
use paragone_core::ImageShape;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What is known of a dataset before its files are here: `datasets/<name>.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetSpec {
    /// What experiments call it.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// A sentence or two.
    pub description: String,
    /// Terms of use.
    pub licence: String,
    /// Where it comes from.
    pub homepage: String,
    /// Its source paper.
    #[serde(default)]
    pub paper: Option<String>,
    /// Size of its images, where it is fixed.
    #[serde(default)]
    pub shape: Option<ImageShape>,
    /// Number of train images, where it is known.
    #[serde(default)]
    pub train_images: Option<u64>,
    /// Number of test images, where it is known.
    #[serde(default)]
    pub test_images: Option<u64>,
    /// Names of the classes by id, where they are fixed.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Its files: train first, test last, images before labels.
    #[serde(default)]
    pub files: Vec<FileSpec>,
    /// A tar.gz, as downloaded, that may stand for the files.
    #[serde(default)]
    pub archive: Option<String>,
    /// Packages that have the files, each file in one of them.
    #[serde(default)]
    pub packages: Vec<Package>,
    /// How to get the files by hand, continuing a sentence.
    pub by_hand: String,
}

/// A file of a dataset, plain or gzipped (then with `.gz` behind its name).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSpec {
    /// Its name without `.gz`.
    pub name: String,
    /// Bytes after decompression.
    pub bytes: u64,
    /// SHA-256 after decompression, in hexadecimal.
    pub sha256: String,
    /// Its path in the folder of a package, where that is not its name.
    #[serde(default)]
    pub path: Option<String>,
}

/// A package that has the files of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Who distributes it.
    pub from: Registry,
    /// Its name, with its version where the registry keeps old ones.
    pub name: String,
    /// Folder of the files in it.
    pub folder: String,
    /// Bytes to download.
    pub bytes: u64,
}

/// A distributor of packages, known by the client that downloads from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Registry {
    /// Debian, through apt-get and dpkg-deb.
    Debian,
    /// npm.
    Npm,
}

const EMBEDDED: [&str; 6] = [
    include_str!("../../../datasets/shapes.yaml"),
    include_str!("../../../datasets/fashion-mnist.yaml"),
    include_str!("../../../datasets/mnist.yaml"),
    include_str!("../../../datasets/cifar10.yaml"),
    include_str!("../../../datasets/emoji.yaml"),
    include_str!("../../../datasets/image-folder.yaml"),
];

/// Every dataset there is.
pub fn specs() -> Vec<DatasetSpec> {
    let parse = |text| serde_yaml::from_str(text).expect("embedded specs are checked by a test");
    EMBEDDED.into_iter().map(parse).collect()
}

/// The spec of a dataset.
///
/// # Errors
/// [`DataError::UnknownDataset`] with the names there are.
pub fn spec(name: &str) -> Result<DatasetSpec, DataError> {
    let all = specs();
    let known = || all.iter().map(|spec| spec.name.clone()).collect();
    let found = all.iter().find(|spec| spec.name == name).cloned();
    found.ok_or_else(|| DataError::UnknownDataset { name: name.to_owned(), known: known() })
}

impl DatasetSpec {
    /// Whether a folder has all files, whole or not.
    pub fn is_in(&self, folder: &Path) -> bool {
        (0..self.files.len()).all(|index| self.locate(folder, index).is_ok())
    }

    /// The path of the `index`-th file in a folder, plain or gzipped.
    ///
    /// # Errors
    /// [`DataError::NotFetched`] with the gzipped name, the one that is usually published.
    pub(crate) fn locate(&self, folder: &Path, index: usize) -> Result<PathBuf, DataError> {
        let file = &self.files[index];
        let names = file.candidates();
        names
            .iter()
            .chain(&file.path)
            .map(|name| folder.join(name))
            .find(|path| path.is_file())
            .ok_or_else(|| DataError::NotFetched {
                dataset: self.name.clone(),
                path: folder.join(&file.name),
                remedy: format!("run `paragone data fetch {}`", self.name),
            })
    }
}

impl FileSpec {
    /// Names that the file may have on disk.
    pub(crate) fn candidates(&self) -> [String; 3] {
        // Some copies of MNIST come with a dot before "idx".
        let dotted = self.name.replace("-idx", ".idx");
        [self.name.clone(), format!("{}.gz", self.name), dotted]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embedded_specs_are_sound() {
        for spec in specs() {
            assert!(!spec.description.is_empty() && !spec.by_hand.is_empty(), "{}", spec.name);
            for file in &spec.files {
                let halves = file.sha256.split_at_checked(32).expect("32 bytes in hexadecimal");
                let hex = |half: &str| half.len() == 32 && u128::from_str_radix(half, 16).is_ok();
                assert!(hex(halves.0) && hex(halves.1), "{}", file.name);
            }
            let Some(shape) = spec.shape else { continue };
            assert_eq!(spec.classes.len(), 10);
            // Every format here has at most 16 bytes beside pixels and labels in a file.
            let images = spec.train_images.unwrap() + spec.test_images.unwrap();
            let bytes: u64 = spec.files.iter().map(|file| file.bytes).sum();
            let least = images * (shape.numel() as u64 + 1);
            assert!((least..=least + 16 * 4).contains(&bytes), "{}", spec.name);
        }
    }

    #[test]
    fn unknown_names_are_told_the_known_ones() {
        let text = spec("fashion").unwrap_err().to_string();
        assert!(text.contains("fashion-mnist") && text.contains("image-folder"), "{text}");
    }
}
