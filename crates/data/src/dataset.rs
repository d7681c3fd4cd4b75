use crate::{Condition, DataConfig, DataError, EditKind, Tokenizer};
use paragone_core::{Attribute, Batch, Conditions, DataSpec, ImageShape, from_levels};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{fmt, ops::Range};
use tch::{Device, Kind, Tensor};
use torch_ext::Bytes;

/// Images at the end of train that `validation: true` keeps out of training.
pub(crate) const VALIDATION_IMAGES: u64 = 5_000;

/// A part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// What models are trained on.
    Train,
    /// The last 5,000 train images, or as many emoji as are for testing, if the configuration keeps them out of training: to
    /// tune on.
    Validation,
    /// Never trained or tuned on.
    Test,
    /// Combinations of attributes that no other split has; only `shapes` has one.
    HeldOut,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
            Self::HeldOut => "held-out",
        })
    }
}

/// The images of a split with what is known of them, in memory.
#[derive(Debug)]
pub struct ImageSet {
    /// u8 `[n, c, h, w]` on the host.
    pub images: Tensor,
    /// i64 `[n]` on the host: class ids.
    pub classes: Option<Tensor>,
    /// One caption an image.
    pub captions: Option<Vec<String>>,
    /// i64 `[n, attributes]` on the host: values of [`Dataset::attributes`], unless the class is the only one.
    pub attributes: Option<Tensor>,
    /// i64 `[n, alternatives, attributes]` on the host: what captions ask to be shown, for captions that can be judged. An
    /// image fulfils its caption if it has the attributes of an alternative; -1 is left open.
    pub asked: Option<Tensor>,
    /// i64 `[n, max_tokens]` on the host: captions in the numbers of a [`Tokenizer`].
    pub tokens: Option<Tensor>,
    /// u8 `[n, 1, h, w]` on the host: not 0 where any of the main object is, for data that knows.
    pub objects: Option<Tensor>,
    /// SHA-256 of size, images, classes and captions, in hexadecimal.
    pub hash: String,
}

/// Pictures before and after an edit.
#[derive(Debug)]
pub struct Edits {
    /// Before, with captions, attributes and classes.
    pub sources: ImageSet,
    /// After, with theirs.
    pub targets: ImageSet,
    /// f32 `[n, 1, h, w]`: 0 where the two differ and one pixel around it, 1 elsewhere.
    pub hole: Tensor,
}

/// A source of images.
pub trait Dataset: fmt::Debug {
    /// What experiments call it.
    fn name(&self) -> &str;

    /// Size of every image.
    fn shape(&self) -> ImageShape;

    /// Names of the classes by id; empty without class labels.
    fn class_names(&self) -> &[String];

    /// The images of a split, always the same ones in the same order.
    ///
    /// # Errors
    /// [`DataError`] naming the file that is missing or wrong, or saying why there is no such split.
    fn load(&self, split: Split) -> Result<ImageSet, DataError>;

    /// Whether every image has a caption.
    fn has_captions(&self) -> bool {
        false
    }

    /// Whether the test split shows other things than training does, under names of their own, and not other images of the
    /// same things: a model asked for its captions is then asked for what it never saw.
    fn tests_other_things(&self) -> bool {
        false
    }

    /// `n` pictures of no split with what edits of a kind make of them; `None` where that is not known.
    fn edits(&self, _kind: EditKind, _n: u64) -> Option<Edits> {
        None
    }

    /// What is known of every image, the class first; empty without labels.
    fn attributes(&self) -> Vec<Attribute> {
        let names = self.class_names();
        let class = (!names.is_empty()).then(|| Attribute::new(Attribute::CLASS, names));
        class.into_iter().collect()
    }

    /// Images to train a network on that is to read what generated images show: other ones for every `number`, from a
    /// source of their own, and with the combinations of attributes that all splits but [`Split::HeldOut`] lack. `None`
    /// where images cannot be had at will: such a network learns from the train split.
    fn lesson(&self, _number: u64) -> Option<ImageSet> {
        None
    }
}

