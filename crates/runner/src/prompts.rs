//! What images are asked to be, and whether they are.

use crate::{data::RunData, features::Judge};
use anyhow::Result;
use paragone_core::{Attribute, Conditions, DataSpec, mix};
use paragone_data::ImageSet;
use paragone_metrics::{CaptionedImages, DualEncoder, MetricError, Reading, draw_rows};
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

/// What images are asked to be: one row an image, on the host.
#[derive(Debug)]
pub struct Prompts {
    /// What a model is told.
    pub conditions: Conditions,
    asked: Asked,
}

/// The attribute that tells how many objects a scene has.
pub const OBJECTS: &str = "objects";

/// What a judge looks for.
#[derive(Debug)]
enum Asked {
    /// Nothing was asked, or no judge could tell.
    Nothing,
    /// i64 `[n]`.
    Classes(Tensor),
    /// i64 `[n, alternatives, attributes]`, as in [`ImageSet::asked`].
    Attributes(Tensor),
    /// One an image: data whose captions say nothing that could be read off.
    Captions(Vec<String>),
}

impl Prompts {
    /// `n` prompts as the data has them, any first part of them nearly so: classes with their frequencies in training, captions
    /// of [`RunData::familiar`] images in a random order, again from the first when they are used up.
    pub fn representative(data: &RunData, n: u64) -> Result<Self> {
        if data.spec.text.is_some() {
            let set = data.familiar()?;
            let order = draw_rows(set.len(), set.len(), mix(&[11]));
            let turn = Tensor::arange(n as i64, (Kind::Int64, Device::Cpu)).remainder(set.len());
            return Ok(Self::of_rows(set, &order.index_select(0, &turn), &data.spec));
        }
        let classes = representative_classes(data.train.classes.as_ref(), &data.spec, n as usize);
        Ok(Self::of_classes(&classes, &data.spec))
    }

    /// The first `n` captions that combine attributes as no training image does; `None` where there are none.
    pub fn held_out(data: &RunData, n: i64) -> Result<Option<(Self, ImageSet)>> {
        let Some(set) = data.held_out()? else { return Ok(None) };
        let rows = Tensor::arange(n.min(set.len()), (Kind::Int64, Device::Cpu));
        Ok(Some((Self::of_rows(&set, &rows, &data.spec), set)))
    }

    /// `n` prompts for a grid of `columns`, each column another one: the classes in turn, or the first captions of [`RunData::familiar`].
    pub fn in_turn(data: &RunData, n: usize, columns: usize) -> Result<Self> {
        if data.spec.text.is_some() {
            let set = data.familiar()?;
            let rows: Vec<i64> = (0..n).map(|i| (i % columns) as i64 % set.len()).collect();
            return Ok(Self::of_rows(set, &Tensor::from_slice(&rows), &data.spec));
        }
        Ok(Self::of_classes(&cycle_classes(&data.spec, n, columns), &data.spec))
    }

    /// What the images in `rows`, i64 `[n]`, of a set are to a model that is asked for them.
    pub fn of_rows(set: &ImageSet, rows: &Tensor, data: &DataSpec) -> Self {
        let conditions = set.conditions(rows, data);
        let asked = match &set.asked {
            Some(asked) if data.text.is_some() => Asked::Attributes(asked.index_select(0, rows)),
            None if data.text.is_some() => {
                let captions = set.captions.as_deref().unwrap_or_default();
                let rows = Vec::<i64>::try_from(rows).expect("rows are i64 [n]");
                Asked::Captions(rows.iter().map(|&row| captions[row as usize].clone()).collect())
            }
            _ => Asked::of_classes(&conditions, data),
        };
        Self { conditions, asked }
    }

    /// These classes; `data.num_classes` asks for none.
    pub fn of_classes(classes: &[i64], data: &DataSpec) -> Self {
        let conditions = Conditions::of_classes(classes, data, Device::Cpu);
        let asked = Asked::of_classes(&conditions, data);
        Self { conditions, asked }
    }

    /// Number of images.
    pub fn len(&self) -> i64 {
        self.conditions.len()
    }

    /// Whether any image is asked for something else than the first.
    pub fn differ(&self) -> bool {
        let Conditions { class, tokens, .. } = &self.conditions;
        let differ =
            |t: &Tensor| t.not_equal_tensor(&t.narrow(0, 0, 1)).any().int64_value(&[]) == 1;
        differ(class) || (tokens.numel() > 0 && differ(tokens))
    }

