//! A small dual encoder: images and captions as vectors, near one another where they belong together (Radford et al. 2021).

use crate::{
    FeatureExtractor, LabelledImages, MetricError, OnImages, Result, Role, TrainOptions,
    TrainProgress,
    augment::TrainBatch,
    card, draw_rows,
    features::{check_images, in_batches, unwatched},
    network::{BATCH, Network},
    train::{check_options, fit},
    trainee::{Trainee, uniform_weight},
    weights,
};
use paragone_core::{ImageShape, from_levels, mix};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use tch::{Device, Kind, Tensor};
use torch_ext::Autocast;

/// Numbers in the vectors that images and captions share.
const DIM: i64 = 64;

/// The head of the image network that makes them, and the table that captions' are summed from.
const IMAGE: &str = "embedding";
const WORDS: &str = "words";

/// Logits are cosines over this.
const TEMPERATURE: f64 = 0.1;

/// Captions that a right one is ranked among, itself included.
pub const CANDIDATES: i64 = 100;

/// Captioned images.
#[derive(Debug, Clone, Copy)]
pub struct CaptionedImages<'a> {
    /// u8 `[n, c, h, w]`.
    pub images: &'a Tensor,
    /// One an image.
    pub captions: &'a [String],
}

/// A frozen dual encoder. An image's vector is a linear map of its features; a caption's is the sum of its words'.
#[derive(Debug)]
pub struct DualEncoder {
    name: String,
    hash: String,
    card: DualCard,
    images: Network,
    /// Rows of `words` by word.
    rows: HashMap<String, i64>,
    /// f32 `[words, DIM]`.
    words: Tensor,
}

/// What the weights file of a dual encoder says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DualCard {
    /// The data it was trained on.
    pub dataset: String,
    /// What it is for.
    pub role: Role,
    /// Size of the images it takes.
    pub shape: ImageShape,
    /// Words that it knows, in the order of their vectors.
    pub words: Vec<String>,
    /// How it was trained.
    pub options: TrainOptions,
    /// Different training images.
    pub train_images: i64,
    /// Share of them whose caption it ranks first among [`CANDIDATES`], by the weights as stored.
    pub first: f64,
}

impl DualEncoder {
    /// The dual encoder that comes with this crate for a dataset, on `device`.
    ///
    /// # Errors
    /// [`MetricError::NoWeights`] for a dataset that has none.
    pub fn for_dataset(dataset: &str, role: Role, device: Device) -> Result<Self> {
        Self::from_bytes(weights::find_dual(dataset, role)?, device)
    }

    /// A dual encoder from the bytes of a file that [`train_dual_encoder`] made.
    ///
    /// # Errors
    /// [`MetricError::Weights`] if they are something else.
    pub fn from_bytes(bytes: &[u8], device: Device) -> Result<Self> {
        let (card, file) = card::read::<DualCard>(bytes)?;
        let tensor = |name: &str| Tensor::try_from(file.tensor(name).ok()?).ok();
        let images = Network::from_tensors(tensor, [IMAGE].into_iter(), device)?;
        let wrong = |message: String| MetricError::Weights { message };
        let words = tensor(WORDS).ok_or_else(|| wrong(format!("{WORDS} is missing")))?;
        let (known, channels) = (card.words.len() as i64, card.shape.channels);
        let embedded: Vec<(&str, i64)> = images.attributes().collect();
        if words.size() != [known, DIM]
            || images.channels() != channels
            || embedded != [(IMAGE, DIM)]
        {
            let sizes = (words.size(), images.channels(), embedded);
            return Err(wrong(format!(
                "the card says {known} words and {channels} channels, the networks have {sizes:?}"
            )));
        }
        let rows = card.words.iter().cloned().zip(0..).collect();
        Ok(Self {
            name: format!("dual-encoder/{}", card.dataset),
            hash: card::sha256(bytes),
            words: words.to_device(device).to_kind(Kind::Float),
            card,
            images,
            rows,
        })
    }

    /// How this network came to be.
    pub fn card(&self) -> &DualCard {
        &self.card
    }