impl ImageSet {
    /// Images from their levels, row-major `[n, c, h, w]`, with one class id and one caption an image if there are any.
    ///
    /// # Panics
    /// If the numbers of levels, classes and captions do not agree.
    pub fn new(
        pixels: &[u8],
        shape: ImageShape,
        classes: Option<Vec<i64>>,
        captions: Option<Vec<String>>,
    ) -> Self {
        let n = pixels.len() / shape.numel() as usize;
        assert_eq!(n * shape.numel() as usize, pixels.len(), "whole images");
        let images = Tensor::from_slice(pixels).reshape(shape.batch(n as i64));
        Self::of(&images, classes, captions)
    }

    /// Images as they lie in memory, u8 `[n, c, h, w]`, not copied; the rest as for [`ImageSet::new`].
    ///
    /// # Panics
    /// If they are anything else, or the numbers of images, classes and captions do not agree.
    pub fn of(images: &Tensor, classes: Option<Vec<i64>>, captions: Option<Vec<String>>) -> Self {
        let (n, channels, height, width) = images.size4().expect("images are [n, c, h, w]");
        assert!(classes.as_ref().is_none_or(|c| c.len() == n as usize), "one class an image");
        assert!(captions.as_ref().is_none_or(|c| c.len() == n as usize), "one caption an image");
        let images = images.contiguous();
        let shape = ImageShape { channels, height, width };
        let hash =
            content_hash(&Bytes::of(&images), shape, classes.as_deref(), captions.as_deref());
        let classes = classes.map(|c| Tensor::from_slice(&c));
        Self {
            images,
            classes,
            captions,
            attributes: None,
            asked: None,
            tokens: None,
            objects: None,
            hash,
        }
    }

    /// The same images with their attributes, i64 `[n, attributes]`. The hash stays: what they are is in the pixels.
    ///
    /// # Panics
    /// If there is not one row an image.
    pub fn with_attributes(self, attributes: Tensor) -> Self {
        assert_eq!((attributes.dim(), attributes.size()[0]), (2, self.len()), "one row an image");
        Self { attributes: Some(attributes), ..self }
    }

    /// The same images with what their captions ask for, i64 `[n, alternatives, attributes]`.
    ///
    /// # Panics
    /// If there is not one row an image.
    pub fn with_asked(self, asked: Tensor) -> Self {
        assert_eq!((asked.dim(), asked.size()[0]), (3, self.len()), "one row an image");
        Self { asked: Some(asked), ..self }
    }

    /// The same images with where their main objects are, u8 `[n, 1, h, w]`.
    ///
    /// # Panics
    /// If there is not one an image.
    pub fn with_objects(self, objects: Tensor) -> Self {
        assert_eq!((objects.dim(), objects.size()[0]), (4, self.len()), "one an image");
        Self { objects: Some(objects), ..self }
    }

    /// The same images with their captions in numbers; as they are without captions.
    pub fn tokenized(self, tokenizer: &Tokenizer) -> Self {
        let tokens = self.captions.as_ref().map(|captions| tokenizer.encode_all(captions));
        Self { tokens, ..self }
    }

    /// Values of all attributes, i64 `[n, attributes]`: those of the set, or its classes alone; `None` without either.
    pub fn labels(&self) -> Option<Tensor> {
        let classes = || self.classes.as_ref().map(|classes| classes.unsqueeze(1));
        self.attributes.as_ref().map(Tensor::shallow_clone).or_else(classes)
    }

    /// The images in `rows`, i64 `[m]`, with all that is known of them.
    pub fn rows(&self, rows: &Tensor) -> Self {
        let of = |t: &Option<Tensor>| t.as_ref().map(|t| t.index_select(0, rows));
        let numbers = Vec::<i64>::try_from(rows).expect("i64 rows");
        let captions = self.captions.as_ref();
        let captions: Option<Vec<String>> =
            captions.map(|all| numbers.iter().map(|&row| all[row as usize].clone()).collect());
        let (images, classes) = (self.images.index_select(0, rows), of(&self.classes));
        let classes = classes.as_ref().map(|ids| Vec::try_from(ids).expect("i64 classes"));
        Self {
            attributes: of(&self.attributes),
            asked: of(&self.asked),
            tokens: of(&self.tokens),
            objects: of(&self.objects),
            ..Self::of(&images, classes, captions)
        }
    }

