//! Datasets as 8-bit tensors, the order in which training sees them, and the loader that brings them to it.

mod cifar10;
mod config;
mod dataset;
mod decoded;
mod emoji;
mod error;
mod fetch;
mod file;
mod idx;
mod image_file;
mod image_folder;
mod images;
mod loader;
mod masks;
mod order;
mod random;
pub mod shapes;
mod spec;
#[cfg(test)]
mod testing;
mod text;

pub use config::{Condition, DataConfig, Scenes};
pub use dataset::{Dataset, Edits, ImageSet, Split, data_spec, hex};
pub use error::DataError;
pub use fetch::{Watch, fetch, unwatched};
pub use image_file::{read_image, read_mask, read_picture};
pub use images::read_images;
pub use loader::{Loader, LoaderOptions};
pub use masks::MaskKind;
pub use order::{Indices, Order};
pub use shapes::EditKind;
pub use spec::{DatasetSpec, FileSpec, Package, Registry, spec, specs};
pub use text::{MOST_TOKENS, Tokenizer, Words};

use image_folder::Listing;
use std::path::Path;

/// The dataset that a configuration asks for; `datasets_dir` is where [`fetch`] puts files.
///
/// The images of a folder are decoded into a file in `datasets_dir/decoded`, which takes a while at first; it can be deleted
/// at any time, and is made again.
///
/// # Errors
/// [`DataError`] naming the key that is wrong, or the file that is missing or wrong.
pub fn open(
    config: &DataConfig,
    datasets_dir: &Path,
    watch: Watch<'_>,
) -> Result<Box<dyn Dataset>, DataError> {
    config.validate()?;
    let spec = spec(&config.dataset)?;
    if let (Some(shape), Some(size)) = (spec.shape, config.size)
        && size != shape.height
    {
        let rule = format!("{} is kept at its own size, {}", spec.name, shape.height);
        return Err(DataError::invalid("size", size, rule));
    }
    let remedy = match &config.path {
        Some(_) => "put it there, or leave `path` out".to_owned(),
        None => fetching(&spec, datasets_dir),
    };
    let remedied = |error| match error {
        DataError::NotFetched { dataset, path, .. } => {
            DataError::NotFetched { dataset, path, remedy }
        }
        other => other,
    };
    let folder = config.path.clone().unwrap_or_else(|| datasets_dir.join(&spec.name));
    let dataset: Box<dyn Dataset> = match spec.name.as_str() {
        "shapes" => Box::new(shapes::Shapes::new(config)?),
        "image-folder" => {
            let listing = Listing::new(config)?;
            // Before all is decoded.
            check(config.condition, listing.class_names(), listing.has_captions())?;
            Box::new(listing.decode(&datasets_dir.join("decoded"), watch)?)
        }
        "emoji" => Box::new(emoji::Emoji::new(spec, config, folder).map_err(remedied)?),
        "cifar10" => Box::new(cifar10::Cifar10::new(spec, config, folder).map_err(remedied)?),
        _ => Box::new(idx::Idx::new(spec, config, folder).map_err(remedied)?),
    };
    check(config.condition, dataset.class_names(), dataset.has_captions())?;
    Ok(dataset)
}

/// The command that brings a dataset's files into a folder of datasets.
fn fetching(spec: &DatasetSpec, datasets_dir: &Path) -> String {
    let to = match datasets_dir == Path::new("datasets") {
        true => String::new(),
        false => format!(" --datasets {}", datasets_dir.display()),
    };
    let command = format!("`paragone data fetch {}{to}`", spec.name);
    match spec.packages.is_empty() {
        true => format!("{} to {command}; its homepage is {}", spec.by_hand, spec.homepage),
        false => format!("run {command}"),
    }
}

/// An error if images cannot be asked for in this way.
fn check(condition: Condition, classes: &[String], captions: bool) -> Result<(), DataError> {
    let (asked, rule) = match condition {
        Condition::Class if classes.is_empty() => {
            ("class", "the images have no classes: put them into one folder a class, or use none")
        }
        Condition::Text if !captions => (
            "text",
            "the images have no captions: put them into metadata.jsonl beside the images (where there are train/ and test/, one \
             into each), or use class or none",
        ),
        _ => return Ok(()),
    };
    Err(DataError::invalid("condition", asked, rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Folder;

    fn open_error(config: &DataConfig) -> String {
        open(config, Path::new("/nowhere"), &mut unwatched).unwrap_err().to_string()
    }

    #[test]
    fn every_spec_opens_or_says_what_is_missing() {
        for spec in specs() {
            let config = DataConfig { dataset: spec.name.clone(), ..DataConfig::default() };
            match open(&config, Path::new("/nowhere"), &mut unwatched) {
                Ok(dataset) => assert_eq!(dataset.name(), spec.name),
                Err(DataError::NotFetched { dataset, .. }) => assert_eq!(dataset, spec.name),
                Err(other) => assert_eq!(
                    (spec.name.as_str(), other.to_string().contains("path")),
                    ("image-folder", true)
                ),
            }
        }
    }

    #[test]
    fn what_cannot_be_opened_is_explained() {
        let named = |name: &str| DataConfig { dataset: name.to_owned(), ..DataConfig::default() };
        assert!(
            open_error(&named("mnist")).contains("`paragone data fetch mnist --datasets /nowhere`")
        );
        assert!(open_error(&named("cifar10")).contains("--from DIR"));
        let elsewhere = DataConfig { path: Some("/elsewhere".into()), ..named("mnist") };
        assert!(open_error(&elsewhere).contains("leave `path` out"));
        assert!(open_error(&named("fashion")).contains("fashion-mnist"));
        let sized = DataConfig { size: Some(32), ..named("mnist") };
        assert!(open_error(&sized).contains("size is 32"));
        let folder = Folder::new();
        for i in 0..2 {
            let path = folder.path().join(format!("{i}.png"));
            image::RgbImage::new(4, 4).save(path).unwrap();
        }
        let path = Some(folder.path().to_owned());
        let bare = DataConfig { path, size: Some(4), ..named("image-folder") };
        assert!(open_error(&bare).contains("no classes"));
        let text = DataConfig { condition: Condition::Text, ..bare.clone() };
        assert!(open_error(&text).contains("no captions"));
        let unconditional = DataConfig { condition: Condition::None, ..bare };
        assert!(open(&unconditional, folder.path(), &mut unwatched).is_ok());
    }
}
