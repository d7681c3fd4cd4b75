use crate::{DataError, MaskKind, shapes::PixelNoise};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a model is asked to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// Nothing: unconditional models.
    None,
    /// A class.
    Class,
    /// A caption.
    Text,
}

/// Which scenes `shapes` draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scenes {
    /// All of its grammar.
    All,
    /// One large object: little enough to learn within a minute or two.
    Simple,
}

/// The `data` section of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// `shapes`, `fashion-mnist`, `mnist`, `cifar10`, `emoji` or `image-folder`.
    pub dataset: String,
    /// What models are asked to draw: `none`, `class` or `text`.
    pub condition: Condition,
    /// Side of the images in pixels, where the dataset leaves it open: `shapes` (16, 32 or 64; default 16),
    /// `emoji` (32 or 64; default 32) and `image-folder` (required).
    pub size: Option<i64>,
    /// Which scenes `shapes` draws: `all`, or `simple` ones of one large object.
    pub scenes: Scenes,
    /// Categories of `emoji` to keep, as its classes are named; default: all. Three pictures in five are of people, in
    /// several tones of skin.
    pub categories: Vec<String>,
    /// Standard deviation, in levels, of the normal noise on every pixel of `shapes`: 0 for none, else 0.5 to 64. With it
    /// the true entropy of the images is known, and is that of the noise for the greatest part.
    pub pixel_noise: f64,
    /// Train images; the first ones where the dataset has more. Default: all, and 60,000 for `shapes`.
    pub train_images: Option<u64>,
    /// Test images; the first ones where the dataset has more. Default: all, and 10,000 for `shapes`.
    pub test_images: Option<u64>,
    /// Folder that holds the files. Default: where `paragone data fetch` puts them. Required for `image-folder`.
    pub path: Option<PathBuf>,
    /// Mirror every other training image, left to right. Wrong where left and right mean something, as in digits.
    pub flip: bool,
    /// Keep the last 5,000 train images out of training, to tune on; of `emoji`, as many as are for testing.
    pub validation: bool,
    /// Holes that training shows every model to fill, one kind drawn for each image: half, centre, blocks, strokes, object or
    /// outpaint. Default: none; models learn only to generate, and fill holes by means of their own.
    pub masks: Vec<MaskKind>,
    /// Share of training images whose condition is dropped, so that one network also learns to draw without one.
    pub drop_condition: f64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            dataset: "shapes".to_owned(),
            condition: Condition::Class,
            size: None,
            scenes: Scenes::All,
            categories: Vec::new(),
            pixel_noise: 0.0,
            train_images: None,
            test_images: None,
            path: None,
            flip: false,
            validation: false,
            masks: Vec::new(),
            drop_condition: 0.1,
        }
    }
}

impl DataConfig {
    /// Checks what types cannot; what needs the files is checked by [`open`](crate::open).
    ///
    /// # Errors
    /// [`DataError::InvalidConfig`] with key, value and rule.
    pub fn validate(&self) -> Result<(), DataError> {
        if !(0.0..=1.0).contains(&self.drop_condition) {
            let rule = "must be between 0 and 1";
            return Err(DataError::invalid("drop_condition", self.drop_condition, rule));
        }
        if self.scenes != Scenes::All && self.dataset != "shapes" {
            return Err(DataError::invalid("scenes", "simple", "is for shapes only"));
        }
        if let Some(category) = self.categories.first()
            && self.dataset != "emoji"
        {
            return Err(DataError::invalid("categories", category, "is for emoji only"));
        }
        if self.pixel_noise != 0.0 {
            let invalid = |rule: &str| DataError::invalid("pixel_noise", self.pixel_noise, rule);
            if !(PixelNoise::LEAST..=PixelNoise::MOST).contains(&self.pixel_noise) {
                return Err(invalid("must be 0 or between 0.5 and 64 levels"));
            }
            if self.dataset != "shapes" {
                return Err(invalid("is for shapes only"));
            }
        }
        if self.condition == Condition::Text && self.flip {
            let rule = "would turn the left and right of captions round: use false";
            return Err(DataError::invalid("flip", true, rule));
        }
        for (i, kind) in self.masks.iter().enumerate() {
            if self.masks[..i].contains(kind) {
                return Err(DataError::invalid("masks", kind.name(), "is given twice"));
            }
            if *kind == MaskKind::Object && self.dataset != "shapes" {
                let rule = "needs data that knows where its objects are: shapes";
                return Err(DataError::invalid("masks", kind.name(), rule));
            }
        }
        for (key, count) in [("train_images", self.train_images), ("test_images", self.test_images)]
        {
            if count == Some(0) {
                return Err(DataError::invalid(key, 0, "must be at least 1"));
            }
        }
        if let Some(size) = self.size.filter(|size| !(1..=1024).contains(size)) {
            return Err(DataError::invalid("size", size, "must be between 1 and 1024"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_bad_values_name_their_key() {
        let base = DataConfig::default();
        base.validate().unwrap();
        for (key, bad) in [
            ("drop_condition", DataConfig { drop_condition: 1.5, ..base.clone() }),
            ("flip", DataConfig { condition: Condition::Text, flip: true, ..base.clone() }),
            ("train_images", DataConfig { train_images: Some(0), ..base.clone() }),
            ("size", DataConfig { size: Some(0), ..base.clone() }),
            ("categories", DataConfig { categories: vec!["Flags".to_owned()], ..base.clone() }),
            ("pixel_noise", DataConfig { pixel_noise: 0.1, ..base.clone() }),
            ("pixel_noise", DataConfig { pixel_noise: f64::NAN, ..base.clone() }),
            (
                "pixel_noise",
                DataConfig { pixel_noise: 2.0, dataset: "mnist".to_owned(), ..base.clone() },
            ),
            (
                "scenes",
                DataConfig { scenes: Scenes::Simple, dataset: "mnist".to_owned(), ..base.clone() },
            ),
        ] {
            let text = bad.validate().unwrap_err().to_string();
            assert!(text.starts_with(key), "{text}");
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = serde_yaml::from_str::<DataConfig>("dataste: mnist").unwrap_err();
        assert!(error.to_string().contains("dataste"), "{error}");
    }
}