    /// Number of images.
    pub fn len(&self) -> i64 {
        self.images.size()[0]
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size of every image.
    pub fn shape(&self) -> ImageShape {
        let size = self.images.size();
        ImageShape { channels: size[1], height: size[2], width: size[3] }
    }

    /// Images `start..start + len` as a model sees them, on the host: nothing dropped, nothing flipped.
    pub fn batch(&self, start: i64, len: i64, data: &DataSpec) -> Batch {
        let rows = Tensor::arange_start(start, start + len, (Kind::Int64, Device::Cpu));
        let conditions = self.conditions(&rows, data);
        Batch { images: from_levels(&self.images.narrow(0, start, len)), conditions }
    }

    /// What the images in `rows`, i64 `[n]`, are to a model that is asked for them, on the host: nothing dropped.
    pub fn conditions(&self, rows: &Tensor, data: &DataSpec) -> Conditions {
        let mut conditions = Conditions::none(rows.size()[0], data, Device::Cpu);
        if let Some(classes) = self.classes.as_ref().filter(|_| data.num_classes > 0) {
            conditions.class = classes.index_select(0, rows);
        }
        if let Some(tokens) = self.tokens.as_ref().filter(|_| data.text.is_some()) {
            conditions.tokens = tokens.index_select(0, rows);
        }
        conditions
    }
}

/// What families may know of the data: from the train split and, where captions are the condition, their tokenizer.
pub fn data_spec(
    train: &ImageSet,
    dataset: &dyn Dataset,
    config: &DataConfig,
    tokenizer: Option<&Tokenizer>,
) -> DataSpec {
    let (mean, std) = mean_and_std(&train.images);
    let num_classes = match config.condition {
        Condition::Class => dataset.class_names().len() as i64,
        Condition::None | Condition::Text => 0,
    };
    let text = tokenizer.map(Tokenizer::spec);
    let known_pixels = !config.masks.is_empty();
    DataSpec { shape: dataset.shape(), num_classes, text, known_pixels, mean, std }
}

/// Mean and standard deviation of all levels, as f32 pixels in [-1, 1]: exact, from the counts of the 256 levels.
fn mean_and_std(images: &Tensor) -> (f64, f64) {
    let counts = images.flatten(0, -1).bincount::<Tensor>(None, 256).to_kind(Kind::Double);
    let x = Tensor::arange(256, (Kind::Double, Device::Cpu)) / 127.5 - 1.0;
    let p = &counts / counts.sum(Kind::Double);
    let mean = (&p * &x).sum(Kind::Double);
    let variance = (&p * (&x - &mean).square()).sum(Kind::Double);
    (mean.double_value(&[]), variance.sqrt().double_value(&[]))
}

fn content_hash(
    pixels: &[u8],
    shape: ImageShape,
    classes: Option<&[i64]>,
    captions: Option<&[String]>,
) -> String {
    let mut hash = Sha256::new();
    for number in shape.dims() {
        hash.update(number.to_le_bytes());
    }
    hash.update((pixels.len() as u64).to_le_bytes());
    hash.update([u8::from(classes.is_some()), u8::from(captions.is_some())]);
    hash.update(pixels);
    for class in classes.unwrap_or_default() {
        hash.update(class.to_le_bytes());
    }
    for caption in captions.unwrap_or_default() {
        // The length keeps "ab" + "c" and "a" + "bc" apart.
        hash.update((caption.len() as u64).to_le_bytes());
        hash.update(caption);
    }
    hex(&hash.finalize())
}

/// Lower-case hexadecimal, two digits a byte: how hashes are written.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Which rows of its source a split has.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub train_images: Option<u64>,
    pub test_images: Option<u64>,
    pub validation: bool,
}

impl Parts {
    pub fn new(config: &DataConfig) -> Self {
        Self {
            train_images: config.train_images,
            test_images: config.test_images,
            validation: config.validation,
        }
    }