    /// Ranks of the images' own captions among [`CANDIDATES`], by the cosine with the image: f64 `[n]` from 1, captions of equal
    /// cosine sharing their ranks' mean.
    ///
    /// The others are drawn from the captions of the other images, for each image anew and for the same captions always the
    /// same ones.
    ///
    /// # Errors
    /// [`MetricError::Shape`] for images that do not fit or are not as many as captions, [`MetricError::TooFew`] for fewer than
    /// [`CANDIDATES`] different captions.
    pub fn ranks(&self, asked: CaptionedImages<'_>) -> Result<Tensor> {
        let CaptionedImages { images, captions } = asked;
        self.check(images)?;
        let n = images.size()[0];
        check_captions(n, captions)?;
        let different: Vec<&String> =
            captions.iter().collect::<BTreeSet<_>>().into_iter().collect();
        let number = different.len() as i64;
        if number < CANDIDATES {
            let what = "a rank among 100 captions";
            return Err(MetricError::TooFew { what, needs: CANDIDATES, got: number });
        }
        let vectors = in_batches(images, BATCH, DIM, &mut unwatched, |batch| {
            Ok(unit(&self.images.logits(&self.images.features(batch)?)?))
        })?;
        let texts = tch::no_grad(|| self.texts(&different)).to_device(Device::Cpu);
        // Its own first, then the others, none of them its own.
        let candidates = captions.iter().enumerate().map(|(i, caption)| {
            let own = different.binary_search(&caption).expect("it is among them") as i64;
            let others = draw_rows(number - 1, CANDIDATES - 1, mix(&[i as u64]));
            let others = &others + others.ge(own).to_kind(Kind::Int64);
            Tensor::cat(&[Tensor::from_slice(&[own]), others], 0)
        });
        let candidates = Tensor::stack(&candidates.collect::<Vec<_>>(), 0);
        let ranks = vectors.split(BATCH, 0).into_iter().zip(candidates.split(BATCH, 0));
        let ranks = ranks.map(|(images, rows)| {
            let texts = texts.index_select(0, &rows.flatten(0, -1)).view([-1, CANDIDATES, DIM]);
            // Sums of products, not a matrix product: equal captions have cosines equal to the last bit.
            let cosines = (texts * images.unsqueeze(1)).sum_dim_intlist(-1, false, Kind::Float);
            let (own, others) = (cosines.narrow(1, 0, 1), cosines.narrow(1, 1, CANDIDATES - 1));
            let count = |which: Tensor| which.sum_dim_intlist(1, false, Kind::Double);
            count(others.gt_tensor(&own)) + count(others.eq_tensor(&own)) / 2.0 + 1.0
        });
        Ok(Tensor::cat(&ranks.collect::<Vec<_>>(), 0))
    }

    /// Vectors of captions, `[n, DIM]`, of length 1; words that it does not know count nothing.
    fn texts(&self, captions: &[&String]) -> Tensor {
        let known = captions.iter().map(|caption| {
            words(caption).filter_map(|word| self.rows.get(&word).copied()).collect::<Vec<_>>()
        });
        embed_texts(&self.words, &padded(&known.collect::<Vec<_>>()))
    }

    fn check(&self, images_u8: &Tensor) -> Result<()> {
        let shape = self.card.shape;
        check_images(images_u8, shape.channels, Some((shape.height, shape.width)))
    }
}

impl FeatureExtractor for DualEncoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn dim(&self) -> i64 {
        self.images.dim()
    }

    fn features_with_progress(
        &self,
        images_u8: &Tensor,
        on_images: OnImages<'_>,
    ) -> Result<Tensor> {
        self.check(images_u8)?;
        in_batches(images_u8, BATCH, self.dim(), on_images, |batch| self.images.features(batch))
    }
}

