//! Weights files: safetensors of 16-bit floats with a [`Card`] in the header, identified by the SHA-256 of all bytes.

use crate::{MetricError, Result, TrainOptions, network::Network};
use paragone_core::{Attribute, ImageShape};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use tch::{Device, Kind, Tensor};

/// What a trained network is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Its penultimate layer makes the features that scores compare.
    Features,
    /// Tells whether samples show the class they were asked for: a different network, so that no score is its own judge.
    Judge,
}

/// What a weights file says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Card {
    /// The data it was trained on.
    pub dataset: String,
    /// What it is for.
    pub role: Role,
    /// Size of the images it takes.
    pub shape: ImageShape,
    /// What it tells of an image, the class first.
    pub attributes: Vec<Learnt>,
    /// How it was trained.
    pub options: TrainOptions,
    /// Different training images.
    pub train_images: i64,
}

/// An attribute that a network tells, and how well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Learnt {
    /// Its name and its values.
    pub attribute: Attribute,
    /// Share of test images that it is told right of, by the weights as stored.
    pub test_accuracy: f64,
    /// The same of images with combinations of attributes that the test images lack, where the data has such a split.
    pub held_out_accuracy: Option<f64>,
}

/// A card as files have it: of networks that only tell classes, it has their number and not their names.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    dataset: String,
    role: Role,
    shape: ImageShape,
    #[serde(skip_serializing_if = "Option::is_none")]
    num_classes: Option<i64>,
    options: TrainOptions,
    train_images: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    test_accuracy: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<Learnt>,
}

impl From<Stored> for Card {
    fn from(stored: Stored) -> Self {
        let classes = stored.num_classes.map(|classes| Learnt {
            attribute: Attribute::new(Attribute::CLASS, (0..classes).map(|id| id.to_string())),
            test_accuracy: stored.test_accuracy.unwrap_or(0.0),
            held_out_accuracy: None,
        });
        Self {
            dataset: stored.dataset,
            role: stored.role,
            shape: stored.shape,
            attributes: classes.into_iter().chain(stored.attributes).collect(),
            options: stored.options,
            train_images: stored.train_images,
        }
    }
}

impl From<Card> for Stored {
    fn from(card: Card) -> Self {
        let only_classes = match &card.attributes[..] {
            [only] if only.attribute.name == Attribute::CLASS => Some(only.clone()),
            _ => None,
        };
        Self {
            dataset: card.dataset,
            role: card.role,
            shape: card.shape,
            num_classes: only_classes.as_ref().map(|only| only.attribute.num_values()),
            options: card.options,
            train_images: card.train_images,
            test_accuracy: only_classes.as_ref().map(|only| only.test_accuracy),
            attributes: if only_classes.is_some() { Vec::new() } else { card.attributes },
        }
    }
}

/// The key of the card in the file's header.
const CARD: &str = "card";

/// The bytes of a classifier's weights file.
pub(crate) fn to_bytes(network: &Network, card: &Card) -> Vec<u8> {
    write(network.tensors(), card)
}

/// The bytes of a weights file: deterministic, since its hash stands for the network.
pub(crate) fn write<'a>(
    tensors: impl Iterator<Item = (String, &'a Tensor)>,
    card: &impl Serialize,
) -> Vec<u8> {
    let tensors: Vec<_> = tensors
        .map(|(name, tensor)| {
            let half = tensor.to_device(Device::Cpu).to_kind(Kind::Half).contiguous();
            let mut bytes = vec![0u8; half.numel() * 2];
            half.copy_data_u8(&mut bytes, half.numel());
            (name, half.size().iter().map(|&size| size as usize).collect::<Vec<_>>(), bytes)
        })
        .collect();
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F16, shape.clone(), bytes);
        (name, view.expect("as many bytes as the shape asks for"))
    });
    // One entry only: a map of several would come out in random order.
    let card = serde_json::to_string(card).expect("a card is plain data");
    let metadata = HashMap::from([(CARD.to_string(), card)]);
    safetensors::serialize(views, &Some(metadata)).expect("plain tensors with distinct names")
}

/// The card and the tensors in the bytes of a weights file.
///
/// # Errors
/// [`MetricError::Weights`] if they are something else.
pub(crate) fn read<C: DeserializeOwned>(bytes: &[u8]) -> Result<(C, SafeTensors<'_>)> {
    let wrong = |message: String| MetricError::Weights { message };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(e.to_string()))?;
    let card = header.metadata().as_ref().and_then(|entries| entries.get(CARD));
    let card = card.ok_or_else(|| wrong("no card in the header".into()))?;
    let card = serde_json::from_str(card).map_err(|e| wrong(format!("card: {e}")))?;
    Ok((card, SafeTensors::deserialize(bytes).map_err(|e| wrong(e.to_string()))?))
}

/// The card and the network in the bytes of a weights file, in f32 on `device`.
///
/// # Errors
/// [`MetricError::Weights`] if they are something else, or contradict each other.
pub(crate) fn from_bytes(bytes: &[u8], device: Device) -> Result<(Card, Network)> {
    let (card, file) = read::<Card>(bytes)?;
    let tensor = |name: &str| Tensor::try_from(file.tensor(name).ok()?).ok();
    let names = card.attributes.iter().map(|learnt| learnt.attribute.name.as_str());
    let network = Network::from_tensors(tensor, names, device)?;
    let channels = ("channels", card.shape.channels, network.channels());
    let values = card.attributes.iter().zip(network.attributes());
    let values = values.map(|(learnt, (name, has))| (name, learnt.attribute.num_values(), has));
    for (what, says, has) in [channels].into_iter().chain(values) {
        if says != has {
            let message = format!("the card says {says} of {what}, the network has {has}");
            return Err(MetricError::Weights { message });
        }
    }
    Ok((card, network))
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