    /// Prompts `start..start + len`.
    pub fn narrow(&self, start: i64, len: i64) -> Self {
        let narrow = |t: &Tensor| t.narrow(0, start, len);
        Self {
            conditions: self.conditions.narrow(start, len),
            asked: match &self.asked {
                Asked::Nothing => Asked::Nothing,
                Asked::Classes(classes) => Asked::Classes(narrow(classes)),
                Asked::Attributes(asked) => Asked::Attributes(narrow(asked)),
                Asked::Captions(captions) => {
                    Asked::Captions(captions[start as usize..(start + len) as usize].to_vec())
                }
            },
        }
    }

    /// Share of images, u8 `[n, c, h, w]`, that show all that was asked of them, or whose caption ranks first among
    /// [`CANDIDATES`]; `None` if nothing that can be judged was asked.
    pub fn accuracy(&self, judge: &Judge, levels: &Tensor) -> Option<Result<f64, MetricError>> {
        match (&self.asked, judge) {
            (Asked::Classes(classes), Judge::Attributes(judge)) => {
                Some(judge.class_accuracy(levels, classes))
            }
            (Asked::Attributes(asked), Judge::Attributes(judge)) => {
                Some(judge.attribute_accuracy(levels, asked).map(|accuracy| accuracy.all))
            }
            (Asked::Captions(captions), Judge::Captions(judge)) => {
                let ranks = ranks(captions, judge, levels)?;
                Some(ranks.map(|ranks| share(&ranks.le(1.0))))
            }
            _ => None,
        }
    }

    /// Shares of images, u8 `[n, c, h, w]`, that show what their captions say; `None` where no caption can be judged.
    ///
    /// By a judge of attributes: `all`, everything that the caption says but for where a lone object lies; `all of NUMBER`, the
    /// same of captions of so many objects; and what is said of every single attribute, by its name. By one of captions:
    /// `first of 100` and `among ten of 100`, the caption's rank.
    pub fn caption_accuracy(
        &self,
        judge: &Judge,
        levels: &Tensor,
    ) -> Option<Result<BTreeMap<String, f64>, MetricError>> {
        let (asked, judge) = match (&self.asked, judge) {
            (Asked::Attributes(asked), Judge::Attributes(judge)) => (asked, judge),
            (Asked::Captions(captions), Judge::Captions(judge)) => {
                let ranks = ranks(captions, judge, levels)?;
                return Some(ranks.map(|ranks| {
                    [("first of 100", 1.0), ("among ten of 100", 10.0)]
                        .map(|(name, rank)| (name.to_owned(), share(&ranks.le(rank))))
                        .into()
                }));
            }
            _ => return None,
        };
        Some(judge.read(levels).and_then(|reading| {
            let attributes: Vec<&Attribute> =
                judge.card().attributes.iter().map(|learnt| &learnt.attribute).collect();
            let whole = reading.accuracy(asked)?;
            let mut shares = BTreeMap::from([("all".to_owned(), whole.all)]);
            for (attribute, share) in attributes.iter().zip(whole.each) {
                shares.extend(share.map(|share| (attribute.name.clone(), share)));
            }
            if let Some(at) = attributes.iter().position(|attribute| attribute.name == OBJECTS) {
                let numbers = asked.select(1, 0).select(1, at as i64);
                for (number, name) in attributes[at].values.iter().enumerate() {
                    let rows = numbers.eq(number as i64).nonzero().flatten(0, -1);
                    if rows.numel() > 0 {
                        let values = reading.values.index_select(0, &rows);
                        let some = Reading { values, logits: Vec::new() };
                        let all = some.accuracy(&asked.index_select(0, &rows))?.all;
                        shares.insert(format!("all of {name}"), all);
                    }
                }
            }
            Ok(shares)
        }))
    }

    /// Class asked of every image, i64 `[n]`; null without classes.
    pub fn classes(&self) -> &Tensor {
        &self.conditions.class
    }
}

/// Ranks of the captions by the images, f64 `[n]`; `None` if there are too few captions to rank among.
fn ranks(
    captions: &[String],
    judge: &DualEncoder,
    images: &Tensor,
) -> Option<Result<Tensor, MetricError>> {
    match judge.ranks(CaptionedImages { images, captions }) {
        Err(MetricError::TooFew { .. }) => None,
        ranks => Some(ranks),
    }
}

