//! Weights files: safetensors of 16-bit floats with a [`Card`] in the header, identified by the SHA-256 of all bytes.

use crate::{MetricError, Result, TrainOptions, network::Network};
use paragone_core::ImageShape;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
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
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The data it was trained on.
    pub dataset: String,
    /// What it is for.
    pub role: Role,
    /// Size of the images it takes.
    pub shape: ImageShape,
    /// Number of classes.
    pub num_classes: i64,
    /// How it was trained.
    pub options: TrainOptions,
    /// Training images.
    pub train_images: i64,
    /// Share of test images that it classifies right, as stored.
    pub test_accuracy: f64,
}

/// The key of the card in the file's header.
const CARD: &str = "card";

/// The bytes of a weights file: deterministic, since its hash stands for the network.
pub(crate) fn to_bytes(network: &Network, card: &Card) -> Vec<u8> {
    let mut tensors = Vec::new();
    for (name, layer) in network.layers() {
        for (part, tensor) in [("weight", &layer.weight), ("bias", &layer.bias)] {
            let half = tensor.to_device(Device::Cpu).to_kind(Kind::Half).contiguous();
            let mut bytes = vec![0u8; half.numel() * 2];
            half.copy_data_u8(&mut bytes, half.numel());
            let shape = half.size().iter().map(|&size| size as usize).collect::<Vec<_>>();
            tensors.push((format!("{name}.{part}"), shape, bytes));
        }
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F16, shape.clone(), bytes);
        (name, view.expect("as many bytes as the shape asks for"))
    });
    // One entry only: a map of several would come out in random order.
    let card = serde_json::to_string(card).expect("a card is plain data");
    let metadata = HashMap::from([(CARD.to_string(), card)]);
    safetensors::serialize(views, &Some(metadata)).expect("plain tensors with distinct names")
}

/// The card and the network in the bytes of a weights file, in f32 on `device`.
///
/// # Errors
/// [`MetricError::Weights`] if they are something else, or contradict each other.
pub(crate) fn from_bytes(bytes: &[u8], device: Device) -> Result<(Card, Network)> {
    let wrong = |message: String| MetricError::Weights { message };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(e.to_string()))?;
    let card = header.metadata().as_ref().and_then(|entries| entries.get(CARD));
    let card = card.ok_or_else(|| wrong("no card in the header".into()))?;
    let card: Card = serde_json::from_str(card).map_err(|e| wrong(format!("card: {e}")))?;
    let file = SafeTensors::deserialize(bytes).map_err(|e| wrong(e.to_string()))?;
    let tensor = |name: &str| Tensor::try_from(file.tensor(name).ok()?).ok();
    let network = Network::from_tensors(tensor, device)?;
    for (what, says, has) in [
        ("channels", card.shape.channels, network.channels()),
        ("classes", card.num_classes, network.num_classes()),
    ] {
        if says != has {
            return Err(wrong(format!("the card says {says} {what}, the network has {has}")));
        }
    }
    Ok((card, network))
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