/// Trains a dual encoder to find each image's caption among those of its batch, and the other way round (Radford et al. 2021,
/// figure 3), by the recipe of [`train_classifier`](crate::train_classifier). Returns the bytes of its weights file.
///
/// # Errors
/// [`MetricError::Shape`] for tensors that do not fit, [`MetricError::TooFew`] for too few captions,
/// [`MetricError::Option`] for no epoch or empty batches, [`MetricError::Diverged`] for a loss that is not finite.
pub fn train_dual_encoder(
    dataset: &str,
    set: CaptionedImages<'_>,
    role: Role,
    options: &TrainOptions,
    device: Device,
    on_progress: &mut dyn FnMut(TrainProgress),
) -> Result<Vec<u8>> {
    check_options(options)?;
    let CaptionedImages { images, captions } = set;
    let (n, channels, height, width) = images.size4()?;
    let shape = ImageShape { channels, height, width };
    check_images(images, channels, None)?;
    check_captions(n, captions)?;

    let known: BTreeSet<String> = captions.iter().flat_map(|caption| words(caption)).collect();
    let known: Vec<String> = known.into_iter().collect();
    let row = |word: String| known.binary_search(&word).expect("collected above") as i64;
    let rows: Vec<Vec<i64>> =
        captions.iter().map(|caption| words(caption).map(row).collect()).collect();
    let labelled = LabelledImages { images: images.shallow_clone(), labels: padded(&rows) };

    let trainee = Trainee::new(channels, &[(IMAGE, DIM)], options, device);
    let table = uniform_weight(&[known.len() as i64, DIM], mix(&[options.seed, 100]));
    let table = table.to_device(device).set_requires_grad(true);
    let mut params = trainee.parameters();
    params.push(table.shallow_clone());
    let loss = |batch: &TrainBatch, step: u64| {
        let vectors = {
            let _autocast = Autocast::enter(device, Some(Kind::BFloat16))?;
            trainee.forward(&from_levels(&batch.levels), step)?.swap_remove(0)
        };
        let vectors = unit(&vectors.to_kind(Kind::Float));
        let logits = vectors.matmul(&embed_texts(&table, &batch.labels).tr()) / TEMPERATURE;
        let own = Tensor::arange(logits.size()[0], (Kind::Int64, device));
        let [captions, images] =
            [&logits, &logits.tr()].map(|logits| logits.cross_entropy_for_logits(&own));
        Ok((captions + images) / 2.0)
    };
    fit(&params, &mut |_| labelled.clone(), &loss, options, device, on_progress)?;

    let mut card = DualCard {
        dataset: dataset.to_owned(),
        role,
        shape,
        words: known,
        options: options.clone(),
        train_images: n,
        first: 0.0,
    };
    let network = trainee.fold();
    let bytes = |card: &DualCard| to_bytes(&network, &table.detach(), card);
    let ranks = DualEncoder::from_bytes(&bytes(&card), device)?.ranks(set)?;
    card.first = ranks.le(1.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
    Ok(bytes(&card))
}

/// The bytes of a weights file.
pub(crate) fn to_bytes(images: &Network, words: &Tensor, card: &DualCard) -> Vec<u8> {
    card::write(images.tensors().chain([(WORDS.to_owned(), words)]), card)
}

/// Words of a caption: letters and digits, in lower case.
fn words(caption: &str) -> impl Iterator<Item = String> {
    let words = caption.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase)
}

/// Lists of rows as i64 `[n, longest]`, -1 where there is none.
fn padded(lists: &[Vec<i64>]) -> Tensor {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let rows = lists
        .iter()
        .flat_map(|list| list.iter().copied().chain(std::iter::repeat(-1)).take(longest));
    Tensor::from_slice(&rows.collect::<Vec<_>>()).reshape([-1, longest as i64])
}

/// `rows` of a table, i64 `[n, l]`, summed to f32 `[n, DIM]` of length 1; -1 counts nothing.
fn embed_texts(table: &Tensor, rows: &Tensor) -> Tensor {
    let rows = rows.to_device(table.device());
    let present = rows.ge(0).unsqueeze(-1).to_kind(Kind::Float);
    let vectors = Tensor::embedding(table, &rows.clamp_min(0), -1, false, false) * present;
    unit(&vectors.sum_dim_intlist(1, false, Kind::Float))
}

/// Rows of length 1; a row of zeros stays.
fn unit(rows: &Tensor) -> Tensor {
    rows / rows.square().sum_dim_intlist(1, true, Kind::Float).sqrt().clamp_min(1e-6)
}