fn share(right: &Tensor) -> f64 {
    right.to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
}

impl Asked {
    fn of_classes(conditions: &Conditions, data: &DataSpec) -> Self {
        match data.num_classes {
            0 => Self::Nothing,
            _ => Self::Classes(conditions.class.shallow_clone()),
        }
    }
}

/// `n` class ids that count up along each row of a grid: one column a class where they fit.
pub fn cycle_classes(data: &DataSpec, n: usize, columns: usize) -> Vec<i64> {
    match data.num_classes {
        0 => vec![data.null_class(); n],
        classes => (0..n).map(|i| (i % columns) as i64 % classes).collect(),
    }
}

/// `n` class ids with the frequencies of `classes`, any first part of them nearly so: a golden-ratio sequence through
/// the sorted ids.
fn representative_classes(classes: Option<&Tensor>, data: &DataSpec, n: usize) -> Vec<i64> {
    let Some(classes) = classes.filter(|_| data.num_classes > 0) else {
        return vec![data.null_class(); n];
    };
    let mut sorted = Vec::<i64>::try_from(classes).expect("class ids are i64 [n]");
    sorted.sort_unstable();
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    let at = |i: usize| ((i as f64 + 0.5) * golden).fract() * sorted.len() as f64;
    (0..n).map(|i| sorted[at(i) as usize]).collect()
}

/// Images of a test set to stand above a grid of `columns` under the prompts of [`Prompts::in_turn`]: of each column's class as
/// many as there are rows, or the one that a column's caption describes.
pub fn real_images(data: &RunData, n: usize, columns: usize) -> Result<Tensor> {
    let test = data.familiar()?;
    let classes = test.classes.as_ref().filter(|_| data.spec.num_classes > 0);
    let Some(classes) = classes else {
        let n = if data.spec.text.is_some() { columns } else { n };
        let rows: Vec<i64> = (0..n as i64).map(|i| i % test.len()).collect();
        return Ok(test.images.index_select(0, &Tensor::from_slice(&rows)));
    };
    let mut of_class: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (row, class) in Vec::<i64>::try_from(classes)?.into_iter().enumerate() {
        of_class.entry(class).or_default().push(row as i64);
    }
    let mut shown: BTreeMap<i64, usize> = BTreeMap::new();
    let images = cycle_classes(&data.spec, n, columns).into_iter().map(|class| {
        let nth = shown.entry(class).or_default();
        *nth += 1;
        match of_class.get(&class) {
            // From the start again if there are too few; blank for a class that has none.
            Some(rows) => test.images.get(rows[(*nth - 1) % rows.len()]),
            None => test.images.get(0).full_like(255),
        }
    });
    Ok(Tensor::stack(&images.collect::<Vec<_>>(), 0))
}

/// What stands above the columns of a grid: names of classes, or captions.
pub fn column_labels(data: &RunData, columns: usize) -> Result<Vec<String>> {
    if data.spec.text.is_some() {
        let captions = data.familiar()?.captions.as_deref().unwrap_or_default();
        return Ok(captions.iter().take(columns).cloned().collect());
    }
    Ok(data.class_names().iter().take(columns).cloned().collect())
}

