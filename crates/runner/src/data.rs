//! The data of a run: what every model sees, in which order, and what it is compared with.

use crate::{
    config::{Experiment, Problem},
    interrupt,
    log::Reporter,
};
use anyhow::{Result, bail};
use paragone_core::{DataSpec, mix};
use paragone_data::{
    Condition, DataConfig, DataError, Dataset, EditKind, Edits, ImageSet, Loader, LoaderOptions,
    MOST_TOKENS, Order, Split, Tokenizer, Watch, hex,
};
use sha2::{Digest, Sha256};
use std::{cell::OnceCell, ops::ControlFlow, path::Path};

/// The dataset that a configuration asks for; shows how far it is, if images have to be decoded first.
///
/// # Errors
/// As [`paragone_data::open`], [`DataError::Stopped`] at Ctrl-C.
pub fn open(config: &DataConfig, datasets: &Path) -> Result<Box<dyn Dataset>, DataError> {
    watched("decoding", "images", |watch| paragone_data::open(config, datasets, watch))
}

/// What `work` comes to, its progress shown as soon as there is some; Ctrl-C stops it.
pub fn watched<T>(title: &str, unit: &'static str, work: impl FnOnce(Watch<'_>) -> T) -> T {
    let mut reporter: Option<Reporter> = None;
    let result = work(&mut |done, all| {
        reporter.get_or_insert_with(|| Reporter::new(title, unit, 0, all)).set(done);
        if interrupt::asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    if let Some(reporter) = reporter {
        reporter.finish();
    }
    result
}

/// A dataset made ready for training.
#[derive(Debug)]
pub struct RunData {
    config: DataConfig,
    seed: u64,
    /// The dataset.
    pub dataset: Box<dyn Dataset>,
    /// What families may know of it.
    pub spec: DataSpec,
    /// Numbers the words of captions, where captions are the condition.
    pub tokenizer: Option<Tokenizer>,
    /// The training images.
    pub train: ImageSet,
    test: OnceCell<ImageSet>,
}

impl RunData {
    /// Opens an experiment's dataset and reads its training images.
    pub fn open(experiment: &Experiment, datasets: &Path) -> Result<Self> {
        let config = experiment.data.clone();
        let place = |error| placed(experiment, error);
        let dataset = open(&config, datasets).map_err(place)?;
        let train = dataset.load(Split::Train).map_err(place)?;
        let captions = train.captions.as_deref().filter(|_| config.condition == Condition::Text);
        let tokenizer = captions.map(Tokenizer::train);
        let spec = paragone_data::data_spec(&train, &*dataset, &config, tokenizer.as_ref());
        let train = tokenized(train, tokenizer.as_ref());
        let (seed, test) = (experiment.seed, OnceCell::new());
        Ok(Self { config, seed, dataset, spec, tokenizer, train, test })
    }

    /// Training captions of which only the first [`MOST_TOKENS`] words are read.
    pub fn cut_captions(&self) -> usize {
        let captions = self.train.captions.as_deref().unwrap_or_default();
        let longest = |tokenizer: &&Tokenizer| tokenizer.spec().max_tokens == MOST_TOKENS as i64;
        let cut = |tokenizer: &Tokenizer| {
            let cut = |caption: &&String| !tokenizer.encode(caption).cut.is_empty();
            captions.iter().filter(cut).count()
        };
        self.tokenizer.as_ref().filter(longest).map_or(0, cut)
    }

    /// The images that models are tested on, read when they are first asked for.
    pub fn test(&self) -> Result<&ImageSet> {
        match self.test.get() {
            Some(test) => Ok(test),
            None => {
                let test = tokenized(self.dataset.load(Split::Test)?, self.tokenizer.as_ref());
                Ok(self.test.get_or_init(|| test))
            }
        }
    }

    /// Images whose captions a model can be expected to know: test images, unless those show other things than training.
    pub fn familiar(&self) -> Result<&ImageSet> {
        if self.dataset.tests_other_things() { Ok(&self.train) } else { self.test() }
    }

    /// Images of what no training image shows, with their captions, where there are some.
    pub fn held_out(&self) -> Result<Option<ImageSet>> {
        if self.dataset.tests_other_things() {
            return Ok(Some(tokenized(self.dataset.load(Split::Test)?, self.tokenizer.as_ref())));
        }
        match self.dataset.load(Split::HeldOut) {
            Ok(set) => Ok(Some(tokenized(set, self.tokenizer.as_ref()))),
            Err(DataError::NoSuchSplit { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// `n` pictures with what edits of a kind make of them, where that is known.
    pub fn edits(&self, kind: EditKind, n: u64) -> Option<Edits> {
        let Edits { sources, targets, hole } = self.dataset.edits(kind, n)?;
        let [sources, targets] =
            [sources, targets].map(|set| tokenized(set, self.tokenizer.as_ref()));
        Some(Edits { sources, targets, hole })
    }

    /// Training batches from image number `first_image` on; the same images whatever the batch size.
    pub fn loader(&self, batch_size: u64, first_image: u64) -> Loader {
        let options = LoaderOptions {
            batch_size: batch_size as usize,
            flip: self.config.flip,
            drop_condition: self.config.drop_condition,
            masks: self.config.masks.clone(),
            seed: self.order_seed(),
            first_image,
            ..LoaderOptions::default()
        };
        Loader::new(&self.train, self.order(), options, self.spec.clone())
    }

    /// A hash of everything that decides which image, in which form, under which condition comes when. Equal between
    /// the models of a run; equal between runs of one seed that compare.
    pub fn order_hash(&self) -> String {
        let mut augmentation = format!(
            "condition {:?} flip {} drop {}",
            self.config.condition, self.config.flip, self.config.drop_condition
        );
        if !self.config.masks.is_empty() {
            augmentation += &format!(" masks {:?}", self.config.masks);
        }
        let parts = [self.order().hash(), self.train.hash.clone(), augmentation];
        hex(&Sha256::digest(parts.join("\n")))
    }

    /// Names of the classes.
    pub fn class_names(&self) -> &[String] {
        self.dataset.class_names()
    }

    fn order(&self) -> Order {
        Order::new(self.order_seed(), self.train.len() as u64)
    }

    fn order_seed(&self) -> u64 {
        mix(&[self.seed, 2])
    }
}

/// An error with its place in the experiment's file, if it is of what that says of the data.
pub fn placed(experiment: &Experiment, error: DataError) -> anyhow::Error {
    let at = |key, value, rule| {
        experiment.error(&["data", key], Problem::Invalid { value, rule }).into()
    };
    match error {
        DataError::InvalidConfig { key, value, rule } => at(key, value, rule),
        DataError::Io { path, reason } if experiment.data.path.as_ref() == Some(&path) => {
            at("path", path.display().to_string(), format!("cannot be read: {reason}"))
        }
        other => other.into(),
    }
}

fn tokenized(set: ImageSet, tokenizer: Option<&Tokenizer>) -> ImageSet {
    match tokenizer {
        Some(tokenizer) => set.tokenized(tokenizer),
        None => set,
    }
}

/// The id of a class given by name (any case) or number.
pub fn class_id(class: &str, names: &[String]) -> Result<i64> {
    let named = names.iter().position(|name| name.eq_ignore_ascii_case(class));
    let numbered = || class.parse::<usize>().ok().filter(|&id| id < names.len());
    match named.or_else(numbered) {
        Some(id) => Ok(id as i64),
        None if names.is_empty() => bail!("class {class}: this model was trained without classes"),
        None => bail!(
            "class {class} is none of {}, nor a number below {}",
            names.join(", "),
            names.len()
        ),
    }
}