fn check_captions(n: i64, captions: &[String]) -> Result<()> {
    if captions.len() as i64 == n {
        return Ok(());
    }
    Err(MetricError::Shape {
        what: "captions",
        expected: format!("{n}, one an image"),
        got: captions.len().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise_images;

    const SHAPE: ImageShape = ImageShape { channels: 1, height: 12, width: 12 };

    /// Noise with a bright row and a bright column, `copies` of each of the 144 crossings under its name.
    fn crossings(copies: i64, seed: u64) -> (Tensor, Vec<String>) {
        let n = 144 * copies;
        let images = noise_images(n, SHAPE, seed).floor_divide_scalar(2);
        let captions = (0..n).map(|i| {
            let (row, column) = (i / 12 % 12, i % 12);
            let _ = images.get(i).get(0).select(0, row).fill_(250);
            let _ = images.get(i).get(0).select(1, column).fill_(250);
            format!("Row r{row}; column c{column}")
        });
        let captions = captions.collect();
        (images, captions)
    }

    fn set((images, captions): &(Tensor, Vec<String>)) -> CaptionedImages<'_> {
        CaptionedImages { images, captions }
    }

    /// A network of two words that says how bright an image is: exact vectors, by hand.
    fn by_hand(vectors: &[[f32; 2]]) -> Vec<u8> {
        let options =
            TrainOptions { widths: [4, 8, 16], feature_dim: 16, ..TrainOptions::default() };
        let network = Trainee::new(1, &[(IMAGE, DIM)], &options, Device::Cpu).fold();
        let words: Vec<String> = (0..vectors.len()).map(|i| format!("w{i:03}")).collect();
        let table = Tensor::from_slice(vectors.as_flattened()).reshape([-1, 2]);
        let table = table.constant_pad_nd([0, DIM - 2]);
        let card = DualCard {
            dataset: "lines".into(),
            role: Role::Judge,
            shape: SHAPE,
            words,
            options,
            train_images: 0,
            first: 0.0,
        };
        to_bytes(&network, &table, &card)
    }

    #[test]
    fn learns_which_caption_belongs_to_an_image() {
        let options = TrainOptions {
            widths: [8, 16, 24],
            feature_dim: 48,
            epochs: 12,
            batch_size: 64,
            dropout: 0.0,
            ..TrainOptions::default()
        };
        let lesson = crossings(6, 1);
        let mut reports = Vec::new();
        let bytes = train_dual_encoder(
            "crossings",
            set(&lesson),
            Role::Judge,
            &options,
            Device::Cpu,
            &mut |progress| reports.push(progress),
        );
        let dual = DualEncoder::from_bytes(&bytes.unwrap(), Device::Cpu).unwrap();
        assert_eq!(dual.card().words.len(), 2 + 12 + 12);
        assert!(reports.last().unwrap().loss < reports[0].loss / 2.0);
        // Images that it was not trained on.
        let ranks = dual.ranks(set(&crossings(2, 2))).unwrap();
        let first = ranks.le(1.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!(first > 0.8 && dual.card().first > 0.8, "{first}, {}", dual.card().first);
        let (images, mut captions) = crossings(2, 2);
        captions.rotate_left(1);
        let ranks = dual.ranks(CaptionedImages { images: &images, captions: &captions }).unwrap();
        assert!(
            ranks.mean(Kind::Double).double_value(&[]) > 1.5,
            "a neighbour's name is not the image's"
        );
    }

    #[test]
    fn ranks_are_those_of_the_cosines() {
        // A hundred captions of one word, turning through a half circle; one more with the vector of the first.
        let angle = |i: usize| std::f32::consts::PI * (i % 100) as f32 / 100.0;
        let vectors: Vec<[f32; 2]> =
            (0..101).map(|i| [3.0 * angle(i).cos(), 3.0 * angle(i).sin()]).collect();
        let dual = DualEncoder::from_bytes(&by_hand(&vectors), Device::Cpu).unwrap();
        let captions: Vec<String> = (0..100).map(|i| format!("  W{i:03}, ")).collect();
        let images = noise_images(100, SHAPE, 3);
        let ranks = dual.ranks(CaptionedImages { images: &images, captions: &captions }).unwrap();
        let ranks = Vec::<f64>::try_from(ranks).unwrap();
        // By definition, from the image's own vector.
        let image =
            tch::no_grad(|| dual.images.logits(&dual.images.features(&images).unwrap()).unwrap());
        for (i, rank) in ranks.iter().enumerate() {
            let vector = Vec::<f32>::try_from(image.get(i as i64)).unwrap();
            let score = |j: usize| {
                let stored = |x: f32| f64::from(x); // a half's rounding does not change an order here
                stored(vector[0]) * f64::from(angle(j).cos())
                    + stored(vector[1]) * f64::from(angle(j).sin())
            };
            let above = (0..100).filter(|&j| score(j) > score(i)).count();
            assert!((rank - 1.0 - above as f64).abs() <= 1.0, "{i}: {rank}, not {}", above + 1);
        }
        // Equal captions share the mean of their ranks; words that it does not know leave a caption without a direction.
        let same: Vec<String> = (0..100).map(|i| format!("unknown{i}")).collect();
        let ranks = dual.ranks(CaptionedImages { images: &images, captions: &same }).unwrap();
        assert!(ranks.eq(50.5).all().int64_value(&[]) == 1, "{ranks}");
    }
}