    /// Rows of the train or the validation split, of `available` train rows.
    pub fn train_or_validation(
        &self,
        dataset: &str,
        split: Split,
        available: u64,
    ) -> Result<Range<u64>, DataError> {
        let all = limited("train_images", self.train_images, available)?;
        if !self.validation {
            return match split {
                Split::Validation => {
                    Err(no_split(dataset, split, "set data.validation to keep one out of training"))
                }
                _ => Ok(0..all),
            };
        }
        if all <= VALIDATION_IMAGES {
            let rule = format!("takes {VALIDATION_IMAGES} of only {all} train images");
            return Err(DataError::invalid("validation", true, rule));
        }
        let kept = all - VALIDATION_IMAGES;
        Ok(if split == Split::Validation { kept..all } else { 0..kept })
    }

    /// Rows of any split, of a source with these many train and test rows.
    pub fn rows(
        &self,
        dataset: &str,
        split: Split,
        train: u64,
        test: u64,
    ) -> Result<Range<u64>, DataError> {
        match split {
            Split::Train | Split::Validation => self.train_or_validation(dataset, split, train),
            Split::Test => Ok(0..limited("test_images", self.test_images, test)?),
            Split::HeldOut => Err(no_split(dataset, split, "only shapes has one")),
        }
    }
}

fn limited(key: &'static str, wanted: Option<u64>, available: u64) -> Result<u64, DataError> {
    match wanted {
        Some(wanted) if wanted > available => {
            Err(DataError::invalid(key, wanted, format!("there are only {available}")))
        }
        Some(wanted) => Ok(wanted),
        None => Ok(available),
    }
}

fn no_split(dataset: &str, split: Split, reason: &str) -> DataError {
    DataError::NoSuchSplit { dataset: dataset.to_owned(), split, reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: ImageShape = ImageShape { channels: 1, height: 1, width: 2 };

    #[test]
    fn hash_covers_everything() {
        let base = ImageSet::new(&[0, 1, 2, 3], SHAPE, Some(vec![0, 1]), None).hash;
        assert_eq!(base, ImageSet::new(&[0, 1, 2, 3], SHAPE, Some(vec![0, 1]), None).hash);
        let tall = ImageShape { height: 2, width: 1, ..SHAPE };
        let captions = |a: &str, b: &str| Some(vec![a.to_owned(), b.to_owned()]);
        let hashes = [
            base,
            ImageSet::new(&[0, 1, 2, 4], SHAPE, Some(vec![0, 1]), None).hash,
            ImageSet::new(&[0, 1, 2, 3], SHAPE, Some(vec![1, 1]), None).hash,
            ImageSet::new(&[0, 1, 2, 3], tall, Some(vec![0, 1]), None).hash,
            ImageSet::new(&[0, 1, 2, 3], SHAPE, None, captions("ab", "c")).hash,
            ImageSet::new(&[0, 1, 2, 3], SHAPE, None, captions("a", "bc")).hash,
        ];
        let distinct: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
    }

    #[test]
    fn mean_and_std_are_those_of_pixels() {
        let levels = [0u8, 255, 255, 255];
        let (mean, std) = mean_and_std(&Tensor::from_slice(&levels));
        // Pixels −1, 1, 1, 1: mean 1/2, variance 3/4.
        assert!((mean - 0.5).abs() < 1e-12 && (std - 0.75f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn a_batch_is_the_images_as_they_are() {
        let set = ImageSet::new(&[0, 255, 128, 7], SHAPE, Some(vec![4, 2]), None);
        let spec = DataSpec {
            shape: SHAPE,
            num_classes: 5,
            text: None,
            known_pixels: false,
            mean: 0.0,
            std: 1.0,
        };
        let batch = set.batch(1, 1, &spec);
        assert_eq!(Vec::<i64>::try_from(&batch.conditions.class).unwrap(), [2]);
        let levels = paragone_core::to_levels(&batch.images).flatten(0, -1);
        assert_eq!(Vec::<i64>::try_from(levels).unwrap(), [128, 7]);
    }
}