/// For each prompt the row of the training image whose caption has most in common with it, the first of several: the share of
/// common words (cosine of the words' counts). i64 `[n]`.
pub fn nearest_captions(prompts: &Prompts, train: &ImageSet, data: &DataSpec) -> Option<Tensor> {
    let (text, tokens) = data.text.as_ref().zip(train.tokens.as_ref())?;
    let counts = |tokens: &Tensor| {
        let n = tokens.size()[0];
        let counts = Tensor::zeros([n, text.vocab_size], (Kind::Float, Device::Cpu));
        let ones = tokens.not_equal(0).to_kind(Kind::Float);
        let counts = counts.scatter_add(1, tokens, &ones);
        let norm = counts.square().sum_dim_intlist(1, true, Kind::Float).sqrt().clamp_min(1.0);
        counts / norm
    };
    let train = counts(tokens).tr();
    let nearest: Vec<Tensor> = counts(&prompts.conditions.tokens)
        .split(256, 0)
        .iter()
        .map(|prompts| prompts.matmul(&train).argmax(1, false))
        .collect();
    Some(Tensor::cat(&nearest, 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use paragone_core::ImageShape;
    use paragone_data::Tokenizer;
    use paragone_metrics::{ClassifierFeatures, Role};

    fn data() -> DataSpec {
        let shape = ImageShape { channels: 1, height: 4, width: 4 };
        DataSpec { shape, num_classes: 4, text: None, known_pixels: false, mean: 0.0, std: 1.0 }
    }

    #[test]
    fn classes_have_the_data_s_frequencies() {
        let classes = Tensor::from_slice(&[0i64, 3, 3, 1, 3, 0, 3, 1, 3, 3]);
        for n in [50, 1000] {
            let drawn = representative_classes(Some(&classes), &data(), n);
            let share =
                |class: i64| drawn.iter().filter(|&&c| c == class).count() as f64 / n as f64;
            for (class, want) in [(0, 0.2), (1, 0.2), (2, 0.0), (3, 0.6)] {
                assert!(
                    (share(class) - want).abs() < 2.0 / n as f64 * 2.0,
                    "class {class}: {}",
                    share(class)
                );
            }
        }
    }

    #[test]
    fn without_classes_nothing_is_asked() {
        let unconditional = DataSpec { num_classes: 0, ..data() };
        assert_eq!(representative_classes(None, &unconditional, 2), [0, 0]);
        let prompts = Prompts::of_classes(&[0, 0], &unconditional);
        assert!(matches!(prompts.asked, Asked::Nothing) && !prompts.differ());
        let prompts = Prompts::of_classes(&[1, 2], &data());
        assert!(matches!(prompts.asked, Asked::Classes(_)) && prompts.differ());
        assert!(!prompts.narrow(1, 1).differ());
    }

    #[test]
    fn captions_without_attributes_are_asked_as_they_are() {
        let captions: Vec<String> = ["red apple", "horse", "cat face"].map(String::from).to_vec();
        let tokenizer = Tokenizer::train(&captions);
        let data = DataSpec { text: Some(tokenizer.spec()), ..data() };
        let set = ImageSet::new(&[0; 3 * 16], data.shape, None, Some(captions));
        let set = set.tokenized(&tokenizer);
        let prompts = Prompts::of_rows(&set, &Tensor::from_slice(&[2i64, 0, 1, 2]), &data);
        let captions = |prompts: &Prompts| match &prompts.asked {
            Asked::Captions(captions) => captions.join(" | "),
            other => panic!("{other:?}"),
        };
        assert_eq!(captions(&prompts), "cat face | red apple | horse | cat face");
        assert_eq!(captions(&prompts.narrow(1, 2)), "red apple | horse");
        // Three captions are too few to rank a right one among a hundred, and no reader of attributes knows them.
        let dual = DualEncoder::for_dataset("emoji", Role::Judge, Device::Cpu).unwrap();
        let images = Tensor::zeros([4, 3, 32, 32], (Kind::Uint8, Device::Cpu));
        assert!(prompts.accuracy(&Judge::Captions(dual), &images).is_none());
        let reader = ClassifierFeatures::judge_for_dataset("shapes", Device::Cpu).unwrap();
        let images = Tensor::zeros([4, 3, 16, 16], (Kind::Uint8, Device::Cpu));
        assert!(prompts.accuracy(&Judge::Attributes(reader), &images).is_none());
    }

    #[test]
    fn the_nearest_caption_shares_most_words() {
        let captions = ["a red circle", "a blue square left of a red ring", "a small blue square"];
        let captions = captions.map(String::from).to_vec();
        let tokenizer = Tokenizer::train(&captions);
        let data = DataSpec { text: Some(tokenizer.spec()), ..data() };
        let set = |captions: Vec<String>| {
            let levels = vec![0; 16 * captions.len()];
            ImageSet::new(&levels, data.shape, None, Some(captions)).tokenized(&tokenizer)
        };
        let train = set(captions);
        let asked =
            ["the blue square", "red circle", "a ring left of a square, red", "nothing known"];
        let asked = set(asked.map(String::from).to_vec());
        let rows = Tensor::from_slice(&[0i64, 1, 2, 3]);
        let prompts = Prompts::of_rows(&asked, &rows, &data);
        assert!(prompts.differ());
        let nearest = nearest_captions(&prompts, &train, &data).unwrap();
        assert_eq!(Vec::<i64>::try_from(nearest).unwrap(), [2, 0, 1, 0]);
        let classes = Prompts::of_classes(&[1, 2], &super::tests::data());
        assert!(nearest_captions(&classes, &train, &super::tests::data()).is_none());
    }
}
