//! Inception-v3 features: those of the Fréchet inception distance (Heusel et al. 2017), of KID and of the Inception Score.
//!
//! The network is the TensorFlow graph of December 2015 in its usual PyTorch form. Its weights do not come with this
//! program: the user names a file of them.

mod network;
mod resize;

use crate::{
    FeatureExtractor, MetricError, OnImages, Result, card,
    features::{check_images, in_batches, unwatched},
    state_dict,
};
use network::{CLASSES, FEATURES, Network};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// Images that pass through the network at once; their largest activations take 90 MB.
const BATCH: i64 = 16;

/// Rows and columns that the network sees.
const SIZE: i64 = 299;

/// The Inception-v3 network of 2015 as a feature extractor, for gray or colour images of any size.
///
/// Images are resized to 299 × 299 bilinearly as TensorFlow 1 does it, a gray channel is repeated three times, and levels
/// 0 to 255 become (level − 128) / 128. That is the graph that published scores were taken with, and torch-fidelity's.
/// The network itself equals pytorch-fid's, which however resizes by half-pixel centres and scales to 2 level / 255 − 1:
/// for images that are not 299 × 299, its scores are others. Arithmetic is f32 throughout.
#[derive(Debug)]
pub struct InceptionFeatures {
    hash: String,
    network: Network,
    device: Device,
}

impl InceptionFeatures {
    /// The network with the weights of a file, on `device`: `pt_inception-2015-12-05-6726825d.pth` as pytorch-fid and
    /// torch-fidelity publish it, or a safetensors file of tensors with the same names.
    ///
    /// # Errors
    /// [`MetricError::Read`] if there is no such file; [`MetricError::WeightsFile`] if it is something else, damaged, or
    /// has a tensor that is missing, of another shape or not finite.
    pub fn load(path: &Path, device: Device) -> Result<Self> {
        let bytes = std::fs::read(path)
            .map_err(|reason| MetricError::Read { path: path.into(), reason })?;
        let wrong = |message| MetricError::WeightsFile {
            path: path.into(),
            what: "weights of the Inception-v3 network of 2015",
            message,
        };
        let tensors = state_dict::read(&bytes).map_err(wrong)?;
        let network = Network::new(&|name, shape| tensors.get(name, shape)).map_err(wrong)?;
        Ok(Self { hash: card::sha256(&bytes), network: network.to_device(device), device })
    }

    /// What the network sees of `images_u8`, u8 `[n, 1 or 3, h, w]`: f32 `[n, 3, 299, 299]` in [-1, 1).
    ///
    /// # Errors
    /// [`MetricError::Torch`] if libtorch fails.
    pub fn prepare(&self, images_u8: &Tensor) -> Result<Tensor> {
        let levels = images_u8.to_device(self.device).to_kind(Kind::Float);
        let pixels = (resize::bilinear(&levels, SIZE)? - 128.0) / 128.0;
        Ok(pixels.f_expand([-1, 3, -1, -1], false)?)
    }
}

impl FeatureExtractor for InceptionFeatures {
    fn name(&self) -> &str {
        "inception-v3"
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn dim(&self) -> i64 {
        FEATURES
    }

    fn features_with_progress(
        &self,
        images_u8: &Tensor,
        on_images: OnImages<'_>,
    ) -> Result<Tensor> {
        check_images(images_u8, gray_or_colour(images_u8), None)?;
        in_batches(images_u8, BATCH, FEATURES, on_images, |batch| {
            Ok(self.network.features(&self.prepare(batch)?)?)
        })
    }

    /// The logits that the Inception Score is taken of: 1008 classes, and without the last layer's bias ("unbiased" in
    /// torch-fidelity), as in the graph that published scores were taken with.
    fn logits_of_features(&self, features: &Tensor) -> Option<Result<Tensor>> {
        let blocks = in_batches(features, 4096, CLASSES, &mut unwatched, |rows| {
            Ok(self.network.logits(&rows.to_device(self.device))?)
        });
        Some(blocks)
    }
}

/// The channels that images must have, given those that they have: one if that is it, else three.
pub(crate) fn gray_or_colour(images: &Tensor) -> i64 {
    if images.size().get(1) == Some(&1) { 1 } else { 3 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_named() {
        let error = InceptionFeatures::load(Path::new("/nowhere.pth"), Device::Cpu).unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nowhere.pth: "));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/state-dict.pth");
        let error = InceptionFeatures::load(Path::new(path), Device::Cpu).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "{path} does not hold weights of the Inception-v3 network of 2015: \
                 Conv2d_1a_3x3.conv.weight is missing"
            )
        );
    }
}
